"""Few-shot image classification: show each of a few new classes once or so, then name new examples of them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, SpecificationError
from ..streams import generator
from ._classification import Classification
from .base import SPLITS, Episode, Part, check_split

__all__ = ["FewShot", "distinct", "permutation"]


@dataclass(frozen=True, kw_only=True)
class FewShot(Classification):
    """Base of the few-shot classification tasks; a final class supplies images and the identity of its classes.

    Splits differ in their classes. Where all classes are on every side, they differ in their images: such a task says
    ``divides = "images"`` and returns the identities of its images as `origins`.

    An episode draws ``n_way`` classes without replacement, labels them in random order, and shows ``n_shot`` instances
    of each in random order (the support); each of the ``n_query`` queries is of a class drawn uniformly among the
    ``n_way`` and is an instance that was not shown. Activity starts from rest at every presentation. Ink is 1, paper 0.
    ``info`` holds ``class`` and ``instance``, ``(support + query time, batch)``.

    Parameters
    ----------
    n_way : int
        Classes per episode.
    n_shot : int
        Presentations of each class.
    n_query : int
        Queries per episode, over all classes.
    shuffle_labels : bool
        Control: the labels shown go through a uniform random permutation, drawn for each episode independently of the
        query labels, so that nobody can score above chance. The images stay the same.
    permute_pixels : bool
        Each episode shows all its images with their pixels in an order of its own, uniform and at random, so that no
        feature that was learned from other episodes says anything.

    Raises
    ------
    SpecificationError
        If a number is too small.
    """

    n_way: int = 5
    n_shot: int = 1
    n_query: int = 5
    shuffle_labels: bool = False
    permute_pixels: bool = False

    divides: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("n_way", 2), ("n_shot", 1), ("n_query", 1)):
            if getattr(self, name) < least:
                raise SpecificationError(f"{name} is {getattr(self, name)}, allowed: {least} or more")

    @abstractmethod
    def images(self, split: str, device: torch.device) -> Tensor:
        """Return all images of a split, ``(classes, instances, h, w)`` uint8, ink = 255, resident on a device."""

    @abstractmethod
    def class_ids(self, split: str) -> Tensor:
        """Return what identifies each class (row) of `images` over all splits, ``(classes,)`` integers on the CPU."""

    def origins(self, split: str) -> Tensor:
        """Return what each class was made from (or each image): what has one origin must be on one side."""
        return self.class_ids(split)

    @property
    def n_in(self) -> int:
        """Number of pixels."""
        shape = self.image_shape
        return shape[0] * shape[1] * shape[2]

    @property
    def n_out(self) -> int:
        """Number of labels."""
        return self.n_way

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, height, width)``."""

    def assert_disjoint(self) -> None:
        """Check that no class (or image), and nothing that one was made from, is on two sides.

        Raises
        ------
        DataError
            Naming the two splits and an origin that they share.
        """
        sides = {split: self.origins(split).unique() for split in SPLITS}
        for i, first in enumerate(SPLITS):
            for second in SPLITS[i + 1 :]:
                shared = sides[first][torch.isin(sides[first], sides[second])]
                if len(shared):
                    found = f"{first} and {second} share {len(shared)} of their {self.divides}"
                    raise DataError(f"{type(self).__name__}: {found} (such as {int(shared[0])}); allowed: none")

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` tasks at once; all draws are made on the CPU, so every device gives the same episode.

        Parameters
        ----------
        stream : torch.Generator
            CPU generator.
        n : int
            Number of tasks.
        split : {"train", "validation", "test"}
            Where the classes come from.
        device, dtype
            Of the tensors; by default torch's.

        Returns
        -------
        Episode
            Support of ``n_way*n_shot`` presentations, query of ``n_query``.

        Raises
        ------
        DataError
            If the split has too few classes or instances, or shares classes with another.
        """
        check_split(split)
        place = torch.get_default_device() if device is None else torch.device(device)
        kind = torch.get_default_dtype() if dtype is None else dtype
        ids, images = _pool(self, split), self.images(split, place)
        n_instances, n_support = images.shape[1], self.n_way * self.n_shot
        row, instance, label, shown = self._draw(stream, n, len(ids), n_instances)
        index, labels = torch.stack([row * n_instances + instance, torch.cat([shown, label[n_support:]])]).to(place)
        pixels = images.flatten(0, 1).flatten(1).index_select(0, index.flatten())  # (time*batch, h*w)
        # A product, not a quotient: by a constant the latter rounds otherwise on a GPU.
        pixels = pixels.to(kind).mul_(1 / 255).reshape(*index.shape, -1)  # (time, batch, h*w)
        if self.permute_pixels:
            order = _integers(stream, n, self.n_in).argsort(-1).to(place)  # (batch, h*w)
            pixels = pixels.gather(-1, order.expand_as(pixels))
        target = (labels[..., None] == torch.arange(self.n_way, device=place)).to(kind)  # (time, batch, n_way)
        support, query = (
            self._part(pixels[times], target[times], is_support)
            for times, is_support in ((slice(n_support), True), (slice(n_support, None), False))
        )
        return Episode(support, query, {"class": ids[row], "instance": instance})

    def _draw(self, stream: torch.Generator, n: int, n_classes: int, n_instances: int) -> tuple[Tensor, ...]:
        """Draw rows, instances and labels, each ``(time, batch)``, and the labels shown, ``(support time, batch)``."""
        n_way, n_shot = self.n_way, self.n_shot
        order = _integers(stream, 2, n, n_way).argsort(-1)  # label order; labels of the control
        rows = distinct(stream, n, n_way, n_classes).gather(1, order[0])  # (batch, way): the row behind each label
        seen = distinct(stream, n * n_way, n_shot, n_instances).sort(-1).values.reshape(n, n_way, n_shot)
        slot = _integers(stream, n, n_way * n_shot).argsort(-1)  # (batch, support time)
        asked, other = _integers(stream, 2, n, self.n_query)
        asked, other = asked % n_way, other % (n_instances - n_shot)  # (batch, query time)
        for shot in range(n_shot):  # count over the instances that were not shown
            other = other + (other >= seen[..., shot].gather(1, asked))
        label = torch.cat([slot // n_shot, asked], 1)  # (batch, time)
        instance = torch.cat([seen.flatten(1).gather(1, slot), other], 1)
        shown = label[:, : n_way * n_shot]
        if self.shuffle_labels:
            shown = order[1].gather(1, shown)
        return rows.gather(1, label).T, instance.T, label.T, shown.T

    def _plain(self) -> Self:
        """Return the task without its episode settings: tasks over the same images have the same one, a cache key."""
        plain = {"n_way": FewShot.n_way, "n_shot": FewShot.n_shot, "n_query": FewShot.n_query}
        return replace(self, **plain, shuffle_labels=False, permute_pixels=False)

    def _part(self, stimulus: Tensor, target: Tensor, is_support: bool) -> Part:
        """Lay out one part."""
        ones = torch.ones_like(target[..., :1])  # (time, batch, 1)
        on = torch.ones_like(ones[:, 0, 0], dtype=torch.bool)  # (time,)
        shown = (target, ones) if is_support else (torch.zeros_like(target), torch.zeros_like(ones))
        inputs = {"stimulus": stimulus, "target": shown[0], "teach": shown[1]}
        return Part(inputs, target, ones[..., 0], on if is_support else ~on, on)

    def floor(self) -> float:
        """Return chance, ``1/n_way``."""
        return 1 / self.n_way

    def references(self) -> dict[str, float]:
        """Return the accuracy of the nearest support image (cosine of pixels) on 4,000 fixed test episodes."""
        return {"pixel nearest neighbour": _pixel_nearest_neighbour(self)}


def _integers(stream: torch.Generator, *shape: int) -> Tensor:
    """Draw integers below 2**62, to be sorted or reduced modulo a small number (bias below 1e-15)."""
    return torch.randint(1 << 62, shape, generator=stream, device=stream.device)


def distinct(stream: torch.Generator, n: int, k: int, m: int) -> Tensor:
    """Draw ``n`` uniform random subsets of ``k`` out of ``m`` numbers (Floyd's algorithm, all rows at once).

    The cost does not depend on ``m``. Every subset is equally likely, but the order within a row is not random.

    Parameters
    ----------
    stream : torch.Generator
        CPU generator.
    n, k, m : int
        Rows, numbers in a row, and numbers to choose from.

    Returns
    -------
    Tensor
        ``(n, k)`` integers from 0 to ``m - 1``.

    Examples
    --------
    >>> distinct(torch.Generator().manual_seed(0), 2, 3, 3).sort(-1).values.tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    last = torch.arange(m - k, m, device=stream.device)  # the largest number that each column may take
    chosen = _integers(stream, n, k) % (last + 1)
    for column in range(1, k):
        taken = (chosen[:, :column] == chosen[:, column : column + 1]).any(1)
        chosen[:, column] = torch.where(taken, last[column], chosen[:, column])
    return chosen


def permutation(seed: int, n: int) -> np.ndarray:
    """Return a permutation of ``n`` numbers that depends on the seed only, on every machine and version.

    It sorts the raw output of PCG64, whose stream numpy guarantees (unlike that of ``Generator.permutation``), so a
    split of classes is fixed for good.

    Examples
    --------
    >>> permutation(0, 6)
    array([3, 2, 1, 0, 4, 5])
    """
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


@lru_cache(maxsize=32)
def _pool(task: FewShot, split: str) -> Tensor:
    """Return the class ids of a split, after the checks that are made once."""
    task.assert_disjoint()
    ids = task.class_ids(split)
    n_instances = task.images(split, ids.device).shape[1]
    if len(ids) < task.n_way or n_instances <= task.n_shot:
        needed = f"{task.n_way}-way {task.n_shot}-shot needs {task.n_way} of {task.n_shot + 1}"
        raise DataError(f"{type(task).__name__}: {split} has {len(ids)} classes of {n_instances} instances; {needed}")
    return ids


@lru_cache(maxsize=32)
def _pixel_nearest_neighbour(task: FewShot, n_episodes: int = 4000, batch: int = 500) -> float:
    """Measure the nearest neighbour on test episodes."""
    stream, scores = generator(0, "references"), []
    for _ in range(0, n_episodes, batch):
        episode = task.sample(stream, batch, "test")
        support, query = episode.support, episode.scored
        known, new = (part.inputs["stimulus"].transpose(0, 1) for part in (support, query))  # (batch, time, pixels)
        cosine = new @ torch.nn.functional.normalize(known, dim=-1).mT  # (batch, query, support)
        nearest = cosine.argmax(-1).T[..., None].expand(-1, -1, task.n_way)  # (query, batch, way)
        scores.append(task.score(support.target.gather(0, nearest), query))
    return float(torch.cat(scores).mean())
