"""Which synapses exist, as a tensor made from the description."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spec import Projection

__all__ = ["mask_of"]


def mask_of(projection: Projection, post: int, pre: int) -> Tensor:
    """Return where a synapse exists, boolean ``(post, pre)``; the same synapses in every engine."""
    return torch.from_numpy(projection.synapses(post, pre))
