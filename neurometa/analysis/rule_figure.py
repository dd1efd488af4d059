"""The figure of a rule's card: its change over activity, its weights over time, their size at three scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures import COLOURS, SIGNED, empty_figure, save_figure
from .rule_card import LIMIT, Course, Surface

__all__ = ["plot_lengths", "plot_surface", "plot_weights", "rule_figure", "stability"]

#: Steps of the course that the weights are shown for.
SHOWN = 400
_LINES = tuple(COLOURS[name] for name in ("blue", "orange", "green", "red"))


def stability(course: Course) -> str:
    """Say in one line what |w| does: at the middle scale, and where it differs, at the others.

    Examples
    --------
    >>> w = np.stack([np.ones((8, 1, 1)), np.arange(8.0).reshape(8, 1, 1)], 1)
    >>> stability(Course(np.array([0.5, 1.0]), w, None))
    '|w| drifts; settles at input × 0.5'
    """  # noqa: RUF002
    said = dict(zip(course.scales.tolist(), course.verdicts, strict=True))
    main = course.verdicts[len(course.scales) // 2]
    others: dict[str, list[str]] = {}
    for scale, verdict in said.items():
        if verdict != main:
            others.setdefault(verdict, []).append(f"{scale:g}")
    return "; ".join([f"|w| {main}", *(f"{v} at input × {', '.join(where)}" for v, where in others.items())])  # noqa: RUF001


def plot_surface(axes: Any, surface: Surface) -> Any:
    """Draw dw over (pre, post) as heat maps with one colour scale, centred at 0.

    Parameters
    ----------
    axes : array of matplotlib Axes
        ``(levels, weights)``.
    surface : Surface
        From `dw_surface`. Cells that are no number are grey.

    Returns
    -------
    matplotlib image
        For the colour bar.
    """
    import matplotlib

    finite = surface.dw[np.isfinite(surface.dw)]
    largest = float(np.abs(finite).max(initial=0.0)) or 1.0
    colours = matplotlib.colormaps[SIGNED].with_extremes(bad=COLOURS["grey"])
    image = None
    for i, j in np.ndindex(axes.shape):
        axis = axes[i, j]
        image = axis.imshow(
            np.ma.masked_invalid(surface.dw[i, j]),
            origin="lower",
            extent=(surface.pre[0], surface.pre[-1], surface.post[0], surface.post[-1]),
            aspect="auto",
            cmap=colours,
            vmin=-largest,
            vmax=largest,
        )
        level = f", {surface.factor} = {surface.levels[i]:g}" if surface.factor else ""
        axis.set(title=f"w = {surface.w[j]:.3g}{level}", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        if i == len(axes) - 1:
            axis.set_xlabel("pre")
        if j == 0:
            axis.set_ylabel("post")
        axis.label_outer()
    return image


def plot_weights(axis: Any, course: Course) -> None:
    """Draw every weight over the first steps, at the middle scale; a colour per postsynaptic neuron."""
    w = course.w[: SHOWN + 1, len(course.scales) // 2]  # (time, post, pre)
    w = np.where(np.abs(w) <= LIMIT, w, np.nan)
    for i in range(w.shape[1]):
        axis.plot(w[:, i], color=_LINES[i % len(_LINES)], lw=0.7)
    largest = np.nanmax(np.abs(w))
    if largest > 100:
        axis.set_yscale("symlog", linthresh=1.0)
        powers = 10.0 ** np.arange(0, np.log10(largest) + 1, 2)
        axis.set_yticks([*-powers[::-1], 0.0, *powers])
    title = f"{w[0].size} synapses"
    if course.bounds is not None:
        title += f", bounds {course.bounds[0]:g} and {course.bounds[1]:g}"
        for bound in course.bounds:
            if abs(bound) <= 2 * largest:  # far bounds would flatten what there is to see
                axis.axhline(bound, color=COLOURS["black"], lw=0.8, ls="--")
    axis.set(xlabel="step", ylabel="w", title=title)


def plot_lengths(axis: Any, course: Course) -> None:
    """Draw the length of the weight vectors over time for every scale; a cross where it leaves 1e6."""
    diverges = any(verdict == "diverges" for verdict in course.verdicts)
    for scale, length, said, colour in zip(course.scales, course.length.T, course.verdicts, _LINES, strict=False):
        gone = np.flatnonzero(~(length <= LIMIT))
        end = int(gone[0]) if len(gone) else len(length)
        axis.plot(length[:end], color=colour, lw=1.0, label=f"input × {scale:g}: {said}")  # noqa: RUF001
        if len(gone):
            axis.plot(end, LIMIT, marker="x", color=colour, ms=5, clip_on=False)
    if diverges:
        axis.set_yscale("log")
        axis.axhline(LIMIT, color=COLOURS["grey"], lw=0.6, ls=":")
    else:
        axis.set_ylim(0, None)
    axis.legend(fontsize=6, frameon=False)
    axis.set(xlabel="step", ylabel="|w|", title=stability(course))


def rule_figure(title: str, surface: Surface, course: Course, path: str | Path) -> Path:
    """Draw a rule's card and write it.

    Parameters
    ----------
    title : str
        Above the figure, such as the rule's name and class.
    surface : Surface
        From `dw_surface`.
    course : Course
        From `weight_course`.
    path : path
        Where to write: PNG, SVG or PDF by its ending.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    SpecificationError
        If the ending is another one.
    """
    rows = len(surface.levels)
    above, below = 0.6 + 1.25 * rows, 2.1  # inches
    figure = empty_figure(7.2, above + below)
    upper, lower = figure.subfigures(2, 1, height_ratios=(above, below))
    maps = upper.subplots(rows, len(surface.w), squeeze=False)
    image = plot_surface(maps, surface)
    said = [f"{name} = {value:g}" for name, value in surface.held.items()]
    said += [] if np.any(surface.dw) else ["dw = 0 at its initial parameters"]
    upper.suptitle("\n".join([title, ", ".join(said)] if said else [title]), size=9)
    upper.colorbar(image, ax=list(maps.flat), label="dw", aspect=10 * rows + 5).ax.tick_params(labelsize=7)
    left, right = lower.subplots(1, 2)
    plot_weights(left, course)
    plot_lengths(right, course)
    _small(figure.axes)
    return save_figure(figure, path)


def _small(axes: Sequence[Any]) -> None:
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
