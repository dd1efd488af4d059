"""What a learner is: how meta-parameters become an answer, by way of what changed within the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..tasks.base import Episode, Part, Task
from ..torch_engine.params import init_params
from ..torch_engine.trunk import apply_trunk, init_trunk, trunk_statistics
from ..tree import Tree

__all__ = ["GROUPS", "Learner", "NetworkLearner", "trunk_groups"]

#: What the outer loop may learn.
GROUPS = ("w0", "rule", "modulator", "trunk")


class Learner(ABC):
    """Base of every learner. Final classes are frozen dataclasses of settings, one file each.

    The loss belongs to the task, so every method that needs it takes the task.

    Class attributes
    ----------------
    plastic : bool
        Whether what a task changes are synapses that change where ``Part.learn`` is on; switching it off is a control.
    takes_groups : bool
        Whether a parameter with a batch axis may have one entry per group of tasks (a seed, or a candidate of a
        population) instead of one per task; it saves the copies.
    """

    plastic: ClassVar[bool] = False
    takes_groups: ClassVar[bool] = False

    @abstractmethod
    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the meta-parameters."""

    @abstractmethod
    def groups(self) -> dict[str, str]:
        """Return the group (one of `GROUPS`) of every meta-parameter that may be learned."""

    @abstractmethod
    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Learn from the support set; return what changed, by dotted name, batch axis first."""

    @abstractmethod
    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer a query part ``(time, batch, n_out)`` from the adapted state; nothing learns."""

    def respond(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Return the output over the scored part of an episode, ``(time, batch, n_out)``."""
        if episode.query is None:
            raise SpecificationError(
                f"{type(self).__name__} needs a task with support and query; {type(task).__name__} is one sequence"
            )
        return self.predict(params, self.adapt(params, episode.support, task, stream), episode.query, stream)

    def loss(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Return the loss per task, ``(batch,)``."""
        return task.loss(self.respond(params, episode, task, stream), episode.scored)


def trunk_groups(trunk: ConvTrunk | None) -> dict[str, str]:
    """Return the group of every parameter of a trunk."""
    if trunk is None:
        return {}
    kinds = ("w", "b", *(() if trunk.norm == "none" else ("scale", "shift")))
    return {f"trunk.{i}.{kind}": "trunk" for i in range(len(trunk.channels)) for kind in kinds}


class NetworkLearner(Learner):
    """A learner over a network description with an optional trunk in front of its ``stimulus``.

    Subclasses declare the fields ``network`` and ``trunk``.
    """

    network: Network
    trunk: ConvTrunk | None

    def _check_trunk(self) -> None:
        size = self.network.inputs.get("stimulus")
        if self.trunk is not None and size != self.trunk.n_features:
            raise SpecificationError(
                f"the trunk makes {self.trunk.n_features} features, but network '{self.network.name}' reads {size}; "
                f"build it with n_in={self.trunk.n_features}"
            )

    def _check_loop(self, respond: object) -> None:
        if respond is not None and self.trunk is not None:
            raise SpecificationError(
                f"{type(self).__name__}: a task that responds to the network does not pass through a trunk; trunk=None"
            )

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters of trunk and network."""
        params = init_params(self.network, stream, device=device, dtype=dtype)
        if self.trunk is not None:
            params |= init_trunk(self.trunk, stream, device=device, dtype=dtype)
        return params

    def groups(self) -> dict[str, str]:
        """Return the learned groups of trunk and network."""
        leaves = self.network.leaves.items()
        found = {name: leaf.group for name, leaf in leaves if leaf.param.learned and not leaf.param.per_episode}
        return found | trunk_groups(self.trunk)

    def _inputs(self, params: Mapping[str, Tensor], part: Part) -> Mapping[str, Tensor]:
        """Return a part's inputs with the stimulus seen through the trunk."""
        if self.trunk is None:
            return part.inputs
        return {**part.inputs, "stimulus": apply_trunk(self.trunk, params, part.inputs["stimulus"])}

    def _statistics(self, params: Mapping[str, Tensor], support: Part) -> Tree:
        """Return the statistics by which the trunk normalises queries, where they come from the support set."""
        return {} if self.trunk is None else trunk_statistics(self.trunk, params, support.inputs["stimulus"])
