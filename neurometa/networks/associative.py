"""A plastic head: features are bound to labels by one layer of plastic synapses, the label clamping the output."""

from __future__ import annotations

from ..rules.oja import oja
from ..spec import Network, Param, PlasticityRule, Projection
from ._parts import rule_modulators, standard_inputs, taught_output

__all__ = ["associative"]


def associative(
    n_in: int, n_out: int, rule: PlasticityRule = oja, transfer: str = "softmax", alpha: float = 1.0
) -> Network:
    """Build a plastic layer from ``stimulus`` to ``out`` with a gated label clamp (Miconi 2018, arXiv:1804.02464).

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the layer. A modulator ``m`` that it reads is the teaching signal: plasticity while a label is shown.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Start of the plastic strength (learned with the rule): efficacy ``alpha*w``.

    Returns
    -------
    Network
        Answers ``out.drive``, the logits of a classifier or the value of a regression. Nothing depends on the number
        of classes but the size of ``out``, so parameters learned at one number of ways run at another.
    """
    out, clamp = taught_output(n_out, transfer)
    head = Projection(
        "stimulus",
        "out",
        name="head",
        efficacy="alpha*w",
        params={"alpha": Param(alpha)},
        rule=rule,
        modulators=rule_modulators(rule, {"m": "teach"}, "network 'associative'"),
    )
    return Network((*standard_inputs(n_in, n_out), out), (head, clamp), output="out.drive", name="associative")
