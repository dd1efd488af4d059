"""What a simulation found: a table that people read, and a record from which docs/results.md is written."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..files import write_atomically
from ..provenance import commit_of

__all__ = ["Cell", "command_for", "save_result", "to_markdown", "to_text", "wrapped"]

#: A number, a mean with its interval ``(mean, low, high)``, a text, or nothing.
Cell = float | str | Sequence[float] | None

FOLDERS = ("out", "run_dir")


def save_result(
    folder: str | os.PathLike[str],
    *,
    script: str,
    presets: Mapping[str, Any],
    settings: Any,
    title: str,
    question: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    findings: Sequence[str],
    seeds: int,
    seconds: float,
    figure: str = "",
    published: str = "",
    digits: int = 3,
    over: str = "seeds",
) -> dict[str, Any]:
    """Print a result and write it as ``result.json``.

    Parameters
    ----------
    folder : path
        Where it is written.
    script : str
        Path of the script, ``__file__``.
    presets, settings : mapping of str to dataclass, dataclass
        The script's presets and the settings of this run; together they give the command.
    title, question : str
        Heading, and what is asked by which protocol, in whole sentences.
    columns : sequence of str
        What is measured, one heading per column.
    rows : sequence of (str, sequence of cells)
        A name, and one cell for each column.
    findings : sequence of str
        What the numbers say, in sentences that the script makes from them.
    seeds : int
        Independent runs of every arm.
    seconds : float
        Training time of all runs.
    figure : str
        Name of the figure in the folder.
    published : str
        What others reported under which protocol.
    digits : int
        Digits after the point.
    over : str
        What intervals are taken over.

    Returns
    -------
    dict
        The record. Its commit is that of the first record with the same training time, since the same finished runs
        may be put into a table again later.
    """
    if any(len(cells) != len(columns) for _, cells in rows):
        raise ValueError(f"every row must have {len(columns)} cells, one for each column")
    path = Path(folder) / "result.json"
    preset, command = command_for(script, presets, settings)
    record = {
        "name": Path(script).stem,
        "title": title,
        "question": " ".join(question.split()),
        "columns": [*columns],
        "rows": [[name, [_plain(cell) for cell in cells]] for name, cells in rows],
        "findings": [*findings],
        "published": " ".join(published.split()),
        "figure": figure,
        "digits": digits,
        "over": over,
        "command": command,
        "preset": preset,
        "seeds": seeds,
        "seconds": round(seconds, 1),
        "torch": torch.__version__.partition("+")[0],
        "commit": commit_of(Path(script).parent),
    }
    try:
        before = json.loads(path.read_text())
        if before["seconds"] == record["seconds"]:
            record["commit"] = before["commit"]
    except (OSError, ValueError, KeyError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(json.dumps(record, indent=1).encode()))
    print(to_text(record))
    return record


def command_for(script: str, presets: Mapping[str, Any], settings: Any) -> tuple[str, str]:
    """Return the preset that is nearest to some settings, and the command that gives these settings.

    Where results go is left out.

    Examples
    --------
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     seeds: int = 5
    ...     arms: tuple[str, ...] = ("a", "b")
    >>> command_for("simulations/mine.py", {"smoke": Settings(1), "default": Settings()}, Settings(3))
    ('default', 'python simulations/mine.py --preset default --seeds 3')
    """

    def changed(preset: Any) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(settings) if field.name not in FOLDERS]
        return {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(preset, name)}

    names = sorted(presets, key=lambda name: (len(changed(presets[name])), name != "default"))
    parts = [f"python simulations/{Path(script).name} --preset {names[0]}"]
    for name, value in changed(presets[names[0]]).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parts.append(f"--{flag} {shown}")
    return names[0], " ".join(parts)


def to_text(record: Mapping[str, Any]) -> str:
    """Return a record as a table for the terminal."""
    shown = [["", *record["columns"]]]
    shown += _rows(record)
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in shown]
    seeds = record["seeds"]
    head = f"\n{record['title']}: {seeds} seed{'s' * (seeds != 1)}, 95 % interval over {record['over']}"
    return "\n".join([head, *(line.rstrip() for line in lines), *record["findings"]])


def to_markdown(record: Mapping[str, Any], image: str = "") -> str:
    """Return a record as a section of a Markdown page, with a picture where a path to one is given."""
    seeds, minutes = record["seeds"], record["seconds"] / 60
    long = f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes"
    facts = [f"{seeds} seed{'s' * (seeds != 1)}", f"{long} of training", f"torch {record['torch']}"]
    facts[0] += f", intervals over {record['over']}" if record["over"] != "seeds" else ""
    facts += [f"commit {record['commit']}"] if record["commit"] else []
    lines = [
        f"## {record['title']}",
        "",
        f"`{record['command']}` ({', '.join(facts)})",
        "",
        wrapped(record["question"]),
        "",
    ]
    lines += ["| | " + " | ".join(record["columns"]) + " |", "|---" * (len(record["columns"]) + 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(record)]
    if record["published"]:
        lines += ["", wrapped(f"Published: {record['published']}")]
    for finding in record["findings"]:
        lines += ["", wrapped(finding)]
    return "\n".join(lines + (["", f"![{record['title']}]({image})"] if image else [])) + "\n"


def _rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows as text; differences have a sign."""
    signed = ["difference" in column for column in record["columns"]]
    digits = record["digits"]
    return [
        [name, *(_show(c, digits, s) for c, s in zip(cells, signed, strict=True))] for name, cells in record["rows"]
    ]


def wrapped(text: str) -> str:
    """Return a paragraph in lines of up to 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _plain(cell: Any) -> Cell:
    """Return a cell as json keeps it; what is not a number is nothing."""
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, Sequence):
        mean, low, high = (float(value) for value in cell)
        return [mean, low, high] if math.isfinite(high - low) else _plain(mean)
    return float(cell) if math.isfinite(cell) else None


def _show(cell: Cell, digits: int, signed: bool = False) -> str:
    """Return a cell as text: numbers without the 0 before the point, whole numbers with commas."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, Sequence):
        mean, low, high = (_show(float(value), digits, signed) for value in cell)
        return f"{mean} [{low}, {high}]"
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    text = f"{cell:{'+' if signed else ''}.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
