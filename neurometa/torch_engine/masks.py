"""Which synapses exist, as a tensor made from the description."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spec import Projection, Random
from ..streams import generator

__all__ = ["mask_of"]


def mask_of(projection: Projection, post: int, pre: int) -> Tensor:
    """Return whether each synapse exists, boolean ``(post, pre)`` on the CPU."""
    mask = projection.mask
    if isinstance(mask, Random):
        return torch.rand((post, pre), generator=generator(mask.seed, "mask"), dtype=torch.float64) < mask.p
    diagonal = torch.eye(post, pre) > 0
    if mask is None:
        return torch.ones_like(diagonal)
    return ~diagonal if mask == "no_self" else diagonal
