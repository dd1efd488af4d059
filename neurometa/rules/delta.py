"""The delta rule: weights follow the error of their postsynaptic neuron.

The postsynaptic population has a variable ``error``: what it was taught minus what its input current predicted.
"""

from ..spec import Param, PlasticityRule

delta = PlasticityRule(
    name="delta",
    dw="eta*pre*error_post",
    params={"eta": Param(0.1, "positive")},
    reference="Widrow & Hoff 1960, Adaptive switching circuits, doi:10.21236/AD0241531",
)
