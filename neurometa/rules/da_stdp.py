"""Dopamine-modulated STDP: pairs leave an eligibility trace, which dopamine turns into change."""

from ..spec import Param, PlasticityRule, Trace

da_stdp = PlasticityRule(
    name="da_stdp",
    dw="elig*m",
    traces={
        "ltp": Trace("-ltp/tau_plus", method="exact"),
        "ltd": Trace("-ltd/tau_minus", method="exact"),
        "elig": Trace("-elig/tau_c", method="exact"),
    },
    on_pre="elig = elig - a_minus*ltd\nltp = ltp + 1",
    on_post="elig = elig + a_plus*ltp\nltd = ltd + 1",
    params={
        "a_plus": Param(1.0, "positive"),
        "a_minus": Param(1.5, "positive"),
        "tau_plus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_c": Param(1000.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Izhikevich 2007, doi:10.1093/cercor/bhl152",
)
