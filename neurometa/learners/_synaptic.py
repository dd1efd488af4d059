"""What every learner whose synapses change step by step shares: what is carried over, and how queries are answered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ..tasks.base import Episode, Part, Task, responder
from ..torch_engine.program import program
from ..torch_engine.simulate import Respond
from ..trajectory import Save, State, Trajectory
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["SynapticLearner"]


class SynapticLearner(NetworkLearner):
    """A learner that runs a network through the support set while synapses change."""

    plastic: ClassVar[bool] = True

    @abstractmethod
    def run(
        self,
        params: Mapping[str, Tensor],
        part: Part,
        stream: torch.Generator | None = None,
        save: Save | None = None,
        state: State | None = None,
        respond: Respond | None = None,
    ) -> Trajectory:
        """Run the network over one part of an episode, from a state or the start, keeping what a plan asks for.

        ``respond`` closes the loop (`tasks.base.responder`).
        """

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return the synapses after the support set: ``<projection>.w`` and ``<projection>.<trace>.trace``."""
        return self.carried(params, support, self.run(params, support, stream, respond=responder(task, support)).final)

    def carried(self, params: Mapping[str, Tensor], support: Part, state: State) -> Tree:
        """Return what queries are answered from, of the state after the support set."""
        weights = {f"{name}.w": w for name, w in state.w.items()}
        traces = {f"{name}.trace": value for name, value in state.traces.items()}
        return weights | traces | self._statistics(params, support)

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer queries from the adapted synapses."""
        # What a synapse has become is a value, not a stored leaf: it does not go through the constraint of its start.
        own = {name: value for name, value in fast.items() if name.startswith("trunk.")}
        w = {name.removesuffix(".w"): value for name, value in fast.items() if name.endswith(".w")}
        traces = {name.removesuffix(".trace"): value for name, value in fast.items() if name.endswith(".trace")}
        rest = program(self.network).activity(params, query.target.shape[1], stream, query.target)
        return self.run({**params, **own}, query, stream, state=State(rest, w, traces)).output

    def respond(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Answer the scored part; without a query part, the sequence as the network learns from it."""
        if episode.query is None:
            return self.run(params, episode.support, stream, respond=responder(task, episode.support)).output
        return super().respond(params, episode, task, stream)

    def realise(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Episode:
        """Return an episode as it went: with the inputs that the network's answers brought about.

        Shown again they need no task that responds, which is how another simulator can run the same course. An episode
        of a task that does not respond is returned as it is.
        """
        part = episode.support
        respond = responder(task, part)
        if respond is None:
            return episode
        inputs = self.run(params, part, stream, respond=respond).inputs
        return episode._replace(support=part._replace(inputs={**part.inputs, **inputs}))
