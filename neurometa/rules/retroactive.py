"""Retroactive neuromodulation: the modulator turns the eligibility of earlier coincidences into change.

As in the paper, the synapse reads the eligibility trace as it was before this step's coincidence.
"""

from ..spec import Param, PlasticityRule

retroactive = PlasticityRule(
    name="retroactive",
    step="w = w + m*elig\nelig = (1 - eta)*elig + eta*pre*post",
    traces={"elig": ""},
    params={"eta": Param(0.3, "fraction")},
    bounds=(-1, 1),
    reference="Miconi, Rawal, Clune & Stanley 2019 (backpropamine), arXiv:2002.10585",
)
