"""How weights change within an episode: drift, effective rank, and synapses in the order of their change."""

from __future__ import annotations

import numpy as np

__all__ = ["drift", "effective_rank", "sorted_by_change"]


def drift(w: np.ndarray) -> np.ndarray:
    """Return how far weights have moved, relative to their length at the start.

    Parameters
    ----------
    w : (time, ..., post, pre)
        Weights.

    Returns
    -------
    (time, ...)
        Frobenius norm of the change since the first time, over that of the first weights; where these are 0, the norm
        of the change itself.

    Examples
    --------
    >>> drift(np.array([[[3.0, 4.0]], [[3.0, 9.0]]]))
    array([0., 1.])
    """
    w = np.asarray(w, dtype=np.float64)
    moved = np.linalg.norm(w - w[:1], axis=(-2, -1))
    length = np.linalg.norm(w[:1], axis=(-2, -1))
    return moved / np.where(length == 0, 1.0, length)


def effective_rank(w: np.ndarray) -> np.ndarray:
    """Return the effective rank: the exponential of the entropy of the singular values.

    Parameters
    ----------
    w : (..., post, pre)
        Weights.

    Returns
    -------
    (...)
        From 1 (one direction) to min(post, pre) (all alike); 0 for weights that are all 0.

    Notes
    -----
    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality" (EUSIPCO).

    Examples
    --------
    >>> effective_rank(np.stack([np.eye(3), np.ones((3, 3))])).round(6)
    array([3., 1.])
    """
    values = np.linalg.svd(np.asarray(w, dtype=np.float64), compute_uv=False)
    total = values.sum(-1, keepdims=True)
    share = values / np.where(total == 0, 1.0, total)
    logs = np.log(np.where(share > 0, share, 1.0))
    return np.where(total[..., 0] == 0, 0.0, np.exp(-(share * logs).sum(-1)))


def sorted_by_change(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return synapses over time, those that grew most first.

    Parameters
    ----------
    w : (time, post, pre)
        Weights of one episode.

    Returns
    -------
    order : (synapses,)
        Places in the flattened weights.
    rows : (synapses, time)
        Change of each since the first time.

    Examples
    --------
    >>> order, rows = sorted_by_change(np.array([[[0.0, 0.0]], [[-1.0, 2.0]]]))
    >>> order.tolist(), rows.tolist()
    ([1, 0], [[0.0, 2.0], [0.0, -1.0]])
    """
    flat = np.asarray(w).reshape(len(w), -1)
    change = flat - flat[0]
    order = np.argsort(-change[-1], kind="stable")
    return order, change[:, order].T
