"""The ABCD rule with four coefficients for all synapses."""

from ..spec import Param, PlasticityRule

abcd_shared = PlasticityRule(
    name="abcd_shared",
    dw="eta*(A*pre*post + B*pre + C*post + D)",
    params={"eta": Param(0.1, "positive"), "A": Param(1.0), "B": Param(0.0), "C": Param(0.0), "D": Param(0.0)},
    bounds=(-1, 1),
    reference="Soltoggio, Bullinaria, Mattiussi, Durr & Floreano 2008 (Artificial Life XI); as in Najarro & Risi 2020, "
    "arXiv:2007.02686",
)
