"""Pieces that several networks share: the standard inputs, a taught output, a modulator population."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import SpecificationError
from ..spec import Network, Param, PlasticityRule, Population, Projection
from ..spec.base import check_choice

__all__ = ["fan_out", "modulator", "recurrent_network", "rule_modulators", "standard_inputs", "taught_output"]


def standard_inputs(n_in: int, n_out: int) -> tuple[Population, ...]:
    """Return the input populations ``stimulus``, ``target`` and ``teach``."""
    return (Population("stimulus", n_in), Population("target", n_out), Population("teach", 1))


def taught_output(n_out: int, transfer: str) -> tuple[Population, Projection]:
    """Return the population ``out``, clamped to the target while ``teach`` is 1, and the synapses that bring it.

    ``drive`` is what the network answers, ``error`` is target minus prediction while taught and 0 otherwise. The
    clamp is a gate, not a large current, so nothing overflows.
    """
    check_choice(transfer, ("softmax", "linear", "tanh", "sigmoid"), "transfer of the output")
    prediction = "drive" if transfer == "linear" else f"{transfer}(drive)"
    out = Population(
        "out",
        n_out,
        {
            "prediction": prediction,
            "x": "m_teach*target + (1 - m_teach)*prediction",
            "error": "m_teach*(target - prediction)",
        },
        inputs=("drive", "target"),
        modulators={"teach": "teach"},
    )
    clamp = Projection("target", "out", into="target", w=Param(1.0, learned=False), mask="one_to_one")
    return out, clamp


def modulator(name: str, tau: float, gain: float) -> Population:
    """Return a neuromodulator of one neuron: ``gain*sigmoid(drive)``, low-pass filtered where ``tau`` is above 0 ms."""
    params = {"gain": Param(gain)}
    if tau:
        params["tau"] = Param(tau, "positive", minimum=1.0, unit="ms")
        return Population(name, 1, {"dx/dt": "(gain*sigmoid(drive) - x)/tau"}, params=params)
    return Population(name, 1, "gain*sigmoid(drive)", params=params)


def fan_out(source: str, name: str, size: int) -> tuple[Population, list[Projection]]:
    """Return the population ``name``, which brings a modulator of one neuron to each of ``size`` neurons.

    Every neuron has a weight and a bias of its own (Miconi et al. 2019, arXiv:2002.10585). They start at 1 and 0, so
    that at the start each neuron receives the modulator as it is.
    """
    weights = Projection(source, name, w=Param(1.0, per="post"))
    return Population(name, size, "drive"), [weights, Projection("one", name, w=Param(0.0, per="post"))]


def recurrent_network(
    name: str,
    n_in: int,
    n_out: int,
    hidden: Population,
    recurrent: Projection,
    transfer: str,
    stimulus: Projection | None = None,
) -> Network:
    """Return stimulus -> hidden -> out around the recurrent synapses of the population ``hidden``.

    Hidden neurons see stimulus (through synapses that do not change, unless others are given), target and teaching
    signal. Where the rule of the recurrent synapses reads a modulator, the population ``m_hidden`` computes it from the
    hidden neurons. The network answers ``out.drive``.
    """
    out, clamp = taught_output(n_out, transfer)
    modulated = bool(recurrent.rule and recurrent.rule.modulators)
    m = (modulator("m_hidden", 0.0, 1.0),) if modulated else ()
    feed = [stimulus or Projection("stimulus", "hidden")]
    feed += [Projection(source, "hidden") for source in ("target", "teach", "one")]
    readout = [Projection("hidden", "out"), Projection("one", "out")]
    modulation = [Projection("hidden", "m_hidden"), Projection("one", "m_hidden")] if modulated else []
    return Network(
        (*standard_inputs(n_in, n_out), hidden, *m, out),
        (*feed, recurrent, *modulation, *readout, clamp),
        output="out.drive",
        name=name,
    )


def rule_modulators(rule: PlasticityRule, available: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the modulators that a rule reads, from what a network offers (name in the text -> population)."""
    for name in rule.modulators:
        if name not in available:
            offered = ", ".join(available) or "none"
            raise SpecificationError(
                f"{where}: rule '{rule.name}' reads the modulator '{name}'; the network has {offered}"
            )
    return {name: available[name] for name in rule.modulators}
