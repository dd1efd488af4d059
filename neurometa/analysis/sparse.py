"""Sparse regression over monomials, with stability selection, and what the data cannot tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ..errors import SpecificationError

__all__ = ["Selection", "design", "monomials", "separable", "sparse_least_squares", "stability_selection", "term_text"]

#: Exponent of each variable.
Term = tuple[int, ...]


def monomials(powers: Mapping[str, int], degree: int | None = None) -> list[Term]:
    """Return all products of powers, simplest first.

    Parameters
    ----------
    powers : mapping of str to int
        Variable -> its highest power.
    degree : int, optional
        Highest sum of powers.

    Examples
    --------
    >>> monomials({"pre": 1, "post": 1})
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    >>> len(monomials({"pre": 2, "post": 2, "w": 2}))
    27
    """
    every = product(*(range(power + 1) for power in powers.values()))
    return sorted((t for t in every if degree is None or sum(t) <= degree), key=lambda t: (sum(t), t))


def term_text(term: Term, names: Sequence[str]) -> str:
    """Write a term as it stands in an equation; the empty product is ``1``.

    Examples
    --------
    >>> term_text((1, 0, 2), ("pre", "post", "w"))
    'pre*w**2'
    """
    parts = [name if power == 1 else f"{name}**{power}" for name, power in zip(names, term, strict=True) if power]
    return "*".join(parts) or "1"


def design(values: Mapping[str, np.ndarray], terms: Sequence[Term]) -> np.ndarray:
    """Return the value of every term in every sample, ``(samples, terms)``."""
    columns = [np.asarray(v, dtype=np.float64) for v in values.values()]
    ones = np.ones_like(columns[0])
    return np.stack([np.prod([c**p for c, p in zip(columns, t, strict=True) if p] or [ones], 0) for t in terms], -1)


def separable(x: np.ndarray, tolerance: float = 1e-3) -> tuple[list[int], dict[int, list[int]]]:
    """Go through columns in order, and keep those that the kept ones do not already give.

    Parameters
    ----------
    x : (samples, terms)
        Columns, simplest first.
    tolerance : float
        A column is given by others if less than this share of its length is left after the best fit by them.

    Returns
    -------
    kept : list of int
        Columns that the data can tell apart.
    told : dict of int to list of int
        Every other column -> the kept ones that give it; of a column that is always 0, none.

    Examples
    --------
    >>> pre = np.array([1.0, -1.0, 1.0, -1.0])  # pre**2 is always 1
    >>> separable(np.stack([np.ones(4), pre, pre**2], -1))
    ([0, 1], {2: [0]})
    """
    length = np.linalg.norm(x, axis=0)
    unit = x / np.where(length == 0, 1.0, length)
    kept: list[int] = []
    told: dict[int, list[int]] = {}
    basis = np.empty((len(x), 0))
    for k in range(x.shape[1]):
        if length[k] == 0:
            told[k] = []
            continue
        rest = unit[:, k]
        for _ in range(2):  # twice, for rounding
            rest = rest - basis @ (basis.T @ rest)
        left = np.linalg.norm(rest)
        if left < tolerance:
            share = np.linalg.lstsq(unit[:, kept], unit[:, k], rcond=None)[0]
            told[k] = [j for j, s in zip(kept, share, strict=True) if abs(s) > 10 * tolerance]
        else:
            kept.append(k)
            basis = np.concatenate([basis, (rest / left)[:, None]], 1)
    return kept, told


def sparse_least_squares(x: np.ndarray, y: np.ndarray, threshold: float = 0.05, iterations: int = 20) -> np.ndarray:
    """Sequentially thresholded least squares: fit, drop what contributes little, fit the rest again.

    Parameters
    ----------
    x : (samples, terms)
        Columns.
    y : (samples,)
        What is explained.
    threshold : float
        A term is dropped if the root mean square of its contribution is below this share of that of ``y``.

    Returns
    -------
    (terms,)
        Coefficients, 0 for those that were dropped.

    Notes
    -----
    Brunton, Proctor & Kutz 2016, doi:10.1073/pnas.1517384113, with a threshold on contributions in place of one on
    coefficients, so that units do not matter.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> sparse_least_squares(x, 2 * x[:, 1] - x[:, 3]).round(6).tolist()
    [0.0, 2.0, 0.0, -1.0, 0.0]
    """
    size = np.sqrt((x**2).mean(0))
    limit = threshold * np.sqrt((y**2).mean())
    coefficients = np.zeros(x.shape[1])
    active = size > 0
    for _ in range(iterations):
        coefficients[:] = 0.0
        if not active.any():
            break
        coefficients[active] = np.linalg.lstsq(x[:, active] / size[active], y, rcond=None)[0] / size[active]
        large = np.abs(coefficients) * size >= limit
        if (large == active).all():
            break
        weakest = active & ~large
        # the weaker half first: a term that is small only because others take its part must have its chance
        order = np.argsort(np.where(weakest, np.abs(coefficients) * size, np.inf))
        active = active.copy()
        active[order[: max(1, int(weakest.sum()) // 2)]] = False
    return coefficients


@dataclass(frozen=True, eq=False)
class Selection:
    """What stability selection found.

    Attributes
    ----------
    probability : (terms,)
        Share of the subsamples in which a term was chosen.
    chosen : tuple of int
        Terms whose probability reaches the limit.
    coefficients : (terms,)
        Least squares on all samples with the chosen terms; 0 elsewhere.
    low, high : (terms,)
        Ends of the 95 % interval, from refits on the subsamples.
    """

    probability: np.ndarray
    chosen: tuple[int, ...]
    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray


def stability_selection(
    x: np.ndarray,
    y: np.ndarray,
    blocks: np.ndarray,
    *,
    threshold: float = 0.05,
    limit: float = 0.8,
    subsamples: int = 100,
    seed: int = 0,
) -> Selection:
    """Select terms that are found again and again in halves of the data.

    Parameters
    ----------
    x, y : (samples, terms), (samples,)
        Columns, and what they explain.
    blocks : (samples,)
        Samples of one block, such as an episode, go together, because they are not independent.
    threshold : float
        See `sparse_least_squares`.
    limit : float
        Least probability of a term that is chosen.
    subsamples : int
        Halves that are drawn.
    seed : int
        Of the draws.

    Notes
    -----
    Meinshausen & Buehlmann 2010, doi:10.1111/j.1467-9868.2010.00740.x. The spread of refits on halves is that of the
    estimate on all samples (subsampling at one half, Politis, Romano & Wolf 1999).
    """
    names, place = np.unique(blocks, return_inverse=True)
    if len(names) < 4:
        raise SpecificationError(f"stability selection needs 4 independent blocks at least, found {len(names)}")
    rng = np.random.default_rng(seed)
    hits = np.zeros(x.shape[1])
    halves = []
    for _ in range(subsamples):
        mine = np.isin(place, rng.permutation(len(names))[: len(names) // 2])
        halves.append(mine)
        hits += sparse_least_squares(x[mine], y[mine], threshold) != 0
    probability = hits / subsamples
    chosen = np.flatnonzero(probability >= limit)
    coefficients, low, high = (np.zeros(x.shape[1]) for _ in range(3))
    if len(chosen):
        coefficients[chosen] = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
        refits = np.stack([np.linalg.lstsq(x[mine][:, chosen], y[mine], rcond=None)[0] for mine in halves])
        low[chosen], high[chosen] = np.quantile(refits, (0.025, 0.975), axis=0)
    return Selection(probability, tuple(int(k) for k in chosen), coefficients, low, high)
