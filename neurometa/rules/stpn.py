"""Short-term plastic neurons: every synapse has a rate of Hebbian growth and of decay of its own."""

from ..spec import Normal, Param, PlasticityRule, Uniform

stpn = PlasticityRule(
    name="stpn",
    step="w = lam*w + gamma*pre*post",
    params={
        "lam": Param(Uniform(0.3, 0.9), "fraction", per="synapse"),
        "gamma": Param(Normal(0.0, 0.05), per="synapse"),
    },
    bounds=(-10, 10),
    reference="Garcia Rodriguez, Guo & Moraitis 2022, arXiv:2206.14048",
)
