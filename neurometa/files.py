"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import NeurometaError, RunError

__all__ = ["reason", "write_atomically"]


def write_atomically(path: Path, write: Callable[[Any], Any], error: type[NeurometaError] = RunError) -> None:
    """Write a file through a temporary one: afterwards the old or the new file is there, whole.

    Parameters
    ----------
    path : Path
        What is written.
    write : callable
        Receives the open binary file.
    error : type
        What is raised.

    Raises
    ------
    NeurometaError
        Of the given type, if the file cannot be written (target not writable, disk full, size limit); the old file is
        untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as caught:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(caught, OSError):
            raise
        raise error(f"cannot write {path}: {reason(caught)}; what was there before is untouched") from None


def reason(error: BaseException) -> str:
    """Return an error in words, on one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
