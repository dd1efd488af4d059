"""The official Omniglot zips turned into the arrays of ``omniglot.npz``."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ._npz import UNREADABLE, reason
from .errors import DataError

__all__ = ["grey28", "omniglot_arrays"]

_MEMBER = re.compile(r"(images_\w+)/([^/]+)/character(\d\d)/(\d{4})_(\d\d)\.png")
_VALIDATION = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")


def omniglot_arrays(archives: Iterable[Path]) -> dict[str, np.ndarray]:
    """Turn the official zips into the arrays of ``omniglot.npz``.

    The split of Vinyals et al. 2016 (doi:10.48550/arXiv.1606.04080) over characters is short enough to state: five
    background alphabets validate, the characters from the 42nd of Gurmukhi on test (so that Gurmukhi is on both
    sides), the rest train.
    """
    drawings: dict[tuple[int, str, int], dict[int, tuple[int, bytes]]] = {}
    sets = ("images_background", "images_evaluation")
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as file:
                for member in file.namelist():
                    match = _MEMBER.fullmatch(member)
                    if match and match[1] in sets:
                        key = (sets.index(match[1]), match[2], int(match[3]))
                        drawings.setdefault(key, {})[int(match[5])] = (int(match[4]), file.read(member))
        except UNREADABLE as error:
            raise DataError(f"{archive.name} is not the Omniglot zip ({reason(error)})") from None
    if not drawings:
        raise DataError("the zips hold no Omniglot drawing (images_*/ALPHABET/characterNN/NNNN_NN.png)")
    keys = sorted(drawings)
    full = np.stack([_character(key, drawings[key]) for key in keys])  # (characters, 20, 105, 105) of 0 and 1
    sides = dict.fromkeys((side, alphabet) for side, alphabet, _ in keys)
    order = {alphabet: row for row, (_, alphabet) in enumerate(sides)}
    names = np.array([f"{alphabet}/character{number:02d}" for _, alphabet, number in keys])
    split = np.array([side for side, _, _ in keys], np.uint8)
    vinyals = np.where((split == 1) & (names > "Gurmukhi/character41"), 2, 0)
    vinyals[np.isin([alphabet for _, alphabet, _ in keys], _VALIDATION)] = 1
    return {
        "images28": np.concatenate([grey28(character[None]) for character in full]),
        "images105_packed": np.packbits(full, axis=-1),
        "alphabet": np.array([order[alphabet] for _, alphabet, _ in keys], np.uint8),
        "character": np.array([number for _, _, number in keys], np.uint8),
        "lake_id": np.array([drawings[key][1][0] for key in keys], np.uint16),
        "character_name": names,
        "alphabet_names": np.array(list(order)),
        "alphabet_split": np.array([side for side, _ in sides], np.uint8),
        "split": split,
        "split_names": np.array(sets),
        "vinyals_split": vinyals.astype(np.uint8),
        "vinyals_names": np.array(["train", "val", "test"]),
    }


def _character(key: tuple[int, str, int], drawn: Mapping[int, tuple[int, bytes]]) -> np.ndarray:
    """Decode the 20 drawings of a character, ``(20, 105, 105)``, 1 = ink (the files have black ink on white)."""
    from PIL import Image

    label = f"{key[1]}/character{key[2]:02d}"
    if sorted(drawn) != list(range(1, 21)):
        raise DataError(f"{label} has {len(drawn)} drawings in the zip, expected 20")
    images = []
    for drawer in range(1, 21):
        try:
            with Image.open(io.BytesIO(drawn[drawer][1])) as image:
                images.append(np.asarray(image.convert("L")) < 128)
        except UNREADABLE as error:
            raise DataError(f"{label}, drawer {drawer}, is not a readable image ({reason(error)})") from None
        if images[-1].shape != (105, 105):
            raise DataError(f"{label}, drawer {drawer}, is {images[-1].shape}, expected (105, 105)")
    return np.stack(images).astype(np.uint8)


def grey28(ink: np.ndarray, size: int = 28) -> np.ndarray:
    """Shrink black-and-white drawings to grey ones: the mean over 3 or 4 rows, after that over 3 or 4 columns.

    Both means are rounded to whole grey levels, halves up, which is bit for bit what ``images28`` of the data root
    holds (and what pillow's ``Image.BOX`` gives).

    Parameters
    ----------
    ink : ndarray
        ``(..., h, w)``, 1 = ink.
    size : int
        New height and width.

    Returns
    -------
    ndarray
        ``(..., size, size)`` uint8, ink = 255.

    Examples
    --------
    >>> grey28(np.eye(4, dtype=np.uint8), size=2)
    array([[128,   0],
           [  0, 128]], dtype=uint8)
    """

    def halve(grey: np.ndarray) -> np.ndarray:  # (..., n) -> (..., size)
        edges = (np.arange(size + 1) * grey.shape[-1] / size + 0.5).astype(int)
        total = np.concatenate([np.zeros_like(grey[..., :1]), np.cumsum(grey, -1)], -1)
        width = np.diff(edges)
        return (total[..., edges[1:]] - total[..., edges[:-1]] + width // 2) // width

    grey = halve(np.asarray(ink).astype(int) * 255)
    return halve(grey.swapaxes(-1, -2)).swapaxes(-1, -2).astype(np.uint8)
