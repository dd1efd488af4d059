"""Simple neuromodulation: a neuromodulator sets rate and sign of Hebbian change at the moment of coincidence."""

from ..spec import PlasticityRule

modulated_hebb = PlasticityRule(
    name="modulated_hebb",
    dw="m*pre*post",
    bounds=(-1, 1),
    reference="Miconi, Rawal, Clune & Stanley 2019, arXiv:2002.10585",
)
