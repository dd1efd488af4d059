"""Hebb's rule with decay."""

from ..spec import Param, PlasticityRule

hebb = PlasticityRule(
    name="hebb",
    dw="eta*pre*post - decay*w",
    params={"eta": Param(0.1, "positive"), "decay": Param(0.01, "positive")},
    reference="Hebb 1949; with decay as in Gerstner & Kistler 2002, doi:10.1007/s00422-002-0353-y",
)
