"""Forward mode: the exact meta-gradient of a few scalars, with memory that does not grow with time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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

    The cost is one forward pass per learned scalar (they run side by side), and nothing is kept for a backward pass, so
    episodes may be as long as one likes. For rules with at most 20 learned scalars; learn a few groups with ``learn=``.

    Attributes
    ----------
    lr, schedule, clip, weight_decay, beta1, beta2, epsilon
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
        flat = torch.cat([leaf.detach().reshape(-1) for leaf in params.values()])

        def loss(flat: Tensor) -> tuple[Tensor, Tensor]:
            pieces = flat.split([*sizes.values()])
            tree = {name: piece.view_as(params[name]) for name, piece in zip(sizes, pieces, strict=True)}
            value = problem.losses(tree).mean()
            return value, value

        with torch.no_grad():
            slope, value = torch.func.jacfwd(loss, has_aux=True)(flat)
        slopes = [g.view_as(leaf) for g, leaf in zip(slope.split([*sizes.values()]), params.values(), strict=True)]
        return value, slopes
