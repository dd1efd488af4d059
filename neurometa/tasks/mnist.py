"""MNIST with random label maps: the digits are old, which of them has which label is new in every episode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..data import MnistArrays, data_root, load_mnist
from ..errors import DataError, SpecificationError
from ._fewshot import FewShot, permutation
from .base import SPLITS

__all__ = ["Mnist"]


@dataclass(frozen=True, kw_only=True)
class Mnist(FewShot):
    """Name handwritten digits, 28x28, ink = 1, whose labels are drawn anew in each episode.

    The ten digits are on all sides, so splits differ in their images: ``n_validation`` images of each digit validate
    and the rest of MNIST's 60,000 train; its 10,000 test. A learner may come to know all digits by heart; their labels
    it can have from the support only. Every digit keeps as many images of a split as the rarest has (4,921 in training,
    892 in the test at the standard numbers), so that all are drawn equally often.

    Parameters
    ----------
    n_way, n_shot, n_query, shuffle_labels, permute_pixels
        As in `FewShot`; at most 10 ways.
    n_validation : int
        Images of each digit that validate.
    split_seed : int
        Seed of their choice; a split is the same on every machine.
    data_root : str
        Folder that holds ``mnist.npz``; by default as `neurometa.data.data_root` finds it.

    Raises
    ------
    SpecificationError
        If a setting is not allowed.
    DataError
        On first use, if the data are missing, damaged or too few.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner 1998, doi:10.1109/5.726791.

    Examples
    --------
    >>> Mnist(n_way=10).n_out, Mnist().image_shape
    (10, (1, 28, 28))
    """

    n_validation: int = 500
    split_seed: int = 0
    data_root: str = ""

    divides: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.n_way > 10:
            raise SpecificationError(f"n_way is {self.n_way}, allowed: 2 to 10, the number of digits")
        if self.n_validation < 1 or self.split_seed < 0:
            raise SpecificationError(
                f"n_validation is {self.n_validation} and split_seed {self.split_seed}, allowed: 1 or more, 0 or more"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, 28, 28)``."""
        return (1, 28, 28)

    def numbers(self, split: str) -> np.ndarray:
        """Return the images of a split, ``(10, instances)``: places in MNIST, its test set counted after the other."""
        arrays = _arrays(data_root(self.data_root or None))
        n = len(arrays.train_labels)
        if split == "test":
            return _rows(arrays.test_labels, n + np.arange(len(arrays.test_labels)))
        order = permutation(self.split_seed, n)
        rows = _rows(arrays.train_labels[order], order)
        if rows.shape[1] <= self.n_validation:
            least = f"{rows.shape[1]} training images of the rarest digit"
            raise DataError(f"n_validation is {self.n_validation}, allowed: less than the {least}")
        return rows[:, : self.n_validation] if split == "validation" else rows[:, self.n_validation :]

    def class_ids(self, split: str) -> Tensor:
        """Return the ten digits, the same for all splits."""
        return torch.arange(10)

    def origins(self, split: str) -> Tensor:
        """Return the images of a split by their numbers."""
        return torch.from_numpy(self.numbers(split).ravel())

    def images(self, split: str, device: torch.device) -> Tensor:
        """Return the images of a split."""
        return _resident(replace(self._plain(), data_root=str(data_root(self.data_root or None))), split, device)


def _rows(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return as many numbers of each digit as the rarest has, in the given order, ``(10, instances)``."""
    least = np.bincount(labels, minlength=10).min()
    return np.stack([numbers[labels == digit][:least] for digit in range(10)])


@lru_cache(maxsize=1)
def _arrays(root: Path) -> MnistArrays:
    """Read the file once."""
    return load_mnist(root)


@lru_cache(maxsize=len(SPLITS))
def _resident(task: Mnist, split: str, device: torch.device) -> Tensor:
    """Keep the images of a split on a device, ``(10, instances, 28, 28)``."""
    arrays, numbers = _arrays(Path(task.data_root)), task.numbers(split)
    n = len(arrays.train_labels)
    images = arrays.test_images[numbers - n] if split == "test" else arrays.train_images[numbers]
    return torch.from_numpy(images).to(device)
