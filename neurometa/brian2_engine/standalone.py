"""Long runs: Brian2 writes a C++ program that holds the whole simulation, its inputs too."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import EngineError
from ._brian2 import plain_numpy
from .build import Model

__all__ = ["feeds", "program"]


@contextmanager
def program(b2: Any) -> Iterator[None]:
    """Build and run in a temporary folder; afterwards Brian2 runs in this process again.

    Raises
    ------
    EngineError
        If there is no C++ compiler.
    """
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")):
        raise EngineError("a stand-alone program needs a C++ compiler, and none was found: install g++ or clang++")
    jobs = "devices.cpp_standalone.extra_make_args_unix"
    before = b2.prefs[jobs]
    with plain_numpy(b2), tempfile.TemporaryDirectory() as folder:
        b2.prefs[jobs] = [f"-j{os.cpu_count() or 1}"]
        b2.set_device("cpp_standalone", build_on_run=False, directory=folder)
        try:
            yield
        finally:
            b2.get_device().reinit()
            b2.set_device("runtime")
            b2.prefs[jobs] = before


def feeds(
    b2: Any,
    model: Model,
    fed: Mapping[str, np.ndarray],
    noises: Mapping[str, np.ndarray],
    learns: Sequence[bool],
    resets: Sequence[bool],
) -> list[Any]:
    """Return the objects that set inputs and noise before each step.

    Raises
    ------
    EngineError
        If activity is reset within the sequence, or learning is on at some steps and off at others.
    """
    if any(resets[1:]) or len(set(learns)) > 1:
        raise EngineError("a stand-alone program runs through: reset must be False, and learn the same at all steps")
    for projection in model.network.plastic:
        model.synapses[projection.label].learning = float(learns[0])
    found = []
    for variable, data in (("fed", fed), ("noise", noises)):
        for name, sequence in data.items():
            make = _spikes if sequence.dtype == bool else _table
            found += make(b2, model, model.groups[name], variable, sequence.reshape(len(sequence), -1))
    return found


def _table(b2: Any, model: Model, group: Any, variable: str, values: np.ndarray) -> list[Any]:
    """Read a variable of every step from a table, ``(time, neurons)``."""
    table = f"{variable}_of_{group.name}"
    group.namespace[table] = b2.TimedArray(values, dt=model.clock.dt, name=table)
    return [group.run_regularly(f"{variable} = {table}(t, i)", when="feed", clock=model.clock, name=f"read_{table}")]


def _spikes(b2: Any, model: Model, group: Any, variable: str, values: np.ndarray) -> list[Any]:
    """Set a variable to 1 at spikes, ``(time, neurons)``, and to 0 at other steps."""
    steps, neurons = np.nonzero(values)
    common = {"when": "feed", "clock": model.clock}
    clear = group.run_regularly(f"{variable} = 0.0", order=0, name=f"clear_{group.name}", **common)
    times = steps * model.clock.dt
    source = b2.SpikeGeneratorGroup(values.shape[1], neurons, times, order=1, name=f"spikes_of_{group.name}", **common)
    code = {"arrive": f"{variable}_post = 1.0"}
    deliver = b2.Synapses(source, group, on_pre=code, name=f"deliver_{group.name}", clock=model.clock)
    deliver.connect(j="i")
    deliver.arrive.when, deliver.arrive.order = "feed", 2
    return [clear, source, deliver]
