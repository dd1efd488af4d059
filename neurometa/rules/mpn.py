"""The multi-plasticity network: a Hebbian factor that multiplies fixed weights.

It belongs with the efficacy `w0*(1 + w)`.
"""

from ..spec import Param, PlasticityRule

mpn = PlasticityRule(
    name="mpn",
    step="w = lam*w + eta*pre*post",
    params={"lam": Param(0.95, "fraction"), "eta": Param(0.05)},
    bounds=(-10, 10),
    reference="Aitken & Mihalas 2023, doi:10.7554/eLife.83035",
)
