"""Results: a table for people, or one JSON object."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from ..meta.evaluate import Table

__all__ = ["print_json", "print_rows", "print_table"]


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(content))


def print_rows(title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print plain rows under headings."""
    table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, style="bold cyan" if i == 0 else None, no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)


def print_table(title: str, table: Table) -> None:
    """Print scores with their intervals, floor and ceiling."""
    better = "higher" if table.higher_is_better else "lower"
    rows = []
    for row in table.rows:
        spread = "" if row.low is None else f"[{row.low:.4f}, {row.high:.4f}]"
        rows.append((row.name, f"{row.mean:.4f}", spread, f"{row.n} {row.over}" if row.n else ""))
    escaped = [tuple(cell.replace("[", r"\[") for cell in row) for row in rows]
    print_rows(title, ("", f"{table.score_name} ({better} is better)", "95 % interval", "over"), escaped)
