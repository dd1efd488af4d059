"""Triplet STDP: depression by pairs, potentiation by post-pre-post triplets, so that it grows with the rate."""

from ..spec import Param, PlasticityRule, Trace

triplet_stdp = PlasticityRule(
    name="triplet_stdp",
    traces={
        "r1": Trace("-r1/tau_plus", method="exact"),
        "r2": Trace("-r2/tau_x", method="exact"),
        "o1": Trace("-o1/tau_minus", method="exact"),
        "o2": Trace("-o2/tau_y", method="exact"),
    },
    on_pre="w = w - o1*(a2_minus + a3_minus*r2)\nr1 = r1 + 1\nr2 = r2 + 1",
    on_post="w = w + r1*(a2_plus + a3_plus*o2)\no1 = o1 + 1\no2 = o2 + 1",
    params={
        "a2_plus": Param(0.0),
        "a3_plus": Param(6.5e-3, "positive"),
        "a2_minus": Param(7.1e-3, "positive"),
        "a3_minus": Param(0.0),
        "tau_plus": Param(16.8, "positive", minimum=1.0, unit="ms"),
        "tau_minus": Param(33.7, "positive", minimum=1.0, unit="ms"),
        "tau_x": Param(101.0, "positive", minimum=1.0, unit="ms"),
        "tau_y": Param(114.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Pfister & Gerstner 2006, doi:10.1523/JNEUROSCI.1425-06.2006 (visual cortex, minimal)",
)
