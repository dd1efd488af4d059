"""Reading a recording: variables that are sliced lazily, its network, its episodes, and the run that made it."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..analysis.latex import equations
from ..errors import NeurometaError, RecordingError
from ..recording import INDEX, Source, batched, failing, shards
from ..spec import Network
from ..tasks.base import Episode, Part
from ..tree import Tree
from .exchange import to_nwb, to_pynapple, to_xarray
from .plan import in_words
from .replay import Replay, replay
from .variable import Variable, Variables

__all__ = ["Recording", "Spikes", "open_recording", "recording_files"]

#: Files that are open at a time.
OPEN = 32


class Spikes(NamedTuple):
    """Spikes of a population, in the order of the file.

    Attributes
    ----------
    time : ndarray
        ms; the beginning of the step.
    neuron, episode : ndarray
        Who, and in which episode.
    """

    time: np.ndarray
    neuron: np.ndarray
    episode: np.ndarray


def open_recording(path: str | os.PathLike[str], verify: bool = True) -> Recording:
    """Open a recording.

    Parameters
    ----------
    path : path
        A file, the folder of a recorded training, or a run folder that holds one.
    verify : bool
        Read every file once and hold it against its checksum (about a second per gigabyte). Without it a damaged file
        can give wrong numbers, or make HDF5 abort the process.

    Returns
    -------
    Recording
        Also a context manager.

    Raises
    ------
    RecordingError
        If there is none, or it is damaged, incomplete, foreign or of a later version.

    Examples
    --------
    >>> with open_recording("runs/quickstart/recording.h5") as rec:  # doctest: +SKIP
    ...     print(rec)
    ...     w = rec.w["stimulus__hidden"][:, 0]  # (time, post, pre) of the first episode
    """
    return Recording(recording_files(Path(path)), verify)


def recording_files(path: Path) -> list[Path]:
    """Return the files of the recording at a path, in their order."""
    if path.name == INDEX and shards(path.parent):
        path = path.parent
    if path.is_dir():
        for folder in (path, path / "recording"):
            if found := shards(folder):
                return found
        single = path / "recording.h5"
        if single.is_file():
            return [single]
        raise RecordingError(f"{path} holds no recording; make one with 'neurometa record {path}'")
    if not path.exists():
        raise RecordingError(f"no recording at {path}; make one with 'neurometa record RUN'")
    return [path]


class Recording:
    """A recording, open for reading.

    Attributes
    ----------
    files : list of Path
        Its files.
    x, w, traces, variables, adapted, summary : mapping of str to Variable
        Activity by population ``(time, episode, neuron)``; weights by projection ``(time, episode, post, pre)``; traces
        by ``projection.trace``; further variables by ``variable.population``; what a learner without a network
        changed; mean, norm and quantiles of weights and of their changes.
    """

    def __init__(self, files: list[Path], verify: bool = True):
        self.files = files
        self._open: OrderedDict[Path, Source] = OrderedDict()
        self._lengths: list[dict[str, int]] = []
        try:
            for path in files:
                source = Source(path, verify)
                self._keep(source)
                with failing(path):
                    self._lengths.append({n: source.dataset(n).shape[0] for n in source.dims if batched(n)})
            self._check_index()
            for name in ("x", "w", "traces", "variables", "adapted", "summary"):
                found = [path.removeprefix(f"{name}/") for path in self.source.names if path.startswith(f"{name}/")]
                get = partial(self._below, name)
                setattr(self, name, Variables(name.rstrip("s"), found, get))
        except BaseException:
            self.close()
            raise

    x: Variables
    w: Variables
    traces: Variables
    variables: Variables
    adapted: Variables
    summary: Variables

    def _keep(self, source: Source) -> None:
        self._open[source.path] = source
        while len(self._open) > OPEN:
            self._open.popitem(last=False)[1].close()

    def _source(self, path: Path) -> Source:
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._keep(Source(path, verify=False))  # its seal was looked at in the beginning
        return self._open[path]

    def _check_index(self) -> None:
        """Refuse a folder of which a file is missing."""
        index = self.files[0].parent / INDEX
        if not (self.files[0].stem.isdigit() and index.exists()):
            return
        source = Source(index)
        try:
            named = json.loads(str(source.attributes.get("shards", "[]")))
        finally:
            source.close()
        missing = [name for name in named if not (index.parent / name).exists()]
        if missing:
            raise RecordingError(f"{index.parent}: {missing[0]} is missing, and {len(missing) - 1} more")

    def close(self) -> None:
        """Close all files."""
        for source in self._open.values():
            source.close()
        self._open.clear()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def variable(self, path: str) -> Variable:
        """Return any array or coordinate by its path in the file, such as ``time`` or ``loss``."""
        if path not in self.source.names and path not in self.source.dims:
            raise RecordingError(f"{self.files[0]} has no '{path}'; it has {', '.join(self.source.names)}")
        return Variable(path, [partial(self._source, file) for file in self.files], self._lengths)

    def _below(self, folder: str, name: str) -> Variable:
        return self.variable(f"{folder}/{name}")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root: seed, dt, versions, commit."""
        return dict(self.source.attributes)

    @property
    def source(self) -> Source:
        """The first file, for what is the same in all."""
        return self._source(self.files[0])

    def describe(self, name: str) -> str:
        """Return a description as it is stored: ``network``, ``settings``, ``environment`` or ``plan``, as JSON."""
        return self.source.texts.get(name, "")

    def _text(self, name: str) -> Any:
        text = self.source.texts.get(name)
        try:
            return json.loads(text) if text is not None else {}
        except ValueError:
            raise RecordingError(f"{self.files[0]}: its {name} cannot be read") from None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Learner, task, outer algorithm and the rest, as a run folder has them."""
        return self._text("settings")

    @cached_property
    def environment(self) -> dict[str, str]:
        """Machine, versions, threads, device and number format."""
        return self._text("environment")

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was asked for."""
        return self._text("plan")

    @cached_property
    def network(self) -> Network | None:
        """The network's description, rules and all; None if the learner has none."""
        text = self.source.texts.get("network")
        if text is None:
            return None
        try:
            return Network.from_json(text)
        except NeurometaError as error:
            raise RecordingError(f"{self.files[0]}: its network cannot be read: {error}") from None

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.attributes["seed"])

    @property
    def dt(self) -> float:
        """Time step, ms."""
        return float(self.attributes["dt"])

    @cached_property
    def time(self) -> np.ndarray:
        """When kept values were taken, ms: the beginning of the step."""
        return self.variable("time")[:]

    @cached_property
    def iterations(self) -> np.ndarray:
        """Meta-iterations whose episodes and parameters are kept."""
        return self.variable("iteration")[:]

    @property
    def n_episodes(self) -> int:
        """Episodes of all iterations together."""
        return sum(lengths["episode"] for lengths in self._lengths)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def modulators(self) -> Variables:
        """Activity of populations that are somebody's neuromodulator."""
        found = [name for name in self.x if self.x[name].attributes.get("role") == "neuromodulator"]
        return Variables("modulator", found, partial(self._below, "x"))

    @property
    def spiking(self) -> tuple[str, ...]:
        """Populations whose spikes are kept."""
        ends = [path.split("/") for path in self.source.names if path.startswith("spikes/")]
        return tuple(dict.fromkeys(end[1] for end in ends))

    def spikes(self, population: str) -> Spikes:
        """Return all spikes of a population."""
        if population not in self.spiking:
            raise RecordingError(
                f"no spikes of '{population}' are kept; there are those of {', '.join(self.spiking) or 'nobody'}"
            )
        read = (self.variable(f"spikes/{population}/{name}")[:] for name in ("timestamps", "node_ids", "episode"))
        time, neuron, episode = read
        return Spikes(time, neuron.astype(np.int64), episode)

    def _iteration(self, iteration: int | None) -> int:
        """Return the place of an iteration; None is the last."""
        known = self.iterations.tolist()
        if iteration is None:
            return len(known) - 1
        if iteration not in known:
            raise RecordingError(f"iteration {iteration} is not recorded; recorded: {', '.join(map(str, known))}")
        return known.index(iteration)

    def params(self, iteration: int | None = None) -> Tree:
        """Return the meta-parameters before an iteration, as stored; default: the last one that is recorded."""
        place = self._iteration(iteration)
        found = {}
        for path in self.source.names:
            if path.startswith("params/"):
                variable = self.variable(path)
                shape = json.loads(str(variable.attributes["shape"]))
                found[path.removeprefix("params/")] = tensor(np.asarray(variable[place])).reshape(shape)
        return found

    def episode(self, iteration: int | None = None) -> Episode:
        """Return the recorded batch of an iteration, as it went; default: the last."""
        place = self._iteration(iteration)
        chosen = np.flatnonzero(self.variable("episode_iteration")[:] == self.iterations[place])
        span = slice(int(chosen[0]), int(chosen[-1]) + 1)

        def part(kind: str) -> Part:
            root = f"episode_data/{kind}"

            def tree(below: str) -> dict[str, Tensor]:
                stem = f"{root}/{below}/"
                names = [path for path in self.source.names if path.startswith(stem)]
                return {name.removeprefix(stem): tensor(self.variable(name)[:, span]) for name in names}

            def flags(name: str) -> Tensor:
                return tensor(self.variable(f"{root}/{name}")[place]).bool()

            target, weight = (tensor(self.variable(f"{root}/{name}")[:, span]) for name in ("target", "weight"))
            return Part(tree("inputs"), target, weight, flags("learn"), flags("reset"), tree("world"))

        info = {}
        for path in self.source.names:
            if path.startswith("episode_data/info/"):
                variable = self.variable(path)
                place_of = variable.dims.index("episode")
                index = (slice(None),) * place_of + (span,)
                info[path.rpartition("/")[2]] = tensor(variable[index])
        asked = any(path.startswith("episode_data/query/") for path in self.source.names)
        return Episode(part("support"), part("query") if asked else None, info)

    def replay(self, iteration: int | None = None, learner: Any = None) -> Replay:
        """Run a recorded batch again, from nothing but this recording, and compare; see `replay`."""
        return replay(self, iteration, learner)

    def to_xarray(self) -> Any:
        """Return an `xarray.DataTree`; see `exchange.to_xarray`."""
        return to_xarray(self)

    def to_pynapple(self, episode: int = 0) -> dict[str, Any]:
        """Return one episode as pynapple objects; see `exchange.to_pynapple`."""
        return to_pynapple(self, episode)

    def to_nwb(self, path: str | os.PathLike[str], episode: int = 0) -> Path:
        """Write one episode as an NWB file; see `exchange.to_nwb`."""
        return to_nwb(self, path, episode)

    def __str__(self) -> str:
        network = self.network
        where = self.files[0] if len(self.files) == 1 else f"{self.files[0].parent} ({len(self.files)} files)"
        lines = [
            f"recording {where}: {in_words(self.nbytes)}",
            f"  {self.n_episodes} episodes of {len(self.iterations)} meta-iterations",
            f"  seed {self.seed}, dt {self.dt} ms, commit {self.attributes.get('commit') or 'not known'}",
        ]
        for kind in ("learner", "task", "outer"):
            record = self.settings.get(kind)
            if record:
                lines.append(f"  {kind}: {_settings(record)}")
        if network is not None:
            sizes = ", ".join(f"{p.name} {p.size}" for p in network.populations)
            lines.append(f"  network '{network.name}': {sizes}")
            for projection in network.plastic:
                assert projection.rule is not None
                texts = [text for text, _ in equations(projection.rule)]
                lines += [f"  {projection.label}, rule '{projection.rule.name}':", *(f"    {text}" for text in texts)]
        kept = [
            path for path in self.source.names if path.split("/")[0] in ("x", "w", "traces", "variables", "adapted")
        ]
        for path in kept:
            found = self.variable(path)
            axes = ", ".join(f"{name} {size}" for name, size in zip(found.dims, found.shape, strict=True))
            lines.append(f"  {path} ({axes}) {found.dtype}, {in_words(found.nbytes)}")
        for name in self.spiking:
            count = self.variable(f"spikes/{name}/timestamps").shape[0]
            lines.append(f"  spikes/{name}: {count:,} spikes")
        made = self.environment
        version = self.attributes.get("neurometa")
        lines.append(f"  made by neurometa {version}, torch {made.get('torch')}, on {made.get('device')}")
        return "\n".join(lines)


def tensor(array: np.ndarray) -> Tensor:
    """Return an array as a tensor of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(array))


def _settings(record: Mapping[str, Any]) -> str:
    """Return a strategy in one line; descriptions in it are named elsewhere."""
    plain = {k: v for k, v in record.get("settings", {}).items() if isinstance(v, str | int | float | bool)}
    return f"{record.get('name')} ({', '.join(f'{key} {value}' for key, value in plain.items())})"
