"""Episodes changed: labels that say nothing, or lie at times; noise; a reversal; a shorter support.

Every function returns a new episode on the device and in the number format of the old one. What chance decides is drawn
on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..tasks.base import Episode, Part

__all__ = [
    "corrupted_labels",
    "first_presentations",
    "noisy",
    "only_steps",
    "reversed_half",
    "shuffled_labels",
]


def shuffled_labels(episode: Episode) -> Episode:
    """Return the episode with the shown targets of another episode of the batch, which say nothing about its own."""
    return _shown(episode, lambda value: value.roll(1, 1))


def corrupted_labels(episode: Episode, share: float, stream: torch.Generator) -> Episode:
    """Return the episode with some support targets replaced.

    Parameters
    ----------
    episode : Episode
        With labels (one-hot) or values.
    share : float
        Probability that an item is shown another label, uniform among the others; or the value of another episode.
    stream : torch.Generator
        On the CPU.
    """
    part = episode.support
    target = part.inputs["target"]
    steps, batch, n = target.shape
    chosen = (torch.rand(steps, batch, generator=stream) < share).to(target.device)[..., None]
    if _one_hot(target, part.inputs["teach"]):
        moved = torch.randint(1, n, (steps, batch), generator=stream).to(target.device)
        label = (target.argmax(-1) + moved) % n
        other = (label[..., None] == torch.arange(n, device=target.device)).to(target) * part.inputs["teach"]
        return _shown(episode, lambda value: torch.where(chosen, other, value))
    return _shown(episode, lambda value: torch.where(chosen, value.roll(1, 1), value))


def noisy(episode: Episode, sd: float, stream: torch.Generator) -> Episode:
    """Return the episode with normal noise on what is shown, in units of its own standard deviation.

    The stimulus gets it, in support and query; where the stimulus never changes, the shown target does.
    """
    name = "stimulus" if float(episode.support.inputs["stimulus"].std()) > 0 else "target"
    unit = float(episode.support.inputs[name].std())

    def on(part: Part) -> Part:
        shown = part.inputs[name]
        drawn = torch.randn(shown.shape, generator=stream, dtype=torch.double).to(shown)
        return part._replace(inputs={**part.inputs, name: shown + sd * unit * drawn})

    query = episode.query if episode.query is None or name == "target" else on(episode.query)
    return episode._replace(support=on(episode.support), query=query)


def reversed_half(episode: Episode) -> Episode:
    """Return the episode with what is right turned round half-way.

    With a query, the support is shown twice, the second time with every label moved on by one (or every value with the
    other sign), and queries ask for the new ones. In one sequence, targets change sign half-way, and the second half
    alone counts.
    """
    part, query = episode.support, episode.query
    if query is None:
        half = len(part.target) // 2
        sign = torch.ones_like(part.target)
        sign[half:] = -1
        inputs = {**part.inputs, "target": part.inputs["target"] * sign}
        weight = torch.where(torch.arange(len(sign), device=sign.device)[:, None] < half, 0.0, part.weight)
        return episode._replace(support=part._replace(inputs=inputs, target=part.target * sign, weight=weight), info={})
    labels = _one_hot(part.inputs["target"], part.inputs["teach"])

    def turned(value: Tensor) -> Tensor:
        return value.roll(1, -1) if labels else -value

    again = _shown(episode, turned).support
    pair = [part, again]
    both = Part(
        inputs={name: torch.cat([each.inputs[name] for each in pair]) for name in part.inputs},
        target=torch.cat([each.target for each in pair]),
        weight=torch.cat([part.weight, part.weight]),
        learn=torch.cat([part.learn, part.learn]),
        reset=torch.cat([part.reset, part.reset]),
    )
    return Episode(both, query._replace(target=turned(query.target)))


def first_presentations(episode: Episode, k: int) -> Episode:
    """Return the episode with the first ``k`` items of its support; of one sequence, with its first ``k`` steps."""
    part = episode.support
    inputs = {name: value[:k] for name, value in part.inputs.items()}
    cut = {name: getattr(part, name)[:k] for name in ("target", "weight", "learn", "reset")}
    world = {name: value[:k] for name, value in part.world.items()}
    return episode._replace(support=part._replace(inputs=inputs, world=world, **cut), info={})


def only_steps(episode: Episode, begin: int, end: int) -> Episode:
    """Return one sequence of which only the steps from ``begin`` to before ``end`` count."""
    part = episode.support
    time = torch.arange(len(part.target), device=part.target.device)[:, None]
    return episode._replace(
        support=part._replace(weight=((time >= begin) & (time < end)).to(part.weight).expand_as(part.weight))
    )


def _shown(episode: Episode, change: Callable[[Tensor], Tensor]) -> Episode:
    """Return an episode whose support shows other targets; in one sequence, what is right stays what it was."""
    part = episode.support
    right = part.target if episode.query is None else change(part.target)
    inputs = {**part.inputs, "target": change(part.inputs["target"])}
    return episode._replace(support=part._replace(inputs=inputs, target=right))


def _one_hot(target: Tensor, teach: Tensor) -> bool:
    """Whether targets are labels."""
    known = (target == 0) | (target == 1)
    return target.shape[-1] > 1 and bool(known.all()) and bool((target.sum(-1, keepdim=True) == teach).all())
