"""A multi-layer network whose hidden neurons receive the output error through fixed random synapses."""

from __future__ import annotations

from itertools import pairwise

from ..rules.delta import delta
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ..spec.base import check_choice
from ._parts import rule_modulators, standard_inputs

__all__ = ["error_broadcast"]

#: Transfer of the hidden neurons -> its derivative, read off the activity itself.
SLOPES = {"tanh": "(1 - x*x)", "sigmoid": "x*(1 - x)", "relu": "int(x > 0)", "softplus": "(1 - exp(-x))"}


def error_broadcast(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = delta,
    hidden: tuple[int, ...] = (64,),
    transfer: str = "softmax",
    hidden_transfer: str = "tanh",
) -> Network:
    """Build stimulus -> hidden layers -> out, with the error sent back to every layer by random feedback.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses of every layer, each with parameters of its own. ``error_post`` is, at the output, target minus
        prediction while taught and 0 otherwise; at a hidden neuron, the feedback current times the slope of its
        transfer. A rule that reads ``error_pre`` gets a population ``relay``, which repeats the stimulus and has an
        error of its own. A modulator ``m`` that it reads is the teaching signal.
    hidden : tuple of int
        Neurons of each hidden layer.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction. The output is not clamped to the target: its error teaches.
    hidden_transfer : {"tanh", "sigmoid", "relu", "softplus"}
        Of the hidden neurons.

    Returns
    -------
    Network
        Answers ``out.drive``. The efficacy is ``w`` itself: its start is learned (group ``w0``), the rule changes it.

    Notes
    -----
    All layers settle forward, then ``error`` is formed, then the errors of the hidden neurons (their text is
    ``late``), and then the rules run, all within one step: a presentation may last a single step, and activity may
    start from rest at the next one. With one hidden layer this is feedback alignment (Lillicrap et al. 2016,
    doi:10.1038/ncomms13276); the default rule is its update, and with the transposed output weights as feedback it
    is gradient descent on cross-entropy (softmax) or half the squared error (linear). With more layers each receives
    the output error directly (Nokland 2016, arXiv:1609.01596). Rules learned on such errors: Shervani-Tabar &
    Rosenbaum 2023, doi:10.1038/s41467-023-37562-1 (there the feedback goes from layer to layer).

    Examples
    --------
    >>> network = error_broadcast(3, 2, hidden=(8, 4))
    >>> network["layer1"].update["late error"]
    'feedback*(1 - x*x)'
    >>> [name for name, leaf in network.leaves.items() if "error__" in name and not leaf.param.learned]
    ['error__layer0.w', 'error__layer1.w']
    """
    check_choice(hidden_transfer, tuple(SLOPES), "error_broadcast: hidden_transfer")
    check_choice(transfer, ("softmax", "linear", "tanh", "sigmoid"), "transfer of the output")
    relay = "error_pre" in rule.variables
    names = [f"layer{i}" for i in range(len(hidden))]
    currents = ("drive", "feedback")
    update = {"x": f"{hidden_transfer}(drive)", "late error": f"feedback*{SLOPES[hidden_transfer]}"}
    layers = [Population("relay", n_in, {"x": "drive", "late error": "feedback"}, inputs=currents)] if relay else []
    layers += [Population(name, size, update, inputs=currents) for name, size in zip(names, hidden, strict=True)]
    answer = "drive" if transfer == "linear" else f"{transfer}(drive)"
    taught, teach = {"x": answer, "error": "m_teach*(target - x)"}, {"teach": "teach"}
    out = Population("out", n_out, taught, inputs=("drive", "target"), modulators=teach)
    miss = "m_teach*(target - predicted)"
    error = Population("error", n_out, miss, inputs=("target", "predicted"), modulators=teach)
    named = rule_modulators(rule, {"m": "teach"}, "network 'error_broadcast'")
    weights = Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")
    forward = []
    for pre, post in pairwise(["relay" if relay else "stimulus", *names, "out"]):
        plastic = Projection(pre, post, w=weights, rule=rule, modulators=named)
        forward += [plastic, Projection("one", post, w=Param(0.0, per="post"))]
    copies = [("target", "out", "target"), ("target", "error", "target"), ("out", "error", "predicted")]
    copies += [("stimulus", "relay", "drive")] if relay else []
    fixed = Param(1.0, learned=False)
    shown = [Projection(pre, post, into=into, w=fixed, mask="one_to_one") for pre, post, into in copies]
    feedback = Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse", learned=False)
    back = [Projection("error", layer.name, into="feedback", w=feedback) for layer in layers]
    return Network(
        (*standard_inputs(n_in, n_out), *layers, out, error),
        (*forward, *shown, *back),
        output="out.drive",
        name="error_broadcast",
    )
