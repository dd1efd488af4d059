"""Forward mode: the exact meta-gradient of a few scalars, with memory that does not grow with time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from ..errors import SpecificationError
from ..tree import Tree
from ._descent import Descent
from .base import Problem

__all__ = ["Forward"]

MOST = 20


@dataclass(frozen=True)
class Forward(Descent):
    """Exact gradient by Jacobian-vector products carried forward with the activity (Williams & Zipser 1989).

    Every learned scalar has a copy of the tasks, and its derivative runs along with that copy: one batched call for all
    of them. Nothing is kept for a backward pass, so episodes may be as long as one likes. For rules with at most 20
    learned scalars; learn a few groups with ``learn=``. Not for networks that draw noise: copies would draw their own.

    Attributes
    ----------
    lr, schedule, clip, l1, penalised, weight_decay, beta1, beta2, epsilon
        As in `Descent`.

    References
    ----------
    Williams & Zipser 1989, doi:10.1162/neco.1989.1.2.270.
    """

    def gradient(self, params: Tree, problem: Problem) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and its exact gradient."""
        sizes = {name: leaf.numel() for name, leaf in params.items()}
        total = sum(sizes.values())
        if total > MOST:
            raise SpecificationError(
                f"Forward takes at most {MOST} learned scalars, found {total}; use Backprop, or learn fewer groups"
            )
        like = next(iter(params.values()))
        directions = torch.eye(total, dtype=like.dtype, device=like.device).split([*sizes.values()], dim=1)
        with torch.no_grad(), forward_ad.dual_level():
            copies = {}
            for (name, leaf), direction in zip(params.items(), directions, strict=True):
                value = leaf.detach().expand(total, *leaf.shape).contiguous() if total > 1 else leaf.detach()
                copies[name] = forward_ad.make_dual(value, direction.reshape(value.shape).contiguous())
            losses = problem.losses(copies, total).view(total, -1).mean(1)
            value, slope = forward_ad.unpack_dual(losses)
        slope = torch.zeros_like(value) if slope is None else slope
        pieces = slope.split([*sizes.values()])
        return value[0], [piece.view_as(leaf) for piece, leaf in zip(pieces, params.values(), strict=True)]
