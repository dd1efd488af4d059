"""What a recording holds, before it is a file: named dimensions, arrays on them, attributes and texts.

The file is HDF5 in the manner of netCDF-4: every dimension is a dimension scale at the root, every array is attached to
the scales of its axes, so that xarray and other readers see names and coordinates. Layout of version 1:

``/time`` (ms, when the step began after which a value was taken), ``/episode``, ``/iteration``,
``/<population>_neuron``, ``/<projection>_post``, ``/<projection>_pre``; ``/x/<population>``,
``/variables/<variable>.<population>``, ``/w/<projection>``, ``/traces/<projection>.<trace>``, ``/adapted/<name>``,
``/summary/<projection>.<kind>``;
``/spikes/<population>/{timestamps,node_ids,episode}`` (SONATA, and an episode for each spike); ``/params/<name>`` (as
stored, axes of length 1 left out); ``/episode_data/{support,query,info}/...`` and ``/output``, ``/loss``, ``/score``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["BATCHED", "LEAST", "SCHEMA", "Array", "Attribute", "Content", "chunk_shape", "stored_bytes"]

#: Version of the layout; a reader refuses a higher one.
SCHEMA = 1
#: Dimensions along which recordings of one run are put one after another; names that begin with ``spike_`` too.
BATCHED = ("episode", "iteration")
#: Bounds of a chunk, bytes.
LEAST, MOST = 2**18, 2**22

Attribute = str | int | float | np.ndarray


@dataclass(frozen=True)
class Array:
    """An array with the names of its axes.

    Attributes
    ----------
    dims : tuple of str
        One name per axis.
    data : ndarray
        Numbers.
    attributes : mapping
        Such as ``units``.
    """

    dims: tuple[str, ...]
    data: np.ndarray
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """What one file holds.

    Attributes
    ----------
    dims : dict of str to ndarray
        Coordinate of every dimension.
    arrays : dict of str to Array
        Path, such as ``x/hidden``.
    attributes : dict
        Of the root: short.
    texts : dict of str to str
        Of the root, of any length: descriptions as JSON.
    groups : dict of str to dict
        Attributes of groups.
    """

    dims: dict[str, np.ndarray]
    arrays: dict[str, Array]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    groups: dict[str, dict[str, Attribute]] = field(default_factory=dict)


def chunk_shape(dims: Sequence[str], shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the shape of a chunk: one episode over all its time, clipped to 0.25 to 4 MB.

    Examples
    --------
    >>> chunk_shape(("time", "episode", "post", "pre"), (200, 64, 100, 100), 4)
    (100, 1, 100, 100)
    >>> chunk_shape(("time", "episode", "neuron"), (200, 64, 10), 4)
    (200, 33, 10)
    >>> chunk_shape(("time", "episode", "neuron"), (200, 2, 10), 4)
    (200, 2, 10)
    """
    chunk = [1 if name in BATCHED else size for name, size in zip(dims, shape, strict=True)]
    size = itemsize * int(np.prod(chunk))
    for axis, name in enumerate(dims):
        if name in BATCHED and size < LEAST:
            chunk[axis] = min(shape[axis], -(-LEAST // size))
            size *= chunk[axis]
    for axis in range(len(chunk)):
        while size > MOST and chunk[axis] > 1:
            size = size // chunk[axis]
            chunk[axis] = max(1, min(-(-chunk[axis] // 2), MOST // size if size <= MOST else 1))
            size *= chunk[axis]
    return tuple(chunk)


def stored_bytes(dims: Sequence[str], shape: Sequence[int], itemsize: int) -> int:
    """Return how many bytes an array takes in a file; the last chunk on an axis is stored whole.

    Examples
    --------
    >>> stored_bytes(("time", "episode", "neuron"), (200, 64, 10), 4)
    528000
    """
    size = itemsize * math.prod(shape)
    if size <= LEAST:
        return size
    chunk = chunk_shape(dims, shape, itemsize)
    return itemsize * math.prod(-(-length // part) * part for length, part in zip(shape, chunk, strict=True))
