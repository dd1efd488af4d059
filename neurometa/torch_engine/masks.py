"""Which synapses exist, as a tensor made from the description."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..spec import Projection, Random
from ..streams import generator

__all__ = ["mask_of"]


@lru_cache(maxsize=256)
def _mask(mask: str | Random, post: int, pre: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    if isinstance(mask, Random):
        kept = torch.rand((post, pre), generator=generator(mask.seed, "mask"), dtype=torch.float64) < mask.p
    else:
        kept = torch.eye(post, pre) > 0
        kept = ~kept if mask == "no_self" else kept
    return kept.to(device=device, dtype=dtype)


def mask_of(projection: Projection, post: int, pre: int, like: Tensor) -> Tensor:
    """Return 1 where a synapse exists and 0 elsewhere, ``(post, pre)``."""
    if projection.mask is None:
        return like.new_ones(post, pre)
    return _mask(projection.mask, post, pre, like.device, like.dtype)
