"""A network with named neuromodulators: each may gate plasticity, scale neurons, or scale efficacies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import SpecificationError, unknown
from ..rules.gated_hebb import gated_hebb
from ..spec import Network, Param, PlasticityRule, Population, Projection
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

    def aimed(target: str) -> list[str]:
        return [name for name, targets in modulators.items() if target in targets]

    plasticity, gain, efficacy = (aimed(target) for target in TARGETS)
    offered = {"m": plasticity[0]} if len(plasticity) == 1 else {f"m_{name}": name for name in plasticity}
    out, clamp = taught_output(n_out, transfer)
    hidden = Population(
        "hidden",
        n_hidden,
        f"tanh({''.join(f'm_{name}*' for name in gain)}drive)",
        modulators={name: name for name in gain},
    )
    plastic = Projection(
        "hidden",
        "out",
        name="plastic",
        efficacy="".join(f"m_{name}*" for name in efficacy) + "alpha*w",
        params={"alpha": Param(alpha)},
        rule=rule,
        modulators=rule_modulators(rule, offered, "network 'modulated'") | {f"m_{name}": name for name in efficacy},
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
        (*standard_inputs(n_in, n_out), *sources, hidden, out),
        (
            *wiring,
            Projection("stimulus", "hidden"),
            Projection("one", "hidden", w=Param(0.0, per="post")),
            plastic,
            clamp,
        ),
        output="out.drive",
        name="modulated",
    )
