"""A comparison as a page, as Markdown and as CSV."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RunError
from ..files import reason, write_atomically
from . import figures, tables
from .blocks import Block, Figure, Section, Table, Text
from .html import page
from .plain import curves_csv, markdown, table_csv
from .rule import learned_rule
from .source import main_runs, read_record

__all__ = ["Paths", "report"]

_WORDS = (
    "Meta-parameters are all numbers that the outer loop learned. Frozen ones stay as they are in a task and belong "
    "to no rule; those of the rule are its coefficients, rates and plastic strengths.",
    "The adapted state is what a task changes, in numbers per task: synapses, traces, memory, prototypes. "
    "Presentations are support items times how often each is shown.",
    "FLOPs are counted where torch executes them, for one more task: every product, sum, comparison and function call "
    "counts one for each element of its result. Peak memory is that of one loss and its gradient over 64 tasks.",
    "The interval is a t interval over seeds, each of which has its own training and its own test tasks that all "
    "learners share. P values are of paired t tests, corrected for their number by Holm's method; the effect size is "
    "Hedges' g of the paired differences.",
    "With shuffled labels the support says nothing about the queries. Of classes, everybody must be at the floor; of "
    "values, nobody may be better than it.",
)


class Paths(NamedTuple):
    """What was written."""

    html: Path
    markdown: Path
    tables: Path


def report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Paths:
    """Write what a comparison found as ``report.html``, ``report.md`` and ``tables/*.csv``.

    The page is one file that needs nothing else and can be sent as it is.

    Parameters
    ----------
    folder : path
        Of a comparison, as `compare` leaves it: ``result.json``, and the runs of its main learner where they are
        there.
    out : path, optional
        Where to write; default: the same folder.

    Returns
    -------
    Paths
        Page, Markdown, and folder of the tables.

    Raises
    ------
    RunError
        If there is no record, it is damaged or too new, or the files cannot be written.
    """
    source = Path(folder)
    record = read_record(source)
    target = source if out is None else Path(out)
    lead, sections = content(source, record)
    found = [block for section in (Section("", lead), *sections) for block in section.blocks]
    try:
        for place in (target / "figures", target / "tables"):
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write to {target}: {reason(error)}; choose another folder (--out)") from None
    for block in found:
        if isinstance(block, Table):
            _write(target / "tables" / f"{block.name}.csv", table_csv(block).encode())
        elif isinstance(block, Figure):
            drawn = io.BytesIO()
            block.drawn().savefig(drawn, format="png", metadata={"Software": None})
            _write(target / "figures" / f"{block.name}.png", drawn.getvalue())
    if record.get("curves"):
        _write(target / "tables" / "curves.csv", curves_csv(record["curves"]).encode())
    paths = Paths(target / "report.html", target / "report.md", target / "tables")
    _write(paths.markdown, markdown(record["title"], lead, [s for s in sections if not s.folded]).encode())
    _write(paths.html, page(record["title"], lead, sections).encode())
    return paths


def content(folder: Path, record: dict[str, Any]) -> tuple[list[Block], list[Section]]:
    """Return what stands in a report: before the first section, and in every section."""
    lead: list[Block] = [Text(" ".join(record["question"].split()))] if record["question"].strip() else []
    lead += [Text(record["verdict"], "strong"), *map(Text, record["findings"]), Text(_facts(record))]
    if failed := record.get("failed"):
        lead += [Text(f"Could not be trained and is left out: {name} ({why}).") for name, why in failed.items()]
    runs = main_runs(folder, record)
    sections = [
        Section("Scores", [figures.forest(record), tables.scores(record)]),
        Section("What it costs", [tables.cost(record)]),
        Section("Learning and adaptation", _known(figures.curves(record))),
        Section(f"The rule: {record['main']}", learned_rule(runs)),
        Section("What it needs", _known(figures.lesions(record), tables.lesions(record))),
        Section("Elsewhere", _known(figures.generalisation(record), tables.conditions(record))),
        *(Section(str(table.columns[0]), [table]) for table in tables.extra(record)),
        Section("Search", _known(tables.search(record))),
        Section("Again", _commands(record)),
        Section("What the columns mean", [Text(text) for text in _WORDS], folded=True),
        Section("All settings", [Text(json.dumps(record.get("settings", {}), indent=1), "code")], folded=True),
    ]
    return lead, [section for section in sections if section.blocks]


def _known(*blocks: Block | None) -> list[Block]:
    return [block for block in blocks if block is not None]


def _facts(record: dict[str, Any]) -> str:
    """Return where the numbers come from, on one line."""
    seeds = record["seeds"]
    parts = [f"{len(seeds)} seed{'s' * (len(seeds) != 1)} ({', '.join(map(str, seeds))})"]
    parts.append(f"{record.get('test_episodes', 0):,} test tasks each")
    parts += [f"preset {record['preset']}"] if record.get("preset") else []
    parts += [f"commit {record['commit']}"] if record.get("commit") else []
    parts += [f"{name} {value}" for name, value in record.get("versions", {}).items() if name in ("torch", "python")]
    if seconds := record.get("seconds"):
        trained = any(arm.get("cost", {}).get("training_seconds") for arm in record["arms"])
        long = f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} seconds"
        parts.append(f"{long} of {'training and testing' if trained else 'testing'}")
    return "; ".join(parts) + "."


def _commands(record: dict[str, Any]) -> list[Block]:
    main: dict[str, Any] = next((arm for arm in record["arms"] if arm["name"] == record["main"]), {})
    run = f"{main.get('runs', 'runs')}/seed-{record['seeds'][0]}"
    found: list[Block] = []
    if record.get("command"):
        found += [Text("The same numbers on the same machine and versions:"), Text(record["command"], "code")]
    found.append(Text(f"In the folder of the comparison, more about one run of {record['main']}:"))
    found += [Text(f"neurometa {verb} {run}", "code") for verb in ("crosscheck", "record", "distil", "perturb")]
    return found


def _write(path: Path, text: bytes) -> None:
    write_atomically(path, lambda file: file.write(text))
