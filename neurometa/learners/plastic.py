"""Learned plasticity: the network runs forward through the support set, and its rules change its synapses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..tasks.base import Episode, Part, Task
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
    hold : int
        Steps of the network for each step of the task. What is shown is held, activity is reset before the first of
        them only, and the last one answers. Spiking networks need some, or there is no rate to speak of.
    """

    takes_groups: ClassVar[bool] = True

    network: Network
    trunk: ConvTrunk | None = None
    checkpoint_every: int | None = None
    window: int | None = None
    compile: bool = False
    hold: int = 1

    def __post_init__(self):
        self._check_trunk()
        for name in ("checkpoint_every", "window", "hold"):
            value = getattr(self, name)
            end = "" if name == "hold" else ", or None"
            if value is not None and value < 1:
                raise SpecificationError(f"PlasticLearner: {name} is {value}; it must be 1 or more{end}")

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
        if respond and self.hold > 1:
            raise SpecificationError(f"PlasticLearner: hold is {self.hold}; a task that responds to each step allows 1")
        part = held(part, self.hold)
        trajectory = simulate(
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
        return replace(trajectory, output=trajectory.output[self.hold - 1 :: self.hold])

    def realise(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Episode:
        """Return an episode as it went, with every step of the network."""
        support, query, info = super().realise(params, episode, task, stream)
        return Episode(held(support, self.hold), None if query is None else held(query, self.hold), info)


def held(part: Part, steps: int) -> Part:
    """Return a part in which every step lasts so many; the answer of the last one counts."""
    if steps == 1:
        return part

    def long(value: Tensor) -> Tensor:
        return value.repeat_interleave(steps, 0)

    place = torch.arange(len(part.reset) * steps, device=part.reset.device) % steps
    return Part(
        inputs={name: long(value) for name, value in part.inputs.items()},
        target=long(part.target),
        weight=torch.where((place == steps - 1)[:, None], long(part.weight), 0.0),
        learn=long(part.learn),
        reset=long(part.reset) & (place == 0),
        world={name: long(value) for name, value in part.world.items()},
    )
