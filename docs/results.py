"""Write docs/results.md from the results of simulations and comparisons.

Every simulation leaves ``result.json`` (and a figure) in its folder. This script takes them over into docs/results and
docs/images, comparisons with their whole report into docs/reports, and writes the page from all that are there; the
page is never edited by hand.

    python docs/results.py runs/volatility runs/familiarity runs/compare/volatility-default
    python docs/results.py --check
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from neurometa.cli.results import to_markdown, wrapped
from neurometa.cli.script import guarded, parse
from neurometa.errors import NeurometaError
from neurometa.report import report

HERE = Path(__file__).parent
#: Scripts in the order of the page; others follow.
ORDER = (
    "volatility",
    "allocation",
    "cue_reward",
    "familiarity",
    "pattern_completion",
    "associative_retrieval",
    "evolve_rule",
    "transitive_inference",
    "random_labels",
    "spiking_few_shot",
    "surrogate_gradient",
    "omniglot_plasticity",
    "omniglot_maml",
    "sinusoid_maml",
)
#: Comparisons in the order of the page; others follow.
PLANS = ("random_labels", "cue_reward_small", "volatility", "sinusoid")
HEAD = """# Results

Written by `python docs/results.py` from the folders of simulations and comparisons; the records are in `docs/results`
and `docs/reports`. Intervals are 95 % t intervals; over seeds, each of which has its own test episodes, unless it says
otherwise. A number without an interval is known exactly, or stands for itself. The commit is that of the code that made
the table; a plus says that files were changed since. Machine: 2 cores that were shared with other work, no GPU,
float32.
"""


@dataclass(frozen=True)
class Settings:
    """Take over results, and write docs/results.md."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of simulations or comparisons that hold result.json; none: write the page from what is there."""
    docs: Path = HERE
    """Where the page is."""
    check: bool = False
    """Write nothing; fail if the page is not what would be written."""


def take_over(folder: Path, docs: Path) -> None:
    """Copy a record and its figure."""
    try:
        record = json.loads((folder / "result.json").read_text())
        name = file_name(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeurometaError(
            f"{folder}/result.json cannot be read ({error}); give the folder of a simulation or a comparison"
        ) from None
    if "verdict" in record:
        target = docs / "reports" / name
        report(folder, target)
        shutil.copy(folder / "result.json", target / "result.json")
        return
    (docs / "results").mkdir(exist_ok=True)
    if record["figure"]:
        shutil.copy(folder / record["figure"], docs / "images" / f"{name}.png")
    (docs / "results" / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def file_name(record: dict[str, Any]) -> str:
    """Return the name under which a record is kept: that of the script, and what differs from its default preset."""
    more = record["command"].partition("--preset ")[2].removeprefix("default").strip()
    return "-".join([record["name"], *re.findall(r"[\w.]+", more)])


def page(docs: Path) -> str:
    """Return the page."""
    sections = [HEAD, *_comparisons(docs / "reports")]
    records = {path.stem: json.loads(path.read_text()) for path in (docs / "results").glob("*.json")}
    for name in _ordered(records, ORDER):
        picture = f"images/{name}.png" if (docs / "images" / f"{name}.png").is_file() else ""
        sections.append(to_markdown(records[name], picture))
    return "\n".join(sections)


def _ordered(records: dict[str, Any], order: tuple[str, ...]) -> list[str]:
    places = {name: i for i, name in enumerate(order)}
    return sorted(records, key=lambda name: (places.get(records[name]["name"], len(order)), name))


def _comparisons(folder: Path) -> list[str]:
    """Return a section for every comparison: what it found, and where its report is."""
    records = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}
    sections = []
    for name in _ordered(records, PLANS):
        record = records[name]
        seeds, minutes = len(record["seeds"]), record["seconds"] / 60
        torch = record["versions"]["torch"].partition("+")[0]
        facts = f"{seeds} seeds, {minutes:.0f} minutes in all, torch {torch}, commit {record['commit']}"
        lines = [f"## {record['title']}", f"`{record['command']}` ({facts})"]
        lines.append(wrapped(" ".join(record["question"].split())))
        lines += [wrapped(f"**{record['verdict']}**"), *map(wrapped, record["findings"])]
        lines.append(
            f"Table, costs, curves, the rule, lesions, generalisation: [the report](reports/{name}/report.md)."
        )
        lines.append(f"![{record['title']}: scores](reports/{name}/figures/scores.png)")
        sections.append("\n\n".join(lines) + "\n")
    return sections


def main(settings: Settings) -> int:
    """Take over what is given and write the page, or check it."""
    target = settings.docs / "results.md"
    if settings.check:
        same = target.is_file() and target.read_text() == page(settings.docs)
        if not same:
            raise NeurometaError(f"{target} is not what its records give; type: python docs/results.py")
        return 0
    for folder in settings.folders:
        take_over(folder, settings.docs)
    target.write_text(page(settings.docs))
    records = [*settings.docs.glob("results/*.json"), *settings.docs.glob("reports/*/result.json")]
    print(f"{target}: {len(records)} results")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(parse(Settings, sys.argv[1:], "docs/results.py", description=__doc__))))
