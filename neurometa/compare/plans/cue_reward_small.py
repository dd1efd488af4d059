"""Cue-reward association in a small network: a three-factor rule against gradient meta-learning."""

from __future__ import annotations

from ...learners import GradientLearner, PlasticLearner
from ...learners.hybrid import HybridLearner
from ...learners.meta_sgd import MetaSgdLearner
from ...networks.mlp import mlp
from ...networks.modulated import modulated
from ...outer import Backprop
from ...outer.reptile import Reptile
from ...spec import Network, Param, PlasticityRule
from ...tasks.cue_reward import CueReward
from ..plan import Arm, Plan

__all__ = ["cue_reward_small"]

TASK = CueReward()
HIDDEN = 32
OUTER = Backprop(lr=1e-2, schedule="cosine")
LR = {"lr": (2e-3, 3e-2)}
GRADIENT = {**LR, "rate": (0.02, 0.5)}
HEAD = ("layer0__out.w", "one__out.w")


def three_factor(eta: float) -> PlasticityRule:
    """Return a delta rule with a third factor and decay."""
    params = {"eta": Param(eta, "positive"), "decay": Param(0.001, "positive")}
    return PlasticityRule("three_factor", dw="eta*m*pre*error_post - decay*w", params=params)


def network(eta: float) -> Network:
    """Return stimulus -> 32 hidden neurons -> plastic synapses -> prediction, with a modulator."""
    return modulated(TASK.n_in, 1, rule=three_factor(eta), n_hidden=HIDDEN, transfer="linear")


def plain() -> Network:
    """Return the same layers without rule and modulator."""
    return mlp(TASK.n_in, 1, hidden=(HIDDEN,), transfer="tanh")


def rule(eta: float = 0.05) -> PlasticLearner:
    """Return the learned rule."""
    return PlasticLearner(network(eta))


def maml(rate: float = 0.1) -> GradientLearner:
    """Return five steps on the whole support, at one learned rate."""
    return GradientLearner(plain(), steps=5, rate=rate, learn_rate=True)


def fomaml(rate: float = 0.1) -> GradientLearner:
    """Return the same, of first order."""
    return GradientLearner(plain(), steps=5, rate=rate, learn_rate=True, order=1)


def anil(rate: float = 0.1) -> GradientLearner:
    """Return the same for the last layer alone."""
    return GradientLearner(plain(), steps=5, rate=rate, learn_rate=True, adapts=HEAD)


def meta_sgd(rate: float = 0.1) -> MetaSgdLearner:
    """Return one step at a learned rate for every parameter."""
    return MetaSgdLearner(plain(), rate=rate)


def reptile(rate: float = 0.05) -> GradientLearner:
    """Return what Reptile trains."""
    return GradientLearner(plain(), steps=5, rate=rate, order=1)


def hybrid(rate: float = 0.02) -> HybridLearner:
    """Return the rule and a gradient step together."""
    return HybridLearner(network(0.05), objective="out.error", rate=rate)


cue_reward_small = Plan(
    name="cue_reward_small",
    title="Cue-reward association: a three-factor rule against MAML",
    question="""Five new cues and their rewards are shown ten times in all, in random order; then cues are shown alone.
    Does a three-factor rule in the last synapses of a small network remember what they were worth better than gradient
    steps on all of its synapses? Squared error of the answers.""",
    task=TASK,
    arms={
        "three-factor rule": Arm(rule, {**LR, "eta": (0.02, 0.5)}, OUTER),
        "MAML": Arm(maml, GRADIENT, OUTER),
        "FOMAML": Arm(fomaml, GRADIENT, OUTER),
        "ANIL": Arm(anil, GRADIENT, OUTER),
        "Meta-SGD": Arm(meta_sgd, GRADIENT, OUTER),
        "Reptile": Arm(reptile, {"lr": (0.03, 0.3), "rate": (0.01, 0.2)}, Reptile(lr=0.1)),
        "hybrid of rule and gradient": Arm(hybrid, {**LR, "rate": (0.005, 0.1)}, OUTER),
    },
    main="three-factor rule",
    rival="MAML",
    iterations=2000,
    tasks=64,
    trials=4,
    trial_iterations=300,
    margin=0.005,
    allocation=True,
)
