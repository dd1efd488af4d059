"""Learned plasticity: the network runs forward through the support set, and its rules change its synapses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..spec import ConvTrunk, Network
from ..tasks.base import Episode, Part, Task
from ..torch_engine.program import program
from ..torch_engine.simulate import simulate
from ..trajectory import Save, State, Trajectory
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["PlasticLearner"]


@dataclass(frozen=True)
class PlasticLearner(NetworkLearner):
    """Adapt by running the plasticity rules of a network.

    Attributes
    ----------
    network : Network
        The description; its rules run where ``Part.learn`` is on.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    checkpoint_every : int, optional
        Recompute activity between every so many steps in the backward pass; saves memory on long episodes.
    compile : bool
        Compile the step; pays on long episodes and long runs.
    """

    network: Network
    trunk: ConvTrunk | None = None
    checkpoint_every: int | None = None
    compile: bool = False

    def __post_init__(self):
        self._check_trunk()

    def run(
        self,
        params: Mapping[str, Tensor],
        part: Part,
        stream: torch.Generator | None = None,
        save: Save | None = None,
        state: State | None = None,
    ) -> Trajectory:
        """Run the network over one part of an episode, from a state or the start, keeping what a plan asks for."""
        return simulate(
            self.network,
            params,
            self._inputs(params, part),
            learn=part.learn,
            reset=part.reset,
            state=state,
            stream=stream,
            save=save,
            checkpoint_every=self.checkpoint_every,
            compile=self.compile,
        )

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return the synapses after the support set: ``<projection>.w`` and ``<projection>.<trace>.trace``."""
        return _synapses(self.run(params, support, stream).final) | self._statistics(params, support)

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
            return self.run(params, episode.support, stream).output
        return super().respond(params, episode, task, stream)


def _synapses(state: State) -> Tree:
    weights = {f"{name}.w": w for name, w in state.w.items()}
    return weights | {f"{name}.trace": value for name, value in state.traces.items()}
