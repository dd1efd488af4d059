"""A network with named neuromodulators: each may gate plasticity, scale neurons, or scale efficacies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import SpecificationError, unknown
from ..rules.gated_hebb import gated_hebb
from ..spec import Network, Param, PlasticityRule, Population, Projection
from ..spec.base import check_choice
from ._parts import fan_out as fanned
from ._parts import modulator, rule_modulators, standard_inputs, taught_output

__all__ = ["modulated"]

TARGETS = ("plasticity", "gain", "efficacy")


def modulated(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = gated_hebb,
    n_hidden: int = 64,
    modulators: Mapping[str, Sequence[str]] | None = None,
    transfer: str = "softmax",
    alpha: float = 1.0,
    tau: float = 0.0,
    fan_out: str = "global",
) -> Network:
    """Build stimulus -> hidden -> plastic synapses -> out, with any number of neuromodulators.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses from hidden to out.
    n_hidden : int
        Number of hidden neurons.
    modulators : mapping of str to sequence of str, optional
        Name -> its targets: ``"plasticity"`` (the rule reads it: as ``m`` where one modulator has this target, as
        ``m_<name>`` where several have), ``"gain"`` (scales the input of hidden neurons), ``"efficacy"`` (scales the
        plastic synapses). Default: ``{"dopamine": ("plasticity",)}``.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Start of the plastic strength: efficacy ``alpha*w``.
    tau : float
        Time constant of the modulators at the start, ms; 0 makes them instantaneous.
    fan_out : {"global", "per_neuron"}
        ``global``: all targets of a modulator receive the same number. ``per_neuron``: it passes through one learned
        weight and bias for each target neuron, in a population ``<modulator>_<target population>`` (Miconi et al. 2019,
        arXiv:2002.10585), so it may raise plasticity here and lower it there.

    Returns
    -------
    Network
        Modulators see the stimulus, the teaching signal and the previous activity of the hidden neurons; the network
        answers ``out.drive``.

    Examples
    --------
    >>> network = modulated(3, 2, n_hidden=4, modulators={"da": ["plasticity"], "ne": ["gain"], "ach": ["efficacy"]})
    >>> sorted(network.modulators)
    ['ach', 'da', 'ne']
    """
    modulators = {"dopamine": ("plasticity",)} if modulators is None else modulators
    for name, targets in modulators.items():
        for target in targets:
            if target not in TARGETS:
                raise SpecificationError(f"modulator '{name}': {unknown('target', target, TARGETS)}")

    check_choice(fan_out, ("global", "per_neuron"), "modulated: fan_out")
    spread: list[Population] = []
    fan: list[Projection] = []

    def aimed(target: str) -> list[str]:
        return [name for name, targets in modulators.items() if target in targets]

    def heard(name: str, target: str, size: int) -> str:
        """Return the population from which a target population hears a modulator."""
        if fan_out == "global":
            return name
        own = f"{name}_{target}"
        if own not in {p.name for p in spread}:
            population, wires = fanned(name, own, size)
            spread.append(population)
            fan.extend(wires)
        return own

    plasticity, gain, efficacy = (aimed(target) for target in TARGETS)
    single = len(plasticity) == 1
    offered = {"m" if single else f"m_{name}": heard(name, "out", n_out) for name in plasticity}
    out, clamp = taught_output(n_out, transfer)
    hidden = Population(
        "hidden",
        n_hidden,
        f"tanh({''.join(f'm_{name}*' for name in gain)}drive)",
        modulators={name: heard(name, "hidden", n_hidden) for name in gain},
    )
    scaling = {f"m_{name}": heard(name, "out", n_out) for name in efficacy}
    plastic = Projection(
        "hidden",
        "out",
        name="plastic",
        efficacy="".join(f"m_{name}*" for name in efficacy) + "alpha*w",
        params={"alpha": Param(alpha)},
        rule=rule,
        modulators=rule_modulators(rule, offered, "network 'modulated'") | scaling,
    )
    # A modulator that scales starts at 1 (2*sigmoid(0)); one that gates plasticity only starts at 1/2.
    sources = [modulator(name, tau, 2.0 if name in (*gain, *efficacy) else 1.0) for name in modulators]
    small = Param(0.0)
    wiring = [
        Projection(
            source, name, w=None if source == "stimulus" else Param(0.0, per="synapse") if source == "hidden" else small
        )
        for name in modulators
        for source in ("stimulus", "hidden", "teach", "one")
    ]
    return Network(
        (*standard_inputs(n_in, n_out), *sources, *spread, hidden, out),
        (
            *wiring,
            *fan,
            Projection("stimulus", "hidden"),
            Projection("one", "hidden", w=Param(0.0, per="post")),
            plastic,
            clamp,
        ),
        output="out.drive",
        name="modulated",
    )
