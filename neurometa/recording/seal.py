"""The seal of a file: a SHA-256 after its end, where HDF5 does not look."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import RecordingError
from ..files import reason

__all__ = ["check_seal", "sealed"]

_MARK = b"\nneurometa sha256 "
_LENGTH = len(_MARK) + 64 + 1
_BLOCK = 2**22
#: HDF5 aborts the whole process on some damaged files, so that this is nothing to do by habit.
_ANYWAY = "; if you changed it yourself, open_recording(path, verify=False) reads it"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def sealed(image: bytes) -> bytes:
    """Return an image of a file with its seal."""
    return b"".join((image, _MARK, hashlib.sha256(image).hexdigest().encode(), b"\n"))


def check_seal(path: Path) -> None:
    """Read a whole file and hold it against its seal.

    Raises
    ------
    RecordingError
        If it cannot be read, is no HDF5 file, has no seal, or not this one.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(_HDF5))
            size = file.seek(0, 2)
            file.seek(max(0, size - _LENGTH))
            end = file.read()
            digest, left = hashlib.sha256(), size - _LENGTH
            file.seek(0)
            while left > 0:
                block = file.read(min(_BLOCK, left))
                digest.update(block)
                left -= len(block) or left
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {reason(error)}") from None
    if start != _HDF5:
        raise RecordingError(f"{path} is not a recording (no HDF5 file); make one with 'neurometa record RUN'")
    if not end.startswith(_MARK):
        raise RecordingError(
            f"{path} was cut short or changed after it was written, or is no recording: its seal is missing{_ANYWAY}"
        )
    if end != _MARK + digest.hexdigest().encode() + b"\n":
        raise RecordingError(f"{path} is damaged: its checksum does not fit{_ANYWAY}")
