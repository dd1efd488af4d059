"""An array of a recording that is read when it is sliced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RecordingError, unknown
from ..recording import Source, batched, failing

__all__ = ["Variable", "Variables"]


class Variable:
    """Array over one or several files; a slice reads what it needs and gives a numpy array.

    Attributes
    ----------
    name : str
        Path in the file.
    dims : tuple of str
        Names of the axes.
    shape : tuple of int
        Of all files together.
    dtype : numpy dtype
    attributes : dict
        Such as ``units``.
    """

    def __init__(self, name: str, sources: Sequence[Callable[[], Source]], lengths: Sequence[Mapping[str, int]]):
        first = sources[0]()
        self.name, self._sources = name, sources
        self.dims = first.dims_of(name)
        dataset = first.dataset(name)
        self.dtype, self.attributes = dataset.dtype, first.attributes_of(name)
        self._axis = next((axis for axis, dim in enumerate(self.dims) if batched(dim)), None)
        shape = [*dataset.shape]
        self._counts = [1]
        if self._axis is not None:
            self._counts = [each[self.dims[self._axis]] for each in lengths]
            shape[self._axis] = sum(self._counts)
        self.shape = tuple(shape)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name} {size}" for name, size in zip(self.dims, self.shape, strict=True))
        return f"<{self.name} ({axes}) {self.dtype}>"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[()], dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part: integers, slices and ``...``; on the axis of episodes or iterations a list too."""
        index = self._whole_index(key)
        if self._axis is None or len(self._sources) == 1:
            return self._read(0, index)
        axis, total = self._axis, self.shape[self._axis]
        try:
            chosen = np.arange(total)[index[axis]]
        except IndexError as error:
            raise RecordingError(f"{self.name}: {error}") from None
        places = np.atleast_1d(chosen)
        starts = np.cumsum([0, *self._counts])
        owner = np.searchsorted(starts, places, side="right") - 1
        parts = {}
        for k in np.unique(owner):
            local = places[owner == k] - starts[k]
            low, high = int(local.min()), int(local.max()) + 1
            read = self._read(int(k), (*index[:axis], slice(low, high), *index[axis + 1 :]))
            parts[k] = (read, local - low)
        before = sum(isinstance(each, slice) for each in index[:axis])  # integers take their axes away
        picked = {k: np.take(read, local, before) for k, (read, local) in parts.items()}
        if not picked:
            return np.take(self._read(0, (*index[:axis], slice(0, 1), *index[axis + 1 :])), [], before)
        joined = np.concatenate([*picked.values()], before)
        back = np.argsort(np.concatenate([np.flatnonzero(owner == k) for k in picked]), kind="stable")
        found = np.take(joined, back, before)
        return found.take(0, before) if np.ndim(chosen) == 0 else found

    def _whole_index(self, key: Any) -> tuple[Any, ...]:
        keys = key if isinstance(key, tuple) else (key,)
        if any(each is Ellipsis for each in keys):
            place = next(i for i, each in enumerate(keys) if each is Ellipsis)
            fill = len(self.shape) - len(keys) + 1
            keys = (*keys[:place], *(slice(None),) * fill, *keys[place + 1 :])
        keys = (*keys, *(slice(None),) * (len(self.shape) - len(keys)))
        if len(keys) != len(self.shape):
            raise RecordingError(f"{self.name} has {len(self.shape)} axes ({', '.join(self.dims)}), not {len(keys)}")
        for axis, each in enumerate(keys):
            size = self.shape[axis]
            if isinstance(each, slice) or (isinstance(each, int | np.integer) and -size <= each < size):
                continue
            if isinstance(each, int | np.integer):
                raise RecordingError(f"{self.name}: index {each} is out of range for axis {self.dims[axis]} of {size}")
            if axis == self._axis and np.ndim(each) == 1:
                continue
            raise RecordingError(
                f"{self.name}: axis {self.dims[axis]} was asked for {each!r}; allowed: a whole number, a slice, and "
                "for episodes and iterations a list"
            )
        return keys

    def _read(self, k: int, index: tuple[Any, ...]) -> np.ndarray:
        source = self._sources[k]()
        with failing(source.path):
            dataset = source.dataset(self.name)
            # h5py knows no negative steps and no unsorted lists; numpy does.
            plain = tuple(_forward(each, size) for each, size in zip(index, dataset.shape, strict=True))
            found = np.asarray(dataset[tuple(now for now, _ in plain)])
            axis = 0
            for now, then in plain:
                if then is not None:
                    found = np.take(found, then, axis) if not isinstance(then, slice) else _flip(found, then, axis)
                axis += isinstance(now, slice)
        return found


def _flip(found: np.ndarray, then: slice, axis: int) -> np.ndarray:
    return found[(slice(None),) * axis + (then,)]


def _forward(index: Any, size: int) -> tuple[Any, Any]:
    """Return what to ask HDF5 for, and what to take of the answer afterwards."""
    if isinstance(index, slice) and (index.step or 1) < 0:
        return slice(None), index
    if isinstance(index, slice):
        return index, None
    if np.ndim(index) == 0:
        return int(index) % size, None
    return slice(None), np.arange(size)[np.asarray(index)]


class Variables(Mapping[str, Variable]):
    """Variables of one kind, by name."""

    def __init__(self, kind: str, names: Sequence[str], get: Callable[[str], Variable]):
        self._kind, self._names, self._get = kind, tuple(names), get

    def __getitem__(self, name: str) -> Variable:
        if name not in self._names:
            raise RecordingError(unknown(self._kind, name, self._names))
        return self._get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name}: {self[name]!r}' for name in self)}}}"
