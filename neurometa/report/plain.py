"""The same content as Markdown with pictures beside it, and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from .blocks import Block, Cell, Figure, Section, Table, Text, show

__all__ = ["curves_csv", "markdown", "table_csv"]


def markdown(title: str, lead: Sequence[Block], sections: Sequence[Section]) -> str:
    """Return the report as Markdown; figures lie in ``figures/``."""
    lines = [f"# {_plain(title)}", "", *_blocks(lead)]
    for section in sections:
        lines += [f"## {_plain(section.title)}", "", *_blocks(section.blocks)]
    return "\n".join(lines).rstrip() + "\n"


def _blocks(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Figure):
            lines += [f"![{_plain(block.alt)}](figures/{block.name}.png)", "", f"*{_plain(block.caption)}*", ""]
        elif isinstance(block, Table):
            lines += [_plain(block.caption), "", "| " + " | ".join(map(_plain, block.columns)) + " |"]
            lines.append("|---" * len(block.columns) + "|")
            for name, cells in block.rows:
                shown = [show(c, col in block.signed) for col, c in zip(block.columns[1:], cells, strict=True)]
                lines.append(f"| {' | '.join(map(_plain, [name, *shown]))} |")
            lines.append("")
        elif isinstance(block, Text) and block.kind == "code":
            lines += [*(f"    {line}" for line in block.text.splitlines()), ""]
        else:
            text = _plain(block.text)
            lines += [f"**{text}**" if block.kind == "strong" else text, ""]
    return lines


def _plain(text: str) -> str:
    """Return text in which nothing is markup."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def table_csv(table: Table) -> str:
    """Return a table as CSV with full precision; a mean with its interval takes three columns."""
    wide = [any(isinstance(cells[i], list) for _, cells in table.rows) for i in range(len(table.columns) - 1)]
    head = [table.columns[0]]
    for name, three in zip(table.columns[1:], wide, strict=True):
        head += [name, f"{name}, low", f"{name}, high"] if three else [name]
    rows = [head]
    for name, cells in table.rows:
        row = [name]
        for cell, three in zip(cells, wide, strict=True):
            row += _three(cell) if three else [_text(cell)]
        rows.append(row)
    return _csv(rows)


def curves_csv(curves: dict[str, Any]) -> str:
    """Return every curve as CSV: axis, learner, x, mean, low, high."""
    rows = [["axis", "learner", "x", "mean", "low", "high"]]
    for axis, found in curves.items():
        for name, c in found.items():
            points = zip(c["x"], c["mean"], c["low"], c["high"], strict=True)
            rows += [[axis, name, *map(_text, point)] for point in points]
    return _csv(rows)


def _three(cell: Cell) -> list[str]:
    return [_text(value) for value in (cell if isinstance(cell, list) else [cell, None, None])]


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
