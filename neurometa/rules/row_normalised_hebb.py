"""Hebb with the weights of each neuron brought back to unit length before they change."""

from ..spec import Param, PlasticityRule, Sum

row_normalised_hebb = PlasticityRule(
    name="row_normalised_hebb",
    step="w = w/sqrt(maximum(square, 0.000001)) + eta*pre*post",
    sums={"square": Sum("w**2", over="pre")},
    params={"eta": Param(0.1, "positive")},
    reference="von der Malsburg 1973, doi:10.1007/BF00288907; Oja 1982, doi:10.1007/BF00275687",
)
