"""Gradient meta-learning: closed forms, the loop over tasks, central differences, compilation."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

from neurometa import ConvTrunk, GradientLearner, learners, rules
from neurometa.errors import EngineError, SpecificationError
from neurometa.learners.gradient import RATE
from neurometa.outer import Backprop
from neurometa.outer.base import Problem
from neurometa.outer.forward import Forward
from neurometa.outer.reptile import Reptile
from neurometa.spec import Network, Normal, Param, Population, Projection, Random
from neurometa.tasks.base import Episode, Part
from neurometa.tree import spread, stack

F64 = torch.float64


class Point(nn.Module):
    """Answers its parameter, whatever the input."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.3, -1.2], dtype=F64))

    def forward(self, x):
        return self.theta.expand(x.shape[0], 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(3, 4, dtype=F64)
        self.head = nn.Linear(4, 2, dtype=F64)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


def curved() -> Network:
    """Stimulus -> tanh hidden -> out, with a bias, a mask, and a plastic projection whose rule is off."""
    skip = Projection(
        "stimulus",
        "out",
        name="skip",
        efficacy="w0 + w",
        params={"w0": Param(Normal(0, 0.1), per="synapse")},
        rule=rules.get("hebb"),
    )
    return Network(
        (Population("stimulus", 3), Population("hidden", 4, "tanh(2*drive)"), Population("out", 2, "drive + drive**2")),
        (
            Projection("stimulus", "hidden", name="body", mask=Random(0.8, 1)),
            Projection("one", "hidden", name="body_bias", w=Param(0.1, per="post")),
            Projection("hidden", "out", name="head"),
            skip,
        ),
    )


def targets(c: torch.Tensor) -> Part:
    """Return a part whose target is ``c`` ``(batch, n)``, at one step."""
    n = len(c)
    on = torch.ones(1, dtype=torch.bool)
    return Part({"stimulus": torch.zeros(1, n, 3, dtype=F64)}, c[None], torch.ones(1, n, dtype=F64), on, on)


def init(learner):
    return learner.init(torch.Generator().manual_seed(1), dtype=F64)


def alone(part: Part, i: int) -> Part:
    inputs = {name: sequence[:, i : i + 1] for name, sequence in part.inputs.items()}
    return part._replace(inputs=inputs, target=part.target[:, i : i + 1], weight=part.weight[:, i : i + 1])


BOTH = pytest.mark.parametrize("network", [curved(), Net()], ids=["Network", "Module"])


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("order", [1, 2])
def test_the_closed_form_that_tells_maml_from_fomaml(task, slopes, order, steps):
    """Loss |theta - c|^2/2, rate a, k steps: MAML (1 - a)^(2k) (theta - c), FOMAML (1 - a)^k (theta - c)."""
    a, c = 0.3, torch.tensor([[1.0, 2.0], [-0.5, 4.0], [0.0, 0.0]], dtype=F64)
    learner = GradientLearner(Point(), steps=steps, rate=a, order=order)
    params = init(learner)
    theta = params["model.theta"]
    episode = Episode(targets(c), targets(c))
    fast = learner.adapt(params, episode.support, task)
    torch.testing.assert_close(fast["model.theta"], c + (1 - a) ** steps * (theta - c), rtol=1e-14, atol=1e-14)
    for i in range(3):
        one = Episode(alone(episode.support, i), alone(episode.query, i))
        slope = slopes(lambda p, one=one: learner.loss(p, one, task).sum(), params)["model.theta"]
        wanted = (1 - a) ** (steps * order) * (theta - c[i])
        torch.testing.assert_close(slope, wanted, rtol=1e-13, atol=1e-13)
    whole = slopes(lambda p: learner.loss(p, episode, task).sum(), params)["model.theta"]
    torch.testing.assert_close(whole, (1 - a) ** (steps * order) * (theta - c).sum(0), rtol=1e-13, atol=1e-13)


def test_the_closed_form_separates_maml_fomaml_and_reptile(task, point, towards, gradient):
    """Loss |theta - c|^2/2, rate a, one step: (1 - a)^2 (theta - c), (1 - a)(theta - c), and a(theta - c)."""
    a, c = 0.3, torch.tensor([[1.0, 2.0], [-0.5, 4.0]], dtype=F64)
    episode, found = towards(c), {}
    for order in (1, 2):
        learner = GradientLearner(point, rate=a, order=order)
        params = init(learner)
        found[order] = gradient(Backprop(), learner, params, task, episode, ["model.theta"])["model.theta"]
    away = params["model.theta"] - c.mean(0)
    torch.testing.assert_close(found[2], (1 - a) ** 2 * away, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found[1], (1 - a) * away, rtol=1e-13, atol=1e-13)

    def adapted(p):
        fast = learner.adapt({**params, **p}, episode.support, task)
        return fast, task.loss(learner.predict({**params, **p}, fast, episode.query), episode.query)

    outer, theta = Reptile(lr=0.5, anneal=False), {"model.theta": params["model.theta"]}
    moved, _, metrics = outer.step(theta, outer.init(theta), Problem(lambda p: adapted(p)[1], 0, 1, adapted))
    direction = (theta["model.theta"] - moved["model.theta"]) / 0.5
    torch.testing.assert_close(direction, a * away, rtol=1e-13, atol=1e-13)
    after = ((1 - a) * (theta["model.theta"] - c)).square().sum(-1).mean() / 2
    assert metrics["loss"] == pytest.approx(float(after), rel=1e-13)


@BOTH
@pytest.mark.parametrize("order", [1, 2])
def test_all_tasks_at_once_equal_the_loop_over_tasks(task, episode, slopes, network, order):
    learner = GradientLearner(network, steps=2, rate=0.2, order=order)
    params = init(learner)
    together = learner.adapt(params, episode.support, task)
    losses = learner.loss(params, episode, task)
    total = slopes(lambda p: learner.loss(p, episode, task).sum(), params)
    summed = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
    for i in range(5):
        one = Episode(alone(episode.support, i), alone(episode.query, i))
        fast = learner.adapt(params, one.support, task)
        assert fast.keys() == together.keys()
        for name in fast:
            torch.testing.assert_close(together[name][i : i + 1], fast[name], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(losses[i : i + 1], learner.loss(params, one, task), rtol=1e-12, atol=1e-12)
        found = slopes(lambda p, one=one: learner.loss(p, one, task).sum(), params)
        summed = {name: summed[name] + found[name] for name in summed}
    for name in total:
        torch.testing.assert_close(total[name], summed[name], rtol=1e-12, atol=1e-12)


@BOTH
def test_the_inner_step_is_plain_gradient_descent_on_the_sum_of_each_task_s_own_loss(task, episode, network):
    learner = GradientLearner(network, steps=1, rate=0.2)
    params = init(learner)
    fast = learner.adapt(params, episode.support, task)
    for i in range(5):
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
        loss = task.loss(learner.predict(leaves, {}, alone(episode.support, i)), alone(episode.support, i)).sum()
        for name in fast:
            (slope,) = torch.autograd.grad(loss, leaves[name], retain_graph=True)
            torch.testing.assert_close(fast[name][i], params[name] - 0.2 * slope, rtol=1e-12, atol=1e-12)


@BOTH
@pytest.mark.parametrize("steps", [1, 3])
def test_the_meta_gradient_equals_central_differences(task, episode, slopes, differences, relative, network, steps):
    learner = GradientLearner(network, steps=steps, rate=0.15, order=2, learn_rate=True)
    params = init(learner)

    def loss(p):
        return learner.loss(p, episode, task).mean()

    exact, numeric = slopes(loss, params), differences(loss, params)
    assert relative(exact, numeric) < 1e-6
    assert exact[RATE].abs() > 1e-3  # the inner rate is learned too
    first = GradientLearner(network, steps=steps, rate=0.15, order=1, learn_rate=True)
    assert relative(slopes(lambda p: first.loss(p, episode, task).mean(), params), numeric) > 1e-2


ADAM = {"inner": "adam", "steps": 3, "rate": 0.05}
VARIANTS = pytest.mark.parametrize(
    "options",
    [{"steps": 2}, ADAM, {**ADAM, "beta1": 0.9}, {"steps": 3, "minibatch": 3}],
    ids=["sgd", "adam", "adam with momentum", "minibatch"],
)


@BOTH
@VARIANTS
def test_forward_mode_and_central_differences_agree_with_every_inner_loop(
    task, episode, shaken, exact, network, options
):
    learner = GradientLearner(network, learn_rate=True, **options)
    params = shaken(learner, seed=3)  # Adam's step jumps where an inner gradient changes its sign: not here
    names = [next(name for name in params if "head" in name), RATE]
    found = exact(learner, params, task, episode, names)
    assert all(leaf.abs().max() > 1e-4 for leaf in found.values())


@BOTH
def test_forward_mode_of_first_order_is_first_order(task, episode, shaken, gradient, relative, network):
    learner = GradientLearner(network, learn_rate=True, steps=2, order=1)
    params = shaken(learner)
    names = [next(name for name in params if "head" in name), RATE]
    a, b = (gradient(outer, learner, params, task, episode, names) for outer in (Forward(), Backprop()))
    assert relative(a, b) < 1e-10


@BOTH
@VARIANTS
def test_every_task_is_alone_in_every_inner_loop(task, episode, per_task, network, options):
    # Adam divides by the root of what may be small: 1e-10
    per_task(GradientLearner(network, **options), task, episode, 1e-10 if "inner" in options else 1e-12)


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_the_inner_adam_is_adam(task, episode, beta1):
    learner = GradientLearner(Net(), inner="adam", beta1=beta1, steps=7, rate=0.05)
    params = init(learner)
    fast = learner.adapt(params, episode.support, task)
    for i in range(5):
        own, mine = alone(episode.support, i), Net()
        optimiser = torch.optim.Adam(mine.parameters(), lr=0.05, betas=(beta1, 0.999), eps=1e-8)
        for _ in range(7):
            optimiser.zero_grad()
            task.loss(mine(own.inputs["stimulus"].flatten(0, 1)).unflatten(0, (4, 1)), own).sum().backward()
            optimiser.step()
        for name, leaf in mine.named_parameters():
            torch.testing.assert_close(fast[f"model.{name}"][i], leaf.detach(), rtol=1e-6, atol=1e-6)
            assert (leaf - params[f"model.{name}"]).abs().max() > 0.05


def test_an_inner_gradient_of_zero_is_no_obstacle_to_adam(task, point, towards, gradient):
    learner = GradientLearner(point, inner="adam", steps=3)
    params = init(learner)
    for c in (params["model.theta"], params["model.theta"] + 1e-12):
        found = gradient(Backprop(), learner, params, task, towards(c[None]), params)
        assert all(leaf.isfinite().all() for leaf in found.values())
    fast = learner.adapt(params, towards(params["model.theta"][None]).support, task)
    assert torch.equal(fast["model.theta"][0], params["model.theta"])


@pytest.mark.parametrize(("size", "seen"), [(0, 5), (5, 5), (9, 5), (1, 1), (2, 2), (3, 3)])
def test_a_minibatch_takes_the_support_in_turn_and_leaves_nothing_out(task, point, size, seen):
    a, steps = 0.3, 7
    c = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0), dtype=F64)  # (time, batch, n)
    on, ones = torch.ones(5, dtype=torch.bool), torch.ones(5, 2, dtype=F64)
    part = Part({"stimulus": torch.zeros(5, 2, 3, dtype=F64)}, c, ones, on, on)
    learner = GradientLearner(point, rate=a, steps=steps, minibatch=size)
    params = init(learner)
    theta = params["model.theta"].expand(2, 2)
    for k in range(steps):
        shown = [(k * seen + i) % 5 for i in range(seen)]
        theta = theta - a * (theta - c[shown].mean(0))
    found = learner.adapt(params, part, task)["model.theta"]
    torch.testing.assert_close(found, theta, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("network", [curved(), pytest.param(Net(), marks=pytest.mark.slow)], ids=["Network", "Module"])
def test_compiled_equals_eager_and_is_not_first_order(task, episode, slopes, relative, network):
    """torch.compile silently drops the second order of ``autograd.grad``; the compiled path must not."""
    torch.compiler.reset()
    options = {"steps": 2, "rate": 0.15}
    eager, compiled = GradientLearner(network, **options), GradientLearner(network, compile=True, **options)
    params = init(eager)
    wanted = slopes(lambda p: eager.loss(p, episode, task).mean(), params)
    found = slopes(lambda p: compiled.loss(p, episode, task).mean(), params)
    assert relative(found, wanted) < 1e-10
    first = GradientLearner(network, order=1, **options)
    assert relative(slopes(lambda p: first.loss(p, episode, task).mean(), params), found) > 1e-2


def test_anil_changes_the_head_only(task, episode, slopes):
    learner = GradientLearner(curved(), adapts=("head*",))
    params = init(learner)
    assert set(learner.adapt(params, episode.support, task)) == {"head.w"}
    assert set(
        GradientLearner(Net(), adapts=("model.head*",)).adapt(init(GradientLearner(Net())), episode.support, task)
    ) == {
        "model.head.weight",
        "model.head.bias",
    }
    slope = slopes(lambda p: learner.loss(p, episode, task).mean(), params)
    assert all(slope[name].abs().max() > 0 for name in ("body.w", "body_bias.w", "head.w"))  # the body is meta-learned
    with pytest.raises(
        SpecificationError, match=r"adapts 'hed\*' matches nothing; allowed: body.w, body_bias.w, head.w, skip.w0"
    ):
        GradientLearner(curved(), adapts=("hed*",))


@BOTH
def test_evaluation_without_gradients(task, episode, network):
    learner = GradientLearner(network, steps=3)
    params = init(learner)
    wanted = learner.respond(params, episode, task)
    with torch.no_grad():
        fast = learner.adapt(params, episode.support, task)
        found = learner.predict(params, fast, episode.query)
    assert not found.requires_grad
    assert not any(leaf.requires_grad for leaf in fast.values())
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    before, after = (task.loss(learner.predict(params, f, episode.support), episode.support) for f in ({}, fast))
    assert (after < before).all()


def test_a_batch_axis_on_the_parameters_runs_many_starts_at_once(task, episode, slopes):
    for network in (curved(), Net()):
        learner = GradientLearner(network, steps=2, learn_rate=True)
        each = [{k: v + 0.1 * torch.randn(v.shape, dtype=F64) for k, v in init(learner).items()} for _ in range(3)]

        def tile(part: Part) -> Part:
            inputs = {name: torch.cat([sequence] * 3, 1) for name, sequence in part.inputs.items()}
            return part._replace(
                inputs=inputs, target=torch.cat([part.target] * 3, 1), weight=torch.cat([part.weight] * 3, 1)
            )

        many = Episode(tile(episode.support), tile(episode.query))
        together = learner.loss(spread(stack(each), 5), many, task).reshape(3, 5)
        alone = torch.stack([learner.loss(p, episode, task) for p in each])
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_trunk_in_front(task, slopes, differences, relative):
    trunk = ConvTrunk((1, 4, 4), (2,), "tanh", "image", "unit")
    network = Network(
        (Population("stimulus", trunk.n_features), Population("out", 2, "drive")),
        (Projection("stimulus", "out", name="head"),),
    )
    learner = GradientLearner(network, trunk, steps=2, rate=0.3)
    params = init(learner)
    assert set(learner.groups()) == {"head.w", *(f"trunk.0.{k}" for k in ("w", "b", "scale", "shift"))}
    stream = torch.Generator().manual_seed(0)
    images = {"stimulus": torch.randn(3, 2, 16, generator=stream, dtype=F64)}
    part = task.part(stream, 2, 3, True)._replace(inputs=images)
    episode = Episode(part, part._replace(target=-part.target))

    def loss(p):
        return learner.loss(p, episode, task).mean()

    assert relative(slopes(loss, params), differences(loss, params)) < 1e-6
    head = GradientLearner(network, trunk, adapts=("head.*",))
    assert set(head.adapt(params, part, task)) == {"head.w"}
    with pytest.raises(
        SpecificationError, match="the trunk makes 8 features, but network 'network' reads 3; build it with"
    ):
        GradientLearner(curved(), trunk)


def test_noise_is_drawn_from_the_stream(task, episode):
    network = Network(
        (Population("stimulus", 3), Population("out", 2, "drive + 0.5*noise")), (Projection("stimulus", "out"),)
    )
    learner = GradientLearner(network)
    params = init(learner)
    found = [learner.respond(params, episode, task, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    with pytest.raises(EngineError, match="population 'out' reads noise"):
        learner.respond(params, episode, task)


def test_learners_are_settings_that_can_be_copied_and_compared():
    learner = GradientLearner(curved(), steps=2, rate=0.3, adapts=("head*",))
    for copied in (replace(learner), copy.copy(learner), copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))):
        assert copied == learner
        assert hash(copied) == hash(learner)
        assert copied._adapted == learner._adapted
    assert replace(learner, steps=3) != learner


def test_groups_and_settings(task, episode):
    learner = GradientLearner(curved(), learn_rate=True)
    weights = dict.fromkeys(("body.w", "body_bias.w", "head.w", "skip.w0"), "w0")
    assert learner.groups() == {**weights, "skip.rule.eta": "rule", "skip.rule.decay": "rule", RATE: "rule"}
    assert RATE not in GradientLearner(curved()).groups()
    assert set(init(learner)) == {*learner.groups(), "skip.w"}  # the start of the plastic weights is fixed
    assert set(learner.adapt(init(learner), episode.support, task)) == {*weights}
    assert set(GradientLearner(Net()).groups()) == {
        f"model.{p}.{k}" for p in ("body", "head") for k in ("weight", "bias")
    }
    assert learners.get("gradient") is GradientLearner
    for options, message in (
        ({"order": 3}, "order is 3; allowed: 1"),
        ({"rate": 0.0}, "rate 0.0 and steps 1 must be above 0"),
        ({"steps": 0}, "must be above 0"),
        ({"inner": "adagrad"}, "GradientLearner: inner is 'adagrad'; allowed: 'sgd', 'adam'"),
        ({"beta1": 1.0}, r"beta1 1.0 must lie in \[0, 1\) and minibatch 0 be 0 or more"),
        ({"minibatch": -1}, r"beta1 0.0 must lie in \[0, 1\) and minibatch -1 be 0 or more"),
    ):
        with pytest.raises(SpecificationError, match=message):
            GradientLearner(curved(), **options)
    with pytest.raises(SpecificationError, match="a module takes no trunk: put the layers into the module"):
        GradientLearner(Net(), ConvTrunk())


def test_a_task_without_query_is_refused_by_name(task, episode):
    learner = GradientLearner(curved())
    with pytest.raises(
        SpecificationError, match="GradientLearner needs a task with support and query; Regression is one"
    ):
        learner.loss(init(learner), Episode(episode.support), task)
