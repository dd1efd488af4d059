"""Results: a table for people, or one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..meta.evaluate import Table

__all__ = ["print_json", "print_rows", "print_table"]


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object on standard output; numbers that JSON does not have become null."""
    print(json.dumps(_plain(content), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_rows(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print plain rows under headings."""
    table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, style="bold cyan" if i == 0 else None, no_wrap=i == 0)
    for row in rows:
        table.add_row(*map(Text, row))  # a bracket is a bracket, not markup
    Console().print(table, highlight=False)


def print_table(title: str, table: Table) -> None:
    """Print scores with their intervals, floor and ceiling."""
    better = "higher" if table.higher_is_better else "lower"
    rows = [
        (row.name, f"{row.mean:.4f}", row.spread.strip(), f"{row.n} {row.over}" if row.n else "") for row in table.rows
    ]
    print_rows(title, ("", f"{table.score_name} ({better} is better)", "95 % interval", "over"), rows)
