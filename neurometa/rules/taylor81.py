"""A Taylor series in pre, post, w and a neuromodulator: 81 coefficients."""

from ..spec import Param, PlasticityRule
from ._taylor import coefficients, polynomial

taylor81 = PlasticityRule(
    name="taylor81",
    dw=polynomial(modulated=True),
    params={name: Param(0.0) for name in coefficients(modulated=True)},
    bounds=(-10, 10),
    reference="Mehta et al. 2024, doi:10.1101/2023.12.11.571103",
)
