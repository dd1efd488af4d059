"""A recurrent network whose recurrent synapses are plastic."""

from __future__ import annotations

from ..rules.hebb import hebb
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import modulator, rule_modulators, standard_inputs, taught_output

__all__ = ["recurrent"]


def recurrent(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = hebb,
    n_hidden: int = 64,
    transfer: str = "softmax",
    alpha: float = 0.01,
) -> Network:
    """Build stimulus -> hidden -> out with plastic synapses among the hidden (Miconi et al. 2018, arXiv:1804.02464).

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the recurrent synapses. A modulator ``m`` that it reads is computed from the hidden neurons.
    n_hidden : int
        Number of recurrent neurons.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Standard deviation of the plastic strengths at the start, one per synapse: efficacy ``w0 + alpha*w``.

    Returns
    -------
    Network
        Hidden neurons see stimulus, target and teaching signal; the network answers ``out.drive``.
    """
    out, clamp = taught_output(n_out, transfer)
    m = (modulator("m_hidden", 0.0, 1.0),) if rule.modulators else ()
    plastic = Projection(
        "hidden",
        "hidden",
        efficacy="w0 + alpha*w",
        params={
            "w0": Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse"),
            "alpha": Param(Normal(0.0, alpha), per="synapse"),
        },
        rule=rule,
        modulators=rule_modulators(rule, {"m": "m_hidden"}, "network 'recurrent'"),
    )
    feed = [Projection(source, "hidden") for source in ("stimulus", "target", "teach", "one")]
    readout = [Projection("hidden", "out"), Projection("one", "out")]
    modulation = [Projection("hidden", "m_hidden"), Projection("one", "m_hidden")] if m else []
    return Network(
        (*standard_inputs(n_in, n_out), Population("hidden", n_hidden, "tanh(drive)"), *m, out),
        (*feed, plastic, *modulation, *readout, clamp),
        output="out.drive",
        name="recurrent",
    )
