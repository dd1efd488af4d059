"""Implicit MAML: closed forms, a dense solve, conjugate gradients, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neurometa import learners, networks
from neurometa.errors import EngineError, SpecificationError
from neurometa.learners.implicit import STRENGTH, ImplicitLearner, _conjugate_gradients
from neurometa.outer import Backprop
from neurometa.outer.forward import Forward
from neurometa.tasks.base import Episode, Part
from neurometa.tree import spread, stack

F64 = torch.float64
SOLVED = {"steps": 200, "rate": 0.5, "solver_steps": 40}  # to machine precision on what follows


@dataclass(frozen=True)
class Quadratic:
    """The loss of a task is ``w @ H @ w/2 - w @ b`` over the support, with an H and b of its own; then ``g @ w``."""

    def loss(self, output, part: Part):
        w = output[0]  # (batch, n)
        hessian, b, g = (part.inputs[name][0] for name in ("hessian", "b", "g"))  # (batch, n*n), (batch, n)
        if not part.weight.any():  # the query
            return (g * w).sum(-1)
        return 0.5 * torch.einsum("bi,bij,bj->b", w, hessian.unflatten(-1, (w.shape[-1], -1)), w) - (b * w).sum(-1)


class Value(nn.Module):
    """Answers its two parameters, one after the other, so that the solution is a tree of two leaves."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.5, -0.3], dtype=F64))
        self.b = nn.Parameter(torch.tensor([[1.0], [0.2]], dtype=F64))

    def forward(self, x):
        return torch.cat([self.a, self.b.squeeze(-1)]).expand(x.shape[0], 4)


def positive(stream, batch: int, n: int) -> torch.Tensor:
    """Return random positive definite matrices with eigenvalues between .3 and 3."""
    basis, _ = torch.linalg.qr(torch.randn(batch, n, n, generator=stream, dtype=F64))
    values = 0.3 + 2.7 * torch.rand(batch, 1, n, generator=stream, dtype=F64)
    return basis * values @ basis.mT


def quadratic(batch: int):
    """Return Hessians, linear terms and query gradients, and the episode made of them."""
    stream = torch.Generator().manual_seed(0)
    hessian = positive(stream, batch, 4)
    b, g = torch.randn(2, batch, 4, generator=stream, dtype=F64)
    inputs = {"stimulus": torch.zeros(1, batch, 3, dtype=F64), "hessian": hessian.flatten(1)[None], "b": b[None]}
    inputs |= {"g": g[None]}
    on, weight = torch.ones(1, dtype=torch.bool), torch.ones(1, batch, dtype=F64)
    support = Part(inputs, torch.zeros(1, batch, 4, dtype=F64), weight, on, on)
    return hessian, b, g, Episode(support, support._replace(weight=0 * weight))


def test_the_closed_form_on_a_point(task, point, towards, gradient):
    """Loss |w - c|^2/2: w = (c + lam*theta)/(1 + lam), gradient (lam/(1 + lam))^2 (theta - c); that of lam below."""
    lam, c = 0.7, torch.tensor([[1.0, 2.0], [-0.5, 4.0]], dtype=F64)
    learner = ImplicitLearner(point, strength=lam, learn_strength=True, steps=200, rate=0.4, solver_steps=2)
    params = learner.init(torch.Generator(), dtype=F64)
    theta, episode = params["model.theta"], towards(c)
    fast = learner.adapt(params, episode.support, task)
    torch.testing.assert_close(fast["model.theta"], (c + lam * theta) / (1 + lam), rtol=1e-13, atol=1e-13)
    found = gradient(Backprop(), learner, params, task, episode, params)
    wanted = (lam / (1 + lam)) ** 2 * (theta - c).mean(0)
    torch.testing.assert_close(found["model.theta"], wanted, rtol=1e-12, atol=1e-12)
    by_lam = lam / (1 + lam) ** 3 * (theta - c).square().sum(-1).mean()  # of |theta - c|^2 (lam/(1 + lam))^2/2
    through = torch.sigmoid(params[STRENGTH])  # slope of the softplus in which it is stored
    torch.testing.assert_close(found[STRENGTH], by_lam * through, rtol=1e-12, atol=1e-12)
    assert float(F.softplus(params[STRENGTH])) == pytest.approx(lam, rel=1e-14)


def test_a_dense_solve_gives_the_same_for_every_hessian_of_a_batch(slopes):
    hessian, b, g, episode = quadratic(6)
    learner = ImplicitLearner(Value(), strength=0.8, learn_strength=True, **SOLVED)
    params, task = learner.init(torch.Generator(), dtype=F64), Quadratic()
    start, eye = torch.cat([params["model.a"], params["model.b"].squeeze(-1)]), torch.eye(4, dtype=F64)
    fast = learner.adapt(params, episode.support, task)
    minimum = torch.linalg.solve(hessian + 0.8 * eye, b + 0.8 * start)
    found = torch.cat([fast["model.a"], fast["model.b"].squeeze(-1)], -1)
    torch.testing.assert_close(found, minimum, rtol=1e-12, atol=1e-12)
    each = spread({name: leaf[None] for name, leaf in params.items()}, 6)  # a start, and so a gradient, per task
    for own in (params, each):
        slope = slopes(lambda p: learner.loss(p, episode, task).sum(), own)
        wanted = 0.8 * torch.linalg.solve(hessian + 0.8 * eye, g)
        by_lam = (torch.linalg.solve(hessian + 0.8 * eye, g) * (start - minimum)).sum(-1, keepdim=True)
        by_lam = by_lam * torch.sigmoid(params[STRENGTH])
        if own is params:
            wanted, by_lam = wanted.sum(0), by_lam.sum(0)
        found = torch.cat([slope["model.a"], slope["model.b"].squeeze(-1)], -1)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(slope[STRENGTH], by_lam, rtol=1e-11, atol=1e-11)


def test_the_meta_gradient_is_exact_for_every_parameter(task, episode, shaken, exact):
    """Also of parameters that are not adapted but shape the support loss."""
    network = networks.get("mlp")(3, 2, (2,), "tanh")
    for adapts in (("*",), ("*out.w",)):
        options = {"strength": 1.5, "steps": 100, "rate": 0.2, "solver_steps": 15}
        learner = ImplicitLearner(network, learn_strength=True, adapts=adapts, **options)
        found = exact(learner, shaken(learner, size=0.3), task, episode, forward=False)
        assert found["stimulus__layer0.w"].abs().max() > 1e-3
        assert found[STRENGTH].abs().max() > 1e-3


def test_too_few_steps_make_it_inexact(task, episode, shaken, slopes, differences, relative):
    """What the docstring warns of: the implicit gradient is that of the minimum, which must be reached."""
    learner = ImplicitLearner(networks.get("mlp")(3, 2, (2,), "tanh"), steps=2, rate=0.1)
    params = {name: leaf for name, leaf in shaken(learner, size=0.3).items() if name != STRENGTH}
    strength = {STRENGTH: learner.init(torch.Generator(), dtype=F64)[STRENGTH]}

    def loss(p):
        return learner.loss({**p, **strength}, episode, task).mean()

    assert relative(slopes(loss, params), differences(loss, params)) > 1e-2


def test_every_task_is_alone(task, episode, per_task):
    learner = ImplicitLearner(networks.get("mlp")(3, 2, (2,), "tanh"), learn_strength=True, steps=30)
    per_task(learner, task, episode)


def test_forward_mode_is_refused_not_wrong(task, point, towards, gradient, shaken):
    learner = ImplicitLearner(point)
    with pytest.raises(EngineError, match="no forward mode; use Backprop"):
        gradient(Forward(), learner, shaken(learner), task, towards(torch.ones(2, 2, dtype=F64)), ["model.theta"])


def test_it_is_differentiated_once(task, point, towards, shaken):
    learner = ImplicitLearner(point)
    params = {name: leaf.requires_grad_() for name, leaf in shaken(learner).items()}
    loss = learner.loss(params, towards(torch.ones(2, 2, dtype=F64)), task).sum()
    (slope,) = torch.autograd.grad(loss, params["model.theta"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("n", [1, 3, 7])
def test_conjugate_gradients_end_after_as_many_steps_as_unknowns(n):
    stream = torch.Generator().manual_seed(n)
    matrix, right = positive(stream, 4, n), torch.randn(4, n, generator=stream, dtype=F64)

    def product(vectors):
        return (torch.einsum("bij,bj->bi", matrix, vectors[0]),)

    wanted = torch.linalg.solve(matrix, right)
    for n_steps in (n, 3 * n):  # going on after the solution is found does no harm
        (found,) = _conjugate_gradients(product, (right,), n_steps)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    if n > 1:
        (early,) = _conjugate_gradients(product, (right,), n - 1)
        assert (early - wanted).abs().max() > 1e-4


def test_conjugate_gradients_take_a_right_side_of_zero():
    matrix = positive(torch.Generator().manual_seed(0), 3, 2)
    right = torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 1e-200]], dtype=F64)
    (found,) = _conjugate_gradients(lambda v: (torch.einsum("bij,bj->bi", matrix, v[0]),), (right,), 4)
    assert found.isfinite().all()
    assert not found[1].any()
    torch.testing.assert_close(found[0], torch.linalg.solve(matrix[0], right[0]), rtol=1e-12, atol=1e-12)


def test_conjugate_gradients_stop_where_the_curvature_is_not_positive():
    """They keep what they had; the other entries of the batch go on."""
    matrix = torch.diag_embed(torch.tensor([[3.0, 1.0, -0.5], [3.0, 1.0, 0.5], [-1.0, -1.0, -1.0]], dtype=F64))
    right = torch.tensor([[1.0, 1.0, 1.0]] * 3, dtype=F64)
    curvatures = []

    def product(vectors):
        image = torch.einsum("bij,bj->bi", matrix, vectors[0])
        curvatures.append((image * vectors[0]).sum(-1))
        return (image,)

    steps = [_conjugate_gradients(product, (right,), n)[0] for n in range(1, 8)]
    assert curvatures[0][0] > 0 > curvatures[2][0]  # the first entry meets the negative curvature at its second step
    for later in steps[1:]:
        assert torch.equal(later[0], steps[0][0])
        assert not later[2].any()
    torch.testing.assert_close(steps[-1][1], right[1] / matrix[1].diagonal(), rtol=1e-12, atol=1e-12)


def test_a_query_loss_without_slope_gives_zero_not_nan(task, point, towards, gradient, shaken):
    learner = ImplicitLearner(point, learn_strength=True)
    params = shaken(learner)
    episode = towards(torch.ones(2, 2, dtype=F64))
    fast = learner.adapt(params, episode.support, task)["model.theta"]
    solved = episode._replace(query=episode.query._replace(target=fast[None]))
    found = gradient(Backprop(), learner, params, task, solved, params)
    assert all(torch.equal(leaf, torch.zeros_like(leaf)) for leaf in found.values())


def test_parameters_with_a_batch_axis_have_strengths_of_their_own(task, episode, shaken):
    learner = ImplicitLearner(networks.get("mlp")(3, 2, (2,), "tanh"), learn_strength=True, steps=30)
    params = shaken(learner)
    each = [{**params, STRENGTH: params[STRENGTH] + shift} for shift in (0.0, 3.0)]
    start = spread(stack(each), 1)
    one = Episode(*(part._replace(**_first_two(part)) for part in episode[:2]))
    fast = learner.adapt(start, one.support, task)
    for i, own in enumerate(each):
        wanted = learner.adapt(own, one.support, task)
        for name in wanted:
            torch.testing.assert_close(fast[name][i], wanted[name][i], rtol=1e-12, atol=1e-12)
    moved = [(fast[name][i] - params[name]).norm() for i in (0, 1) for name in ("layer0__out.w",)]
    assert moved[0] > 1.5 * moved[1]  # the stronger holds it back


def _first_two(part: Part):
    """Return the fields of a part in which one task is shown twice."""
    inputs = {name: sequence[:, [0, 0]] for name, sequence in part.inputs.items()}
    return {"inputs": inputs, "target": part.target[:, [0, 0]], "weight": part.weight[:, [0, 0]]}


def test_groups_and_settings(settings):
    network = networks.get("mlp")(3, 2, (4,))
    learner = ImplicitLearner(network, strength=2.0)
    settings(learner, strength=1.0)
    assert STRENGTH not in learner.groups()
    assert ImplicitLearner(network, learn_strength=True).groups()[STRENGTH] == "rule"
    assert learners.get("implicit") is ImplicitLearner
    for options, message in (
        ({"compile": True}, "ImplicitLearner does not compile: its backward pass is its own; compile=False"),
        ({"strength": 0.0}, "ImplicitLearner: strength 0.0 and solver_steps 5 must be above 0"),
        ({"solver_steps": 0}, "ImplicitLearner: strength 1.0 and solver_steps 0 must be above 0"),
        ({"steps": 0}, "ImplicitLearner: rate 0.1 and steps 0 must be above 0"),
    ):
        with pytest.raises(SpecificationError, match=message):
            ImplicitLearner(network, **options)
