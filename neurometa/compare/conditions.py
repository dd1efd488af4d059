"""Conditions in which learners are scored that were trained in another: generalisation, and labels that say nothing.

Nothing is trained here. All scores are on the episodes that `score_run` draws for the same seed, changed or not, so
that learners and conditions are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import SpecificationError
from ..learners import Learner
from ..learners.recurrent import RecurrentLearner
from ..spec import Network, Param
from ..streams import generator
from ..tasks.base import Episode, Interactive, Task
from ..tree import Tree
from .episodes import corrupted_labels, first_presentations, noisy, only_steps, reversed_half, shuffled_labels
from .widen import widened

__all__ = [
    "Condition",
    "conditions",
    "default_counts",
    "floor_of",
    "prefix_scores",
    "score_condition",
    "shuffled_scores",
]

Change = Callable[[Episode, torch.Generator], Episode]
#: Settings of tasks that make them harder, and by which factor.
HARDER = {"n_shot": 5, "n_cues": 2, "hazard": 4, "observation_sd": 2}
CORRUPTED, CUT, NOISE = (0.2, 0.4), (0.1, 0.3), 0.5


@dataclass(frozen=True)
class Condition:
    """One column of the generalisation table.

    Attributes
    ----------
    name : str
        For people.
    settings : mapping of str to value
        Of the task, where they differ from training.
    change : callable, optional
        ``change(episode, stream) -> episode``.
    cut : float
        Share of the synapses that are cut.
    """

    name: str
    settings: Mapping[str, Any] | None = None
    change: Change | None = None
    cut: float = 0.0

    def task(self, task: Task) -> Task:
        """Return the task as it is in this condition."""
        return replace(task, **(self.settings or {}))  # type: ignore[type-var]


def conditions(task: Task) -> list[Condition]:
    """Return the conditions that fit a task; the first is that of training."""
    own = {field.name for field in fields(task)}  # type: ignore[arg-type]
    found = [Condition("as trained")]
    if "n_way" in own and task.score_name == "accuracy":
        found.append(Condition(f"{2 * task.n_out} ways", {"n_way": 2 * task.n_out}))
    for name, factor in HARDER.items():
        if name in own:
            value = factor * getattr(task, name)
            if name == "n_cues" and "n_steps" in own:
                steps = factor * getattr(task, "n_steps")  # noqa: B009
                found.append(Condition(f"{value} cues, {steps} steps", {"n_cues": value, "n_steps": steps}))
            else:
                shown = f"{value} shots" if name == "n_shot" else f"{name.replace('_', ' ')} {value:g}"
                found.append(Condition(shown, {name: value}))
    if not isinstance(task, Interactive):
        for share in CORRUPTED:
            name = f"{100 * share:.0f} % of labels wrong"
            found.append(Condition(name, change=partial(_amount, corrupted_labels, share)))
        found.append(Condition(f"noise, {NOISE:g} sd", change=partial(_amount, noisy, NOISE)))
    found += [Condition(f"{100 * share:.0f} % of synapses cut", cut=share) for share in CUT]
    if not isinstance(task, Interactive):
        found.append(Condition("reversal half-way", change=lambda e, stream: reversed_half(e)))
    return found


def _amount(change: Callable[..., Episode], amount: float, episode: Episode, stream: torch.Generator) -> Episode:
    return change(episode, amount, stream)


def floor_of(condition: Condition, task: Task) -> float:
    """Return the score of the best predictor without support; a change of the episode leaves it as it is."""
    return condition.task(task).floor()


def score_condition(
    condition: Condition,
    learner: Learner,
    params: Mapping[str, Tensor],
    task: Task,
    *,
    n_episodes: int = 1000,
    seed: int = 0,
    batch: int = 200,
) -> np.ndarray | None:
    """Score a learner in a condition on its own seeded tasks, ``(n_episodes,)``; None where it is impossible for it."""
    other = condition.task(task)
    try:
        if other.n_out != task.n_out:
            learner, params = widened(learner, params, other.n_out)
        if condition.cut:
            learner, params = _cut(learner, params, condition.cut, seed)
    except SpecificationError:
        return None
    return _score(learner, params, other, condition.change, n_episodes, seed, batch)


def shuffled_scores(
    learner: Learner,
    params: Mapping[str, Tensor],
    task: Task,
    *,
    n_episodes: int = 1000,
    seed: int = 0,
    batch: int = 200,
) -> np.ndarray:
    """Score a learner whose support labels say nothing about the queries, ``(n_episodes,)``.

    Labels go through a random permutation that is independent of the queries' (the task's own ``shuffle_labels``); the
    values of other tasks are those of another episode.
    """
    if "shuffle_labels" in {field.name for field in fields(task)}:  # type: ignore[arg-type]
        control: Task = replace(task, shuffle_labels=True)  # type: ignore[type-var,call-arg]
        return _score(learner, params, control, None, n_episodes, seed, batch)
    return _score(learner, params, task, lambda episode, stream: shuffled_labels(episode), n_episodes, seed, batch)


def default_counts(task: Task) -> tuple[int, ...]:
    """Return about six numbers of presentations, roughly geometric, the last of them all."""
    n = len(task.sample(generator(0, "counts"), 1).support.target)
    steps = np.unique(np.round(np.geomspace(1, n, 6)).astype(int))
    return tuple(int(k) for k in steps)


def prefix_scores(
    learner: Learner,
    params: Mapping[str, Tensor],
    task: Task,
    counts: Sequence[int],
    *,
    n_episodes: int = 1000,
    seed: int = 0,
    batch: int = 200,
) -> dict[int, np.ndarray]:
    """Score a learner after its first presentations.

    Parameters
    ----------
    counts : sequence of int
        Numbers of presentations, ascending. With a query part, the support ends after so many. In one sequence, only
        the steps count since the number before.

    Returns
    -------
    dict of int to ndarray
        ``(n_episodes,)`` for each number.
    """
    found, before = {}, 0
    for k in counts:

        def cut(episode: Episode, stream: torch.Generator, k: int = k, before: int = before) -> Episode:
            return first_presentations(episode, k) if episode.query is not None else only_steps(episode, before, k)

        found[k] = _score(learner, params, task, cut, n_episodes, seed, batch)
        before = k
    return found


def _score(
    learner: Learner,
    params: Mapping[str, Tensor],
    task: Task,
    change: Change | None,
    n_episodes: int,
    seed: int,
    batch: int,
) -> np.ndarray:
    """Score as `score_run` does, on episodes that a change went over."""
    stream, noise, own = (generator(seed, name) for name in ("eval", "eval noise", "eval change"))
    like, scores = next(iter(params.values())), []
    with torch.no_grad():
        for begin in range(0, n_episodes, batch):
            n = min(batch, n_episodes - begin)
            # A single episode has no other to take a label from.
            episode = task.sample(stream, max(n, 2), "test", device=like.device, dtype=like.dtype)
            episode = episode if change is None else change(episode, own)
            scores.append(task.score(learner.respond(params, episode, task, noise), episode.scored)[:n])
    return torch.cat(scores).double().cpu().numpy()


def _cut(learner: Learner, params: Mapping[str, Tensor], share: float, seed: int) -> tuple[Learner, Tree]:
    """Cut a share of the synapses of a learner, at random and for good: before, while and after it adapts."""
    stream = generator(seed, f"cut {share}")

    def mask(like: Tensor, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=stream, dtype=torch.double) >= share).to(like)

    if isinstance(learner, RecurrentLearner):
        names = ("cell.weight_ih_l0", "cell.weight_hh_l0", "readout.w")
        return learner, {**params, **{name: params[name] * mask(params[name], *params[name].shape) for name in names}}
    network = getattr(learner, "network", None)
    if not isinstance(network, Network):
        raise SpecificationError(f"{type(learner).__name__} has no network description; its synapses cannot be cut")
    leaves, projections = dict(params), []
    for p in network.projections:
        size = (network[p.post].size, network[p.pre].size)
        kept = p.mask == "one_to_one" or p.pre in ("one", "target", "teach") or size == (1, 1)
        learned = p.rule is not None or any(param.learned and param.per == "synapse" for param in _params(p))
        if not kept and learned:
            leaves[f"{p.label}.cut"] = mask(next(iter(params.values())), *size)
            cut = Param(1.0, per="synapse", learned=False)
            p = replace(p, efficacy=f"cut*({p.efficacy})", params={**p.params, "cut": cut})
        projections.append(p)
    changed = replace(network, projections=tuple(projections))
    return replace(learner, network=changed), leaves  # type: ignore[type-var,call-arg]


def _params(projection: Any) -> list[Param]:
    return [projection.weight, *projection.params.values()]
