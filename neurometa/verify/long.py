"""Phenomena of minutes of simulated time: Brian2 runs them as a compiled program, torch their first two seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from .. import brian2_engine, rules
from ..spec import Network, Param, Population, Projection, Spikes, Uniform
from ..streams import generator
from ..torch_engine import init_params, simulate

__all__ = ["Balance", "Shape", "balanced", "bimodal", "bimodal_weights", "inhibitory_balance", "poisson"]

#: Step, ms.
DT = 0.1
#: What torch runs too, ms.
FIRST = 2000


class Balance(NamedTuple):
    """Rates without inhibition (2 s) and over the last fifth, Hz; difference of the weights after 2 s."""

    early: float
    late: float
    apart: float


class Shape(NamedTuple):
    """Rates over the first and last 10 s, Hz; middle of the weights over the rarer end; difference of the engines.

    Middle: the mean of the two middle ones of ten bins. The difference is that of the weights after 2 s.
    """

    early: float
    late: float
    middle: float
    apart: float


def balanced() -> Network:
    """Return 20 neurons with 200 excitatory and 50 inhibitory inputs, the latter plastic from 0.

    Conductances in units of the leak; reversal at 0 and -80 mV, leak and reset at -60, threshold at -50 (Vogels et al.
    2011, doi:10.1126/science.1211095). The excitatory weights are such that cells start at about 21 Hz.
    """
    update = {"dv/dt": "(-60 - v + ge*(0 - v) + gi*(-80 - v))/20", "dge/dt": "-ge/5", "dgi/dt": "-gi/10"}
    spikes = Spikes("v > -50", "v = -60", refractory=5.0, held=("v",))
    cells = Population("cells", 20, update, inputs=(), start={"v": -60.0}, spikes=spikes)
    w = Param(Uniform(0.5 * 0.0228, 1.5 * 0.0228), per="synapse", learned=False)
    rule = rules.get("inhibitory_stdp")
    return Network(
        (Population("excitatory", 200), Population("inhibitory", 50), cells),
        (
            Projection("excitatory", "cells", into="ge", w=w),
            Projection("inhibitory", "cells", "plastic", into="gi", efficacy="w", w=Param(0.0), rule=rule),
        ),
        output="cells",
        dt=DT,
        name="balanced",
    )


def bimodal() -> Network:
    """Return one neuron with 1,000 plastic inputs, as in Brian2's example after Song, Miller & Abbott 2000.

    doi:10.1038/78829; its parameters are the example's, not the paper's, but for the reversal potential of excitation,
    0 mV as is meant there. Weights start evenly spaced: the first rate goes with their mean, and a draw of 1,000 moves
    it by 10 Hz.
    """
    update = {"dv/dt": "(ge*(0 - v) + (-74) - v)/10", "dge/dt": "-ge/5"}
    cell = Population("cell", 1, update, inputs=(), start={"v": -60.0}, spikes=Spikes("v > -54", "v = -60"))
    w = Param(Uniform(0.0, 1.0), per="synapse")
    plastic = Projection("inputs", "cell", "plastic", into="ge", efficacy="0.01*w", w=w, rule=rules.get("stdp"))
    return Network((Population("inputs", 1000), cell), (plastic,), output="cell", dt=DT, name="bimodal")


def poisson(sizes: Mapping[str, int], rate: float, seconds: float) -> dict[str, np.ndarray]:
    """Return independent Poisson trains, ``(time, 1, neurons)`` of bool, at a rate in Hz."""
    stream, steps = np.random.default_rng(0), round(1000 * seconds / DT)
    found = {name: np.zeros((steps, 1, size), bool) for name, size in sizes.items()}
    for trains in found.values():
        for part in np.array_split(trains, max(1, steps // 100_000)):  # views
            part[...] = stream.random(part.shape, dtype=np.float32) < rate * DT / 1000
    return found


class _Outcome(NamedTuple):
    """Spikes ``(time, neurons)``, last weights, and the difference of the engines after 2 s (infinite: a spike)."""

    spikes: np.ndarray
    w: np.ndarray
    apart: float


def _run(network: Network, params: Mapping[str, torch.Tensor], inputs: dict[str, np.ndarray]) -> _Outcome:
    first = {name: trains[: round(FIRST / DT)] for name, trains in inputs.items()}
    with torch.no_grad():
        ours = simulate(network, params, {name: torch.from_numpy(trains).double() for name, trains in first.items()})
    begin = brian2_engine.simulate(network, params, first, standalone=True)
    same = np.array_equal(ours.output.numpy(), begin.output)
    apart = float(abs(ours.final.w["plastic"].numpy() - begin.final.w["plastic"]).max()) if same else np.inf
    whole = brian2_engine.simulate(network, params, inputs, standalone=True)
    return _Outcome(whole.output[:, 0], whole.final.w["plastic"][0], apart)


def _rate(spikes: np.ndarray) -> float:
    return float(spikes.mean()) / DT * 1000


def inhibitory_balance(seconds: float = 300.0) -> Balance:
    """Let inhibitory synapses grow until the cells are near their target of 5 Hz."""
    network, inputs = balanced(), poisson({"excitatory": 200, "inhibitory": 50}, 10.0, seconds)
    params = init_params(network, generator(0, "long"), dtype=torch.double)
    first = {name: torch.from_numpy(trains[: round(FIRST / DT)]).double() for name, trains in inputs.items()}
    with torch.no_grad():
        alone = simulate(network, params, first, learn=False).output.numpy()
    found = _run(network, params, inputs)
    return Balance(_rate(alone), _rate(found.spikes[-len(found.spikes) // 5 :]), found.apart)


def bimodal_weights(seconds: float = 200.0) -> Shape:
    """Let a thousand synapses compete."""
    network, ten = bimodal(), round(10_000 / DT)
    start = (torch.arange(1000, dtype=torch.double) + 0.5) / 1000
    params = init_params(network, generator(0, "long"), dtype=torch.double) | {"plastic.w": start[None]}
    spikes, w, apart = _run(network, params, poisson({"inputs": 1000}, 15.0, seconds))
    counts = np.histogram(w, 10, (0.0, 1.0))[0]
    return Shape(_rate(spikes[:ten]), _rate(spikes[-ten:]), float(counts[4:6].mean() / min(counts[[0, -1]])), apart)
