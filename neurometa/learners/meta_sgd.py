"""Meta-SGD: gradient steps at a learned rate for every single parameter (Li et al. 2017, arXiv:1707.09835).

A rule of plasticity learns its rates, so this is the gradient baseline that has the same freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..tasks.base import Part, Task
from ..tree import Tree
from ._gradient import InnerLoop

__all__ = ["MetaSgdLearner"]

PREFIX = "learner.rate."


@dataclass(frozen=True)
class MetaSgdLearner(InnerLoop):
    """Adapt by ``w = w - rate*gradient`` with one learned rate per adapted parameter; a rate may become negative.

    Attributes
    ----------
    network, trunk, steps, adapts, inner, beta1, minibatch, compile
        As in `InnerLoop`.
    rate : float
        Every rate at the start.
    order : {1, 2}
        2 differentiates through the inner gradient, 1 takes it as constant.
    """

    order: int = 2

    def __post_init__(self):
        super().__post_init__()
        if self.order not in (1, 2):
            raise SpecificationError(f"MetaSgdLearner: order is {self.order}; allowed: 1 (first-order) or 2")

    def groups(self) -> dict[str, str]:
        """Return the learned groups; the rates belong to ``rule``."""
        return super().groups() | {PREFIX + name: "rule" for name in self._adapted}  # type: ignore[attr-defined]

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; the rates are stored as they are."""
        params = super().init(stream, device=device, dtype=dtype)
        adapted = self._adapted  # type: ignore[attr-defined]
        return params | {PREFIX + name: torch.full_like(params[name], self.rate) for name in adapted}

    def _adapt(self, params: Tree, support: Part, task: Task, stream: torch.Generator | None) -> Tree:
        adapted = self._adapted  # type: ignore[attr-defined]
        rates: dict[str, Tensor] = {name: params[PREFIX + name] for name in adapted}
        return self._descend(params, rates, support, task, self.order, stream)
