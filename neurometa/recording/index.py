"""The index of a folder of recordings: virtual datasets, which other programs open as if one file held them all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from ..files import write_atomically
from .image import attach, describe
from .layout import BATCHED, Array
from .seal import sealed
from .source import Source

__all__ = ["INDEX", "shards", "write_index"]

INDEX = "index.h5"


def shards(folder: Path) -> list[Path]:
    """Return the recordings of a folder in their order."""
    return sorted(path for path in folder.glob("*.h5") if path.stem.isdigit())


def batched(name: str) -> bool:
    """Whether recordings are put one after another along a dimension."""
    return name in BATCHED or name.startswith("spike_")


def write_index(folder: Path, complete: bool) -> Path:
    """Write the index of all recordings that a folder holds.

    Parameters
    ----------
    folder : Path
        Folder of recordings.
    complete : bool
        Whether the run has come to its end.

    Raises
    ------
    RecordingError
        If there are none, if they do not fit together, or if it cannot be written.
    """
    import h5py

    found = shards(folder)
    if not found:
        raise RecordingError(f"{folder} holds no recordings")
    sources = [Source(path, verify=False) for path in found]
    try:
        first = sources[-1]
        with h5py.File("index", "w", driver="core", backing_store=False) as file:
            names = json.dumps([path.name for path in found])
            describe(file, {**first.attributes, "complete": int(complete), "shards": names}, first.texts)
            scales = {}
            for name in first.dims:
                dataset = joined(file, sources, name) if batched(name) else _copied(file, first, name)
                dataset.make_scale(name)
                scales[name] = dataset
            for path in first.names:
                dims = first.dims_of(path)
                if any(map(batched, dims)):
                    dataset = joined(file, sources, path)
                else:
                    dataset = _copied(file, first, path)
                attach(dataset, Array(dims, np.empty(0), first.attributes_of(path)), scales)
            for path, attributes in first.groups.items():
                file.require_group(path).attrs.update(attributes)
            file.flush()
            made = sealed(file.id.get_file_image())
    finally:
        for source in sources:
            source.close()
    target = folder / INDEX
    write_atomically(target, lambda file: file.write(made), RecordingError)
    return target


def joined(file: Any, sources: Sequence[Source], path: str) -> Any:
    """Make a virtual dataset of one array of all recordings."""
    import h5py

    first = sources[-1].dataset(path)
    axis = next((i for i, name in enumerate(sources[-1].dims_of(path)) if batched(name)), 0)
    shapes = [source.dataset(path).shape for source in sources]
    total = [*first.shape]
    total[axis] = sum(shape[axis] for shape in shapes)
    layout = h5py.VirtualLayout(tuple(total), first.dtype)
    start = 0
    for source, shape in zip(sources, shapes, strict=True):
        if shape[:axis] + shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            raise RecordingError(f"{source.path} has {path} {shape}, which does not fit {first.shape} of others")
        if shape[axis]:
            place = (slice(None),) * axis + (slice(start, start + shape[axis]),)
            layout[place] = h5py.VirtualSource(source.path.name, path, shape=shape)
        start += shape[axis]
    return file.create_virtual_dataset(path, layout)


def _copied(file: Any, source: Source, path: str) -> Any:
    return file.create_dataset(path, data=source.dataset(path)[()])
