"""Omniglot: handwritten characters of 50 alphabets, with splits that do not leak (Lake et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import OmniglotArrays, data_root, load_omniglot
from ..errors import SpecificationError, unknown
from ._fewshot import FewShot, permutation
from .base import SPLITS

__all__ = ["SCHEMES", "Omniglot"]

SCHEMES = ("miconi", "vinyals", "background")


@dataclass(frozen=True, kw_only=True)
class Omniglot(FewShot):
    """Classify handwritten characters, 28x28, ink = 1, 20 drawers each.

    A pixel nearest neighbour scores 46.9 % on 5-way 1-shot with the test characters of the Vinyals split, upright. A
    learner reads its result against that, not against 20 %; and a network that never changes reaches 96.7 % at 20-way
    (Raghu et al. 2020), so Omniglot tests engineering, not rules. Two drawings are the same (Braille character01,
    drawers 3 and 19), and the Vinyals split has the alphabet Gurmukhi, though no character, on both sides.

    Parameters
    ----------
    n_way, n_shot, n_query, shuffle_labels, permute_pixels
        As in `FewShot`.
    split_scheme : {"miconi", "vinyals", "background"}
        ``miconi``: ``n_held_out`` random characters test, ``n_validation`` further ones validate (Miconi et al. 2018).
        ``vinyals``: 1028 / 172 / 423 characters, by alphabet (Vinyals et al. 2016). ``background``: the background
        alphabets train, less ``n_validation`` random characters; the evaluation alphabets test (Lake et al. 2015).
    split_seed : int
        Seed of the random choices above; a split is the same on every machine.
    n_held_out, n_validation : int
        Characters on the test and on the validation side, where the scheme lets one choose.
    rotations : bool
        Each character, turned by 0, 90, 180 and 270 degrees, is four classes, all on the character's side.
    data_root : str
        Folder that holds ``omniglot.npz``; by default as `neurometa.data.data_root` finds it.

    Raises
    ------
    SpecificationError
        If a setting is not allowed.
    DataError
        On first use, if the data are missing or damaged.

    References
    ----------
    Lake et al. 2015, doi:10.1126/science.aab3050. Vinyals et al. 2016, doi:10.48550/arXiv.1606.04080. Miconi et al.
    2018, doi:10.48550/arXiv.1804.02464. Raghu et al. 2020, doi:10.48550/arXiv.1909.09157.

    Examples
    --------
    >>> Omniglot(n_way=20).n_out, Omniglot().image_shape
    (20, (1, 28, 28))
    """

    split_scheme: str = "miconi"
    split_seed: int = 0
    n_held_out: int = 100
    n_validation: int = 100
    rotations: bool = True
    data_root: str = ""

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.split_scheme not in SCHEMES:
            raise SpecificationError(unknown("split_scheme", self.split_scheme, SCHEMES))
        if self.split_seed < 0:
            raise SpecificationError(f"split_seed is {self.split_seed}, allowed: 0 or more")
        for name in ("n_held_out", "n_validation"):
            if not 1 <= getattr(self, name) <= 800:
                raise SpecificationError(f"{name} is {getattr(self, name)}, allowed: 1 to 800 characters")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(1, 28, 28)``."""
        return (1, 28, 28)

    def characters(self, split: str) -> np.ndarray:
        """Return the characters of a split, rows of `neurometa.data.load_omniglot`'s arrays, ascending."""
        arrays = _arrays(data_root(self.data_root or None))
        side = arrays.vinyals_split
        if self.split_scheme == "miconi":
            order = permutation(self.split_seed, len(side))
            side = np.zeros_like(side)
            side[order[: self.n_held_out]] = 2
            side[order[self.n_held_out : self.n_held_out + self.n_validation]] = 1
        elif self.split_scheme == "background":
            background = np.flatnonzero(arrays.split == 0)
            side = np.where(arrays.split == 0, 0, 2)
            side[background[permutation(self.split_seed, len(background))[: self.n_validation]]] = 1
        return np.flatnonzero(side == SPLITS.index(split))

    def class_ids(self, split: str) -> Tensor:
        """Return ``4*character + quarter turns`` (turns are 0 without rotations), in the order of `images`."""
        turns = np.arange(4 if self.rotations else 1)
        return torch.from_numpy((4 * self.characters(split)[:, None] + turns).ravel())

    def origins(self, split: str) -> Tensor:
        """Return the characters from which the classes were made."""
        return self.class_ids(split) // 4

    def images(self, split: str, device: torch.device) -> Tensor:
        """Return the images of a split."""
        return _resident(replace(self._plain(), data_root=str(data_root(self.data_root or None))), split, device)


@lru_cache(maxsize=1)
def _arrays(root: Path) -> OmniglotArrays:
    """Read the file once."""
    return load_omniglot(root)


@lru_cache(maxsize=6)
def _resident(task: Omniglot, split: str, device: torch.device) -> Tensor:
    """Keep the images of a split on a device, ``(classes, 20, 28, 28)``, in the order of the class ids."""
    upright = _arrays(Path(task.data_root)).images28[task.characters(split)]
    images = torch.from_numpy(upright).to(device)
    if not task.rotations:
        return images
    return torch.stack([images.rot90(turn, (-2, -1)) for turn in range(4)], 1).flatten(0, 1)
