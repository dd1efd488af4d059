"""A recurrent network whose hidden synapses are all plastic, at a rate that it sets itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ..spec.base import check_choice
from ._parts import rule_modulators, standard_inputs, taught_output

__all__ = ["self_paced", "self_paced_hebb"]

WIRES = ("stimulus__hidden", "hidden__hidden", "hidden__out")

self_paced_hebb = PlasticityRule(
    "self_paced_hebb",
    dw="m*(pre*post - w)",
    reference="Duan, Jia, Wang, Ye, Zhang, Zhang & Chen 2023, arXiv:2302.03235",
)


def self_paced(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = self_paced_hebb,
    n_hidden: int = 64,
    transfer: str = "linear",
    alpha: float = 0.1,
    n_inner: int = 0,
    rate: float = 0.2,
    plastic: Sequence[str] = WIRES,
    recurrence: float = 1.0,
) -> Network:
    """Build stimulus -> hidden -> out with plastic synapses everywhere (Duan et al. 2023, arXiv:2302.03235).

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the plastic synapses. A modulator ``m`` that it reads is ``gain*sigmoid(...)`` of the hidden neurons: the
        network's own learning rate.
    n_hidden : int
        Number of recurrent neurons.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Standard deviation of the plastic strengths at the start, one per synapse, times the square root of the number
        of synapses of a neuron: efficacy ``w0 + alpha*w``.
    n_inner : int
        With a number above 0, neurons of a population ``inner`` that reads the hidden neurons and is read by nobody:
        half its squared activity, ``inner.x``, is an objective that the network gives itself
        (`OnlineGradientLearner`).
    rate : float
        Start of the gain of the learning rate.
    plastic : sequence of str
        Of ``"stimulus__hidden"``, ``"hidden__hidden"`` and ``"hidden__out"``, the synapses that are plastic.
    recurrence : float
        Standard deviation of the recurrent weights at the start, times the square root of ``n_hidden``.

    Returns
    -------
    Network
        Hidden neurons see stimulus, target and teaching signal; the network answers ``out.drive``.
    """
    for name in plastic:
        check_choice(name, WIRES, "self_paced: plastic")

    def wire(name: str) -> Projection:
        pre, post = name.split("__")
        start = Param(Normal(0.0, f"{float(recurrence if pre == post else 1)!r}/sqrt(n_pre)"), per="synapse")
        if name not in plastic:
            return Projection(pre, post, w=start)
        return Projection(
            pre,
            post,
            efficacy="w0 + alpha*w",
            params={
                "w0": start,
                "alpha": Param(Normal(0.0, f"{float(alpha)!r}/sqrt(n_pre)"), per="synapse"),
            },
            rule=rule,
            modulators=rule_modulators(rule, {"m": "dopamine"}, "network 'self_paced'"),
        )

    out, clamp = taught_output(n_out, transfer)
    readers = [Population("inner", n_inner, "drive")] if n_inner else []
    if rule.modulators:
        readers.append(Population("dopamine", 1, "gain*sigmoid(drive)", params={"gain": Param(rate)}))
    biases = [Projection("one", post, w=Param(0.0, per="post")) for post in ("hidden", "out")]
    readout = [
        Projection(pre, reader.name, w=Param(0.0, per="post") if pre == "one" else None)
        for reader in readers
        for pre in ("hidden", "one")
    ]
    return Network(
        (
            *standard_inputs(n_in, n_out),
            Population("hidden", n_hidden, "tanh(drive)"),
            *readers,
            out,
        ),
        (
            *map(wire, WIRES),
            *(Projection(pre, "hidden") for pre in ("target", "teach")),
            *biases,
            *readout,
            clamp,
        ),
        output="out.drive",
        name="self_paced",
    )
