"""What recording costs: training with and without it, the forecast, and a gigabyte of weights against plain h5py.

Training pairs alternate, and their losses must be the same bit for bit. The other part writes the weights of episodes,
``(time, episode, post, pre)``, once in files of four episodes with the chunks that recordings have, by the thread that
recordings use, and once as one would without thinking: one dataset that grows by an episode at a time, with the chunks
that h5py chooses.

    python benchmarks/recording.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from _record import write_record

import neurometa as nm
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.meta.memory import keep_memory
from neurometa.record import RecordPlan
from neurometa.recording import Array, Content, Writer


@dataclass(frozen=True)
class Settings:
    """Training of the tracker on the volatility task; weights of 100 times 100 synapses over 200 steps."""

    iterations: int = 200
    """Meta-iterations of each training."""
    tasks: int = 64
    """Tasks in each."""
    every: int = 50
    """Iterations between recordings, as in the default plan."""
    repeats: int = 3
    """Pairs of trainings."""
    megabytes: int = 1000
    """Weights that are written our way."""
    plain_megabytes: int = 100
    """Weights that are written the plain way, which is slow; figures are scaled to a gigabyte."""
    steps: int = 200
    """Time steps of an episode of weights."""
    neurons: int = 100
    """Neurons on both sides of the synapses."""
    threads: int = 2
    """Torch threads."""
    out: Path = Path("runs/benchmarks/recording.json")
    """Where the figures are written."""


SMOKE = Settings(6, 4, 3, 1, 4, 2, 20, 30)
PRESETS = {"smoke": SMOKE, "default": Settings()}


def trained(settings: Settings, folder: Path | None) -> tuple[float, list[float], nm.Recorder | None]:
    """Return seconds and losses of one training, recorded into a folder or not."""
    task = nm.tasks.get("volatility")()
    learner = nm.PlasticLearner(nm.networks.tracker(task.n_in, task.n_out))
    recorder = nm.Recorder(RecordPlan(every=settings.every), folder) if folder else None
    begun = time.perf_counter()
    run = nm.meta_train(
        learner,
        task,
        n_iterations=settings.iterations,
        n_tasks=settings.tasks,
        report_every=1,
        observer=recorder,
    )
    return time.perf_counter() - begun, [record["loss"] for record in run.history], recorder


def size_of(folder: Path) -> int:
    """Return the bytes of all recordings in a folder, their index left out."""
    return sum(path.stat().st_size for path in folder.glob("*.h5") if path.stem.isdigit())


def ours(settings: Settings, folder: Path, compress: bool) -> tuple[float, float]:
    """Return seconds and bytes for each byte of weights."""
    shape = (settings.steps, 4, settings.neurons, settings.neurons)
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    dims = {"time": shape[0], "episode": shape[1], "p_post": shape[2], "p_pre": shape[3]}
    content = Content(
        {name: np.arange(size) for name, size in dims.items()},
        {"w/p": Array(tuple(dims), data)},
        {"kind": "neurometa recording"},
    )
    n_files = max(1, settings.megabytes * 10**6 // data.nbytes // (10 if compress else 1))
    begun = time.perf_counter()
    writer = Writer(compress)
    for k in range(n_files):
        writer.put(folder / f"{k:08d}.h5", content)
    writer.close()
    seconds = time.perf_counter() - begun
    return seconds / (n_files * data.nbytes), size_of(folder) / (n_files * data.nbytes)


def plain(settings: Settings, folder: Path) -> tuple[float, float]:
    """Return seconds and bytes for each byte of weights."""
    shape = (settings.steps, 1, settings.neurons, settings.neurons)
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    n, path = max(1, settings.plain_megabytes * 10**6 // data.nbytes), folder / "plain.h5"
    begun = time.perf_counter()
    with h5py.File(path, "w") as file:
        grown = file.create_dataset(
            "w", (shape[0], 0, *shape[2:]), np.float32, maxshape=(shape[0], None, *shape[2:]), chunks=True
        )
        for k in range(n):
            grown.resize(k + 1, 1)
            grown[:, k] = data[:, 0]
    seconds = time.perf_counter() - begun
    return seconds / (n * data.nbytes), path.stat().st_size / (n * data.nbytes)


def main(settings: Settings) -> None:
    """Measure, print, write."""
    keep_memory()
    torch.set_num_threads(settings.threads)
    pairs, forecasts = [], []
    with tempfile.TemporaryDirectory() as root:
        trained(settings, None)  # warm up
        for repeat in range(settings.repeats):
            folder = Path(root) / f"training-{repeat}"
            without, losses, _ = trained(settings, None)
            recorded, same, recorder = trained(settings, folder)
            if losses != same or recorder is None:
                raise NeurometaError("losses differ between training with and without a recording")
            pairs.append((without, recorded))
            forecasts.append(recorder.expected / size_of(folder) - 1)
        costs = {}
        for name, compress in (("recording", False), ("recording, compressed", True)):
            folder = Path(root) / name
            costs[name] = ours(settings, folder, compress)
        costs["plain h5py"] = plain(settings, Path(root))
    ratio = statistics.median(recorded / without for without, recorded in pairs)
    print(f"training with the default plan takes {ratio:.3f} times as long (median of {settings.repeats} pairs)")
    print(f"losses the same bit for bit; forecast off by at most {100 * max(map(abs, forecasts)):.2f} %")
    for name, (seconds, size) in costs.items():
        print(f"{name}: {seconds * 1e9:.2f} s and {size:.3f} GB for each GB of weights")
    write_record(settings, pairs=pairs, forecast_error=forecasts, per_byte=costs)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "recording.py")
