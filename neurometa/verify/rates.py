"""Closed forms of rate rules."""

from __future__ import annotations

import torch

from .. import rules, torch_engine
from ..crosscheck import Crosscheck
from ..spec import Network, Param, PlasticityRule, Population, Projection
from ..streams import generator
from ..torch_engine.ops import TORCH
from ..torch_engine.params import unconstrain
from ..trajectory import Save
from .networks import between_engines

__all__ = ["delta_target", "gated_pulse", "hebb_constant", "oja_component", "oja_in_both"]


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


def oja_in_both() -> Crosscheck:
    """Run Oja's rule on one linear neuron in both engines, 3,000 steps."""
    network = Network(
        (Population("stimulus", 3), Population("out", 1, "drive")),
        (Projection("stimulus", "out", "synapse", rule=rules.get("oja"), w=Param(0.1)),),
    )
    eta = unconstrain(rules.get("oja").params["eta"], torch.tensor(0.01))
    return between_engines(network, 3000, 1, **{"synapse.rule.eta": float(eta)})


def oja_component() -> tuple[float, float]:
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


def hebb_constant() -> float:
    """Hold post by a target: dw = eta*a*b - decay*w approaches eta*a*b/decay geometrically."""
    a, b, eta, decay, steps = 0.8, 0.5, 0.1, 0.05, 200
    inputs = {
        "stimulus": torch.full((steps, 1, 1), a, dtype=torch.double),
        "target": torch.full((steps, 1, 1), b, dtype=torch.double),
    }
    w = _single(rules.get("hebb"), 1, inputs, {"x": "target"}, eta=eta, decay=decay)[:, 0, 0]
    k = torch.arange(1, steps + 1, dtype=torch.double)
    return float((w - eta * a * b / decay * (1 - (1 - decay) ** k)).abs().max())


def delta_target() -> float:
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


def gated_pulse() -> float:
    """Give one coincidence at step 0 and one pulse of the modulator L later: w = eta*a*b*(1 - 1/tau)^L."""
    a, b, eta, tau, late, steps = 0.7, 0.9, 0.3, 4.0, 6, 10
    inputs = {name: torch.zeros(steps, 1, 1, dtype=torch.double) for name in ("stimulus", "target", "from_m")}
    inputs["stimulus"][0], inputs["target"][0], inputs["from_m"][late] = a, b, 1.0
    w = _single(rules.get("gated_hebb"), 1, inputs, {"x": "target"}, eta=eta, decay=0.0, tau=tau)[:, 0, 0]
    return abs(float(w[-1]) - eta * a * b * (1 - 1 / tau) ** late)
