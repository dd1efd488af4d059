"""Back-propagation through the episode: the exact meta-gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..tree import Tree
from ._descent import Descent
from .base import Problem

__all__ = ["Backprop"]


@dataclass(frozen=True)
class Backprop(Descent):
    """Exact gradient of the mean loss by reverse mode, followed by Adam.

    Attributes
    ----------
    lr, schedule, clip, l1, penalised, weight_decay, beta1, beta2, epsilon
        As in `Descent`.
    """

    def gradient(self, params: Tree, problem: Problem) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and its exact gradient."""
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
        loss = problem.losses(leaves).mean()
        found = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
        return loss, [torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), found, strict=True)]
