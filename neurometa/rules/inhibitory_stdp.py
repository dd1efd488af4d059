"""Inhibitory STDP: near-coincident spikes strengthen inhibition, lone pre spikes weaken it, to a target rate."""

from ..spec import Param, PlasticityRule, Trace

inhibitory_stdp = PlasticityRule(
    name="inhibitory_stdp",
    traces={
        "u": Trace("-u/tau", method="exact"),
        "y": Trace("-y/tau", method="exact"),
    },
    on_pre="w = w + eta*(y - 2*target*tau)\nu = u + 1",
    on_post="w = w + eta*u\ny = y + 1",
    params={
        "eta": Param(5e-3, "positive"),
        "target": Param(5e-3, "positive", unit="spikes per ms"),
        "tau": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(0.0, 1e3),
    reference="Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011, doi:10.1126/science.1211095",
)
