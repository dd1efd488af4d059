"""Parameters as tensors: drawing them, and the constraint between what is stored and what is meant."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import EngineError
from ..spec import Leaf, Network, Normal, Orthogonal, Param, PerEpisode, Uniform
from ..tree import Tree

__all__ = ["check_leaf", "constrain", "constrain_leaf", "draw", "init_params", "n_values", "unconstrain"]


def init_params(
    network: Network,
    stream: torch.Generator,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tree:
    """Draw the parameters of a network, as they are stored (unconstrained).

    Parameters
    ----------
    network : Network
        The description.
    stream : torch.Generator
        CPU generator, usually the ``init`` stream.
    device, dtype
        Of the leaves.

    Returns
    -------
    dict of str to Tensor
        Dotted name -> leaf; two axes ``(post | 1, pre | 1)`` for projections and rules, one for populations.
    """
    dtype = dtype or torch.get_default_dtype()
    return {
        name: unconstrain(leaf.param, draw(leaf, leaf.param.init, stream, dtype).to(device))
        for name, leaf in network.leaves.items()
        if not leaf.param.per_episode
    }


def draw(leaf: Leaf, init, stream: torch.Generator, dtype: torch.dtype, batch: tuple[int, ...] = ()) -> Tensor:
    """Draw initial values ``(*batch, *leaf.shape)`` on the CPU, as people mean them."""
    shape = (*batch, *leaf.shape)
    if isinstance(init, PerEpisode):
        return draw(leaf, init.init, stream, dtype, batch)
    if isinstance(init, Normal):
        deviation = init.deviation(leaf.n_pre, leaf.n_post)
        return init.mean + deviation * torch.randn(shape, generator=stream, dtype=dtype)
    if isinstance(init, Uniform):
        return init.low + (init.high - init.low) * torch.rand(shape, generator=stream, dtype=dtype)
    if isinstance(init, Orthogonal):
        matrix = torch.randn(shape, generator=stream, dtype=dtype)
        tall = matrix.shape[-2] >= matrix.shape[-1]
        q, r = torch.linalg.qr(matrix if tall else matrix.mT)
        q = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1)).unsqueeze(-2)
        return init.gain * (q if tall else q.mT)
    return torch.full(shape, float(init), dtype=dtype)


def unconstrain(param: Param, value: Tensor) -> Tensor:
    """Return the stored leaf of a value; inverse of `constrain_leaf`."""
    if param.constraint == "fraction":
        return torch.logit(value)
    if param.minimum is not None or param.constraint == "positive":
        excess = value - (param.minimum or 0.0)
        return excess + torch.log(-torch.expm1(-excess))
    return value


def constrain_leaf(param: Param, leaf: Tensor) -> Tensor:
    """Return the value that a stored leaf means."""
    if param.constraint == "fraction":
        return torch.sigmoid(leaf)
    if param.minimum is not None or param.constraint == "positive":
        return (param.minimum or 0.0) + torch.logaddexp(leaf, torch.zeros_like(leaf))
    return leaf


def constrain(network: Network, params: Mapping[str, Tensor]) -> Tree:
    """Return the values that the stored parameters of a network mean, by the same names.

    Parameters
    ----------
    network : Network
        The description; names that are not its leaves are left out.
    params : mapping of str to Tensor
        Stored leaves, with or without a batch axis in front.

    Returns
    -------
    dict of str to Tensor
        Constrained values.

    Raises
    ------
    EngineError
        If a leaf is missing or has another shape.
    """
    values = {}
    for name, leaf in network.leaves.items():
        if name in params or not leaf.param.per_episode:
            check_leaf(network, name, leaf, params)
            values[name] = constrain_leaf(leaf.param, params[name])
    return values


def check_leaf(network: Network, name: str, leaf: Leaf, params: Mapping[str, Tensor]) -> None:
    """Refuse a leaf that is missing or has another shape than the network's."""
    if name not in params:
        raise EngineError(f"network '{network.name}': parameter '{name}' is missing; found {', '.join(params)}")
    found = params[name].shape
    extra = len(found) - len(leaf.shape)
    fits = extra in (0, 1) and all(
        a == b or a == c for a, b, c in zip(found[extra:], leaf.shape, _full(leaf), strict=True)
    )
    if not fits:
        raise EngineError(
            f"network '{network.name}': parameter '{name}' has shape {tuple(found)}; allowed: {leaf.shape}, "
            "or one batch axis more in front"
        )


def _full(leaf: Leaf) -> tuple[int, ...]:
    return leaf.shape if len(leaf.shape) == 1 else (max(leaf.shape[0], leaf.n_post), max(leaf.shape[1], leaf.n_pre))


def n_values(params: Mapping[str, Tensor]) -> int:
    """Count the scalars of a tree."""
    return sum(math.prod(leaf.shape) for leaf in params.values())
