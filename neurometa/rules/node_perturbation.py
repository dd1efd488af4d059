"""Node perturbation: credit for a reward goes to the noise that preceded it.

The postsynaptic population has a variable `jitter`, the noise in its activity; the modulator is reward minus baseline.
"""

from ..spec import Param, PlasticityRule

node_perturbation = PlasticityRule(
    name="node_perturbation",
    dw="eta*m*elig",
    traces={"elig": "-elig/tau + pre*jitter_post"},
    params={"eta": Param(0.1, "positive"), "tau": Param(1.0, "positive", minimum=0.5, unit="ms")},
    bounds=(-10, 10),
    reference="Widrow & Lehr 1990, doi:10.1109/5.58323; Fiete & Seung 2006, doi:10.1103/PhysRevLett.97.048104",
)
