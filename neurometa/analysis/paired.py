"""Paired differences with seeds as the unit: t interval, effect size, Holm's correction, non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import SpecificationError
from .aligned import mean_interval

__all__ = ["Paired", "holm", "not_inferior", "paired", "probability"]


class Paired(NamedTuple):
    """A difference between two learners on the same tasks.

    Attributes
    ----------
    mean, low, high : float
        Mean over seeds and its t interval with ``n - 1`` degrees of freedom.
    effect : float
        Mean in units of the standard deviation over seeds, corrected for few seeds (Hedges' g of the differences;
        Hedges 1981, doi:10.3102/10769986006002107).
    p : float
        Two-sided t test of no difference.
    n : int
        Seeds.
    """

    mean: float
    low: float
    high: float
    effect: float
    p: float
    n: int


def paired(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, level: float = 0.95) -> Paired:
    """Compare two learners seed by seed.

    Each seed has its own training and its own test tasks, which both learners share. Task difficulty falls out of the
    difference, and what is left between seeds is what a new seed would bring.

    Parameters
    ----------
    first, second : (seeds,)
        Mean test score of every seed.
    level : float
        Probability that the interval covers the expectation.

    Returns
    -------
    Paired
        Of ``first - second``. Of a single seed everything but the mean is unknown (nan).

    Raises
    ------
    SpecificationError
        If the two do not have the same seeds.

    Examples
    --------
    >>> found = paired([0.7, 0.8, 0.9], [0.6, 0.6, 0.6])
    >>> round(found.mean, 3), round(found.low, 3), round(found.p, 3)
    (0.2, -0.048, 0.074)
    """
    from scipy import stats

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise SpecificationError(
            f"paired compares {a.shape} scores with {b.shape}; give one score for each seed, of the same seeds"
        )
    difference, n = a - b, len(a)
    mean, low, high = (float(value) for value in mean_interval(difference, level))
    if n < 2:
        return Paired(mean, math.nan, math.nan, math.nan, math.nan, n)
    sd = float(difference.std(ddof=1))
    if sd == 0:
        return Paired(mean, low, high, 0.0 if mean == 0 else math.copysign(math.inf, mean), float(mean == 0), n)
    correction = 1 - 3 / (4 * (n - 1) - 1)
    p = float(2 * stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return Paired(mean, low, high, correction * mean / sd, p, n)


def probability(values: Sequence[float] | np.ndarray, expected: float, side: str = "two-sided") -> float:
    """Return the p value of a t test that values (of seeds) have an expectation; nan for a single one.

    Parameters
    ----------
    values : (seeds,)
        Independent values.
    expected : float
        Their expectation under the hypothesis.
    side : {"two-sided", "greater", "less"}
        What they would be otherwise.
    """
    from scipy import stats

    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return math.nan
    if values.std() == 0:
        off = float(values[0]) - expected
        wrong = {"two-sided": off != 0, "greater": off > 0, "less": off < 0}[side]
        return 0.0 if wrong else 1.0
    return float(stats.ttest_1samp(values, expected, alternative=side).pvalue)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p values corrected for their number, stepping down (Holm 1979, https://www.jstor.org/stable/4615733).

    Values that are not known (nan) stay so and do not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return found


def not_inferior(difference: Paired, margin: float, higher_is_better: bool = True) -> bool | None:
    """Tell whether ``first`` is shown to be worse than ``second`` by less than a margin; None where it is not known.

    The margin is declared before the data are seen. The end of the two-sided interval decides, so a one-sided test at
    half its level.

    Parameters
    ----------
    difference : Paired
        Of ``first - second``.
    margin : float
        In units of the score, above 0.
    higher_is_better : bool
        Direction of the score.
    """
    end = difference.low if higher_is_better else -difference.high
    return None if math.isnan(end) else end > -margin
