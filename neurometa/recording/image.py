"""From content to the bytes of an HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecordingError
from ..files import write_atomically
from .layout import LEAST, SCHEMA, Array, Attribute, Content, chunk_shape
from .seal import sealed

__all__ = ["add_scales", "image", "write"]

#: netCDF's limit of an attribute, bytes; a longer text is a dataset.
LIMIT = 60_000


def image(content: Content, compress: bool = False) -> bytes:
    """Return the file as bytes, with its seal.

    It is made in memory, so that a full disk is an error of writing bytes, and never half an HDF5 file.

    Parameters
    ----------
    content : Content
        What it holds.
    compress : bool
        gzip 1 after a shuffle of bytes: about a fifth on sparse weights, at a twentieth of the speed.
    """
    import h5py

    options: dict[str, Any] = {"shuffle": True, "compression": "gzip", "compression_opts": 1} if compress else {}
    with h5py.File("recording", "w", driver="core", backing_store=False) as file:
        describe(file, content.attributes, content.texts)
        scales = add_scales(file, content.dims)
        for path, array in content.arrays.items():
            filters: dict[str, Any] = {}
            if array.data.nbytes > LEAST:  # a chunk more is 2 kB of index, which small arrays are not worth
                chunks = chunk_shape(array.dims, array.data.shape, array.data.itemsize)
                filters = {"chunks": chunks, "fletcher32": True, **options}
            attach(file.create_dataset(path, data=array.data, **filters), array, scales)
        for path, attributes in content.groups.items():
            file.require_group(path).attrs.update(attributes)
        file.flush()
        found = file.id.get_file_image()
    return sealed(found)


def write(path: Path, content: Content, compress: bool = False) -> int:
    """Write a file atomically and return its size.

    Raises
    ------
    RecordingError
        If it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise RecordingError(f"{path} is no file that can be replaced; give another path, such as recording.h5")
    made = image(content, compress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"cannot make the folder {path.parent}: {error.strerror}") from None
    write_atomically(path, lambda file: file.write(made), RecordingError)
    return len(made)


def describe(file: Any, attributes: Mapping[str, Attribute], texts: Mapping[str, str]) -> None:
    """Write the attributes of the root, and texts: as attributes where they are short enough."""
    file.attrs.update({"schema": SCHEMA, **attributes})
    for name, text in texts.items():
        if len(text.encode()) < LIMIT:
            file.attrs[name] = text
        else:
            file[name] = text


def add_scales(file: Any, dims: Mapping[str, Any]) -> dict[str, Any]:
    """Make every dimension a dimension scale at the root, and return them."""
    scales = {}
    for name, coordinate in dims.items():
        scales[name] = file.create_dataset(name, data=coordinate)
        scales[name].make_scale(name)
    if "time" in scales:
        scales["time"].attrs.update({"units": "ms", "long_name": "beginning of the step after which values were taken"})
    return scales


def attach(dataset: Any, array: Array, scales: Mapping[str, Any]) -> None:
    """Give a dataset its dimensions and attributes."""
    for axis, name in zip(dataset.dims, array.dims, strict=True):
        axis.attach_scale(scales[name])
    dataset.attrs.update(array.attributes)
