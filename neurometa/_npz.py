"""Reading ``.npz`` files of unknown origin: no pickle, and one error with the path for whatever is wrong."""

from __future__ import annotations

import io
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from .errors import DataError

__all__ = ["UNREADABLE", "read_npz", "reason"]

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OverflowError,
    tokenize.TokenError,
)
"""What numpy, zipfile and pillow raise for a damaged, foreign or unreadable file."""


def read_npz(path: str | os.PathLike[str], keys: Iterable[str], fix: str = "") -> dict[str, np.ndarray]:
    """Read named arrays of an ``.npz`` file, never unpickling.

    Parameters
    ----------
    path : path
        The file.
    keys : iterable of str
        Arrays to read; all must be there.
    fix : str
        What to type where the file is damaged, for the message.

    Returns
    -------
    dict of str to ndarray
        The arrays.

    Raises
    ------
    DataError
        If the file is not an npz file, is damaged, holds Python objects, or lacks an array.
    """
    wanted = list(keys)
    hint = f"; {fix}" if fix else ""
    try:
        with zipfile.ZipFile(path) as file:
            found = [name.removesuffix(".npy") for name in file.namelist()]
            absent = [key for key in wanted if key not in found]
            if absent:
                raise DataError(f"{path} lacks {', '.join(absent)}; it holds {', '.join(found) or 'nothing'}{hint}")
            # Members are read whole, so that their checksum is verified: np.load stops where the header says.
            return {key: _read_array(file.read(f"{key}.npy")) for key in wanted}
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{path} is not a readable .npz file ({reason(error)}){hint}") from None


def _read_array(content: bytes) -> np.ndarray:
    """Read one array of an archive."""
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def reason(error: BaseException) -> str:
    """Return the first line of an error, after its type.

    Examples
    --------
    >>> reason(EOFError("no data left"))
    'EOFError: no data left'
    """
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
