"""The only import of brian2."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import EngineError

__all__ = ["load", "plain_numpy"]


def load() -> Any:
    """Return the module brian2.

    Raises
    ------
    EngineError
        If it is not installed, or does not import with the numpy that is.
    """
    try:
        return importlib.import_module("brian2")
    except ImportError as error:
        hint = 'type: python -m pip install "brian2>=2.9" (with "numpy<2.4" on Python 3.11)'
        raise EngineError(f"this needs brian2, which cannot be imported ({error}); {hint}") from None


@contextmanager
def plain_numpy(b2: Any) -> Iterator[None]:
    """Run Brian2 on its numpy target, with the arithmetic as written, without log files; restores its preferences."""
    wanted = {
        "codegen.target": "numpy",
        "codegen.loop_invariant_optimisations": False,
        "logging.file_log": False,
    }
    before = {name: b2.prefs[name] for name in wanted}
    try:
        for name, value in wanted.items():
            b2.prefs[name] = value
        yield
    finally:
        for name, value in before.items():
            b2.prefs[name] = value
