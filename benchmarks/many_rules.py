"""Synapse updates per second where every rule of a batch is another one: Taylor rules x episodes in one call.

Rules sit on the batch axis like tasks do, so that a thousand of them are one simulation. A sample of them is run again
one at a time and must give the same weights before anything is timed.

    python benchmarks/many_rules.py
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from _record import place, wait, write_record
from torch import Tensor

import neurometa as nm
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.meta.memory import keep_memory
from neurometa.streams import generator
from neurometa.tree import Tree

TOLERANCE = 1e-12


@dataclass(frozen=True)
class Settings:
    """Forward simulation of many different rules in one call, float32, the step compiled."""

    rules: int = 1000
    """Different Taylor rules (27 coefficients each)."""
    episodes: int = 8
    """Episodes of each rule."""
    neurons: int = 32
    """Recurrent neurons; the square of them are plastic synapses."""
    steps: int = 100
    """Steps of an episode."""
    repeats: int = 5
    """Timed repetitions."""
    compile: bool = True
    """Compile the step."""
    threads: int = 2
    """Torch threads."""
    device: str = "cpu"
    """Torch device, such as cuda."""
    out: Path = Path("runs/benchmarks/many_rules.json")
    """Where the figures are written."""


PRESETS = {"smoke": Settings(rules=6, episodes=2, neurons=8, steps=5, repeats=1, compile=False), "default": Settings()}


def recurrent(n: int) -> nm.Network:
    """Return a recurrent network with static and plastic weights."""
    w0 = {"w0": nm.Param(nm.Normal(0.0, "1/sqrt(n_pre)"), per="synapse")}
    return nm.Network(
        (nm.Population("stimulus", 8), nm.Population("hidden", n, "tanh(drive)")),
        (
            nm.Projection("stimulus", "hidden"),
            nm.Projection("hidden", "hidden", "plastic", efficacy="w0 + 0.1*w", params=w0, rule=nm.rules.taylor27),
        ),
    )


def scene(settings: Settings, dtype: torch.dtype) -> tuple[nm.Network, Tree, Tensor]:
    """Return the network, its parameters with another rule per entry, and inputs ``(time, rules*episodes, 8)``."""
    network, stream = recurrent(settings.neurons), generator(0)
    params = nm.init_params(network, stream, dtype=dtype)
    for name in params:
        if ".rule." in name:
            params[name] = 0.02 * torch.randn(settings.rules, 1, 1, generator=stream, dtype=dtype)
    x = torch.randn(settings.steps, settings.rules * settings.episodes, 8, generator=stream, dtype=dtype)
    return network, {name: leaf.to(settings.device) for name, leaf in params.items()}, x.to(settings.device)


def check(settings: Settings) -> float:
    """Return the largest difference of 20 rules from themselves run one at a time, in double precision."""
    few = replace(settings, rules=min(settings.rules, 20), episodes=2, steps=min(settings.steps, 50))
    network, params, x = scene(few, torch.double)
    worst = 0.0
    with torch.no_grad():
        together = nm.simulate(network, params, {"stimulus": x}).final.w["plastic"]
        for i in range(few.rules):
            own = {name: leaf[i] if ".rule." in name else leaf for name, leaf in params.items()}
            mine = slice(i * few.episodes, (i + 1) * few.episodes)
            alone = nm.simulate(network, own, {"stimulus": x[:, mine]}).final.w["plastic"]
            worst = max(worst, float((together[mine] - alone).abs().max()))
    if not worst < TOLERANCE:
        raise NeurometaError(f"rules in one call differ from themselves alone by {worst:.1e}, over {TOLERANCE}")
    return worst


def main(settings: Settings) -> None:
    """Check, time, print, write."""
    keep_memory()
    torch.set_num_threads(settings.threads)
    worst = check(settings)
    network, params, x = scene(settings, torch.get_default_dtype())
    updates = settings.rules * settings.episodes * settings.neurons**2 * settings.steps
    rates = []
    with torch.no_grad():
        nm.simulate(network, params, {"stimulus": x[:2]}, compile=settings.compile)  # compile
        for _ in range(settings.repeats):
            wait(settings.device)
            begun = time.perf_counter()
            nm.simulate(network, params, {"stimulus": x}, compile=settings.compile)
            wait(settings.device)
            rates.append(updates / (time.perf_counter() - begun))
    rate = statistics.median(rates)
    print(f"{settings.rules} rules x {settings.episodes} episodes, N = {settings.neurons}, T = {settings.steps}")
    print(f"{rate / 1e9:.3f} G synapse updates/s (median of {settings.repeats}; {place(settings.device)})")
    print(f"largest difference from one rule at a time (float64): {worst:.1e}")
    write_record(settings, updates_per_second=rates, largest_difference=worst)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "many_rules.py")
