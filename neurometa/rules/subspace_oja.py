"""Oja's subspace rule: several neurons find the space of the leading eigenvectors together."""

from ..spec import Param, PlasticityRule, Sum

subspace_oja = PlasticityRule(
    name="subspace_oja",
    dw="eta*post*(pre - recon)",
    sums={"recon": Sum("w*post", over="post")},
    params={"eta": Param(0.05, "positive")},
    bounds=(-10, 10),
    reference="Oja 1989, doi:10.1142/S0129065789000475",
)
