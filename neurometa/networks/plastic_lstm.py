"""An LSTM whose recurrent synapses onto the cell input are plastic and neuromodulated."""

from __future__ import annotations

from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ..spec.base import check_choice
from ._parts import fan_out as fanned
from ._parts import rule_modulators, standard_inputs, taught_output

__all__ = ["cell_hebb", "plastic_lstm"]

cell_hebb = PlasticityRule(
    "cell_hebb",
    dw="m*pre*candidate_post",
    bounds=(-2, 2),
    reference="Miconi, Rawal, Clune & Stanley 2019 (backpropamine), arXiv:2002.10585",
)


def plastic_lstm(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = cell_hebb,
    n_hidden: int = 64,
    transfer: str = "softmax",
    alpha: float = 0.01,
    fan_out: str = "per_neuron",
) -> Network:
    """Build stimulus -> LSTM -> out with a plastic recurrent cell input (Miconi et al. 2019, arXiv:2002.10585).

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses from the cells to their own input current. ``pre`` is h of the step before, ``post`` is h,
        ``candidate_post`` the squashed cell input, which is the postsynaptic side of the published rule. A modulator
        ``m`` that it reads is computed from h, ``tanh`` of a weighted sum.
    n_hidden : int
        Number of cells.
    transfer : {"softmax", "linear", "tanh", "sigmoid"}
        From drive to prediction.
    alpha : float
        Standard deviation of the plastic strengths at the start, one per cell: efficacy ``w0 + alpha*w``.
    fan_out : {"per_neuron", "global"}
        Whether the modulator passes through one learned weight and bias for each cell, as published, or not.

    Returns
    -------
    Network
        Cells see stimulus, target and teaching signal; the network answers ``out.drive``.

    Notes
    -----
    ``c = sigmoid(forget)*c + sigmoid(enter)*tanh(drive)`` and ``h = sigmoid(leave)*tanh(c)``, with the input currents
    ``drive``, ``enter``, ``forget`` and ``leave`` of the population ``cell`` (``torch.nn.LSTMCell``'s g, i, f and o);
    h is its activity ``x``. With ``alpha`` at 0 it is an ordinary LSTM. The bias of ``forget`` starts at 1.

    Examples
    --------
    >>> network = plastic_lstm(3, 2, n_hidden=4)
    >>> network["cell"].variables
    ('candidate', 'c', 'x', 'drive', 'enter', 'forget', 'leave')
    """
    check_choice(fan_out, ("per_neuron", "global"), "plastic_lstm: fan_out")
    currents = ("drive", "enter", "forget", "leave")
    cell = Population(
        "cell",
        n_hidden,
        {
            "candidate": "tanh(drive)",
            "c": "sigmoid(forget)*c + sigmoid(enter)*candidate",
            "x": "sigmoid(leave)*tanh(c)",
        },
        inputs=currents,
    )
    m: list[Population] = []
    modulation: list[Projection] = []
    if rule.modulators:
        m = [Population("dopamine", 1, "tanh(drive)")]
        modulation = [Projection("cell", "dopamine"), Projection("one", "dopamine", w=Param(0.0))]
    source = "dopamine"
    if m and fan_out == "per_neuron":
        source = "dopamine_cell"
        population, wires = fanned("dopamine", source, n_hidden)
        m.append(population)
        modulation += wires
    plastic = Projection(
        "cell",
        "cell",
        efficacy="w0 + alpha*w",
        params={
            "w0": Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse"),
            "alpha": Param(Normal(0.0, alpha), per="post"),
        },
        rule=rule,
        modulators=rule_modulators(rule, {"m": source}, "network 'plastic_lstm'"),
    )
    feed = []
    for into in currents:
        feed += [Projection(pre, "cell", f"{pre}__{into}", into=into) for pre in ("stimulus", "target", "teach")]
        start = Param(1.0 if into == "forget" else 0.0, per="post")
        feed.append(Projection("one", "cell", f"one__{into}", into=into, w=start))
    gates = [Projection("cell", "cell", f"cell__{into}", into=into) for into in currents[1:]]
    out, clamp = taught_output(n_out, transfer)
    return Network(
        (*standard_inputs(n_in, n_out), cell, *m, out),
        (*feed, plastic, *gates, *modulation, Projection("cell", "out"), Projection("one", "out"), clamp),
        output="out.drive",
        name="plastic_lstm",
    )
