"""Oja's rule: Hebbian growth with a forgetting term that keeps the weight vector at unit length."""

from ..spec import Param, PlasticityRule

oja = PlasticityRule(
    name="oja",
    dw="eta*post*(pre - post*w)",
    params={"eta": Param(0.1, "positive")},
    reference="Oja 1982, doi:10.1007/BF00275687",
)
