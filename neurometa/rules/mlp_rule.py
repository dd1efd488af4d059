"""A rule that is a small network: the change of a synapse as a learned function of pre, post and w."""

from ..spec import MLP, Param, PlasticityRule

mlp_rule = PlasticityRule(
    name="mlp_rule",
    dw="eta*f(pre, post, w)",
    params={"eta": Param(0.1, "positive")},
    functions={"f": MLP(3, (10,))},
    bounds=(-10, 10),
    reference="Bengio, Bengio & Cloutier 1991, doi:10.1109/IJCNN.1991.155621; Mehta et al. 2024, "
    "doi:10.1101/2023.12.11.571103",
)
