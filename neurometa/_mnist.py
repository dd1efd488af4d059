"""The four MNIST files (idx format, gzip) turned into the arrays of ``mnist.npz``."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ._npz import reason
from .errors import DataError

__all__ = ["FILES", "mnist_arrays", "read_idx"]

#: File -> the array that is made from it, and its number of axes.
FILES = {
    "train-images-idx3-ubyte.gz": ("train_images", 3),
    "train-labels-idx1-ubyte.gz": ("train_labels", 1),
    "t10k-images-idx3-ubyte.gz": ("test_images", 3),
    "t10k-labels-idx1-ubyte.gz": ("test_labels", 1),
}
LARGEST = 1 << 28
"""Bytes that are unpacked at most; the largest of the four files has 47,040,016."""


def mnist_arrays(files: Iterable[Path]) -> dict[str, np.ndarray]:
    """Read the four files.

    Returns
    -------
    dict of str to ndarray
        ``train_images`` (60000, 28, 28) uint8, ink = 255, ``train_labels`` (60000,), and the same of ``test`` (10000).

    Raises
    ------
    DataError
        If a file is missing or is not what its name says.
    """
    given = {file.name: file for file in files}
    absent = [name for name in FILES if name not in given]
    if absent:
        raise DataError(f"MNIST lacks {', '.join(absent)}; it has the files {', '.join(FILES)}")
    return {name: read_idx(given[file], n_axes) for file, (name, n_axes) in FILES.items()}


def read_idx(file: Path, n_axes: int) -> np.ndarray:
    """Read a gzip-compressed idx file of bytes.

    The header is two zero bytes, the type (8: unsigned byte), the number of axes, and the length of each as a
    big-endian 32-bit integer; the values follow, the last axis fastest.

    Parameters
    ----------
    file : path
        The file.
    n_axes : int
        Axes that it must have.

    Returns
    -------
    ndarray
        uint8.

    Raises
    ------
    DataError
        If the file is not readable, or its length does not fit its header.
    """
    try:
        with gzip.open(file) as unpacked:
            content = unpacked.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file.name} is not a readable gzip file ({reason(error)})") from None
    start = 4 + 4 * n_axes
    if len(content) < start or content[:4] != bytes((0, 0, 8, n_axes)):
        raise DataError(f"{file.name} is not an idx file of bytes with {n_axes} axes; it begins with {content[:4]!r}")
    shape = struct.unpack(f">{n_axes}I", content[4:start])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - start != expected:
        found = f"{len(content) - start:,}" if len(content) <= LARGEST else f"more than {LARGEST:,}"
        raise DataError(f"{file.name} holds {found} values, but its header says {shape}, which is {expected:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
