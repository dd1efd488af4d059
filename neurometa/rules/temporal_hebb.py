"""Temporal Hebb: the presynaptic activity of the recent past meets the postsynaptic activity of now."""

from ..spec import Param, PlasticityRule

temporal_hebb = PlasticityRule(
    name="temporal_hebb",
    step="w = w + eta*past*post - decay*w\npast = past + (pre - past)/tau",
    traces={"past": ""},
    params={
        "eta": Param(0.1, "positive"),
        "decay": Param(0.01, "positive"),
        "tau": Param(1.5, "positive", minimum=1.0, unit="ms"),
    },
    reference="Sompolinsky & Kanter 1986, doi:10.1103/PhysRevLett.57.2861",
)
