"""Pair STDP with soft bounds: the nearer the bound, the smaller the change."""

from ..spec import Param, PlasticityRule, Trace

stdp_soft = PlasticityRule(
    name="stdp_soft",
    traces={
        "ltp": Trace("-ltp/tau_plus", method="exact"),
        "ltd": Trace("-ltd/tau_minus", method="exact"),
    },
    on_pre="w = w - a_minus*w**mu*ltd\nltp = ltp + 1",
    on_post="w = w + a_plus*(1 - w)**mu*ltp\nltd = ltd + 1",
    params={
        "a_plus": Param(0.01, "positive"),
        "a_minus": Param(0.0105, "positive"),
        "mu": Param(1.0, learned=False),
        "tau_plus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1.0),
    reference="Guetig, Aharonov, Rotter & Sompolinsky 2003, doi:10.1523/JNEUROSCI.23-09-03697.2003",
)
