"""Learned plasticity: the network runs forward through the support set, and its rules change its synapses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..tasks.base import Part
from ..torch_engine.simulate import Respond, simulate
from ..trajectory import Save, State, Trajectory
from ._synaptic import SynapticLearner

__all__ = ["PlasticLearner"]


@dataclass(frozen=True)
class PlasticLearner(SynapticLearner):
    """Adapt by running the plasticity rules of a network.

    Attributes
    ----------
    network : Network
        The description; its rules run where ``Part.learn`` is on.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    checkpoint_every : int, optional
        Recompute activity between every so many steps in the backward pass; saves memory on long episodes.
    window : int, optional
        Back-propagate through at most so many steps; biased, see the outer algorithm `truncated`, which says by how
        much.
    compile : bool
        Compile the step; pays on long episodes and long runs.
    """

    takes_groups: ClassVar[bool] = True

    network: Network
    trunk: ConvTrunk | None = None
    checkpoint_every: int | None = None
    window: int | None = None
    compile: bool = False

    def __post_init__(self):
        self._check_trunk()
        for name in ("checkpoint_every", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SpecificationError(f"PlasticLearner: {name} is {value}; it must be 1 or more, or None")

    def run(
        self,
        params: Mapping[str, Tensor],
        part: Part,
        stream: torch.Generator | None = None,
        save: Save | None = None,
        state: State | None = None,
        respond: Respond | None = None,
    ) -> Trajectory:
        """Run the network over one part of an episode, from a state or the start, keeping what a plan asks for."""
        self._check_loop(respond)
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
            window=self.window,
            compile=self.compile,
            respond=respond,
        )
