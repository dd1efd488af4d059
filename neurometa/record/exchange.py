"""Recordings in the data structures of other packages: xarray, pynapple, NWB. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RecordingError
from ..files import write_atomically
from ..recording import INDEX, Source, write_index

if TYPE_CHECKING:
    from .reading import Recording

__all__ = ["to_nwb", "to_pynapple", "to_xarray"]


def _package(name: str, extra: str = "read") -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RecordingError(f"{name} is not installed; type: python -m pip install 'neurometa[{extra}]'") from None


def to_xarray(recording: Recording) -> Any:
    """Return the recording as an `xarray.DataTree`, whose variables are read when they are used.

    A folder of files is opened by its index, which is written first where it is not up to date.

    Raises
    ------
    RecordingError
        If xarray or h5netcdf is missing, or the index cannot be written.
    """
    xarray, _ = _package("xarray"), _package("h5netcdf")
    path = recording.files[0]
    if path.stem.isdigit():
        path = path.parent / INDEX
        if not _up_to_date(recording, path):
            write_index(path.parent, complete=False)
    return xarray.open_datatree(path, engine="h5netcdf")


def _up_to_date(recording: Recording, index: Path) -> bool:
    if not index.exists():
        return False
    source = Source(index)
    try:
        return json.loads(str(source.attributes.get("shards", "[]"))) == [path.name for path in recording.files]
    finally:
        source.close()


def series(recording: Recording, episode: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and values ``(time, ...)`` of every variable that was kept over time in one episode."""
    groups = {"x": recording.x, "w": recording.w, "traces": recording.traces, "": recording.variables}
    for kind, variables in groups.items():
        for name, variable in variables.items():
            yield f"{kind}.{name}".lstrip("."), variable[:, episode]


def trains(recording: Recording, population: str, episode: int) -> list[np.ndarray]:
    """Return the spike times of every neuron of a population in one episode, ms."""
    found, network = recording.spikes(population), recording.network
    size = network[population].size if network is not None else int(found.neuron.max(initial=-1)) + 1
    mine = found.episode == recording.variable("episode")[episode]
    return [found.time[mine & (found.neuron == neuron)] for neuron in range(size)]


def to_pynapple(recording: Recording, episode: int = 0) -> dict[str, Any]:
    """Return one episode as pynapple objects; time in seconds, as pynapple has it.

    Parameters
    ----------
    recording : Recording
        Open.
    episode : int
        Its place in the recording.

    Returns
    -------
    dict of str to object
        ``x.<population>`` as `TsdFrame`, ``w.<projection>`` and traces as `TsdTensor`, ``spikes.<population>`` as
        `TsGroup`.
    """
    nap = _package("pynapple")
    _check_episode(recording, episode)
    found: dict[str, Any] = {}
    for name, values in series(recording, episode):
        kind = {1: nap.Tsd, 2: nap.TsdFrame}.get(values.ndim, nap.TsdTensor)
        found[name] = kind(t=recording.time / 1000, d=values)
    end = recording.variable("support_time").shape[0] * recording.dt * int(recording.attributes["hold"]) / 1000
    support = nap.IntervalSet(0.0, end)
    for population in recording.spiking:
        each = {
            neuron: nap.Ts(t=times / 1000, time_support=support)
            for neuron, times in enumerate(trains(recording, population, episode))
        }
        found[f"spikes.{population}"] = nap.TsGroup(each, time_support=support)
    return found


def _check_episode(recording: Recording, episode: int) -> None:
    if not 0 <= episode < recording.n_episodes:
        raise RecordingError(f"episode is {episode}; the recording has 0 to {recording.n_episodes - 1}")


def to_nwb(recording: Recording, path: str | os.PathLike[str], episode: int = 0) -> Path:
    """Write one episode as an NWB file: a time series for each variable, and units with their spike times.

    Parameters
    ----------
    recording : Recording
        Open.
    path : path
        The file, whose name ends in ``.nwb``.
    episode : int
        Its place in the recording.

    Returns
    -------
    Path
        The file.
    """
    pynwb = _package("pynwb", "nwb")
    target = Path(path)
    if target.suffix != ".nwb":
        raise RecordingError(f"{target} must end in .nwb")
    _check_episode(recording, episode)
    network = recording.network
    file = pynwb.NWBFile(
        session_description=f"simulated network '{network.name if network else ''}', episode {episode}",
        identifier=f"{recording.files[0].name}-{recording.seed}-{episode}",
        session_start_time=datetime(1970, 1, 1, tzinfo=UTC),  # simulated time has no date
        notes=recording.describe("settings"),
    )
    for name, values in series(recording, episode):
        data = values.reshape(len(values), -1)
        comments = f"axes after time: {values.shape[1:]}, flattened" if values.ndim > 2 else ""
        file.add_acquisition(
            pynwb.TimeSeries(
                name=name, data=data, unit="1", timestamps=recording.time / 1000, comments=comments or "no comments"
            )
        )
    if recording.spiking:
        file.add_unit_column("population", "population of the neuron")
        file.add_unit_column("neuron", "its place in the population")
    for population in recording.spiking:
        for neuron, times in enumerate(trains(recording, population, episode)):
            file.add_unit(spike_times=times / 1000, population=population, neuron=neuron)
    part = target.with_name(f"{target.stem}.part.nwb")
    try:
        with pynwb.NWBHDF5IO(str(part), "w") as io:
            io.write(file)
        content = part.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot write {target}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    write_atomically(target, lambda out: out.write(content), RecordingError)
    return target
