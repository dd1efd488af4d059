"""A delta-rule synapse whose learning rate is a neuromodulator, computed by a small network from the errors it sees."""

from __future__ import annotations

from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ._parts import rule_modulators, standard_inputs

__all__ = ["modulated_delta", "tracker"]

modulated_delta = PlasticityRule(
    "modulated_delta",
    dw="m*pre*error_post",
    reference="Behrens et al. 2007, doi:10.1038/nn1954; Nassar et al. 2010, doi:10.1523/JNEUROSCI.0822-10.2010",
)


def tracker(n_in: int, n_out: int, rule: PlasticityRule = modulated_delta, n_hidden: int = 32) -> Network:
    """Build a predictor that learns from every observation, at a rate that it sets itself.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus (the cue) and of what is predicted.
    rule : PlasticityRule
        Of the synapses from stimulus to prediction; ``error_post`` is observation minus prediction, ``m`` the
        modulator. A rule without ``m`` learns at a fixed rate, and the network is left without a modulator.
    n_hidden : int
        Recurrent neurons that see the error and drive the modulator.

    Returns
    -------
    Network
        Answers ``prediction.x``, made before the step's observation changes the synapse.
    """
    prediction = Population(
        "prediction",
        n_out,
        {"x": "drive", "error": "m_teach*(target - drive)"},
        inputs=("drive", "target"),
        modulators={"teach": "teach"},
    )
    fixed = Param(1.0, learned=False)
    cue = Projection(
        "stimulus",
        "prediction",
        name="cue",
        rule=rule,
        modulators=rule_modulators(rule, {"m": "rate"}, "network 'tracker'"),
    )
    show = Projection("target", "prediction", into="target", w=fixed, mask="one_to_one")
    if not rule.modulators:
        return Network((*standard_inputs(n_in, n_out), prediction), (cue, show), name="tracker")
    error = Population(
        "error",
        n_out,
        "m_teach*(target - predicted)",
        inputs=("target", "predicted"),
        modulators={"teach": "teach"},
    )
    return Network(
        (
            *standard_inputs(n_in, n_out),
            prediction,
            error,
            Population("hidden", n_hidden, "tanh(drive)"),
            Population("rate", 1, "sigmoid(drive)"),
        ),
        (
            cue,
            show,
            Projection("target", "error", into="target", w=fixed, mask="one_to_one"),
            Projection("prediction", "error", into="predicted", w=fixed, mask="one_to_one"),
            Projection("error", "hidden", w=Param(Normal(0.0, 1.0), per="synapse")),
            Projection("hidden", "hidden"),
            Projection("one", "hidden", w=Param(Normal(0.0, 0.5), per="synapse")),
            Projection("hidden", "rate"),
            Projection("one", "rate", w=Param(-1.0)),
        ),
        output="prediction.x",
        name="tracker",
    )
