"""e-prop for integrate-and-fire neurons: filtered pre spikes, times a pseudo-derivative, times an error of each neuron.

The postsynaptic population keeps ``psi``, the pseudo-derivative of its spike, and ``error``, its learning signal.
"""

from ..spec import Param, PlasticityRule, Trace

e_prop = PlasticityRule(
    name="e_prop",
    dw="eta*error_post*elig",
    traces={
        "zbar": Trace("-zbar/tau_m", method="exact"),
        "elig": Trace("(psi_post*zbar - elig)/tau_e"),
    },
    on_pre="zbar = zbar + 1",
    params={
        "eta": Param(0.01, "positive"),
        "tau_m": Param(20.0, "positive", minimum=1.0, unit="ms"),
        "tau_e": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Bellec et al. 2020, doi:10.1038/s41467-020-17236-y",
)
