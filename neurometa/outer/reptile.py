"""Reptile: move the initial weights towards where tasks take them (Nichol et al. 2018, arXiv:1803.02999)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..errors import SpecificationError
from ..tree import Tree
from .base import Outer, Problem

__all__ = ["Reptile"]


class ReptileState(NamedTuple):
    """Number of steps taken."""

    n_steps: int


@dataclass(frozen=True)
class Reptile(Outer):
    """Interpolate: ``w0 = w0 + lr*(mean over tasks of the adapted w - w0)``.

    No gradient passes through adaptation. The learner does the inner steps; with one of them this is joint training.

    Attributes
    ----------
    lr : float
        Step towards the adapted weights, in (0, 1].
    anneal : bool
        Let the step fall linearly to 0 over the run.
    """

    lr: float = 0.1
    anneal: bool = True

    def __post_init__(self):
        if not 0 < self.lr <= 1:
            raise SpecificationError(f"Reptile: lr is {self.lr}; it must lie in (0, 1]")

    def init(self, params: Tree) -> ReptileState:
        """Return the empty state."""
        return ReptileState(0)

    def step(self, params: Tree, state: ReptileState, problem: Problem) -> tuple[Tree, ReptileState, dict[str, float]]:
        """Take one step; metrics are ``loss`` (after adaptation), the length of the step, and the rate."""
        if problem.adapted is None:
            raise SpecificationError("Reptile needs a learner that adapts parameters, such as GradientLearner")
        progress = problem.iteration / max(1, problem.n_iterations)
        lr = self.lr * (1 - progress if self.anneal else 1.0)
        with torch.no_grad():
            adapted, losses = problem.adapted(params)
            moved = {name: (adapted[name].mean(0) - leaf) for name, leaf in params.items() if name in adapted}
            if not moved:
                raise SpecificationError(
                    f"Reptile moves what tasks adapt ({', '.join(adapted)}), and none of it is learned"
                )
            new = {name: leaf + lr * moved[name] if name in moved else leaf for name, leaf in params.items()}
            length = torch.stack([change.norm() for change in moved.values()]).norm()
        return (
            new,
            ReptileState(state.n_steps + 1),
            {"loss": float(losses.mean()), "step": float(lr * length), "lr": lr},
        )
