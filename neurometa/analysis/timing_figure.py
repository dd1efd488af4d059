"""The figure of a spiking rule's card: the window of one pair, the frequency curve, and the delay of a third factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .figures import COLOURS, new_figure, save_figure
from .timing import LAGS, PAIRINGS, Timing

__all__ = ["timing_figure", "window_in_words"]

_LINES = tuple(COLOURS[name] for name in ("blue", "orange", "green"))


def window_in_words(timing: Timing) -> str:
    """Say in one line what a pair does.

    Examples
    --------
    >>> lags, none = np.array([-12, -8, 8, 12]), np.empty(0)
    >>> window = np.tile([-0.2, -0.4, 0.6, 0.2], (3, 1))
    >>> window_in_words(Timing(lags, np.array([0.2, 0.5, 0.8]), window, none, none, none, none, ""))
    'dw +0.6 at +8 ms, -0.4 at -8 ms (w = 0.5)'
    """
    said = []
    for sign in (1, -1):
        i = int(np.argmin(np.abs(timing.lags - 8 * sign)))
        said.append(f"{timing.window[1, i]:+.3g} at {timing.lags[i]:+g} ms")
    return f"dw {', '.join(said)} (w = {timing.w[1]:.3g})"


def timing_figure(title: str, timing: Timing, path: str | Path) -> Path:
    """Draw a spiking rule's card and write it.

    Parameters
    ----------
    title : str
        Above the figure, such as the rule's name and class.
    timing : Timing
        From `spike_timing`.
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
    figure, axes = new_figure(3 if timing.factor else 2)
    window, curve = axes[0, :2]
    for w, change, colour in zip(timing.w, timing.window, _LINES, strict=True):
        window.plot(timing.lags, change, color=colour, lw=1.0, label=f"w = {w:.3g}")
    window.set(xlabel="post after pre (ms)", ylabel="dw by one pair", title="window")
    for lag, change, colour in zip(LAGS, timing.curve, _LINES, strict=False):
        curve.plot(timing.rates, change, color=colour, lw=1.0, marker="o", ms=3, label=f"{lag:+d} ms")
    curve.set(xlabel="pairings per second (Hz)", ylabel=f"dw by {PAIRINGS} pairings", title="frequency")
    held = ""
    if timing.factor:
        delay = axes[0, 2]
        delay.plot(timing.delays, timing.late, color=_LINES[0], lw=1.0, marker="o", ms=3)
        delay.set(xlabel=f"{timing.factor} after a pair at +10 ms (ms)", ylabel="dw", title="delay")
        held = f"; {timing.factor} = 1, on the right for 10 ms only"
    for axis in axes.flat:
        axis.axhline(0, color=COLOURS["grey"], lw=0.5)
        axis.xaxis.label.set_size(8)
        axis.title.set_size(9)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=6, frameon=False)
    figure.suptitle(title + held, size=9)
    return save_figure(figure, path)
