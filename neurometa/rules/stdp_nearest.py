"""Pair STDP in which a spike pairs with the nearest spike before it only: traces are set, not added to."""

from ..spec import Param, PlasticityRule, Trace

stdp_nearest = PlasticityRule(
    name="stdp_nearest",
    traces={
        "ltp": Trace("-ltp/tau_plus", method="exact"),
        "ltd": Trace("-ltd/tau_minus", method="exact"),
    },
    on_pre="w = w - a_minus*ltd\nltp = 1",
    on_post="w = w + a_plus*ltp\nltd = 1",
    params={
        "a_plus": Param(0.01, "positive"),
        "a_minus": Param(0.0105, "positive"),
        "tau_plus": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1.0),
    reference="Morrison, Diesmann & Gerstner 2008, doi:10.1007/s00422-008-0233-1",
)
