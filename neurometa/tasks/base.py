"""What a task is: a seeded source of episodes with a loss, a score, a floor and, where one exists, a ceiling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..errors import SpecificationError, unknown

__all__ = ["SPLITS", "Episode", "Interactive", "Part", "Task", "check_split", "first", "join", "responder", "tile"]

SPLITS = ("train", "validation", "test")


class Part(NamedTuple):
    """A sequence that is shown to a network, with what it should have answered.

    Attributes
    ----------
    inputs : mapping of str to Tensor
        Input population -> activity, ``(time, batch, n)``. The standard populations are ``stimulus`` (``n_in``; images
        are flattened), ``target`` (``n_out``: the label or value that is shown, 0 where none is) and ``teach``
        (1: 1 while the target is shown).
    target : Tensor
        Right answers, ``(time, batch, n_out)``; labels are one-hot.
    weight : Tensor
        Weight of each step in loss and score, ``(time, batch)``.
    learn : Tensor
        Boolean ``(time,)``: the plasticity rule is on.
    reset : Tensor
        Boolean ``(time,)``: activity goes back to its start before this step; weights are kept.
    world : mapping of str to Tensor
        What an `Interactive` task has drawn and a network never sees, ``(time, batch, n)``: what each choice would
        bring, and the random numbers by which choices are made.
    """

    inputs: Mapping[str, Tensor]
    target: Tensor
    weight: Tensor
    learn: Tensor
    reset: Tensor
    world: Mapping[str, Tensor] = {}


class Episode(NamedTuple):
    """One batch of tasks: a support part, and a query part where the task separates the two.

    Without a query part the loss is taken over the support sequence itself, which the network answers as it goes.
    ``info`` holds latent variables for observers and plots, never shown to a network.
    """

    support: Part
    query: Part | None = None
    info: Mapping[str, Tensor] = {}

    @property
    def scored(self) -> Part:
        """The part over which loss and score are taken."""
        return self.support if self.query is None else self.query


def tile(episode: Episode, copies: int) -> Episode:
    """Return an episode whose batch is repeated ``copies`` times over, for as many versions of the parameters."""

    def repeat(part: Part) -> Part:
        inputs = {name: value.repeat(1, copies, 1) for name, value in part.inputs.items()}
        world = {name: value.repeat(1, copies, 1) for name, value in part.world.items()}
        target, weight = part.target.repeat(1, copies, 1), part.weight.repeat(1, copies)
        return part._replace(inputs=inputs, target=target, weight=weight, world=world)

    return Episode(repeat(episode.support), None if episode.query is None else repeat(episode.query))


def join(episodes: Sequence[Episode]) -> Episode:
    """Return episodes of one task as one batch, side by side in the given order; ``info`` is left out."""

    def beside(parts: Sequence[Part]) -> Part:
        inputs = {name: torch.cat([part.inputs[name] for part in parts], 1) for name in parts[0].inputs}
        world = {name: torch.cat([part.world[name] for part in parts], 1) for name in parts[0].world}
        target, weight = torch.cat([part.target for part in parts], 1), torch.cat([part.weight for part in parts], 1)
        return parts[0]._replace(inputs=inputs, target=target, weight=weight, world=world)

    queries = [episode.query for episode in episodes if episode.query is not None]
    return Episode(beside([episode.support for episode in episodes]), beside(queries) if queries else None)


def first(episode: Episode, n: int) -> Episode:
    """Return the first ``n`` tasks of an episode, their latent variables included."""
    batch = episode.support.target.shape[1]

    def of(part: Part) -> Part:
        inputs = {name: value[:, :n] for name, value in part.inputs.items()}
        world = {name: value[:, :n] for name, value in part.world.items()}
        return part._replace(inputs=inputs, target=part.target[:, :n], weight=part.weight[:, :n], world=world)

    info = {name: value.narrow(batch_axis(value, batch), 0, n) for name, value in episode.info.items()}
    return Episode(of(episode.support), None if episode.query is None else of(episode.query), info)


def batch_axis(latent: Tensor, batch: int) -> int:
    """Return the axis of a latent variable on which tasks lie: the first, or the second after time."""
    return 0 if latent.shape[0] == batch and (latent.ndim < 2 or latent.shape[1] != batch) else 1


class Task(ABC):
    """Base of every task. Final classes are frozen dataclasses of settings, one file each.

    Class attributes
    ----------------
    score_name : str
        What `score` measures, such as ``"accuracy"``.
    higher_is_better : bool
        Direction of the score.
    """

    score_name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    @property
    @abstractmethod
    def n_in(self) -> int:
        """Size of the ``stimulus`` population."""

    @property
    @abstractmethod
    def n_out(self) -> int:
        """Size of the answer."""

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """``(channels, height, width)`` where the stimulus is a flattened image."""
        return None

    @abstractmethod
    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` tasks at once.

        Parameters
        ----------
        stream : torch.Generator
            CPU generator; the same state gives the same episode on any device.
        n : int
            Number of tasks (the batch axis).
        split : {"train", "validation", "test"}
            Never mixed.
        device, dtype
            Where and how the episode's tensors are made.
        """

    @abstractmethod
    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the loss per task ``(batch,)`` of an output ``(time, batch, n_out)``."""

    @abstractmethod
    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the score per task ``(batch,)`` of an output ``(time, batch, n_out)``."""

    @abstractmethod
    def floor(self) -> float:
        """Return the score of the best predictor that ignores the support set."""

    def ceiling(self) -> float | None:
        """Return the score of the ideal observer, or None where it is not known."""
        return None

    def references(self) -> dict[str, float]:
        """Return scores of further predictors that need no training, such as a pixel nearest neighbour."""
        return {}


class Interactive(Task):
    """A task in which what is shown next depends on what the network does.

    Everything that chance decides is drawn beforehand and lies in `Part.world`: what each choice would bring, and the
    numbers by which choices are made. An episode is therefore a function of the network's output alone. The same
    episode and the same network give the same course, for any learner and outer algorithm, and loss and score work
    out from an output what was done and what came of it. Inputs of the episode as it is drawn are those that do not
    depend on choices.
    """

    @abstractmethod
    def respond(self, part: Part, t: int, output: Tensor) -> Mapping[str, Tensor]:
        """Return the inputs of step ``t + 1`` that follow from the output ``(batch, n_out)`` at step ``t``.

        Parameters
        ----------
        part : Part
            The episode, as it was drawn.
        t : int
            Step, from 0 to the last but one.
        output : Tensor
            ``(batch, n_out)``.

        Returns
        -------
        mapping of str to Tensor
            Input population -> ``(batch, n)``; those that are left out stay as they were drawn.
        """


def responder(task: Task, part: Part) -> Callable[[int, Tensor], Mapping[str, Tensor]] | None:
    """Return ``respond(t, output)`` of an interactive task on one part; None for any other task."""
    return partial(task.respond, part) if isinstance(task, Interactive) else None


def check_split(split: str) -> None:
    """Refuse a split that is not one of `SPLITS`."""
    if split not in SPLITS:
        raise SpecificationError(unknown("split", split, SPLITS))
