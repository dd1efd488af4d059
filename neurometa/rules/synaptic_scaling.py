"""Synaptic scaling: all weights of a neuron grow or shrink together until its mean activity is the target."""

from ..spec import Param, PlasticityRule

synaptic_scaling = PlasticityRule(
    name="synaptic_scaling",
    dw="eta*(goal - slow_y)*w",
    traces={"slow_y": "(post - slow_y)/tau"},
    params={
        "eta": Param(0.02, "positive"),
        "goal": Param(0.5),
        "tau": Param(10.0, "positive", minimum=1.0, unit="ms"),
    },
    bounds=(-10, 10),
    reference="Turrigiano et al. 1998, doi:10.1038/36103; van Rossum, Bi & Turrigiano 2000, "
    "doi:10.1523/JNEUROSCI.20-23-08812.2000",
)
