"""Back-propagation with Adam: against torch's own, and where it must not break."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from neurometa import Backprop, outer
from neurometa.errors import SpecificationError
from neurometa.outer import Problem

F64 = torch.float64


def parameters():
    stream = torch.Generator().manual_seed(0)
    shapes = {"hid.w": (3, 4), "rule.eta": (1, 1), "bias": (5,)}
    return {name: torch.randn(shape, generator=stream, dtype=F64) for name, shape in shapes.items()}


def losses(params):
    """Return the losses of four tasks: curved, badly scaled, and coupled."""
    w, eta, bias = params["hid.w"], params["rule.eta"], params["bias"]
    scale = torch.arange(1.0, 5.0, dtype=F64)
    return scale * (w.square().sum() * eta.exp().squeeze() + 100 * (bias - scale[:1]).square().sum() + w.sin().sum())


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}])
def test_fifty_steps_agree_with_torch(options):
    mine = Backprop(lr=0.02, clip=0.0, **options)
    params = parameters()
    state = mine.init(params)
    theirs = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    settings = {"betas": (mine.beta1, mine.beta2), "eps": mine.epsilon, "weight_decay": mine.weight_decay}
    optimiser = torch.optim.AdamW([*theirs.values()], lr=0.02, **settings)
    for i in range(50):
        params, state, metrics = mine.step(params, state, Problem(losses, i, 50))
        optimiser.zero_grad()
        loss = losses(theirs).mean()
        loss.backward()
        optimiser.step()
        assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-12)
        for name, leaf in params.items():
            torch.testing.assert_close(leaf, theirs[name].detach(), rtol=1e-12, atol=1e-12)
    assert metrics["loss"] < losses(parameters()).mean()


def test_the_gradient_is_clipped_as_a_whole_and_its_norm_reported_before():
    params = parameters()
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    slopes = torch.autograd.grad(losses(leaves).mean(), [*leaves.values()])
    norm = torch.cat([slope.flatten() for slope in slopes]).norm().item()
    _, state, metrics = Backprop(clip=2.0).step(params, Backprop().init(params), Problem(losses, 0, 1))
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-12)
    assert norm > 2
    for mean, slope in zip(state.mean.values(), slopes, strict=True):
        torch.testing.assert_close(mean, 0.1 * slope * (2.0 / norm), rtol=1e-12, atol=1e-15)
    _, state, _ = Backprop(clip=2 * norm).step(params, Backprop().init(params), Problem(losses, 0, 1))
    torch.testing.assert_close(state.mean["bias"], 0.1 * slopes[2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_zero_gradient_and_an_unused_parameter_change_nothing(clip):
    params = parameters()
    rule = Backprop(lr=0.1, clip=clip)
    state = rule.init(params)
    for i in range(3):
        new, state, metrics = rule.step(params, state, Problem(lambda p: 0 * p["hid.w"].sum().expand(4), i, 3))
        assert metrics["gradient_norm"] == 0
        for name in params:
            assert torch.equal(new[name], params[name])
        params = new


def test_the_cosine_schedule_falls_from_the_rate_to_zero():
    rule = Backprop(lr=0.4, schedule="cosine")
    params = parameters()
    rates = [rule.step(params, rule.init(params), Problem(losses, i, 10))[2]["lr"] for i in range(11)]
    assert rates[0] == 0.4
    assert rates[5] == pytest.approx(0.2)
    assert rates[10] == 0.0
    assert all(a > b for a, b in pairwise(rates))
    assert rates[3] == pytest.approx(0.2 * (1 + math.cos(0.3 * math.pi)))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10)
    for rate in rates:
        assert rate == pytest.approx(schedule.get_last_lr()[0], abs=1e-15)
        optimiser.step()
        schedule.step()
    still = rule.step(params, rule.init(params), Problem(losses, 10, 10))[0]
    assert all(torch.equal(still[name], params[name]) for name in params)


def test_a_step_changes_nothing_in_place_and_leaves_no_graph():
    rule, params = Backprop(lr=0.1), parameters()
    state = rule.init(params)
    kept = {name: leaf.clone() for name, leaf in params.items()}
    once, after, _ = rule.step(params, state, Problem(losses, 0, 2))
    twice, _, _ = rule.step(once, after, Problem(losses, 1, 2))
    assert all(torch.equal(params[name], kept[name]) and not params[name].requires_grad for name in params)
    assert all(not leaf.any() for leaf in (*state.mean.values(), *state.square.values()))
    again, _, _ = rule.step(once, after, Problem(losses, 1, 2))
    assert all(torch.equal(again[name], twice[name]) for name in twice)
    assert not any(leaf.requires_grad for leaf in (*twice.values(), *after.mean.values(), *after.square.values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_number_format_is_kept(dtype):
    params = {name: leaf.to(dtype) for name, leaf in parameters().items()}
    new, state, _ = Backprop().step(params, Backprop().init(params), Problem(lambda p: losses(p).to(dtype), 0, 1))
    assert {leaf.dtype for tree in (new, state.mean, state.square) for leaf in tree.values()} == {dtype}


def test_it_finds_the_minimum_of_a_quadratic():
    centre = {"a": torch.tensor([3.0, -2.0], dtype=F64), "b": torch.tensor([[0.25]], dtype=F64)}
    params = {name: torch.zeros_like(leaf) for name, leaf in centre.items()}
    rule = Backprop(lr=0.1, schedule="cosine")
    state = rule.init(params)
    for i in range(400):
        problem = Problem(lambda p: sum((p[k] - centre[k]).square().sum() for k in p).expand(2), i, 400)
        params, state, _ = rule.step(params, state, problem)
    for name in centre:
        torch.testing.assert_close(params[name], centre[name], rtol=1e-4, atol=1e-4)


def test_settings_are_checked_and_the_folder_registers_it():
    assert outer.get("backprop") is Backprop
    assert "backprop" in outer.names()
    with pytest.raises(SpecificationError, match="Backprop: schedule is 'linear'; allowed: 'constant', 'cosine'"):
        Backprop(schedule="linear")
    for options in ({"lr": 0.0}, {"lr": float("nan")}, {"clip": -1.0}):
        with pytest.raises(SpecificationError, match=r"must be above 0 and clip .* not below 0"):
            Backprop(**options)
