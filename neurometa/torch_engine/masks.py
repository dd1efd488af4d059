"""Which synapses exist, as a tensor made from the description."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..spec import Projection

__all__ = ["mask_of"]


@lru_cache(maxsize=256)
def _mask(projection: Projection, post: int, pre: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(projection.synapses(post, pre)).to(device=device, dtype=dtype)


def mask_of(projection: Projection, post: int, pre: int, like: Tensor) -> Tensor:
    """Return 1 where a synapse exists and 0 elsewhere, ``(post, pre)``."""
    return _mask(projection, post, pre, like.device, like.dtype)
