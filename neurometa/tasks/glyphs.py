"""Glyphs: thousands of stroke characters drawn from a seed, a stand-in for Omniglot that needs no download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import SpecificationError
from ._fewshot import FewShot

__all__ = ["Glyphs", "draw"]

N_STROKES = 5  # at most, per character
N_POINTS = 32  # along each stroke
SPREAD = {
    "point": 0.08,
    "rotation": 0.12,
    "wide": 0.12,
    "tall": 0.12,
    "shear": 0.12,
    "right": 0.14,
    "down": 0.14,
    "pen": 0.15,
}
"""Standard deviations of what differs between the instances of a class; the square runs from -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class Glyphs(FewShot):
    """Classify characters of two to five random strokes, each drawn by many hands.

    A class is two to five lines and curves (cubic Bezier curves, some of which start where the one before ended). An
    instance moves their control points, goes through a random affine map (rotation, scale, shear, shift), and is drawn
    with a pen of random width.

    Measured, 5-way 1-shot, defaults: a pixel nearest neighbour scores .538 (below; Omniglot .47 to .50), and a
    prototypical network of three stride-2 convolutions of 32 channels scores .934 on the test classes after a minute
    on one core (``pytest -m slow tests/tasks/test_glyphs.py``).

    Parameters
    ----------
    n_way, n_shot, n_query, shuffle_labels, permute_pixels
        As in `FewShot`.
    seed : int
        The alphabet. Class ``k`` is the same however many classes there are.
    n_classes, n_instances : int
        Classes in all, and drawings of each.
    n_held_out, n_validation : int
        The last ``n_held_out`` classes test, the ``n_validation`` before them validate, the rest train.
    size : int
        Height and width in pixels.
    jitter : float
        Multiplies everything in which the instances of a class differ.

    Raises
    ------
    SpecificationError
        If a number is out of range.

    Examples
    --------
    >>> task = Glyphs(n_classes=60, n_held_out=20, n_validation=20)
    >>> episode = task.sample(torch.Generator().manual_seed(0), 3, "test")
    >>> episode.support.inputs["stimulus"].shape, task.floor()
    (torch.Size([5, 3, 784]), 0.2)
    >>> abs(Glyphs().references()["pixel nearest neighbour"] - 0.538) < 0.005
    True
    """

    seed: int = 0
    n_classes: int = 2400
    n_instances: int = 20
    n_held_out: int = 400
    n_validation: int = 200
    size: int = 28
    jitter: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        for name, least in (("seed", 0), ("n_instances", 2), ("n_held_out", 1), ("n_validation", 1), ("size", 8)):
            if getattr(self, name) < least:
                raise SpecificationError(f"{name} is {getattr(self, name)}, allowed: {least} or more")
        if self.n_classes <= self.n_held_out + self.n_validation:
            least = self.n_held_out + self.n_validation + 1
            raise SpecificationError(
                f"n_classes is {self.n_classes}, allowed: {least} or more (train, validation, test)"
            )
        if not 0 <= self.jitter <= 3:
            raise SpecificationError(f"jitter is {self.jitter}, allowed: 0 to 3")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, size, size)``."""
        return (1, self.size, self.size)

    def class_ids(self, split: str) -> Tensor:
        """Return the numbers of the classes of a split."""
        test = self.n_classes - self.n_held_out
        validation = test - self.n_validation
        sides = {"train": (0, validation), "validation": (validation, test), "test": (test, self.n_classes)}
        return torch.arange(*sides[split])

    def images(self, split: str, device: torch.device) -> Tensor:
        """Return the drawings of a split."""
        ids = self.class_ids(split)
        same = replace(self._plain(), n_held_out=1, n_validation=1)
        return _resident(same, device)[int(ids[0]) : int(ids[-1]) + 1]


@lru_cache(maxsize=4)
def _resident(task: Glyphs, device: torch.device) -> Tensor:
    """Keep the drawings of all classes on a device."""
    return torch.from_numpy(draw(task.seed, task.n_classes, task.n_instances, task.size, task.jitter)).to(device)


def draw(seed: int, n_classes: int, n_instances: int = 20, size: int = 28, jitter: float = 1.0) -> np.ndarray:
    """Draw the instances of all classes.

    The ink at a pixel is the line integral along the strokes of a tent as wide as the pen, at most 1, which gives
    smooth edges.

    Parameters
    ----------
    seed, n_classes, n_instances, size, jitter
        As in `Glyphs`.

    Returns
    -------
    ndarray
        ``(n_classes, n_instances, size, size)`` uint8, ink = 255.

    Examples
    --------
    >>> images = draw(0, 3, n_instances=2)
    >>> images.shape, bool((images == draw(0, 4, n_instances=2)[:3]).all())
    ((3, 2, 28, 28), True)
    """
    shapes, hands = (np.random.default_rng([seed, purpose]) for purpose in range(2))
    t = np.linspace(0, 1, N_POINTS)
    basis = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)  # (points, 4)
    grid = (np.arange(size) + 0.5) / size * 2 - 1  # the square runs from -1 to 1
    control, present = _alphabet(shapes, n_classes)
    images = np.empty((n_classes, n_instances, size, size), np.uint8)
    for k in range(n_classes):
        moved, pen = _handwriting(hands, control[k], n_instances, jitter)
        path = basis @ moved  # (instances, strokes, points, 2)
        length = np.linalg.norm(np.gradient(path, axis=-2), axis=-1) * present[k][:, None]
        path = path.reshape(n_instances, -1, 2, 1)  # (instances, all points, 2, 1)
        tent = np.maximum(1 - np.abs(path - grid) / pen[:, None, None, None], 0)  # (instances, all points, 2, size)
        weight = length.reshape(n_instances, -1, 1) / pen[:, None, None]
        ink = (tent[:, :, 1] * weight).swapaxes(1, 2) @ tent[:, :, 0]  # (instances, size, size)
        images[k] = np.minimum(ink * 1.3, 1) * 255 + 0.5
    return images


def _alphabet(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return control points ``(n, strokes, 4, 2)`` and which strokes a class has, ``(n, strokes)``."""
    uniform = rng.random((n, 1 + 10 * N_STROKES))  # one row per class, so that a class does not depend on n
    which, curved, joined = uniform[:, 0], uniform[:, 1 : 1 + N_STROKES], uniform[:, 1 + N_STROKES : 1 + 2 * N_STROKES]
    ends, bend = np.moveaxis(uniform[:, 1 + 2 * N_STROKES :].reshape(n, N_STROKES, 2, 2, 2) * 2 - 1, 2, 0)
    start, stop = 0.75 * ends[:, :, 0], 0.75 * ends[:, :, 1]  # (n, strokes, 2)
    for stroke in range(1, N_STROKES):
        start[:, stroke] = np.where(joined[:, stroke, None] < 0.5, stop[:, stroke - 1], start[:, stroke])
    control = start[:, :, None] + np.linspace(0, 1, 4)[:, None] * (stop - start)[:, :, None]
    control[:, :, 1:3] += 0.9 * bend * (curved < 0.6)[:, :, None, None]
    n_present = 2 + (which * (N_STROKES - 1)).astype(int)  # 2 to N_STROKES
    return control, np.arange(N_STROKES) < n_present[:, None]


def _handwriting(rng: np.random.Generator, control: np.ndarray, n: int, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the control points of ``n`` instances ``(n, strokes, 4, 2)`` and the radii of their pens ``(n,)``."""
    point, *others = SPREAD.values()
    normal = jitter * rng.standard_normal((n, control.size + len(others)))
    turn, wide, tall, shear, right, down, press = normal[:, control.size :].T * np.array(others)[:, None]
    cos, sin, wide, tall = np.cos(turn), np.sin(turn), np.exp(wide), np.exp(tall)
    affine = np.array([[cos * wide, shear - sin * tall], [sin * wide, cos * tall]])  # (2, 2, n)
    moved = control + point * normal[:, : control.size].reshape(n, *control.shape)
    shift = np.stack([right, down], 1)[:, None, None]  # (n, 1, 1, 2)
    return np.einsum("xyn,nkpy->nkpx", affine, moved) + shift, 0.085 * np.exp(press)
