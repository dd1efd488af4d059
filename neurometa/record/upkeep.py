"""Looking after recordings: are they whole, and one file instead of many."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import RecordingError
from ..recording import INDEX, Array, Content, Source, failing, write
from .reading import open_recording, recording_files

__all__ = ["repack", "validate"]


def validate(path: str | os.PathLike[str]) -> list[str]:
    """Read every byte of a recording and say what is wrong with it.

    Parameters
    ----------
    path : path
        A file, the folder of a recorded training, or a run folder.

    Returns
    -------
    list of str
        One line for each file that is missing, cut short, changed, foreign or too new; empty if all is well.

    Raises
    ------
    RecordingError
        If there is no recording at all.
    """
    problems = []
    files = recording_files(Path(path))
    index = files[0].parent / INDEX
    for file in [*files, *([index] if files[0].stem.isdigit() and index.exists() else [])]:
        try:
            source = Source(file)
        except RecordingError as error:
            problems.append(str(error))
            continue
        try:
            for name in source.names if file != index else ():
                with failing(file):
                    source.dataset(name)[()]
        except RecordingError as error:
            problems.append(str(error))
        finally:
            source.close()
    if not problems:
        try:
            open_recording(path, verify=False).close()
        except RecordingError as error:
            problems.append(str(error))
    return problems


def repack(
    path: str | os.PathLike[str], out: str | os.PathLike[str], *, compress: bool = False, overwrite: bool = False
) -> Path:
    """Write a recording, of whatever number of files, as one file; all of it passes through memory.

    Parameters
    ----------
    path : path
        What `open_recording` takes.
    out : path
        The new file.
    compress : bool
        gzip 1 after a shuffle of bytes.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path
        The new file; the old ones stay.
    """
    target = Path(out)
    if target.is_file() and not overwrite:
        raise RecordingError(
            f"{target} is there already; choose another name, or replace it (overwrite=True, --overwrite)"
        )
    if target.stem.isdigit() or target.name == INDEX:
        raise RecordingError(f"{target}: names that are numbers, and {INDEX}, belong to the files of a training")
    with open_recording(path) as recording:
        first = recording.source
        dims = {name: recording.variable(name)[:] for name in first.dims}
        arrays = {}
        for name in first.names:
            variable = recording.variable(name)
            arrays[name] = Array(variable.dims, np.asarray(variable[...]), variable.attributes)
        write(target, Content(dims, arrays, first.attributes, first.texts, first.groups), compress)
    return target
