"""Transfer learning: pre-train on all tasks at once, then fine-tune on the support set of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tasks.base import Episode, Part, Task
from ..tree import Tree
from ._gradient import InnerLoop

__all__ = ["FineTuneLearner"]


@dataclass(frozen=True)
class FineTuneLearner(InnerLoop):
    """Train without adaptation on support and query alike; adapt by gradient steps at the test only.

    What this control lacks against MAML is the outer loop's knowledge that adaptation will follow. Where labels mean
    something else in every episode, pre-training can learn no more than their mean.

    Attributes
    ----------
    network, trunk, steps, rate, adapts, inner, beta1, minibatch, compile
        As in `InnerLoop`; all but the first two act at the test.
    """

    def loss(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean loss of support and query before any adaptation, ``(batch,)``."""
        parts = [part for part in (episode.support, episode.query) if part is not None]
        each = [task.loss(self._output(params, part, stream), part) for part in parts]
        return torch.stack(each).mean(0)

    def _adapt(self, params: Tree, support: Part, task: Task, stream: torch.Generator | None) -> Tree:
        like = next(iter(params.values()))
        adapted = self._adapted  # type: ignore[attr-defined]
        return self._descend(params, dict.fromkeys(adapted, like.new_full((), self.rate)), support, task, 1, stream)
