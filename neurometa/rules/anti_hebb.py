"""Anti-Hebbian plasticity with decay: coincidence weakens, so that what is familiar drives less (HebbFF)."""

from ..spec import Param, PlasticityRule

anti_hebb = PlasticityRule(
    name="anti_hebb",
    step="w = lam*w - eta*pre*post",
    params={"eta": Param(0.1, "positive"), "lam": Param(0.95, "fraction")},
    reference="Tyulmankov, Yang & Abbott 2022, doi:10.1016/j.neuron.2021.11.009",
)
