"""Oja's rule with the whole weight in its forgetting term, fixed part and strength included.

`oja` forgets in proportion to the plastic variable w. Papers mean the weight that the neuron uses; published code has
taken the one for the other. They differ wherever the efficacy is not w itself, such as in `w0 + alpha*w`.
"""

from ..spec import Param, PlasticityRule

oja_total = PlasticityRule(
    name="oja_total",
    dw="eta*post*(pre - post*w_eff)",
    params={"eta": Param(0.1, "positive")},
    bounds=(-10, 10),
    reference="Oja 1982, doi:10.1007/BF00275687",
)
