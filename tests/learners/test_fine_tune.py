"""Transfer learning: trained without adaptation, fine-tuned at the test, and no better than the floor before it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neurometa import GradientLearner, learners, networks
from neurometa.errors import SpecificationError
from neurometa.learners.fine_tune import FineTuneLearner
from neurometa.tasks.base import Episode
from neurometa.tasks.sinusoid import Sinusoid

F64 = torch.float64
NETWORK = networks.get("mlp")(3, 2, (4,), "tanh")


class Basis(nn.Module):
    """Linear in what it learns: every weighting of sines, cosines and powers of x."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(9, dtype=F64))

    def forward(self, x):
        waves = [f(k * x) for k in (0.5, 1, 2) for f in (torch.sin, torch.cos)]
        return torch.cat([*waves, torch.ones_like(x), x / 3, x**2 / 10], -1) @ self.theta[:, None]


def test_the_loss_is_that_of_support_and_query_before_any_adaptation(task, episode, shaken):
    learner = FineTuneLearner(NETWORK, steps=3, rate=0.2)
    params = shaken(learner)
    each = [task.loss(learner.predict(params, {}, part), part) for part in episode[:2]]
    found = learner.loss(params, episode, task)
    torch.testing.assert_close(found, (each[0] + each[1]) / 2, rtol=1e-14, atol=0)
    torch.testing.assert_close(
        learner.loss(params, Episode(episode.support), task), each[0], rtol=1e-14, atol=0
    )  # a task of one sequence has no other part
    for options in ({"steps": 9}, {"rate": 5.0}, {"inner": "adam"}, {"adapts": ("layer0__out.w",)}):
        assert torch.equal(FineTuneLearner(NETWORK, **options).loss(params, episode, task), found)


def test_the_gradient_is_exact(task, episode, shaken, exact):
    learner = FineTuneLearner(NETWORK, steps=3)
    params = shaken(learner)
    assert exact(learner, params, task, episode)["stimulus__layer0.w"].abs().max() > 1e-3
    exact(learner, params, task, episode, ["layer0__out.w", "one__layer0.w"])


@pytest.mark.parametrize("options", [{}, {"inner": "adam", "beta1": 0.9}, {"minibatch": 2}, {"adapts": ("*out.w",)}])
def test_the_answer_comes_after_fine_tuning(task, episode, options):
    options = {"steps": 4, "rate": 0.1, **options}
    learner, same = FineTuneLearner(NETWORK, **options), GradientLearner(NETWORK, order=1, **options)
    params = same.init(torch.Generator().manual_seed(0), dtype=F64)
    found = learner.respond(params, episode, task)
    torch.testing.assert_close(found, same.respond(params, episode, task), rtol=1e-13, atol=1e-13)
    fast = learner.adapt(params, episode.support, task)
    before, after = (task.loss(learner.predict(params, own, episode.support), episode.support) for own in ({}, fast))
    assert (after < before).all()
    assert (found - learner.predict(params, {}, episode.query)).abs().max() > 1e-2
    with torch.no_grad():
        torch.testing.assert_close(learner.respond(params, episode, task), found, rtol=1e-13, atol=1e-13)


def test_every_task_is_alone(task, episode, per_task, pick, shaken):
    learner = FineTuneLearner(NETWORK, steps=3, rate=0.2)
    per_task(learner, task, episode)
    params = shaken(learner)
    together = learner.respond(params, episode, task)
    for i in range(5):
        one = learner.respond(params, pick(episode, [i]), task)
        torch.testing.assert_close(one, together[:, i : i + 1], rtol=1e-12, atol=1e-12)


def test_pre_training_on_sinusoids_reaches_the_floor_and_not_more():
    """The loss is a parabola in the weights, so that one Newton step finds the best of them."""
    task, learner = Sinusoid(), FineTuneLearner(Basis(), steps=20, rate=0.05)
    theta = torch.zeros(9, dtype=F64, requires_grad=True)
    train = task.sample(torch.Generator().manual_seed(0), 20_000, dtype=F64)
    loss = learner.loss({"model.theta": theta}, train, task).mean()
    (slope,) = torch.autograd.grad(loss, theta, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(each, theta, retain_graph=True)[0] for each in slope])
    best = -torch.linalg.solve(hessian, slope.detach())
    new = task.sample(torch.Generator().manual_seed(1), 20_000, "test", dtype=F64)
    losses = learner.loss({"model.theta": best}, new, task)
    error = losses.std() / math.sqrt(20_000)
    assert abs(float(losses.mean()) - task.floor()) < 4 * error
    wanted = torch.zeros(9, dtype=F64)
    wanted[3] = -2 / math.pi * 2.55  # of cos(x)
    grid = torch.linspace(-5, 5, 101, dtype=F64)[:, None]
    apart = learner.predict({"model.theta": best - wanted}, {}, _shown(grid))
    assert apart.square().mean() < 0.01  # of 3.01
    with torch.no_grad():
        tuned = task.score(learner.respond({"model.theta": best}, new, task), new.query).mean()
    assert tuned < 0.8 * task.floor()  # what pre-training cannot do, the support set does


def _shown(x: torch.Tensor):
    """Return a part that shows x ``(time, 1)`` to one task."""
    part = Sinusoid().sample(torch.Generator(), 1, dtype=F64).query
    return part._replace(inputs={**part.inputs, "stimulus": x[:, None]})


def test_settings(settings, task, episode):
    learner = FineTuneLearner(NETWORK, steps=5, rate=0.3)
    settings(learner, steps=6)
    assert learner.groups() == dict.fromkeys(learner.init(torch.Generator()), "w0")
    assert learners.get("fine_tune") is FineTuneLearner
    with pytest.raises(SpecificationError, match=r"FineTuneLearner: rate -1\.0 and steps 1 must be above 0"):
        FineTuneLearner(NETWORK, rate=-1.0)
    with pytest.raises(SpecificationError, match="FineTuneLearner needs a task with support and query; Regression is"):
        learner.respond(learner.init(torch.Generator(), dtype=F64), Episode(episode.support), task)
