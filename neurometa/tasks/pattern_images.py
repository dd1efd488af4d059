"""Image completion: see a few new characters, then complete one of which half is erased (Miconi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import SpecificationError, unknown
from ..streams import generator
from . import get
from ._completion import Completion, over_erased
from ._fewshot import FewShot, distinct
from .base import Episode, Part, check_split

__all__ = ["PatternImages"]

SOURCES, HALVES = ("glyphs", "omniglot"), ("top", "bottom", "random")
RIDGE = 1e-3


@dataclass(frozen=True, kw_only=True)
class PatternImages(Completion):
    """Complete one of a few images that were shown before, each of another class; the upper or lower half is erased.

    Classes of a split never appear in another. Grey values run from -1 (paper) to 1 (ink). The course of an episode is
    that of `Completion`.

    Parameters
    ----------
    source : {"glyphs", "omniglot"}
        The few-shot task whose images, classes and splits are used.
    size : int
        Height and width in pixels, an even number; Omniglot has 28.
    half : {"top", "bottom", "random"}
        Which half is erased; ``random``: either, drawn for each episode.
    n_patterns, n_presentations, n_show, n_gap, n_probe
        As in `Completion`.

    Notes
    -----
    The score is the mean squared error over the erased pixels. Halves of a character go together, so who has not seen
    the images can still do better than the mean image. The floor is the best linear prediction of the erased half from
    the one that is shown, fitted to all images of the training classes (least squares with a ridge of .001 per image)
    and scored on all images of the test classes; the mean image of the training classes is a reference. Who remembers
    the images makes no error (images of one episode with the same half are neglected).

    References
    ----------
    Miconi, Stanley & Clune 2018, doi:10.48550/arXiv.1804.02464 (with natural images of 32 x 32 pixels).

    Examples
    --------
    >>> task = PatternImages(size=8)
    >>> episode = task.sample(torch.Generator().manual_seed(0), 3, "test")
    >>> episode.support.inputs["stimulus"].shape, [int(n) for n in episode.info["erased"].sum(-1)]
    (torch.Size([11, 3, 64]), [32, 32, 32])
    """

    score_name: ClassVar[str] = "squared error"
    higher_is_better: ClassVar[bool] = False

    source: str = "glyphs"
    size: int = 28
    half: str = "random"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        for name, allowed in (("source", SOURCES), ("half", HALVES)):
            if getattr(self, name) not in allowed:
                raise SpecificationError(unknown(name, getattr(self, name), allowed))
        if self.source == "omniglot" and self.size != 28:
            raise SpecificationError(f"PatternImages: size is {self.size}; omniglot has 28; type size=28")
        if self.size < 8 or self.size % 2:
            raise SpecificationError(f"PatternImages: size is {self.size}; allowed: an even number, 8 or more")

    @property
    def n_in(self) -> int:
        """Pixels of an image."""
        return self.size**2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, size, size)``."""
        return (1, self.size, self.size)

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds what `Completion` says, and ``class`` and ``instance`` (batch, pattern).

        Raises
        ------
        DataError
            If splits share a class, or there are fewer classes than patterns.
        """
        check_split(split)
        place = torch.get_default_device() if device is None else torch.device(device)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        source = _source(self.source, self.size)
        ids, images = source.class_ids(split), source.images(split, place)
        if len(ids) < self.n_patterns:
            found = f"n_patterns is {self.n_patterns}, but {split} has {len(ids)} classes"
            raise SpecificationError(f"PatternImages: {found}; allowed: as many or fewer")
        row = distinct(own, n, self.n_patterns, len(ids))  # (batch, pattern)
        instance = torch.randint(images.shape[1], row.shape, generator=own)
        top = {"top": torch.ones(n), "bottom": torch.zeros(n)}.get(self.half, torch.randint(2, (n,), generator=own))
        upper = torch.arange(self.n_in) < self.n_in // 2
        erased = upper == top.bool()[:, None]  # (batch, n_in)
        patterns = _grey(images[row.to(place), instance.to(place)].flatten(2), dtype)  # (batch, pattern, n_in)
        return self._course(own, patterns, erased, {"class": ids[row], "instance": instance})

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean squared error over the erased pixels, ``(batch,)``."""
        return over_erased((output - part.target).square(), part)

    def floor(self) -> float:
        """Return the error of the best linear prediction of one half from the other, fitted to the training classes."""
        return _errors(self.source, self.size, self.half)["linear"]

    def ceiling(self) -> float:
        """Return 0: who remembers the images makes no error."""
        return 0.0

    def references(self) -> dict[str, float]:
        """Return the error of the mean training image on all test images."""
        return {"mean image": _errors(self.source, self.size, self.half)["mean"]}


def _grey(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ink as grey values from -1 to 1, none of which is 0; a product, which every device rounds alike."""
    return images.to(dtype).mul_(1 / 127.5).sub_(1)


@lru_cache(maxsize=8)
def _source(name: str, size: int) -> FewShot:
    """Return the task that has the images, after it was checked."""
    task = get(name)(**({"size": size} if name == "glyphs" else {}))
    assert isinstance(task, FewShot)
    task.assert_disjoint()
    return task


@cache
def _errors(source: str, size: int, half: str) -> dict[str, float]:
    """Fit predictors of the erased half to the training images; return their errors on the test images."""
    task, dtype = _source(source, size), torch.get_default_dtype()
    train, test = (
        _grey(task.images(split, torch.get_default_device()).flatten(2).flatten(0, 1), dtype)
        for split in ("train", "test")
    )
    mean, found = train.mean(0), []
    train, test = train - mean, test - mean
    upper = torch.arange(size**2) < size**2 // 2
    for erased in [upper] * (half != "bottom") + [~upper] * (half != "top"):
        x, y = train[:, ~erased], train[:, erased]
        gram = x.mT @ x + RIDGE * len(x) * torch.eye(x.shape[1]).to(x)
        answer = test[:, ~erased] @ torch.linalg.solve(gram, x.mT @ y)
        found.append([float((test[:, erased] - guess).square().mean()) for guess in (answer, torch.zeros_like(answer))])
    linear, constant = (sum(values) / len(values) for values in zip(*found, strict=True))
    return {"linear": linear, "mean": constant}
