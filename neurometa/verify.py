"""What is claimed, measured here and now: every library rule in both engines, and closed forms.

Each line has the measured number and what is allowed. The allowed numbers are the tolerances of docs/semantics.md; a
test asserts that none is looser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from . import rules, torch_engine
from .crosscheck import Crosscheck, crosscheck
from .spec import Network, Normal, Param, PlasticityRule, Population, Projection, Spikes
from .spec.rule import split_variable
from .streams import generator
from .torch_engine.ops import TORCH
from .torch_engine.params import unconstrain
from .trajectory import Save

__all__ = ["Check", "contract_networks", "verify"]

STEPS = 100
BATCH = 2


@dataclass(frozen=True)
class Check:
    """One line: what was measured, the number, and what is allowed."""

    name: str
    measured: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the number is within what is allowed."""
        return bool(self.measured <= self.allowed)


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


def verify(on_check: Callable[[Check], None] | None = None) -> list[Check]:
    """Measure everything; call back after each line.

    Returns
    -------
    list of Check
        Rules in both engines first, then closed forms.

    Raises
    ------
    EngineError
        If brian2 is not installed.
    """
    found = []
    for check in _checks():
        found.append(check)
        if on_check:
            on_check(check)
    return found


def _checks() -> Iterator[Check]:
    for name in rules.names():
        rule = rules.get(name)
        if rule.brian2_refuses:
            continue
        for kind, network in contract_networks(rule).items():
            found = between_engines(network)
            yield Check(f"{name}, {kind}: torch against Brian2, {found.horizon} steps", found.largest, 1e-10)
    found = _oja_in_both()
    yield Check(f"oja on one linear neuron: torch against Brian2, {found.horizon:,} steps", found.largest, 1e-12)
    length, angle = _oja()
    yield Check("oja: distance of |w| from 1, 60,000 steps", length, 1e-2)
    yield Check("oja: 1 - |cosine| with the first eigenvector", angle, 1e-3)
    yield Check("hebb: closed form of a constant input", _hebb(), 1e-12)
    yield Check("delta: closed form of a constant target", _delta(), 1e-12)
    yield Check("gated_hebb: closed form of a pulse of the modulator", _gated(), 1e-12)


def _single(
    rule: PlasticityRule, n: int, inputs: dict[str, torch.Tensor], post: dict[str, str], **params: float
) -> torch.Tensor:
    """Run one rule on a projection with given parameters; return its weight after every step, ``(time, 1, n)``."""
    fixed = {name: Param(params.get(name, param.init), learned=False) for name, param in rule.params.items()}
    plain = PlasticityRule(rule.name, dw=rule.dw, traces=rule.traces, params=fixed)
    populations = [Population("stimulus", n), *(Population(f"from_{name}", 1) for name in rule.modulators)]
    out = Population("out", 1, post, inputs=("drive", "target"))
    if "target" in inputs:
        populations.append(Population("target", 1))
    network = Network(
        (*populations, out),
        (
            Projection(
                "stimulus",
                "out",
                name="synapse",
                rule=plain,
                w=Param(params.get("w", 0.0)),
                modulators={name: f"from_{name}" for name in rule.modulators},
            ),
            *([Projection("target", "out", into="target", w=Param(1.0))] if "target" in inputs else []),
        ),
    )
    stored = torch_engine.init_params(network, generator(0), dtype=torch.double)
    with torch.no_grad():
        return torch_engine.simulate(network, stored, inputs, save=Save(("w.*",)))["w.synapse"][:, :, 0]


def _oja_in_both() -> Crosscheck:
    network = Network(
        (Population("stimulus", 3), Population("out", 1, "drive")),
        (Projection("stimulus", "out", "synapse", rule=rules.get("oja"), w=Param(0.1)),),
    )
    eta = unconstrain(rules.get("oja").params["eta"], torch.tensor(0.01))
    return between_engines(network, 3000, 1, **{"synapse.rule.eta": float(eta)})


def _oja() -> tuple[float, float]:
    """Run Oja's text on a zero-mean Gaussian with standard deviations 2, 1 and .5."""
    steps, n = 60_000, 3
    rotation = torch.linalg.qr(torch.randn(n, n, generator=generator(0, "rotation"), dtype=torch.double)).Q
    x = torch.randn(steps, n, generator=generator(0, "oja"), dtype=torch.double) * torch.tensor([2.0, 1.0, 0.5])
    x = x @ rotation.T
    w = torch.full((n,), 0.1, dtype=torch.double)
    dw = rules.get("oja").dw_expression
    if dw is None:
        raise ValueError("oja has no dw")
    function = dw.function(["eta", "post", "pre", "w"], TORCH)
    eta = torch.tensor(2e-4, dtype=torch.double)
    for pre in x:
        w = w + function(eta, (w * pre).sum(), pre, w)
    first = rotation[:, 0]
    return abs(float(w.norm()) - 1), 1 - abs(float(w @ first) / float(w.norm()))


def _hebb() -> float:
    """Hold post by a target: dw = eta*a*b - decay*w approaches eta*a*b/decay geometrically."""
    a, b, eta, decay, steps = 0.8, 0.5, 0.1, 0.05, 200
    inputs = {
        "stimulus": torch.full((steps, 1, 1), a, dtype=torch.double),
        "target": torch.full((steps, 1, 1), b, dtype=torch.double),
    }
    w = _single(rules.get("hebb"), 1, inputs, {"x": "target"}, eta=eta, decay=decay)[:, 0, 0]
    k = torch.arange(1, steps + 1, dtype=torch.double)
    return float((w - eta * a * b / decay * (1 - (1 - decay) ** k)).abs().max())


def _delta() -> float:
    """Follow a constant target y with pre 1: w(k) = y*(1 - (1 - eta)^k)."""
    y, eta, steps = 1.3, 0.2, 100
    inputs = {
        "stimulus": torch.ones(steps, 1, 1, dtype=torch.double),
        "target": torch.full((steps, 1, 1), y, dtype=torch.double),
    }
    post = {"x": "drive", "error": "target - drive"}
    w = _single(rules.get("delta"), 1, inputs, post, eta=eta)[:, 0, 0]
    k = torch.arange(1, steps + 1, dtype=torch.double)
    return float((w - y * (1 - (1 - eta) ** k)).abs().max())


def _gated() -> float:
    """Give one coincidence at step 0 and one pulse of the modulator L later: w = eta*a*b*(1 - 1/tau)^L."""
    a, b, eta, tau, late, steps = 0.7, 0.9, 0.3, 4.0, 6, 10
    inputs = {name: torch.zeros(steps, 1, 1, dtype=torch.double) for name in ("stimulus", "target", "from_m")}
    inputs["stimulus"][0], inputs["target"][0], inputs["from_m"][late] = a, b, 1.0
    w = _single(rules.get("gated_hebb"), 1, inputs, {"x": "target"}, eta=eta, decay=0.0, tau=tau)[:, 0, 0]
    return abs(float(w[-1]) - eta * a * b * (1 - 1 / tau) ** late)
