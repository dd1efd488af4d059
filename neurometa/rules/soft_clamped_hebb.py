"""Hebb with soft bounds: the closer a synapse is to a bound, the less it moves towards it."""

from ..spec import Param, PlasticityRule

soft_clamped_hebb = PlasticityRule(
    name="soft_clamped_hebb",
    dw="eta*(relu(pre*post)*(1 - w) - relu(-pre*post)*(1 + w))",
    params={"eta": Param(0.1, "positive")},
    bounds=(-1, 1),
    reference="Miconi, Rawal, Clune & Stanley 2019, arXiv:2002.10585; van Rossum, Bi & Turrigiano 2000, "
    "doi:10.1523/JNEUROSCI.20-23-08812.2000",
)
