"""Truncated back-propagation: gradients that reach back a few steps only; cheap, biased, and it says by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..tree import Tree
from ._descent import AdamState, Descent, reverse
from .base import Problem

__all__ = ["Truncated"]


class TruncatedState(NamedTuple):
    """Adam's state, and the bias as it was last measured."""

    adam: AdamState
    cosine: float
    bias: float


@dataclass(frozen=True)
class Truncated(Descent):
    """Reverse mode through at most ``window`` steps (Williams & Peng 1990), followed by Adam.

    The gradient is biased: what a parameter did more than ``window`` steps ago is not seen. Every ``measure_every``
    iterations the exact gradient of the same tasks is computed too, and the metrics report the cosine between the two
    and the relative distance, ``bias``. The exact gradient needs the memory that truncation saves, so choose fewer
    tasks if it does not fit.

    Attributes
    ----------
    window : int
        Steps.
    measure_every : int
        Iterations between measurements of the bias.
    lr, schedule, clip, l1, penalised, weight_decay, beta1, beta2, epsilon
        As in `Descent`.

    References
    ----------
    Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490.
    """

    window: int = 20
    measure_every: int = 50

    def __post_init__(self):
        super().__post_init__()
        if self.window < 1 or self.measure_every < 1:
            raise SpecificationError(
                f"Truncated: window {self.window} and measure_every {self.measure_every} must be 1 or more"
            )

    def init(self, params: Tree) -> TruncatedState:  # type: ignore[override]
        """Return zero moments."""
        return TruncatedState(super().init(params), 0.0, 0.0)

    def gradient(self, params: Tree, problem: Problem) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and its truncated gradient."""
        losses = problem.truncated
        if losses is None:
            raise SpecificationError("Truncated needs losses that can be truncated; pass Problem(..., truncated=)")
        return reverse(lambda leaves: losses(leaves, self.window), params)

    def step(  # type: ignore[override]
        self, params: Tree, state: TruncatedState, problem: Problem
    ) -> tuple[Tree, TruncatedState, dict[str, float]]:
        """Take one step; metrics are those of `Descent`, ``cosine`` and ``bias``."""
        loss, slopes = self.gradient(params, problem)
        cosine, bias = state.cosine, state.bias
        if problem.iteration % self.measure_every == 0:
            exact = torch.cat([g.flatten() for g in reverse(problem.losses, params)[1]])
            found = torch.cat([g.flatten() for g in slopes])
            size = exact.norm().clamp_min(torch.finfo(exact.dtype).tiny)
            cosine = float(torch.cosine_similarity(found, exact, dim=0))
            bias = float((found - exact).norm() / size)
        new, adam, metrics = self.follow(params, state.adam, problem, loss, slopes)
        return new, TruncatedState(adam, cosine, bias), {**metrics, "cosine": cosine, "bias": bias}
