"""Gradient meta-learning: each task takes a few gradient steps on its support set (Finn et al. 2017, arXiv:1703.03400).

Order 2 is MAML, order 1 FOMAML (Nichol et al. 2018, arXiv:1803.02999); adapting the head alone is ANIL (Raghu et al.
2020, arXiv:1909.09157).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SpecificationError
from ..tasks.base import Part, Task
from ..tree import Tree
from ._gradient import InnerLoop

__all__ = ["GradientLearner"]

RATE = "learner.rate"


@dataclass(frozen=True)
class GradientLearner(InnerLoop):
    """Adapt by ``steps`` gradient steps ``w = w - rate*gradient`` on the support loss: MAML, FOMAML, ANIL.

    Attributes
    ----------
    network, trunk, steps, rate, adapts, inner, beta1, minibatch, compile
        As in `InnerLoop`.
    learn_rate : bool
        Learn the rate, in the group ``rule``.
    order : {1, 2}
        2 differentiates through the inner gradient, 1 takes it as constant.
    """

    learn_rate: bool = False
    order: int = 2

    def __post_init__(self):
        super().__post_init__()
        if self.order not in (1, 2):
            raise SpecificationError(f"GradientLearner: order is {self.order}; allowed: 1 (first-order) or 2")

    def groups(self) -> dict[str, str]:
        """Return the learned groups; the inner rate belongs to ``rule``."""
        return super().groups() | ({RATE: "rule"} if self.learn_rate else {})

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; a module's start at its own values. The rate is stored through softplus."""
        params = super().init(stream, device=device, dtype=dtype)
        like = next(iter(params.values()))
        params[RATE] = torch.log(torch.expm1(like.new_full((1,), self.rate)))
        return params

    def _adapt(self, params: Tree, support: Part, task: Task, stream: torch.Generator | None) -> Tree:
        rate = F.softplus(params[RATE])  # (1,) or (batch, 1)
        axes: Mapping[str, int] = self._adapted  # type: ignore[attr-defined]
        rates: dict[str, Tensor] = {name: rate.view(-1, *(1,) * n) for name, n in axes.items()}
        return self._descend(params, rates, support, task, self.order, stream)
