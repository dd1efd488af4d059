"""A figure and the numbers in it: what is drawn is what the table says."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SpecificationError
from ..files import write_atomically
from .figures import COLOURS, PLAIN, SIGNED, new_figure, save_figure

__all__ = ["Panel", "Sheet"]


class Panel:
    """One set of axes; every curve, point and pixel that is drawn becomes a row of the table.

    Parameters
    ----------
    axis : matplotlib Axes
        Where to draw.
    name : str
        Of the panel, in the table.
    """

    def __init__(self, axis: Any, name: str):
        self.axis, self.name = axis, name
        self.rows: list[tuple[str, str, float, float, float | str, float | str]] = []

    def note(self, series: str, x: Any, y: Any, low: Any = None, high: Any = None) -> None:
        """Add rows to the table, for what is drawn by other means."""
        for k, (a, b) in enumerate(zip(np.ravel(x), np.ravel(y), strict=True)):
            ends = ("", "") if low is None else (float(np.ravel(low)[k]), float(np.ravel(high)[k]))
            self.rows.append((self.name, series, float(a), float(b), *ends))

    def line(
        self, series: str, x: Any, y: Any, colour: str = "blue", low: Any = None, high: Any = None, **style: Any
    ) -> None:
        """Draw a curve ``(n,)``, with a band where its ends are given."""
        self.axis.plot(x, y, color=COLOURS[colour], label=series, **{"lw": 1, **style})
        if low is not None:
            self.axis.fill_between(x, low, high, color=COLOURS[colour], alpha=0.25, lw=0)
        self.note(series, x, y, low, high)

    def points(self, series: str, x: Any, y: Any, colour: str = "blue", **style: Any) -> None:
        """Draw points ``(n,)``."""
        self.axis.plot(x, y, **{"ls": "", "marker": ".", "ms": 3, **style}, color=COLOURS[colour], label=series)
        self.note(series, x, y)

    def bars(self, series: str, edges: Any, heights: Any, colour: str = "blue") -> None:
        """Draw a histogram: edges ``(n + 1,)``, heights ``(n,)``."""
        self.axis.stairs(heights, edges, color=COLOURS[colour], label=series, lw=1)
        self.note(series, (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2, heights)

    def guide(self, x: float | None = None, y: float | None = None, **style: Any) -> None:
        """Draw a thin grey line at a value, which is no data: nothing is added to the table."""
        options = {"color": COLOURS["grey"], "lw": 0.6, **style}
        if x is not None:
            self.axis.axvline(x, **options)
        if y is not None:
            self.axis.axhline(y, **options)

    def image(self, series: str, z: Any, x: Any, label: str, signed: bool = True) -> None:
        """Draw rows over ``x``: z ``(rows, n)``; colours are centred at 0 where values have a sign."""
        z, x = np.asarray(z, dtype=np.float64), np.asarray(x, dtype=np.float64)
        largest = float(np.abs(z[np.isfinite(z)]).max(initial=0.0)) or 1.0
        limits = {"vmin": -largest, "vmax": largest} if signed else {}
        step = (x[-1] - x[0]) / max(len(x) - 1, 1) or 1.0
        drawn = self.axis.imshow(
            z,
            aspect="auto",
            interpolation="nearest",
            cmap=SIGNED if signed else PLAIN,
            extent=(x[0] - step / 2, x[-1] + step / 2, len(z) - 0.5, -0.5),
            **limits,
        )
        bar = self.axis.figure.colorbar(drawn, ax=self.axis)
        bar.set_label(label, size=7)
        bar.ax.tick_params(labelsize=6)
        for k, row in enumerate(z):
            self.note(f"{series} {k}", x, row)

    def finish(self, title: str, x: str, y: str, legend: bool = True) -> None:
        """Set title and labels (with units), and a legend if there is more than one series."""
        self.axis.set(title=title, xlabel=x, ylabel=y)
        if legend and len({row[1] for row in self.rows}) > 1 and self.axis.get_legend_handles_labels()[1]:
            self.axis.legend(fontsize=6, frameon=False)


class Sheet:
    """A figure of several panels.

    Parameters
    ----------
    columns, rows : int
        Panels beside and below each other.
    names : sequence of str
        One for each panel.
    height : float
        Inches of one row; the width is that of two journal columns.
    """

    def __init__(self, names: list[str], columns: int, rows: int = 1, height: float = 2.6):
        self.figure, axes = new_figure(columns, rows, height=height * rows)
        self.panels = [Panel(axis, name) for axis, name in zip(axes.flat, names, strict=False)]
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)

    def save(self, folder: Path, name: str) -> Path:
        """Write ``<name>.png``, ``.svg`` and ``.csv`` (panel, series, x, y, low, high); return the first."""
        path = save_figure(self.figure, folder / f"{name}.png")
        save_figure(self.figure, folder / f"{name}.svg")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("panel", "series", "x", "y", "low", "high"))
        writer.writerows(row for panel in self.panels for row in panel.rows)
        write_atomically(folder / f"{name}.csv", lambda file: file.write(text.getvalue().encode()), SpecificationError)
        return path
