"""Running an episode once more, to see everything in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import RecordingError
from ..learners import Learner
from ..learners._synaptic import SynapticLearner
from ..tasks.base import Episode, Task, responder
from ..torch_engine.program import program
from ..torch_engine.simulate import places
from ..trajectory import Save
from ..tree import Tree

__all__ = ["Captured", "capture", "eager", "hold_of"]

#: What is kept where a plan names nothing.
USUAL = ("x.*", "w.*", "traces.*")


class Captured(NamedTuple):
    """An episode as it went.

    Attributes
    ----------
    episode : Episode
        With the inputs that a closed loop brought about.
    output : Tensor
        Answers to the scored part, ``(time, batch, n_out)``.
    kept : dict of str to Tensor
        Name as in `Save` -> ``(kept steps, batch, ...)``.
    steps : tuple of int
        Network steps of the support at which they were taken.
    spikes : dict of str to Tensor
        Spiking population -> ``(steps, batch, n)``, 0 and 1, at every step.
    weights : dict of str to Tensor
        Plastic projection -> its weights before the first step and at the kept ones, ``(1 + kept, batch, post, pre)``.
    adapted : dict of str to Tensor
        Of a learner that does not run a network: what the support set changed.
    """

    episode: Episode
    output: Tensor
    kept: Tree
    steps: tuple[int, ...]
    spikes: Tree
    weights: Tree
    adapted: Tree


def eager(learner: Learner) -> Learner:
    """Return a learner that does not compile: a batch of another size would compile anew."""
    if "compile" in {field.name for field in fields(learner)}:  # type: ignore[arg-type]
        return replace(learner, compile=False)  # type: ignore[type-var]
    return learner


def hold_of(learner: Learner) -> int:
    """Return how many steps of the network one step of the task lasts."""
    return getattr(learner, "hold", 1)


def capture(
    learner: Learner,
    params: Mapping[str, Tensor],
    episode: Episode,
    task: Task | None,
    stream: torch.Generator,
    what: tuple[str, ...] = (),
    step: int = 1,
) -> Captured:
    """Run a learner through a batch of episodes and keep what a plan names; no gradients.

    Parameters
    ----------
    learner : Learner
        One that runs a network has trajectories; of others, what they changed is kept.
    params : mapping of str to Tensor
        Meta-parameters.
    episode : Episode
        Tasks, or with ``task`` None what was recorded of them.
    task : Task, optional
        For what it responds.
    stream : torch.Generator
        Noise, and starts that are drawn per episode.
    what, step
        As in `RecordPlan`.

    Raises
    ------
    RecordingError
        If patterns are given to a learner without trajectories.
    EngineError
        If a pattern matches nothing.
    """
    learner = eager(learner)
    with torch.no_grad():
        if isinstance(learner, SynapticLearner):
            return _synaptic(learner, params, episode, task, stream, what, step)
        if what:
            raise RecordingError(
                f"{type(learner).__name__} has no trajectory to choose from ({', '.join(what)}); leave 'what' out: "
                "what it changes within a task is recorded"
            )
        if task is None:
            raise RecordingError(f"{type(learner).__name__} adapts by the task's loss; give the task too")
        if episode.query is None:
            return Captured(episode, learner.respond(params, episode, task, stream), {}, (), {}, {}, {})
        adapted = learner.adapt(params, episode.support, task, stream)
        return Captured(episode, learner.predict(params, adapted, episode.query, stream), {}, (), {}, {}, adapted)


def _synaptic(
    learner: SynapticLearner,
    params: Mapping[str, Tensor],
    episode: Episode,
    task: Task | None,
    stream: torch.Generator,
    what: tuple[str, ...],
    step: int,
) -> Captured:
    network, support = learner.network, episode.support
    mark = stream.get_state()
    begin = program(network).start(params, support.target.shape[1], stream, support.target)
    stream.set_state(mark)  # the same draws are the start of the run
    names = [*places(network, begin)]
    usual = tuple(pattern for pattern in USUAL if any(name.startswith(pattern[:-1]) for name in names))
    chosen = Save(what or usual).choose(names)
    spiking = [p.name for p in network.populations if p.spikes and f"x.{p.name}" in chosen]
    every = 1 if spiking else step
    weights = [f"w.{name}" for name in begin.w]
    save = Save(tuple({**dict.fromkeys(chosen), **dict.fromkeys(weights)}), every)
    respond = responder(task, support) if task is not None else None
    run = learner.run(params, support, stream, save=save, respond=respond)
    if run.inputs:
        support = support._replace(inputs={**support.inputs, **run.inputs})
    output = run.output
    if episode.query is not None:
        output = learner.predict(params, learner.carried(params, support, run.final), episode.query, stream)
    thin = slice(None, None, step // every)
    return Captured(
        episode._replace(support=support),
        output,
        {name: run[name][thin] for name in chosen if name not in {f"x.{p}" for p in spiking}},
        run.steps[thin],
        {name: run[f"x.{name}"] for name in spiking},
        {name: torch.cat([start[None], run[f"w.{name}"][thin]]) for name, start in begin.w.items()},
        {},
    )
