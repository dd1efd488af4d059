"""One file of a recording, opened for reading."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RecordingError
from ..files import reason
from .layout import SCHEMA
from .seal import check_seal

__all__ = ["Source", "failing"]


class failing:
    """``with failing(path):`` whatever HDF5 raises becomes one `RecordingError`."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | KeyError | RuntimeError | ValueError | TypeError | UnicodeError):
            if not isinstance(error, RecordingError):
                raise RecordingError(f"{self.path} cannot be read: {reason(error)[:200]}") from None


class Source:
    """A file, whole and of a layout that is known.

    Parameters
    ----------
    path : Path
        The file.
    verify : bool
        Read all of it first and hold it against its seal.

    Raises
    ------
    RecordingError
        If it is missing, damaged, foreign or of a later layout.
    """

    def __init__(self, path: Path, verify: bool = True):
        import h5py

        self.path = path
        if verify:
            check_seal(path)
        try:
            self.file = h5py.File(path, "r")
        except (OSError, RuntimeError) as error:
            raise RecordingError(f"{path} cannot be read as HDF5: {reason(error)[:200]}") from None
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        with failing(self.path):
            schema = self.file.attrs.get("schema")
            kind = self.file.attrs.get("kind")
        if kind != "neurometa recording" or not isinstance(schema, int | np.integer):
            raise RecordingError(f"{self.path} is an HDF5 file, but no recording of neurometa")
        if schema > SCHEMA:
            version = self.file.attrs.get("neurometa", "a later one")
            raise RecordingError(
                f"{self.path} was written by neurometa {version} in layout {schema}; this one reads up to layout "
                f"{SCHEMA}: install a newer neurometa"
            )

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError, RuntimeError, ValueError):
            self.file.close()

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root, texts left out."""
        with failing(self.path):
            return {name: value for name, value in self.file.attrs.items() if name not in TEXTS}

    @cached_property
    def texts(self) -> dict[str, str]:
        """Descriptions as JSON, by name."""
        found = {}
        with failing(self.path):
            for name in TEXTS:
                if name in self.file.attrs:
                    found[name] = str(self.file.attrs[name])
                elif name in self.file:
                    found[name] = self.file[name][()].decode()
        return found

    @cached_property
    def _all(self) -> dict[str, Any]:
        import h5py

        found: dict[str, Any] = {}

        def note(path: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[path] = item

        with failing(self.path):
            self.file.visititems(note)
        return found

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Names of all dimensions."""
        with failing(self.path):
            return tuple(name for name, item in self._all.items() if item.is_scale)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Paths of all arrays."""
        return tuple(name for name in self._all if name not in self.dims and name not in TEXTS)

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """Attributes of groups that have some."""
        import h5py

        found: dict[str, dict[str, Any]] = {}

        def note(path: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and len(item.attrs):
                found[path] = dict(item.attrs)

        with failing(self.path):
            self.file.visititems(note)
        return found

    def dataset(self, path: str) -> Any:
        """Return an array or a coordinate as h5py sees it."""
        with failing(self.path):
            return self._all[path]

    def dims_of(self, path: str) -> tuple[str, ...]:
        """Return the names of an array's axes; a coordinate lies on itself."""
        if path in self.dims:
            return (path,)
        with failing(self.path):
            return tuple(axis[0].name.lstrip("/") for axis in self.dataset(path).dims)

    def attributes_of(self, path: str) -> dict[str, Any]:
        """Return an array's attributes, those by which HDF5 keeps its dimensions left out."""
        own = ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME")
        with failing(self.path):
            return {name: value for name, value in self.dataset(path).attrs.items() if name not in own}


#: Root entries that are texts, whether attributes or datasets.
TEXTS = ("network", "settings", "environment", "plan")
