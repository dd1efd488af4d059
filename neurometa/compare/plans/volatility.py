"""Volatility: a learned modulator of plasticity against gradient meta-learning with one rate."""

from __future__ import annotations

from ...learners import PlasticLearner
from ...learners.hybrid import HybridLearner
from ...learners.online_gradient import OnlineGradientLearner
from ...networks.tracker import tracker
from ...outer import Backprop
from ...tasks.volatility import Volatility
from ..plan import Arm, Plan

__all__ = ["volatility"]

OUTER = Backprop(lr=1e-2, schedule="cosine")
LR = {"lr": (2e-3, 3e-2)}
GRADIENT = {**LR, "rate": (0.05, 0.5)}
OBJECTIVE = "prediction.error"


def rule() -> PlasticLearner:
    """Return a delta rule whose rate a network of 32 neurons sets from the errors that it sees."""
    return PlasticLearner(tracker(1, 1))


def maml(rate: float = 0.2) -> OnlineGradientLearner:
    """Return a gradient step at every observation, from a learned start and at one learned rate."""
    return OnlineGradientLearner(tracker(1, 1), objective=OBJECTIVE, rate=rate)


def paced(rate: float = 1.0) -> OnlineGradientLearner:
    """Return a gradient step at every observation, at a rate that the modulator sets."""
    return OnlineGradientLearner(tracker(1, 1), objective=OBJECTIVE, modulator="rate", rate=rate)


def hybrid(rate: float = 0.05) -> HybridLearner:
    """Return the rule and a gradient step together."""
    return HybridLearner(tracker(1, 1), objective=OBJECTIVE, rate=rate)


volatility = Plan(
    name="volatility",
    title="Volatility: a learned modulator against gradient meta-learning",
    question="""A mean jumps with probability .02 a step, and observations scatter around it. Which learner predicts it
    best: a delta rule whose rate is a modulator that the network computes from its errors, or a gradient step on every
    observation at one meta-learned rate (the inner step of MAML, taken as the observations come)? Squared error of
    predictions made before each observation, against the hidden mean.""",
    task=Volatility(),
    arms={
        "modulated delta rule": Arm(rule, LR, OUTER),
        "MAML, step by step": Arm(maml, GRADIENT, OUTER),
        "gradient, modulated rate": Arm(paced, {**LR, "rate": (0.2, 2.0)}, OUTER),
        "hybrid of rule and gradient": Arm(hybrid, {**LR, "rate": (0.005, 0.2)}, OUTER),
    },
    main="modulated delta rule",
    rival="MAML, step by step",
    iterations=400,
    tasks=64,
    trials=4,
    trial_iterations=80,
    margin=0.005,
)
