"""Hebb with subtractive normalisation: every neuron keeps the sum of its weights by taking the same from each."""

from ..spec import Param, PlasticityRule, Sum

miller_mackay_subtractive = PlasticityRule(
    name="miller_mackay_subtractive",
    dw="eta*(pre*post - growth/n_pre)",
    sums={"growth": Sum("pre*post", over="pre")},
    params={"eta": Param(0.05, "positive")},
    bounds=(0, 1),
    reference="Miller & MacKay 1994, doi:10.1162/neco.1994.6.1.100",
)
