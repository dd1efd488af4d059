"""Back-propagation through the episode: the exact meta-gradient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..tree import Tree
from ._descent import Descent, reverse
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
        return reverse(problem.losses, params)
