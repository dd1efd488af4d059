"""Figures of runs, drawn without a display. matplotlib is imported when a figure is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SpecificationError

__all__ = [
    "COLOURS",
    "PLAIN",
    "SIGNED",
    "check_ending",
    "empty_figure",
    "log_scale",
    "new_figure",
    "plot_learning_curve",
    "plot_scores",
    "save_figure",
]

#: Okabe & Ito's palette, told apart by colour-blind readers.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "grey": "#7F7F7F",
    "black": "#000000",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
}


#: Maps that colour-blind readers tell apart: of values with a sign, and of others.
SIGNED, PLAIN = "RdBu_r", "cividis"

#: Formats in which a figure can be written, named by the ending of its file.
ENDINGS = (".png", ".svg", ".pdf")


def check_ending(path: str | Path) -> Path:
    """Return the path of a figure, refusing one whose ending is no format.

    Raises
    ------
    SpecificationError
        Naming the endings that are.
    """
    target = Path(path)
    if target.suffix.lower() not in ENDINGS:
        found = f"the ending '{target.suffix}'" if target.suffix else "no ending"
        raise SpecificationError(f"figure {target} has {found}; allowed: {', '.join(ENDINGS)}")
    return target


def empty_figure(width: float = 7.2, height: float = 2.6) -> Any:
    """Return a figure without axes; sizes in inches, 7.2 is two journal columns."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=200)
    FigureCanvasAgg(figure)
    return figure


def new_figure(columns: int, rows: int = 1, width: float = 7.2, height: float = 2.6) -> tuple[Any, np.ndarray]:
    """Return a figure and its axes ``(rows, columns)``; sizes in inches, 7.2 is two journal columns."""
    figure = empty_figure(width, height)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    return figure, axes


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write a figure (format by its ending: PNG, SVG or PDF) and return the path.

    The file is written once the figure is drawn, so that one that cannot be drawn leaves none behind.

    Raises
    ------
    SpecificationError
        If the ending is another one, or the file cannot be written.
    """
    target = check_ending(path)
    for axis in figure.axes:
        for label in (axis.xaxis.label, axis.yaxis.label, axis.title):
            label.set_size(8)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=target.suffix[1:].lower())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(drawn.getvalue())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise SpecificationError(f"figure {target} cannot be written ({place}{error.strerror or error})") from None
    return target


def log_scale(axis: Any, which: str = "x") -> None:
    """Make an axis (``x`` or ``y``) logarithmic, with plain numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set(**{f"{which}scale": "log"})
    ticks = axis.xaxis if which == "x" else axis.yaxis
    ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_formatter(NullFormatter())


def plot_learning_curve(axis: Any, history: Sequence[Mapping[str, float]], score_name: str) -> None:
    """Plot loss and validation score over episodes.

    Parameters
    ----------
    axis : matplotlib Axes
        Where to draw.
    history : sequence of mapping
        Records with ``episodes``, ``loss`` and sometimes ``validation``.
    score_name : str
        Label of the score.
    """
    episodes = [record["episodes"] for record in history]
    axis.plot(episodes, [record["loss"] for record in history], color=COLOURS["grey"], lw=0.8)
    axis.set(xlabel="episodes", ylabel="meta-training loss", title="learning")
    scored = [record for record in history if "validation" in record]
    if scored:
        other = axis.twinx()
        x, y = [r["episodes"] for r in scored], [r["validation"] for r in scored]
        other.plot(x, y, color=COLOURS["blue"], marker="o", ms=2.5, lw=1)
        other.set_ylabel(f"validation {score_name}", color=COLOURS["blue"], size=8)
        other.tick_params(labelsize=7)
        other.spines["top"].set_visible(False)


def plot_scores(axis: Any, rows: Sequence[tuple[str, float, float | None, float | None]], score_name: str) -> None:
    """Plot named scores with their intervals as points on a line each.

    Parameters
    ----------
    axis : matplotlib Axes
        Where to draw.
    rows : sequence of (name, mean, low, high)
        ``low`` and ``high`` None: a known value, drawn as a diamond.
    score_name : str
        Label.
    """
    for y, (_, mean, low, high) in enumerate(rows):
        known = low is None or high is None
        if not known:
            axis.plot([low, high], [y, y], color=COLOURS["blue"], lw=2)
        axis.plot(mean, y, marker="D" if known else "o", ms=4, color=COLOURS["grey" if known else "blue"])
        axis.annotate(f"{mean:.3f}", (mean, y), textcoords="offset points", xytext=(0, 5), ha="center", size=6)
    axis.set_yticks(range(len(rows)), [row[0] for row in rows], size=7)
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.margins(x=0.15)
    axis.set(xlabel=score_name)
