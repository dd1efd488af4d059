"""Short-term plastic neurons: every synapse onto them, from the stimulus and from each other, is plastic."""

from __future__ import annotations

from ..rules.stpn import stpn as stpn_rule
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import recurrent_network, rule_modulators

__all__ = ["stpn"]


def stpn(
    n_in: int, n_out: int, rule: PlasticityRule = stpn_rule, n_hidden: int = 64, transfer: str = "softmax"
) -> Network:
    """Build stimulus -> hidden -> out with plastic synapses from stimulus and hidden to hidden.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of both sets of synapses, each with parameters of its own. A modulator ``m`` that it reads is computed from the
        hidden neurons.
    n_hidden : int
        Number of recurrent neurons.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.

    Returns
    -------
    Network
        Hidden neurons see stimulus, target and teaching signal, the latter two through synapses that do not change;
        the network answers ``out.drive``.

    Notes
    -----
    Garcia Rodriguez, Guo & Moraitis 2022, arXiv:2206.14048. The efficacy is ``w0 + w``, without a strength for the
    plastic part: the rule's own growth ``gamma`` has one value per synapse. ``pre`` of a recurrent synapse is the
    activity of the step before, as published: ``w = lam*w + gamma*h(t)*[x(t), h(t-1)]``.

    Examples
    --------
    >>> network = stpn(3, 2, n_hidden=4)
    >>> [(p.label, p.efficacy) for p in network.plastic]
    [('stimulus__hidden', 'w0 + w'), ('hidden__hidden', 'w0 + w')]
    """

    def plastic(pre: str) -> Projection:
        return Projection(
            pre,
            "hidden",
            efficacy="w0 + w",
            params={"w0": Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")},
            rule=rule,
            modulators=rule_modulators(rule, {"m": "m_hidden"}, "network 'stpn'"),
        )

    hidden = Population("hidden", n_hidden, "tanh(drive)")
    return recurrent_network("stpn", n_in, n_out, hidden, plastic("hidden"), transfer, plastic("stimulus"))
