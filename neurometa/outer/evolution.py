"""Evolution strategy: the gradient of a blurred loss from a population; nothing need be differentiable."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec.base import check_choice
from ..tree import Tree
from ._descent import Descent
from .base import Problem

__all__ = ["Evolution"]


@dataclass(frozen=True)
class Evolution(Descent):
    """Antithetic evolution strategy (Salimans et al. 2017, arXiv:1703.03864), the whole population in one batched call.

    Attributes
    ----------
    population : int
        Even number of perturbed copies of the parameters; each sees the same tasks.
    sigma : float
        Standard deviation of the perturbations (of stored, unconstrained parameters).
    shaping : {"rank", "none"}
        ``rank`` replaces losses by centred ranks, which no outlier can dominate; ``none`` estimates the gradient of the
        blurred loss itself, without bias.
    lr, schedule, clip, l1, penalised, weight_decay, beta1, beta2, epsilon
        As in `Descent`.
    """

    population: int = 64
    sigma: float = 0.05
    shaping: str = "rank"

    def __post_init__(self):
        super().__post_init__()
        check_choice(self.shaping, ("rank", "none"), "Evolution: shaping")
        if self.population < 2 or self.population % 2 or not self.sigma > 0:
            raise SpecificationError(
                f"Evolution: population {self.population} must be even and above 0, and sigma {self.sigma} above 0"
            )

    def gradient(self, params: Tree, problem: Problem) -> tuple[Tensor, list[Tensor]]:
        """Return the population's mean loss and the estimated gradient."""
        if problem.stream is None:
            raise SpecificationError("Evolution needs a random stream; pass Problem(..., stream=)")
        half = self.population // 2
        noise = {
            name: torch.randn(half, *leaf.shape, generator=problem.stream, dtype=leaf.dtype).to(leaf.device)
            for name, leaf in params.items()
        }
        with torch.no_grad():
            copies = {
                name: leaf.detach() + self.sigma * torch.cat([noise[name], -noise[name]])
                for name, leaf in params.items()
            }
            losses = problem.losses(copies, self.population).view(self.population, -1).mean(1)
            fitness = losses
            if self.shaping == "rank":
                fitness = losses.argsort().argsort().to(losses.dtype) / (self.population - 1) - 0.5
            difference = (fitness[:half] - fitness[half:]) / (self.population * self.sigma)
            slopes = [torch.tensordot(difference, noise[name], 1) for name in params]
        return losses.mean(), slopes
