"""A feed-forward network with one layer of plastic synapses: what it was shown changes how it answers (HebbFF)."""

from __future__ import annotations

from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import modulator, rule_modulators, standard_inputs, taught_output

__all__ = ["hebb_ff", "signed_hebb"]

signed_hebb = PlasticityRule(
    "signed_hebb",
    step="w = lam*w + eta*pre*post",
    params={"lam": Param(0.95, "fraction"), "eta": Param(0.0)},
    reference="Tyulmankov, Yang & Abbott 2022, doi:10.1016/j.neuron.2021.11.009",
)


def hebb_ff(
    n_in: int, n_out: int, rule: PlasticityRule = signed_hebb, n_hidden: int = 64, transfer: str = "softmax"
) -> Network:
    """Build stimulus -> sigmoid hidden -> out, plastic from stimulus to hidden.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses from stimulus to hidden. The default is the published one, Hebbian or anti-Hebbian by the sign
        of ``eta``, which starts at 0. A modulator ``m`` that it reads is computed from the hidden neurons.
    n_hidden : int
        Number of hidden neurons.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.

    Returns
    -------
    Network
        Hidden neurons see the stimulus only, through the efficacy ``w0 + w``; the network answers ``out.drive``.

    Notes
    -----
    Tyulmankov, Yang & Abbott 2022, doi:10.1016/j.neuron.2021.11.009: with x the stimulus,
    ``h = sigmoid((w0 + w)*x + b)`` and then ``w = lam*w + eta*h*x``. No activity outlasts a step, so only its synapses
    carry anything from one to the next.

    Examples
    --------
    >>> [(p.label, p.efficacy) for p in hebb_ff(3, 2, n_hidden=4).plastic]
    [('stimulus__hidden', 'w0 + w')]
    """
    plastic = Projection(
        "stimulus",
        "hidden",
        efficacy="w0 + w",
        params={"w0": Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")},
        rule=rule,
        modulators=rule_modulators(rule, {"m": "m_hidden"}, "network 'hebb_ff'"),
    )
    m = (modulator("m_hidden", 0.0, 1.0),) if rule.modulators else ()
    modulation = [Projection(source, "m_hidden") for source in ("hidden", "one")] if m else []
    out, clamp = taught_output(n_out, transfer)
    bias = Projection("one", "hidden", w=Param(0.0, per="post"))
    readout = [Projection("hidden", "out"), Projection("one", "out", w=Param(0.0, per="post"))]
    return Network(
        (*standard_inputs(n_in, n_out), Population("hidden", n_hidden, "sigmoid(drive)"), *m, out),
        (plastic, bias, *modulation, *readout, clamp),
        output="out.drive",
        name="hebb_ff",
    )
