"""Signals around events: the mean over events, with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import SpecificationError

__all__ = ["Aligned", "align", "mean_interval"]


class Aligned(NamedTuple):
    """A signal around events.

    Attributes
    ----------
    lags : (lag,)
        Steps from the event.
    mean, low, high : (lag, ...)
        Mean over events and its 95 % interval.
    n : int
        Events.
    """

    lags: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, lower and upper end of the t interval over the first axis.

    Parameters
    ----------
    values : (n, ...)
        Independent samples; of a single one the ends are not known (nan).
    level : float
        Probability that an interval covers its expectation.

    Examples
    --------
    >>> [float(end.round(3)) for end in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    from scipy import stats

    values = np.asarray(values, dtype=np.float64)
    mean, n = values.mean(0), len(values)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf(0.5 + level / 2, n - 1) * values.std(0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def align(signal: np.ndarray, events: np.ndarray, before: int, after: int) -> Aligned:
    """Average a signal around events; events too near the ends of an episode are left out.

    Parameters
    ----------
    signal : (time, episode, ...)
        Such as a modulator, an eligibility trace, or weights.
    events : (time, episode)
        True where there is one, such as a reward.
    before, after : int
        Steps.

    Raises
    ------
    SpecificationError
        If no event is far enough from the ends.

    Examples
    --------
    >>> signal = np.array([[0.0], [1.0], [2.0], [9.0], [4.0]])
    >>> found = align(signal, signal == 9.0, 1, 1)
    >>> found.lags.tolist(), found.mean.tolist(), found.n
    ([-1, 0, 1], [2.0, 9.0, 4.0], 1)
    """
    signal, events = np.asarray(signal), np.asarray(events, dtype=bool)
    if signal.shape[:2] != events.shape:
        raise SpecificationError(f"signal {signal.shape} and events {events.shape} must agree in (time, episode)")
    inner = events[before : len(events) - after]
    time, episode = np.nonzero(inner)
    if not len(time):
        raise SpecificationError(f"no event is {before} steps after the start and {after} before the end of an episode")
    lags = np.arange(-before, after + 1)
    cut = signal[time[:, None] + before + lags, episode[:, None]]  # (event, lag, ...)
    return Aligned(lags, *mean_interval(cut), len(time))
