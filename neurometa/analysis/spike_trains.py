"""Statistics of spike trains: rate, irregularity, variability over episodes, correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["correlation", "cv", "fano", "lv", "rate"]


def rate(times: np.ndarray, duration: float) -> float:
    """Return the mean rate in Hz of one spike train; times and duration in ms.

    Examples
    --------
    >>> rate(np.array([10.0, 20.0, 30.0]), 100.0)
    30.0
    """
    return 1000.0 * len(times) / duration


def cv(times: np.ndarray) -> float:
    """Return the coefficient of variation of the intervals: 1 for a Poisson process, 0 for a clock.

    nan with fewer than two intervals.

    Examples
    --------
    >>> cv(np.array([0.0, 1.0, 4.0]))
    0.5
    """
    gaps = np.diff(times)
    return float(gaps.std() / gaps.mean()) if len(gaps) > 1 else float("nan")


def lv(times: np.ndarray) -> float:
    """Return the local variation of the intervals: as `cv`, but unmoved by slow changes of the rate.

    Mean of ``3*(a - b)**2/(a + b)**2`` over neighbouring intervals (Shinomoto et al. 2003,
    doi:10.1162/089976603322518759).

    Examples
    --------
    >>> lv(np.array([0.0, 1.0, 4.0]))
    0.75
    """
    gaps = np.diff(times)
    a, b = gaps[:-1], gaps[1:]
    return float((3 * (a - b) ** 2 / (a + b) ** 2).mean()) if len(gaps) > 1 else float("nan")


def fano(counts: np.ndarray) -> float:
    """Return the variance of spike counts over episodes by their mean; 1 for a Poisson process.

    Examples
    --------
    >>> fano(np.array([1, 3]))
    1.0
    """
    counts = np.asarray(counts, dtype=np.float64)
    return float(counts.var(ddof=1) / counts.mean()) if len(counts) > 1 and counts.mean() else float("nan")


def correlation(trains: Sequence[np.ndarray], duration: float, bin_width: float) -> np.ndarray:
    """Return the correlations of spike counts in bins, ``(neuron, neuron)``; nan for a silent neuron.

    Parameters
    ----------
    trains : sequence of ndarray
        Spike times of each neuron, ms.
    duration, bin_width : float
        ms.

    Examples
    --------
    >>> a, b = np.array([1.0, 12.0]), np.array([2.0, 13.0, 14.0])
    >>> float(correlation([a, b], 40.0, 10.0)[0, 1].round(3))
    0.905
    """
    edges = np.arange(0.0, duration + bin_width / 2, bin_width)
    counts = np.stack([np.histogram(train, edges)[0] for train in trains]).astype(np.float64)
    counts -= counts.mean(1, keepdims=True)
    size = np.linalg.norm(counts, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts @ counts.T / np.outer(size, size)
