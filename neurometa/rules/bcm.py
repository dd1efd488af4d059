"""The BCM rule: potentiation above a threshold, depression below it, and a threshold that follows the activity."""

from ..spec import Param, PlasticityRule

bcm = PlasticityRule(
    name="bcm",
    dw="eta*post*(post - theta)*pre",
    traces={"theta": "(post**2 - theta)/tau"},
    params={"eta": Param(0.01, "positive"), "tau": Param(10.0, "positive", minimum=1.0, unit="ms")},
    bounds=(-10, 10),
    reference="Bienenstock, Cooper & Munro 1982, doi:10.1523/JNEUROSCI.02-01-00032.1982; with the squared activity, "
    "Intrator & Cooper 1992, doi:10.1016/S0893-6080(05)80003-6",
)
