"""Behavioural time-scale plasticity: pre spikes and a plateau, seconds apart, overlap in two slow traces.

``m`` is the plateau potential of the postsynaptic neuron. Weak synapses grow, strong ones shrink.
"""

from ..spec import Param, PlasticityRule, Trace

btsp = PlasticityRule(
    name="btsp",
    dw="k_plus*(w_max - w)*sigmoid(slope*(elig*inst - half_plus)) - k_minus*w*sigmoid(slope*(elig*inst - half_minus))",
    traces={
        "elig": Trace("-elig/tau_elig", method="exact"),
        "inst": Trace("(m - inst)/tau_inst", method="exact"),
    },
    on_pre="elig = elig + (1 - elig)*gain",
    params={
        "k_plus": Param(1e-3, "positive", unit="1/ms"),
        "k_minus": Param(3e-4, "positive", unit="1/ms"),
        "w_max": Param(1.0, "positive"),
        "gain": Param(0.2, "fraction"),
        "slope": Param(20.0, "positive"),
        "half_plus": Param(0.5, "positive"),
        "half_minus": Param(0.3, "positive"),
        "tau_elig": Param(1500.0, "positive", minimum=1.0, unit="ms"),
        "tau_inst": Param(400.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1.0),
    reference="Milstein et al. 2021, doi:10.7554/eLife.73046 (form; constants rounded)",
)
