"""Flat parameter trees: ``dict[str, Tensor]`` with dotted names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .errors import SpecificationError

__all__ = ["Tree", "spread", "stack", "to_batch"]

Tree = dict[str, Tensor]


def stack(trees: Sequence[Mapping[str, Tensor]]) -> Tree:
    """Stack trees along a new batch axis in front: many rules, or many seeds, for one call.

    Parameters
    ----------
    trees : sequence of mapping
        Trees with the same names and shapes.

    Returns
    -------
    dict of str to Tensor
        Leaves ``(len(trees), ...)``.

    Examples
    --------
    >>> stack([{"eta": torch.tensor([[0.1]])}, {"eta": torch.tensor([[0.2]])}])["eta"].shape
    torch.Size([2, 1, 1])
    """
    if not trees or any(set(tree) != set(trees[0]) for tree in trees):
        raise SpecificationError("stack needs at least one tree, and the same names in all of them")
    return {name: torch.stack([tree[name] for tree in trees]) for name in trees[0]}


def spread(tree: Mapping[str, Tensor], n: int) -> Tree:
    """Repeat every entry of the batch axis ``n`` times, in a row: rules x seeds become rules x seeds x tasks.

    Parameters
    ----------
    tree : mapping
        Leaves ``(batch, ...)``.
    n : int
        Repetitions, such as the number of tasks per rule.

    Returns
    -------
    dict of str to Tensor
        Leaves ``(batch * n, ...)``; a batch of one is expanded without copying.
    """
    return {
        name: leaf.expand(n, *leaf.shape[1:]) if leaf.shape[0] == 1 else leaf.repeat_interleave(n, 0)
        for name, leaf in tree.items()
    }


def to_batch(leaf: Tensor, n_axes: int, batch: int) -> Tensor:
    """Repeat a leaf that has one entry per group of tasks, so that it has one per task; leave any other as it is.

    Parameters
    ----------
    leaf : Tensor
        With ``n_axes`` axes, or with a batch axis in front whose length divides ``batch``.
    n_axes : int
        Axes without the batch.
    batch : int
        Number of tasks, over all groups.

    Raises
    ------
    SpecificationError
        If the groups do not divide the batch.
    """
    if leaf.ndim == n_axes or leaf.shape[0] in (1, batch):
        return leaf
    if batch % leaf.shape[0]:
        raise SpecificationError(
            f"a leaf has a batch axis of {leaf.shape[0]}, which does not divide the batch, {batch}"
        )
    return leaf.repeat_interleave(batch // leaf.shape[0], 0)
