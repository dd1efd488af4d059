"""How alike two representations of the same stimuli are, whatever the coordinates of their neurons."""

from __future__ import annotations

import numpy as np

from ..errors import SpecificationError

__all__ = ["cka", "procrustes", "rsa"]


def _centred(*arrays: np.ndarray) -> list[np.ndarray]:
    made = [np.asarray(array, dtype=np.float64) for array in arrays]
    shapes = [array.shape for array in made]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise SpecificationError(
            f"representations have shapes {shapes}; they must be (stimuli, neurons), stimuli alike"
        )
    return [array - array.mean(0) for array in made]


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear centred kernel alignment, from 0 to 1.

    1 means that one is the other but for a rotation and one scale.

    Parameters
    ----------
    x, y : (stimuli, neurons)
        Activity; the numbers of neurons may differ.

    Notes
    -----
    Kornblith et al. 2019, arXiv:1905.00414.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    >>> round(cka(x, 3 * x @ turn), 12)
    1.0
    """
    x, y = _centred(x, y)
    shared = np.linalg.norm(x.T @ y) ** 2
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(shared / own) if own else float("nan")


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Return the Procrustes distance of two representations, an angle from 0 to pi/2.

    What is left after the best rotation and one scale; a metric (Williams et al. 2021, arXiv:2110.14739).

    Parameters
    ----------
    x, y : (stimuli, neurons)
        Activity; the smaller one is padded with silent neurons.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> procrustes(x, 2 * x[:, ::-1]) < 1e-6
    True
    """
    x, y = _centred(x, y)
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    alike = np.linalg.svd(x.T @ y, compute_uv=False).sum()  # the nuclear norm: best rotation, silent neurons or not
    return float(np.arccos(np.clip(alike / scale, -1, 1))) if scale else float("nan")


def rsa(x: np.ndarray, y: np.ndarray) -> float:
    """Return the representational similarity: Spearman's correlation of the distances between stimuli.

    Parameters
    ----------
    x, y : (stimuli, neurons)
        Activity.

    Notes
    -----
    Kriegeskorte et al. 2008, doi:10.3389/neuro.06.004.2008; distances are 1 - Pearson's correlation.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(10, 5))
    >>> rsa(x, 2 * x)
    1.0
    """
    from scipy import stats
    from scipy.spatial.distance import pdist

    _centred(x, y)
    return float(round(stats.spearmanr(pdist(x, "correlation"), pdist(y, "correlation")).statistic, 12))
