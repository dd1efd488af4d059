"""Learners behind a trunk that normalises by the support set: what is kept, what a query may know, compilation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neurometa import ConvTrunk, GradientLearner, PlasticLearner, networks
from neurometa.learners.gradient import RATE
from neurometa.learners.hybrid import HybridLearner
from neurometa.learners.implicit import ImplicitLearner
from neurometa.learners.meta_sgd import MetaSgdLearner
from neurometa.learners.no_adaptation import NoAdaptationLearner
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.outer import Backprop
from neurometa.outer.forward import Forward
from neurometa.tasks.base import Episode
from neurometa.torch_engine.trunk import trunk_statistics

F64 = torch.float64
TRUNK = ConvTrunk((1, 5, 5), (2, 2), "tanh", "support")
STATISTICS = {f"trunk.{i}.{kind}" for i in (0, 1) for kind in ("mean", "variance")}
HEAD = networks.get("mlp")(TRUNK.n_features, 2, ())
PLASTIC = networks.get("associative")(TRUNK.n_features, 2, transfer="linear")
LEARNERS = {
    "maml": GradientLearner(HEAD, TRUNK, steps=2, rate=0.3),
    "anil": GradientLearner(HEAD, TRUNK, steps=2, rate=0.3, adapts=("*out.w",)),
    "minibatch": GradientLearner(HEAD, TRUNK, steps=3, rate=0.2, minibatch=2),
    "meta_sgd": MetaSgdLearner(HEAD, TRUNK, steps=2, rate=0.3),
    "implicit": ImplicitLearner(HEAD, TRUNK, steps=45, rate=0.1, strength=5.0, solver_steps=30),
    "plastic": PlasticLearner(PLASTIC, TRUNK),
    "online_gradient": OnlineGradientLearner(PLASTIC, TRUNK),
    "hybrid": HybridLearner(PLASTIC, TRUNK),
}
ALL = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)


@pytest.fixture
def images(episode) -> Episode:
    parts = []
    for i, part in enumerate(episode[:2]):
        stream = torch.Generator().manual_seed(i)
        pixels = torch.randn(*part.target.shape[:2], 25, generator=stream, dtype=F64)
        parts.append(part._replace(inputs={**part.inputs, "stimulus": pixels}))
    return Episode(*parts)


@ALL
def test_queries_are_normalised_by_the_support_and_do_not_see_each_other(learner, task, images, shaken):
    params = shaken(learner)
    fast = learner.adapt(params, images.support, task)
    assert set(fast) > STATISTICS
    pixels = images.query.inputs["stimulus"].clone()
    pixels[1] += 2.0
    other = images._replace(query=images.query._replace(inputs={**images.query.inputs, "stimulus": pixels}))
    answers = learner.respond(params, images, task)
    changed = (learner.respond(params, other, task) - answers).abs().amax((1, 2))
    assert (changed > 1e-3).tolist() == (changed > 1e-12).tolist() == [False, True, False]
    seen = replace(learner, trunk=replace(TRUNK, norm="transductive"))
    changed = (seen.respond(params, other, task) - seen.respond(params, images, task)).abs().amax((1, 2))
    assert changed.min() > 1e-3  # it could have failed
    torch.testing.assert_close(learner.predict(params, fast, images.query), answers, rtol=1e-12, atol=1e-12)


@ALL
def test_the_statistics_are_those_of_the_adapted_trunk(learner, task, images, shaken):
    params = shaken(learner)
    fast = learner.adapt(params, images.support, task)
    adapted = {**params, **{name: leaf for name, leaf in fast.items() if name not in STATISTICS}}
    wanted = trunk_statistics(TRUNK, adapted, images.support.inputs["stimulus"])
    for name in STATISTICS:
        torch.testing.assert_close(fast[name], wanted[name], rtol=1e-12, atol=1e-12)


@ALL
def test_every_task_is_alone(learner, task, images, per_task):
    per_task(learner, task, images, 1e-11)


@ALL
def test_the_meta_gradient_is_exact(learner, task, images, shaken, exact):
    params = shaken(learner)
    names = [name for name in ("trunk.0.scale", "trunk.0.shift", "trunk.1.scale", "one__out.w", "head.alpha", RATE)]
    names = [name for name in names if name in learner.groups()]
    found = exact(learner, params, task, images, names, forward=not isinstance(learner, ImplicitLearner))
    assert all(leaf.abs().max() > 1e-4 for leaf in found.values())
    if isinstance(learner, GradientLearner):
        exact(learner, params, task, images)


@pytest.mark.parametrize("norm", ["none", "support", "transductive"])
def test_forward_mode_passes_the_normalisation(norm, task, images, shaken, exact):
    """The inner rate is learned: from the second step on the trunk of every task has a tangent."""
    learner = GradientLearner(HEAD, replace(TRUNK, norm=norm), steps=3, rate=0.3, learn_rate=True)
    assert exact(learner, shaken(learner), task, images, [RATE])[RATE].abs() > 1e-4


def test_forward_mode_through_inner_gradients_of_the_image_norm_is_refused_not_wrong(task, images, shaken, gradient):
    """Torch has no forward mode for the gradient of ``group_norm``; without an inner gradient there is no obstacle."""
    front = replace(TRUNK, norm="image")
    learner = GradientLearner(HEAD, front, steps=2, learn_rate=True)
    with pytest.raises(NotImplementedError, match="forward AD with aten::native_group_norm_backward"):
        gradient(Forward(), learner, shaken(learner), task, images, [RATE])
    for learner in (NoAdaptationLearner(HEAD, front), PlasticLearner(PLASTIC, front)):
        a, b = (
            gradient(outer, learner, shaken(learner), task, images, ["trunk.0.scale", "trunk.1.shift"])
            for outer in (Forward(), Backprop())
        )
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-10, atol=1e-12)
            assert b[name].abs().max() > 1e-4


@pytest.mark.slow
def test_compiled_equals_eager(task, images, shaken, slopes, relative):
    torch.compiler.reset()
    eager = GradientLearner(HEAD, TRUNK, steps=2, rate=0.3)
    params = shaken(eager)
    found = [
        slopes(lambda p, learner=learner: learner.loss(p, images, task).mean(), params)
        for learner in (replace(eager, compile=True), eager, replace(eager, order=1))
    ]
    assert relative(found[0], found[1]) < 1e-10
    assert relative(found[0], found[2]) > 1e-2
