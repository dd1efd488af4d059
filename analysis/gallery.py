"""Every figure that suits a run or a recording, on one page, each with a sentence on what to see.

    python analysis/gallery.py --source runs/mine --out runs/mine/gallery

Trained with --record default, a run gives the parameters over meta-iterations too.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from _source import Settings, Source

from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.files import write_atomically

#: Scripts in the order of the page, and their headings.
FIGURES = {
    "learning": "Learning",
    "parameters": "Parameters of the rule over meta-training",
    "rule": "The learned rule",
    "distilled": "Its short equation",
    "weights": "Plastic weights",
    "modulators": "Neuromodulators, errors and traces",
    "activity": "Activity",
    "fixed_points": "Fixed points",
    "representations": "Representations",
    "spikes": "Spikes",
    "perturbed": "What it needs",
}


def main(settings: Settings) -> None:
    """Draw all, and write ``README.md`` beside them."""
    source, made = Source(settings), []
    for name, heading in FIGURES.items():
        try:
            drawn = importlib.import_module(name).draw(source)
        except NeurometaError as reason:
            print(f"{name}: left out, {reason}", file=sys.stderr)
            continue
        drawn.sheet.save(settings.out, name)
        print(f"{name}: {drawn.sentence}")
        made.append(f"## {heading}\n\n{drawn.sentence}\n\n![{heading}]({name}.png)\n")
    if not made:
        raise NeurometaError(f"{settings.source}: no figure suits it")
    title = f"# {settings.source.name}\n\n`python analysis/gallery.py --source {settings.source}`\n"
    page = "\n".join([title, *made])
    write_atomically(settings.out / "README.md", lambda file: file.write(page.encode()))
    print(f"next: open {settings.out / 'README.md'}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    run_script({"default": Settings(out=Path("runs/gallery"))}, main, __doc__ or "", "gallery.py")
