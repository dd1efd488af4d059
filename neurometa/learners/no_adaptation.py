"""The control that learns nothing within a task: one network for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..spec import ConvTrunk, Network
from ..tasks.base import Episode, Part, Task, responder
from ..torch_engine.simulate import Respond, simulate
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["NoAdaptationLearner"]


@dataclass(frozen=True)
class NoAdaptationLearner(NetworkLearner):
    """Answer with the meta-learned network as it is; its rules are off from the start (``alpha = 0``, retrained).

    Activity is all that can carry anything from one step to the next. On a task with support and query nothing does,
    so the best it can reach is the floor.

    Attributes
    ----------
    network : Network
        The description.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    """

    takes_groups: ClassVar[bool] = True

    network: Network
    trunk: ConvTrunk | None = None

    def __post_init__(self):
        self._check_trunk()

    def groups(self) -> dict[str, str]:
        """Return the learned groups without ``rule``: neither parameters of rules nor plastic strengths."""
        return {name: group for name, group in super().groups().items() if group != "rule"}

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return nothing (or the statistics by which a trunk normalises)."""
        return self._statistics(params, support)

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer a part with the rules off."""
        return self._answer({**params, **fast}, query, stream)

    def _answer(
        self,
        params: Mapping[str, Tensor],
        part: Part,
        stream: torch.Generator | None,
        respond: Respond | None = None,
    ) -> Tensor:
        self._check_loop(respond)
        options = {"learn": False, "reset": part.reset, "stream": stream, "respond": respond}
        return simulate(self.network, params, self._inputs(params, part), **options).output  # type: ignore[arg-type]

    def respond(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Answer the scored part."""
        if episode.query is None:
            return self._answer(params, episode.support, stream, responder(task, episode.support))
        return super().respond(params, episode, task, stream)
