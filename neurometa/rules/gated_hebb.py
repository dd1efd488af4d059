"""A three-factor rule: Hebbian coincidence leaves an eligibility trace, a neuromodulator turns it into change."""

from ..spec import Param, PlasticityRule

gated_hebb = PlasticityRule(
    name="gated_hebb",
    dw="eta*m*elig - decay*w",
    traces={"elig": "-elig/tau + pre*post"},
    params={
        "eta": Param(0.5, "positive"),
        "decay": Param(0.01, "positive"),
        "tau": Param(2.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Gerstner et al. 2018, doi:10.3389/fncir.2018.00053",
)
