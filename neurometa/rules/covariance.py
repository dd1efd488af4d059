"""The covariance rule: change in proportion to how far both neurons are from their running means."""

from ..spec import Param, PlasticityRule

covariance = PlasticityRule(
    name="covariance",
    dw="eta*(pre - slow_x)*(post - slow_y) - decay*w",
    traces={"slow_x": "(pre - slow_x)/tau", "slow_y": "(post - slow_y)/tau"},
    params={
        "eta": Param(0.1, "positive"),
        "decay": Param(0.01, "positive"),
        "tau": Param(20.0, "positive", minimum=1.0, unit="ms"),
    },
    reference="Sejnowski 1977, doi:10.1007/BF00275079",
)
