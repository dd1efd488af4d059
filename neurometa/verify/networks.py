"""The networks in which every rule is judged, and how far the two engines are apart in them."""

from __future__ import annotations

from typing import Any

import torch

from .. import torch_engine
from ..crosscheck import Crosscheck, crosscheck
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection, Spikes
from ..spec.rule import split_variable
from ..streams import generator

__all__ = ["between_engines", "contract_networks"]

STEPS = 100
BATCH = 2


def contract_networks(rule: PlasticityRule, size: int = 4) -> dict[str, Network]:
    """Return the three networks in which every rule is judged: feed-forward, recurrent and modulated.

    Parameters
    ----------
    rule : PlasticityRule
        Any rule. Modulators that it reads are computed by the network; other population variables that it reads are
        given a meaning (``error``: target minus drive; any other: a slow average of squared activity). Where the rule
        has ``on_pre`` or ``on_post``, neurons are integrate-and-fire with a refractory time, and the plastic synapses
        deliver spikes after 2 steps.
    size : int
        Neurons of the plastic populations.

    Returns
    -------
    dict of str to Network
        By name.
    """
    sides: dict[str, list[str]] = {"pre": [], "post": []}
    for name in rule.variables:
        variable, side = split_variable(name) or ("", "post")
        if variable not in ("x", "drive", "target", *sides[side]):
            sides[side].append(variable)

    def population(name: str, variables: list[str]) -> Population:
        if rule.has_events:
            return _spiking(name, size, [v for v in variables if v != "v"])
        update = {variable: "target - tanh(drive)" for variable in variables if variable.startswith("error")}
        slow = {variable: f"0.9*{variable} + 0.1*x*x" for variable in variables if variable not in update}
        return Population(name, size, {"x": "tanh(drive)", **update, **slow}, inputs=("drive", "target"))

    def plastic(pre: str, post: str, modulators: dict[str, str], efficacy: str = "w0 + 0.5*w") -> Projection:
        w0 = Param(Normal(0.0, "0.7/sqrt(n_pre)"), per="synapse")
        arrival: dict[str, Any] = {"into": "g", "delay": 0.0 if "pre" in rule.reads else 2.0} if rule.has_events else {}
        return Projection(
            pre, post, name="plastic", efficacy=efficacy, params={"w0": w0}, rule=rule, modulators=modulators, **arrival
        )

    def sources(per_neuron: bool) -> tuple[list[Population], list[Projection], dict[str, str]]:
        made = [Population(f"from_{name}", size if per_neuron else 1, "sigmoid(drive)") for name in rule.modulators]
        wires = [Projection("stimulus", p.name) for p in made]
        return made, wires, {name: f"from_{name}" for name in rule.modulators}

    stimulus = Population("stimulus", 3)
    both = [*dict.fromkeys([*sides["pre"], *sides["post"]])]
    shared, wires, named = sources(per_neuron=False)
    forward = Network(
        (stimulus, *shared, population("source", sides["pre"]), population("sink", sides["post"])),
        (
            Projection("stimulus", "source"),
            Projection("stimulus", "sink", into="target"),
            *wires,
            plastic("source", "sink", named),
        ),
        name="feed-forward",
    )
    recurrent = Network(
        (stimulus, *shared, population("hidden", both)),
        (
            Projection("stimulus", "hidden"),
            Projection("stimulus", "hidden", name="shown", into="target"),
            *wires,
            plastic("hidden", "hidden", named),
        ),
        name="recurrent",
    )
    own, own_wires, own_named = sources(per_neuron=True)
    gain = Population("gain", 1, "2*sigmoid(drive)")
    scaled = population("sink", sides["post"])
    modulated = Network(
        (stimulus, *own, gain, population("source", sides["pre"]), scaled),
        (
            Projection("stimulus", "source"),
            Projection("stimulus", "sink", into="target"),
            Projection("source", "gain"),
            *own_wires,
            plastic("source", "sink", {**own_named, "m_efficacy": "gain"}, "m_efficacy*(w0 + 0.5*w)"),
        ),
        name="modulated",
    )
    return {network.name: network for network in (forward, recurrent, modulated)}


def _spiking(name: str, size: int, variables: list[str]) -> Population:
    """Return integrate-and-fire neurons that spike a few times in 100 steps of random input."""
    update = {"dv/dt": "(3*drive + g - v)/4", "dg/dt": "-g/3"}
    update |= {v: "target - tanh(drive)" if v.startswith("error") else f"0.9*{v} + 0.1*v*v" for v in variables}
    spikes = Spikes("v > 0.6", "v = 0", refractory=2.0, held=("v",))
    return Population(name, size, update, inputs=("drive", "target"), spikes=spikes)


def between_engines(network: Network, steps: int = STEPS, batch: int = BATCH, **params: float) -> Crosscheck:
    """Return the outcome of a closed loop on random input, from parameters as they are drawn or given.

    Coefficients of rules that start at 0 are moved, or their terms would never be compared.
    """
    source = generator(0, "verify")
    drawn = torch_engine.init_params(network, source, dtype=torch.double)
    zero = [name for name, leaf in network.leaves.items() if ".rule." in name and leaf.param.init == 0]
    drawn |= {n: drawn[n] + 0.05 * torch.randn(drawn[n].shape, generator=source, dtype=torch.double) for n in zero}
    drawn |= {name: torch.full_like(drawn[name], value) for name, value in params.items()}
    stream = generator(0, "inputs")
    sizes = network.inputs.items()
    inputs = {name: torch.randn(steps, batch, n, generator=stream, dtype=torch.double) for name, n in sizes}
    return crosscheck(network, drawn, inputs)
