"""The only import of brian2, and what it would change in this process."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import EngineError

__all__ = ["load", "plain_numpy"]


def load() -> Any:
    """Return the module brian2.

    Raises
    ------
    EngineError
        If it is not installed, or does not import with the numpy that is.

    Notes
    -----
    Importing Brian2 starts a log file and a copy of the script in the temporary folder, sends all warnings through
    ``logging`` and replaces ``sys.excepthook``. Where this is the first import in the process, all of it is undone.
    """
    known, hook, show = "brian2" in sys.modules, sys.excepthook, warnings.showwarning
    try:
        b2 = importlib.import_module("brian2")
    except (ImportError, AttributeError) as error:  # 2.9 reads a method that numpy 2.4 no longer has
        hint = 'type: python -m pip install "brian2>=2.9" (with "numpy<2.4" on Python 3.11)'
        raise EngineError(f"this needs brian2, which cannot be imported ({error}); {hint}") from None
    if not known:
        _drop_logs(b2.BrianLogger)
        sys.excepthook = hook
        if warnings.showwarning is not show:
            logging.captureWarnings(False)
    return b2


def _drop_logs(logger: Any) -> None:
    """Close and remove the files that Brian2 has just made."""
    if logger.file_handler is not None:
        logging.getLogger("brian2").removeHandler(logger.file_handler)
        logger.file_handler.close()
    for name in (logger.tmp_log, logger.tmp_script):
        if name is not None and os.path.exists(name):
            os.remove(name)
    logger.file_handler = logger.tmp_log = logger.tmp_script = None


@contextmanager
def plain_numpy(b2: Any) -> Iterator[None]:
    """Run Brian2 on its numpy target, in float64, with the arithmetic as written; restores its preferences.

    Raises
    ------
    EngineError
        If Brian2 has been told to generate a program of its own instead of running here.
    """
    device = b2.get_device()
    if device is not b2.all_devices["runtime"]:
        name = next((name for name, known in b2.all_devices.items() if known is device), "another one")
        raise EngineError(
            f"Brian2's device is {name}; this engine runs on the device runtime: type brian2.set_device('runtime')"
        )
    wanted = {
        "codegen.target": "numpy",
        "codegen.loop_invariant_optimisations": False,
        "core.default_float_dtype": np.float64,
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
