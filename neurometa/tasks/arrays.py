"""Arrays: few-shot classification of anybody's own images, from an ``.npz`` file or a folder of classes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import UNREADABLE, read_npz
from ..errors import DataError, SpecificationError
from ._fewshot import FewShot, permutation
from .base import SPLITS

__all__ = ["Arrays", "read_classes"]

SUFFIXES = (".png", ".jpg", ".jpeg")
ALLOWED = "an .npz file with 'images' (classes, instances, h, w) uint8, or a folder with one sub-folder of .png/.jpg \
images or one .npy file (instances, h, w) uint8 per class"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Arrays(FewShot):
    """Classify your own images: classes of a test split are never seen in training.

    Parameters
    ----------
    n_way, n_shot, n_query, shuffle_labels, permute_pixels
        As in `FewShot`.
    path : str
        An ``.npz`` file with an array ``images`` (classes, instances, h, w) uint8, or a folder that holds, for each
        class, a sub-folder of ``.png`` or ``.jpg`` images or an ``.npy`` file (instances, h, w) uint8. Colours become
        grey. Where classes differ in size, each keeps as many images (by name) as the smallest has, and a warning says
        so.
    size : int
        Height and width to which images are resized (box filter; other shapes than squares are squeezed).
    invert : bool
        For dark ink on light paper: the network is shown 1 for ink.
    validation, test : float
        Shares of the classes on these sides; the rest train.
    split_seed : int
        Seed of the permutation of the classes, the same on every machine.

    Raises
    ------
    SpecificationError
        If a setting is out of range.
    DataError
        On first use, if there is nothing usable at ``path``.

    Examples
    --------
    >>> Arrays(path="my_symbols", size=32).n_in
    1024
    """

    path: str = ""
    size: int = 28
    invert: bool = False
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.size < 4 or self.split_seed < 0:
            raise SpecificationError(
                f"size is {self.size} and split_seed {self.split_seed}, allowed: size 4 or more, split_seed 0 or more"
            )
        if not (0 < self.validation and 0 < self.test and self.validation + self.test < 1):
            raise SpecificationError(
                f"validation is {self.validation} and test {self.test}, allowed: both above 0, sum below 1"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, size, size)``."""
        return (1, self.size, self.size)

    def class_ids(self, split: str) -> Tensor:
        """Return the rows of a split in `read_classes`' array, ascending."""
        n = len(_resident(self.path, self.size, self.invert))
        order = permutation(self.split_seed, n)
        n_test, n_validation = round(self.test * n), round(self.validation * n)
        sides = dict(zip(SPLITS[::-1], np.split(order, [n_test, n_test + n_validation]), strict=True))
        return torch.from_numpy(np.sort(sides[split]))

    def images(self, split: str, device: torch.device) -> Tensor:
        """Return the images of a split."""
        return _on_device(self._plain(), split, device)


@lru_cache(maxsize=6)
def _on_device(task: Arrays, split: str, device: torch.device) -> Tensor:
    """Keep the images of a split on a device."""
    images = torch.from_numpy(_resident(task.path, task.size, task.invert))
    return images[task.class_ids(split)].to(device)


@lru_cache(maxsize=2)
def _resident(path: str, size: int, invert: bool) -> np.ndarray:
    """Keep all images in memory."""
    images = read_classes(path, size)
    return 255 - images if invert else images


def read_classes(path: str, size: int = 28) -> np.ndarray:
    """Read the images of all classes.

    Parameters
    ----------
    path, size
        As in `Arrays`.

    Returns
    -------
    ndarray
        ``(classes, instances, size, size)`` uint8; classes of a folder are in the order of their names.

    Raises
    ------
    DataError
        If there is nothing at the path, or something that is not images.
    """
    place = Path(path).expanduser()
    if not path:
        raise DataError(f"arrays needs path: {ALLOWED}")
    if place.is_file():
        images = read_npz(place, ["images"])["images"]
        _check(images, place, 4, "(classes, instances, h, w)")
        return _resize(images, size)
    if not place.is_dir():
        raise DataError(f"there is nothing at {place}; path is {ALLOWED}")
    entries = [entry for entry in sorted(place.iterdir()) if not entry.name.startswith(".")]
    classes = {
        entry.name: _read_folder(entry, size) if entry.is_dir() else _read_npy(entry, size)
        for entry in entries
        if entry.is_dir() or entry.suffix == ".npy"
    }
    if not classes:
        raise DataError(f"{place} holds no class; path is {ALLOWED}")
    smallest = min(classes, key=lambda name: len(classes[name]))
    n = len(classes[smallest])
    if any(len(images) > n for images in classes.values()):
        log.warning("%s: each class keeps %d images, as many as '%s' has", place, n, smallest)
    return np.stack([images[:n] for images in classes.values()])


def _check(images: np.ndarray, path: Path, n_axes: int, shape: str) -> None:
    """Refuse what is not a pile of images."""
    if images.ndim != n_axes or images.dtype.name != "uint8" or not images.size:
        raise DataError(f"{path}: images are {images.dtype}{images.shape}, allowed: uint8 {shape}, not empty")


def _read_folder(folder: Path, size: int) -> np.ndarray:
    """Read the image files of one class."""
    from PIL import Image

    images = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            try:
                with Image.open(file) as image:
                    images.append(np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX)))
            except (*UNREADABLE, Image.DecompressionBombError) as error:
                raise DataError(f"{file} is not a readable image ({type(error).__name__})") from None
    if not images:
        raise DataError(f"{folder} holds no image, allowed: {', '.join(SUFFIXES)}")
    return np.stack(images)


def _read_npy(file: Path, size: int) -> np.ndarray:
    """Read the array of one class."""
    try:
        images = np.load(file, allow_pickle=False)
    except UNREADABLE as error:
        raise DataError(f"{file} is not a readable .npy file ({type(error).__name__})") from None
    if not isinstance(images, np.ndarray):
        raise DataError(f"{file} is an .npz archive, allowed: one array (instances, h, w) uint8")
    _check(images, file, 3, "(instances, h, w)")
    return _resize(images, size)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize ``(..., h, w)`` to ``(..., size, size)``."""
    if images.shape[-2:] == (size, size):
        return images
    from PIL import Image

    flat = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
        for image in images.reshape(-1, *images.shape[-2:])
    ]
    return np.stack(flat).reshape(*images.shape[:-2], size, size)
