"""Hebb with multiplicative normalisation: every neuron keeps the sum of its weights by scaling all of them."""

from ..spec import Param, PlasticityRule, Sum

miller_mackay_multiplicative = PlasticityRule(
    name="miller_mackay_multiplicative",
    dw="eta*(pre*post - w*growth/maximum(size, 0.001))",
    sums={"growth": Sum("pre*post", over="pre"), "size": Sum("w", over="pre")},
    params={"eta": Param(0.05, "positive")},
    bounds=(0, 1),
    reference="Miller & MacKay 1994, doi:10.1162/neco.1994.6.1.100",
)
