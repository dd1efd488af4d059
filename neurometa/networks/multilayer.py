"""A feed-forward network in which the synapses of every layer are plastic."""

from __future__ import annotations

from itertools import pairwise

from ..rules.hebb import hebb
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import modulator, rule_modulators, standard_inputs, taught_output

__all__ = ["multilayer"]


def multilayer(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = hebb,
    hidden: tuple[int, ...] = (64, 64),
    transfer: str = "softmax",
    alpha: float = 0.01,
) -> Network:
    """Build stimulus -> hidden layers -> out, one rule everywhere (Najarro & Risi 2020, arXiv:2007.02686).

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses of every layer, each with parameters of its own. A modulator ``m`` that it reads is computed
        from the last hidden layer and the teaching signal, and is the same for all layers.
    hidden : tuple of int
        Neurons of each hidden layer; empty makes a single plastic layer.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction; hidden neurons are tanh.
    alpha : float
        Standard deviation of the plastic strengths at the start, one per synapse: efficacy ``w0 + alpha*w``
        (Miconi et al. 2018, arXiv:1804.02464).

    Returns
    -------
    Network
        Answers ``out.drive``. Hidden neurons do not see the target, so a rule that needs an error at every layer
        belongs into ``error_broadcast``.

    Examples
    --------
    >>> [p.label for p in multilayer(3, 2, hidden=(8, 4)).plastic]
    ['stimulus__layer0', 'layer0__layer1', 'layer1__out']
    """
    out, clamp = taught_output(n_out, transfer)
    names = [f"layer{i}" for i in range(len(hidden))]
    layers = [Population(name, size, "tanh(drive)") for name, size in zip(names, hidden, strict=True)]
    chain = ["stimulus", *names, "out"]
    m = (modulator("modulator", 0.0, 1.0),) if rule.modulators else ()
    modulation = [Projection(source, "modulator") for source in (chain[-2], "teach", "one")] if m else []
    named = rule_modulators(rule, {"m": "modulator"}, "network 'multilayer'")
    strengths = {
        "w0": Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse"),
        "alpha": Param(Normal(0.0, alpha), per="synapse"),
    }
    projections = []
    for pre, post in pairwise(chain):
        plastic = Projection(pre, post, efficacy="w0 + alpha*w", params=strengths, rule=rule, modulators=named)
        projections += [plastic, Projection("one", post, w=Param(0.0, per="post"))]
    return Network(
        (*standard_inputs(n_in, n_out), *layers, *m, out),
        (*projections, *modulation, clamp),
        output="out.drive",
        name="multilayer",
    )
