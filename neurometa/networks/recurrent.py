"""A recurrent network whose recurrent synapses are plastic."""

from __future__ import annotations

from ..rules.hebb import hebb
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import recurrent_network, rule_modulators

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
    return recurrent_network("recurrent", n_in, n_out, Population("hidden", n_hidden, "tanh(drive)"), plastic, transfer)
