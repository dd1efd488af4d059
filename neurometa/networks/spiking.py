"""Spiking neurons that read the stimulus, and plastic synapses from them to the output."""

from __future__ import annotations

from ..rules.e_prop import e_prop
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection, Spikes
from ._parts import modulator, rule_modulators, standard_inputs

__all__ = ["spiking"]


def spiking(
    n_in: int,
    n_out: int,
    rule: PlasticityRule = e_prop,
    n_hidden: int = 64,
    tau: float = 10.0,
    gain: float = 3.0,
) -> Network:
    """Build stimulus -> integrate-and-fire neurons -> out, with plastic synapses between the last two.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    rule : PlasticityRule
        Of the synapses to the output. If it has ``on_post``, output neurons spike, and the target drives them while
        ``teach`` is 1; else they integrate what arrives. It may read ``error_post``, target minus prediction while
        taught, ``psi_post``, the pseudo-derivative of a spike (1 where the output does not spike; Bellec et al. 2020,
        doi:10.1038/s41467-020-17236-y), and a modulator ``m``, computed from the hidden neurons.
    n_hidden : int
        Number of hidden neurons.
    tau : float
        Membrane time constant at the start, ms.
    gain : float
        Standard deviation of a hidden neuron's input current at the start, in units of the threshold, for stimuli of
        unit variance.

    Returns
    -------
    Network
        It answers ``out.score``. Hold a stimulus for several steps of 1 ms: one step is too short for a rate.
    """
    time = Param(tau, "positive", minimum=2.0, unit="ms")
    spikes = Spikes("v > 1", "v = v - 1", surrogate="fast_sigmoid", slope=5.0)
    hidden = Population("hidden", n_hidden, {"dv/dt": "(drive - v)/tau"}, params={"tau": time}, spikes=spikes)
    fires = bool(rule.on_post)
    update = {
        "dv/dt": "(2*m_teach*target - v)/tau" if fires else "-v/tau",
        "dscore/dt": f"(scale*{'x' if fires else 'v'} - score)/tau",
        "prediction": "softmax(score)",
        "error": "m_teach*(target - prediction)",
        "psi": "maximum(0, 1 - abs(v - 1))" if fires else "1",
        **({} if fires else {"x": "prediction"}),
    }
    out = Population(
        "out",
        n_out,
        update,
        params={"tau": time, "scale": Param(1.0, "positive")},
        inputs=("target",),
        modulators={"teach": "teach"},
        spikes=spikes if fires else None,
    )
    named = rule_modulators(rule, {"m": "m_out"}, "network 'spiking'")
    m = (modulator("m_out", 0.0, 1.0),) if named else ()
    plastic = Projection(
        "hidden",
        "out",
        into="v",
        efficacy="w0 + alpha*w",
        params={"w0": Param(Normal(0.0, "0.1/sqrt(n_pre)"), per="synapse"), "alpha": Param(1.0)},
        rule=rule,
        modulators=named,
    )
    feed = Projection("stimulus", "hidden", w=Param(Normal(0.0, f"{gain}/sqrt(n_pre)"), per="synapse"))
    clamp = Projection("target", "out", into="target", w=Param(1.0, learned=False), mask="one_to_one")
    modulation = [Projection("hidden", "m_out"), Projection("one", "m_out")] if named else []
    return Network(
        (*standard_inputs(n_in, n_out), hidden, *m, out),
        (feed, Projection("one", "hidden", w=Param(0.5, per="post")), plastic, clamp, *modulation),
        output="out.score",
        name="spiking",
    )
