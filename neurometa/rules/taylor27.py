"""A Taylor series in pre, post and w: every rule of two factors up to the second power, 27 coefficients."""

from ..spec import Param, PlasticityRule
from ._taylor import coefficients, polynomial

taylor27 = PlasticityRule(
    name="taylor27",
    dw=polynomial(modulated=False),
    params={name: Param(0.0) for name in coefficients(modulated=False)},
    bounds=(-10, 10),
    reference="Confavreux et al. 2020 (NeurIPS 33); Mehta et al. 2024, doi:10.1101/2023.12.11.571103",
)
