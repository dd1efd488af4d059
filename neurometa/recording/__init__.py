"""Recordings as files: HDF5 that any reader opens, sealed, written atomically; only here is h5py imported."""

from __future__ import annotations

from .image import image, write
from .index import INDEX, batched, shards, write_index
from .layout import SCHEMA, Array, Attribute, Content, chunk_shape, stored_bytes
from .seal import check_seal
from .source import Source, failing
from .writer import Writer

__all__ = [
    "INDEX",
    "SCHEMA",
    "Array",
    "Attribute",
    "Content",
    "Source",
    "Writer",
    "batched",
    "check_seal",
    "chunk_shape",
    "failing",
    "image",
    "shards",
    "stored_bytes",
    "write",
    "write_index",
]
