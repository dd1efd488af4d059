"""Random label maps over two plastic layers: a delta rule with random feedback against gradient meta-learning."""

from __future__ import annotations

from ...learners import GradientLearner, PlasticLearner
from ...learners.meta_sgd import MetaSgdLearner
from ...networks.error_broadcast import error_broadcast
from ...networks.mlp import mlp
from ...networks.multilayer import multilayer
from ...outer import Backprop
from ...outer.reptile import Reptile
from ...spec import Network, Param, PlasticityRule
from ...tasks.glyphs import Glyphs
from ..plan import Arm, Plan

__all__ = ["random_labels"]

TASK = Glyphs(n_way=5, n_shot=1, n_query=10, size=14, permute_pixels=True)
HIDDEN = 64
BOTH = ("stimulus__layer0.w", "layer0__out.w")
OUTER = Backprop(lr=1e-2, schedule="cosine")
LR = {"lr": (3e-3, 3e-2)}
GRADIENT = {**LR, "rate": (0.1, 3.0)}


def plain() -> Network:
    """Return pixels -> 64 hidden neurons -> labels."""
    return mlp(TASK.n_in, TASK.n_out, hidden=(HIDDEN,), transfer="tanh")


def rule(eta: float = 0.1) -> PlasticLearner:
    """Return a delta rule in both layers, a rate for each synapse; errors go back through fixed random synapses."""
    delta = PlasticityRule("delta", dw="eta*pre*error_post", params={"eta": Param(eta, per="synapse")})
    return PlasticLearner(error_broadcast(TASK.n_in, TASK.n_out, rule=delta, hidden=(HIDDEN,)))


def hebb(alpha: float = 0.03) -> PlasticLearner:
    """Return Hebbian synapses in both layers, a plastic strength for each; the label clamps the output."""
    return PlasticLearner(multilayer(TASK.n_in, TASK.n_out, hidden=(HIDDEN,), alpha=alpha))


def maml(rate: float = 1.0) -> GradientLearner:
    """Return one step on all five images at once, at one learned rate."""
    return GradientLearner(plain(), rate=rate, learn_rate=True, adapts=BOTH)


def five(rate: float = 0.3) -> GradientLearner:
    """Return five such steps."""
    return GradientLearner(plain(), steps=5, rate=rate, learn_rate=True, adapts=BOTH)


def single(rate: float = 0.1) -> GradientLearner:
    """Return one step on each image in turn, as the rule sees them."""
    steps = TASK.n_way * TASK.n_shot
    return GradientLearner(plain(), steps=steps, rate=rate, learn_rate=True, adapts=BOTH, minibatch=1)


def anil(rate: float = 1.0) -> GradientLearner:
    """Return one step of the last layer alone."""
    return GradientLearner(plain(), rate=rate, learn_rate=True, adapts=BOTH[1:])


def meta_sgd(rate: float = 1.0) -> MetaSgdLearner:
    """Return one step at a learned rate for every synapse: the freedom that the rule has."""
    return MetaSgdLearner(plain(), rate=rate, adapts=BOTH)


def reptile(rate: float = 0.1) -> GradientLearner:
    """Return what Reptile trains."""
    return GradientLearner(plain(), steps=5, rate=rate, order=1, adapts=BOTH)


random_labels = Plan(
    name="random_labels",
    title="Random labels over two plastic layers: a local rule against MAML",
    question="""Five new characters are shown once each with labels that are drawn anew, and their pixels in an order
    that is drawn anew, in every episode: neither features nor labels can be reused. Pixels -> 64 hidden neurons ->
    labels, no trunk. Does a delta rule in both layers, with a learned rate for each synapse and errors that come back
    through fixed random synapses, learn more from the five images than gradient steps do? An earlier three-seed table
    of the project (docs/results.md) suggested so; this plan has other seeds and other test episodes.""",
    task=TASK,
    arms={
        "delta rule, random feedback": Arm(rule, {**LR, "eta": (0.03, 0.5)}, OUTER),
        "Hebb, plastic strengths": Arm(hebb, {**LR, "alpha": (0.01, 0.3)}, OUTER),
        "MAML": Arm(maml, GRADIENT, OUTER),
        "MAML, five steps": Arm(five, GRADIENT, OUTER),
        "MAML, image by image": Arm(single, {**LR, "rate": (0.03, 1.0)}, OUTER),
        "ANIL": Arm(anil, GRADIENT, OUTER),
        "Meta-SGD": Arm(meta_sgd, GRADIENT, OUTER),
        "Reptile": Arm(reptile, {"lr": (0.03, 0.3), "rate": (0.03, 1.0)}, Reptile(lr=0.1)),
    },
    main="delta rule, random feedback",
    rival="MAML",
    seeds=(10, 11, 12, 13, 14),
    iterations=1000,
    tasks=32,
    trials=4,
    trial_iterations=200,
    margin=0.01,
    without=("textbook Hebb", "textbook Oja"),
)
