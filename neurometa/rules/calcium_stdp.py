"""Calcium-based plasticity: spikes of both sides let calcium in; how high it stands decides the sign."""

from ..spec import Param, PlasticityRule, Trace

calcium_stdp = PlasticityRule(
    name="calcium_stdp",
    dw="(gamma_p*(1 - w)*int(ca > theta_p) - gamma_d*w*int(ca > theta_d) - w*(1 - w)*(0.5 - w))/tau",
    traces={"ca": Trace("-ca/tau_ca", method="exact")},
    on_pre="ca = ca + c_1",
    on_post="ca = ca + c_2",
    on_pre_delay=13.7,
    params={
        "c_1": Param(1.0, "positive"),
        "c_2": Param(2.0, "positive"),
        "theta_d": Param(1.0, "positive"),
        "theta_p": Param(1.3, "positive"),
        "gamma_d": Param(200.0, "positive"),
        "gamma_p": Param(321.808, "positive"),
        "tau": Param(150e3, "positive", minimum=1.0, unit="ms"),
        "tau_ca": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1.0),
    reference="Graupner & Brunel 2012, doi:10.1073/pnas.1109359109 (DP curve, without noise)",
)
