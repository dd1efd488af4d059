"""Voltage-based STDP: depression at a pre spike while the neuron was depolarised, potentiation while it is, strongly.

The postsynaptic population keeps ``v`` and its low-pass versions ``v_minus`` and ``v_plus``.
"""

from ..spec import Param, PlasticityRule, Trace

voltage_stdp = PlasticityRule(
    name="voltage_stdp",
    dw="a_ltp*u*relu(v_post - theta_plus)*relu(v_plus_post - theta_minus)",
    traces={"u": Trace("-u/tau_x", method="exact")},
    on_pre="w = w - a_ltd*relu(v_minus_post - theta_minus)\nu = u + 1/tau_x",
    params={
        "a_ltd": Param(14e-5, "positive"),
        "a_ltp": Param(8e-5, "positive"),
        "theta_minus": Param(-70.6, unit="mV"),
        "theta_plus": Param(-45.3, unit="mV"),
        "tau_x": Param(15.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 3.0),
    reference="Clopath, Buesing, Vasilaki & Gerstner 2010, doi:10.1038/nn.2479 (visual cortex)",
)
