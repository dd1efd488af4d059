"""Reward-modulated STDP with an eligibility trace (MSTDPET): reward, of either sign, times what pairs have left."""

from ..spec import Param, PlasticityRule, Trace

r_stdp = PlasticityRule(
    name="r_stdp",
    dw="gamma*m*elig",
    traces={
        "ltp": Trace("-ltp/tau_plus", method="exact"),
        "ltd": Trace("-ltd/tau_minus", method="exact"),
        "elig": Trace("-elig/tau_z", method="exact"),
    },
    on_pre="elig = elig - a_minus*ltd/tau_z\nltp = ltp + 1",
    on_post="elig = elig + a_plus*ltp/tau_z\nltd = ltd + 1",
    params={
        "gamma": Param(0.1, "positive"),
        "a_plus": Param(1.0, "positive"),
        "a_minus": Param(1.0, "positive"),
        "tau_plus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_z": Param(25.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Florian 2007, doi:10.1162/neco.2007.19.6.1468",
)
