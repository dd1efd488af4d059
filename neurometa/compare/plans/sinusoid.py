"""Sinusoid regression: a delta rule with random feedback against MAML on the same three layers."""

from __future__ import annotations

from ...learners import GradientLearner, PlasticLearner
from ...learners.meta_sgd import MetaSgdLearner
from ...networks.error_broadcast import error_broadcast
from ...networks.mlp import mlp
from ...outer import Backprop
from ...outer.reptile import Reptile
from ...spec import Network, Param, PlasticityRule
from ...tasks.sinusoid import Sinusoid
from ..plan import Arm, Plan

__all__ = ["sinusoid"]

TASK = Sinusoid(n_shot=5, n_query=10)
LAYERS = (40, 40)
OUTER = Backprop(lr=3e-3, schedule="cosine", clip=10.0)
LR = {"lr": (1e-3, 1e-2)}
GRADIENT = {**LR, "rate": (0.003, 0.1)}
HEAD = ("layer1__out.w", "one__out.w")


def plain(transfer: str = "tanh") -> Network:
    """Return two layers of 40 neurons."""
    return mlp(1, 1, hidden=LAYERS, transfer=transfer)


def rule(eta: float = 0.003) -> PlasticLearner:
    """Return a delta rule in every layer, a rate for each synapse; errors come back through fixed random synapses.

    Rates around 0.01 are stable for 40 inputs that are at most 1, so for tanh; those of relu grow with the weights, and
    a few steps of the rule can leave all bounds.
    """
    delta = PlasticityRule("delta", dw="eta*pre*error_post", params={"eta": Param(eta, per="synapse")})
    network = error_broadcast(1, 1, rule=delta, hidden=LAYERS, transfer="linear", hidden_transfer="tanh")
    return PlasticLearner(network)


def maml(rate: float = 0.02) -> GradientLearner:
    """Return one step on the five points, at one learned rate."""
    return GradientLearner(plain(), rate=rate, learn_rate=True)


def published(rate: float = 0.02) -> GradientLearner:
    """Return one step in the published network, whose neurons are relu."""
    return GradientLearner(plain("relu"), rate=rate, learn_rate=True)


def five(rate: float = 0.02) -> GradientLearner:
    """Return five steps."""
    return GradientLearner(plain(), steps=5, rate=rate, learn_rate=True)


def anil(rate: float = 0.02) -> GradientLearner:
    """Return one step of the last layer alone."""
    return GradientLearner(plain(), rate=rate, learn_rate=True, adapts=HEAD)


def meta_sgd(rate: float = 0.02) -> MetaSgdLearner:
    """Return one step at a learned rate for every parameter."""
    return MetaSgdLearner(plain(), rate=rate)


def reptile(rate: float = 0.02) -> GradientLearner:
    """Return what Reptile trains."""
    return GradientLearner(plain(), steps=5, rate=rate, order=1)


sinusoid = Plan(
    name="sinusoid",
    title="Sinusoid: a local rule against MAML",
    question="""Fit a sine of unknown amplitude and phase from five points with two layers of 40 tanh neurons. Does a
    delta rule in every layer, with a learned rate for each synapse and errors that come back through fixed random
    synapses, fit it better after seeing each point once than a gradient step on all five does? Squared error on new
    points.""",
    task=TASK,
    arms={
        "delta rule, random feedback": Arm(rule, {**LR, "eta": (0.0005, 0.02)}, OUTER),
        "MAML": Arm(maml, GRADIENT, OUTER),
        "MAML, five steps": Arm(five, GRADIENT, OUTER),
        "MAML, relu": Arm(published, GRADIENT, OUTER),
        "ANIL": Arm(anil, GRADIENT, OUTER),
        "Meta-SGD": Arm(meta_sgd, GRADIENT, OUTER),
        "Reptile": Arm(reptile, {"lr": (0.1, 1.0), "rate": (0.005, 0.05)}, Reptile(lr=0.3)),
    },
    main="delta rule, random feedback",
    rival="MAML",
    iterations=4000,
    tasks=25,
    trials=4,
    trial_iterations=500,
    margin=0.05,
)
