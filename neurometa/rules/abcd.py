"""The ABCD rule with four coefficients for every synapse: a network that organises itself from random weights.

To draw the weights anew in every episode, as the paper does, give the projection
`w=Param(PerEpisode(Uniform(-0.1, 0.1)))`.
"""

from ..spec import Normal, Param, PlasticityRule

COEFFICIENT = Param(Normal(0.0, 0.1), per="synapse")

abcd = PlasticityRule(
    name="abcd",
    dw="eta*(A*pre*post + B*pre + C*post + D)",
    params={"eta": Param(0.1, "positive"), "A": COEFFICIENT, "B": COEFFICIENT, "C": COEFFICIENT, "D": COEFFICIENT},
    bounds=(-1, 1),
    reference="Najarro & Risi 2020, arXiv:2007.02686",
)
