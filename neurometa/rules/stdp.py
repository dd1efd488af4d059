"""Pair-based spike-timing-dependent plasticity: additive, every pre spike with every post spike."""

from ..spec import Param, PlasticityRule, Trace

stdp = PlasticityRule(
    name="stdp",
    traces={
        "ltp": Trace("-ltp/tau_plus", method="exact"),
        "ltd": Trace("-ltd/tau_minus", method="exact"),
    },
    on_pre="w = w - ltd\nltp = ltp + a_plus",
    on_post="w = w + ltp\nltd = ltd + a_minus",
    params={
        "a_plus": Param(0.01, "positive"),
        "a_minus": Param(0.0105, "positive"),
        "tau_plus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1.0),
    reference="Song, Miller & Abbott 2000, doi:10.1038/78829",
)
