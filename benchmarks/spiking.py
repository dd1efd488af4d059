"""Many runs of one spiking network with STDP: one batched call, against Brian2 one run after another and side by side.

100 integrate-and-fire neurons, each with a constant current of its own, project to 10, with pair STDP. The Brian2 model
is written by hand, as its users would. Before anything is timed, one run must have the same spikes and weights in both.

    python benchmarks/spiking.py
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from _record import place, wait, write_record
from torch import Tensor

import neurometa as nm
from neurometa.brian2_engine._brian2 import load
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.meta.memory import keep_memory
from neurometa.streams import generator
from neurometa.tree import Tree

DT = 0.1


@dataclass(frozen=True)
class Settings:
    """Forward simulation, float32, the step compiled; Brian2 in float64."""

    runs: int = 256
    """Runs, each with currents of its own."""
    sources: int = 100
    """Presynaptic neurons."""
    targets: int = 10
    """Postsynaptic neurons."""
    steps: int = 10_000
    """Steps of 0.1 ms."""
    brian2_runs: int = 3
    """Runs of Brian2 that are timed; the time of all runs is their median times the number of runs."""
    brian2_target: Literal["numpy", "cython"] = "cython"
    """How Brian2 makes its code; the compilation is not timed."""
    repeats: int = 3
    """Timed repetitions of the batched call."""
    compile: bool = True
    """Compile the step."""
    threads: int = 2
    """Torch threads."""
    device: str = "cpu"
    """Torch device, such as cuda."""
    out: Path = Path("runs/benchmarks/spiking.json")
    """Where the figures are written."""


SMOKE = Settings(3, 10, 3, 300, 1, "numpy", 1, compile=False)
PRESETS = {"smoke": SMOKE, "default": Settings()}


def network(settings: Settings) -> nm.Network:
    """Return the network; a current of 1 is the threshold."""
    held = nm.Spikes("v > 1", "v = 0", refractory=2.0, held=("v",))
    source = nm.Population("source", settings.sources, {"dv/dt": "(drive - v)/10"}, method="exact", spikes=held)
    update = {"dv/dt": "(g - v)/10", "dg/dt": "-g/5"}
    sink = nm.Population("sink", settings.targets, update, inputs=(), method="exact", spikes=held)
    w = nm.Param(nm.Uniform(0.0, 1.0), per="synapse")
    return nm.Network(
        (nm.Population("current", settings.sources), source, sink),
        (
            nm.Projection("current", "source", w=nm.Param(1.0), mask="one_to_one"),
            nm.Projection("source", "sink", "plastic", into="g", efficacy="0.1*w", w=w, rule=nm.rules.stdp),
        ),
        output="sink",
        dt=DT,
    )


def scene(settings: Settings, dtype: torch.dtype) -> tuple[nm.Network, Tree, Tensor]:
    """Return network, parameters and currents ``(steps, runs, sources)``, which take the memory of one step."""
    made, stream = network(settings), generator(0)
    params = {name: leaf.to(settings.device) for name, leaf in nm.init_params(made, stream, dtype=dtype).items()}
    current = 1 + torch.rand(1, settings.runs, settings.sources, generator=stream, dtype=dtype)
    return made, params, current.to(settings.device).expand(settings.steps, -1, -1)


def in_brian2(settings: Settings, current: np.ndarray, w: np.ndarray) -> tuple[Any, Any, Any]:
    """Return Brian2 network, synapses and spikes of runs side by side: current ``(runs, sources)``, w as ours."""
    b2 = load()
    b2.prefs.codegen.target = settings.brian2_target
    b2.prefs.logging.file_log = False
    b2.defaultclock.dt = DT * b2.ms
    runs, (targets, sources) = len(current), w.shape
    tau = 10 * b2.ms
    common = {"threshold": "v > 1", "reset": "v = 0", "refractory": 2 * b2.ms, "method": "exact"}
    equation = "dv/dt = (drive - v)/tau : 1 (unless refractory)\ndrive : 1 (constant)"
    source = b2.NeuronGroup(runs * sources, equation, namespace={"tau": tau}, order=0, **common)
    source.drive = current.ravel()
    equation = "dv/dt = (g - v)/tau : 1 (unless refractory)\ndg/dt = -g/tau_g : 1"
    names = {"tau": tau, "tau_g": 5 * b2.ms}
    sink = b2.NeuronGroup(runs * targets, equation, namespace=names, order=0, **common)
    model = "w : 1\ndltp/dt = -ltp/tau_s : 1 (event-driven)\ndltd/dt = -ltd/tau_s : 1 (event-driven)"
    synapses = b2.Synapses(
        source,
        sink,
        model,
        on_pre="g_post += 0.1*w\nw = clip(w - ltd, 0, 1)\nltp += 0.01",
        on_post="w = clip(w + ltp, 0, 1)\nltd += 0.0105",
        namespace={"tau_s": 20 * b2.ms},
        order=1,
    )
    run, post, pre = (index.ravel() for index in np.indices((runs, targets, sources)))
    synapses.connect(i=run * sources + pre, j=run * targets + post)
    synapses.w = w[post, pre]
    spikes = b2.SpikeMonitor(sink)
    return b2.Network(source, sink, synapses, spikes), synapses, spikes


def check(settings: Settings) -> tuple[float, int]:
    """Return the largest difference of a weight of one run, in double precision, and its number of spikes."""
    few = replace(settings, runs=1, steps=min(settings.steps, 3000), brian2_target="numpy", device="cpu")
    made, params, current = scene(few, torch.double)
    with torch.no_grad():
        ours = nm.simulate(made, params, {"current": current})
    theirs, synapses, spikes = in_brian2(few, current[0].numpy(), params["plastic.w"].numpy())
    theirs.run(few.steps * DT * load().ms, namespace={})
    steps, neurons = ours.output[:, 0].nonzero(as_tuple=True)
    order = np.lexsort((np.asarray(spikes.i), np.rint(np.asarray(spikes.t) * 1e4)))
    same = np.array_equal(steps, np.rint(np.asarray(spikes.t) * 1e4)[order]) and np.array_equal(
        neurons, np.asarray(spikes.i)[order]
    )
    w = np.empty((few.targets, few.sources))
    w[np.asarray(synapses.j), np.asarray(synapses.i)] = np.asarray(synapses.w)
    worst = float(abs(w - ours.final.w["plastic"][0].numpy()).max())
    if not (same and worst < 1e-12):
        raise NeurometaError(f"torch and Brian2 differ: spikes {'the same' if same else 'not the same'}, w {worst:.1e}")
    return worst, len(steps)


def seconds_in_brian2(settings: Settings, current: np.ndarray, w: np.ndarray) -> float:
    """Return how long one network runs, code generation left out."""
    b2 = load()
    made, _, _ = in_brian2(settings, current, w)
    made.run(DT * b2.ms, namespace={})
    begun = time.perf_counter()
    made.run(settings.steps * DT * b2.ms, namespace={})
    return time.perf_counter() - begun


def main(settings: Settings) -> None:
    """Check, time, print, write."""
    keep_memory()
    torch.set_num_threads(settings.threads)
    worst, n_spikes = check(settings)
    made, params, current = scene(settings, torch.get_default_dtype())
    ours = []
    with torch.no_grad():
        nm.simulate(made, params, {"current": current[:2]}, compile=settings.compile)  # compile
        for _ in range(settings.repeats):
            wait(settings.device)
            begun = time.perf_counter()
            nm.simulate(made, params, {"current": current}, compile=settings.compile)
            wait(settings.device)
            ours.append(time.perf_counter() - begun)
    values, w = current[0].double().cpu().numpy(), params["plastic.w"].double().cpu().numpy()
    single = [seconds_in_brian2(settings, values[i : i + 1], w) for i in range(settings.brian2_runs)]
    copies = seconds_in_brian2(settings, values, w)
    batched, sequential = statistics.median(ours), statistics.median(single) * settings.runs
    print(f"{settings.sources} -> {settings.targets} neurons, {settings.steps:,} steps, {settings.runs} runs")
    print(f"batched: {batched:.2f} s (median of {settings.repeats}; {place(settings.device)})")
    name = f"Brian2 ({settings.brian2_target})"
    counted = f"{settings.runs} times the median of {settings.brian2_runs}"
    print(f"{name}, one after another: {sequential:.0f} s ({counted}): {sequential / batched:.1f} times as long")
    print(f"{name}, side by side in one network: {copies:.2f} s: {copies / batched:.2f} times as long")
    print(f"one run in both (float64): the same {n_spikes} spikes, weights within {worst:.1e}")
    write_record(settings, batched=ours, brian2_single=single, brian2_copies=copies, largest_difference=worst)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "spiking.py")
