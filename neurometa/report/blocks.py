"""The parts of a report, before they become a page: text, tables, figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Block", "Cell", "Figure", "Section", "Table", "Text", "show"]

#: A number, a mean with its interval ``[mean, low, high]``, a text, or nothing.
Cell = float | int | str | list[float | None] | None


@dataclass(frozen=True)
class Text:
    """A paragraph; ``kind`` is ``plain``, ``strong`` (the verdict) or ``code``."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes
    ----------
    name : str
        Of its CSV file.
    caption : str
        What it shows.
    columns : list of str
        Headings; the first is that of the names.
    rows : list of (str, list of Cell)
        One cell for each heading after the first.
    signed : tuple of str
        Columns whose numbers have a sign.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    signed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A picture: ``draw()`` gives a matplotlib figure; ``alt`` says in words and numbers what is seen."""

    name: str
    caption: str
    alt: str
    draw: Callable[[], Any]

    def drawn(self) -> Any:
        """Return the figure with labels in proportion to it."""
        figure = self.draw()
        for axis in figure.axes:
            for label in (axis.xaxis.label, axis.yaxis.label, axis.title):
                label.set_size(8)
        return figure


Block = Text | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; ``folded`` ones are closed at first."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    folded: bool = False


def show(cell: Cell, signed: bool = False) -> str:
    """Return a cell as text.

    Examples
    --------
    >>> show(0.1234), show([0.5, 0.4, None]), show(12345), show([0.01, 0.001, 0.02], True), show(None)
    ('.123', '.500', '12,345', '+.0100 [+.0010, +.0200]', '')
    """
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, list):
        mean, low, high = cell
        if low is None or high is None:
            return show(mean, signed)
        digits = _digits(max(abs(v) for v in (mean, low, high) if v is not None))
        return (
            f"{_number(mean or 0.0, digits, signed)} [{_number(low, digits, signed)}, {_number(high, digits, signed)}]"
        )
    if isinstance(cell, int):
        return f"{cell:,}"
    return "" if math.isnan(cell) else _number(cell, _digits(abs(cell)), signed)


def _digits(size: float) -> int:
    """Return the digits after the point that a number of this size is given with."""
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.05 or size == 0 else 4


def _number(value: float, digits: int, signed: bool) -> str:
    if value and abs(value) < 0.5 * 10**-digits and abs(value) < 1e-4:
        return f"{value:{'+' if signed else ''}.1e}"
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    bare = text.lstrip("+-")
    return text.replace("0.", ".", 1) if bare.startswith("0.") else text
