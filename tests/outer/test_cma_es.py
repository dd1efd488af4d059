"""CMA-ES: known optima, the Kalman gain, one batched call, losses that are not finite, and bit-exact resume."""

from __future__ import annotations

import math
import re
from typing import get_type_hints

import numpy as np
import pytest
import torch

from neurometa import PlasticLearner, networks, outer, rules
from neurometa.errors import SpecificationError, TrainingError
from neurometa.meta import meta_train
from neurometa.meta.state import alike, plain, rebuilt
from neurometa.outer import Problem
from neurometa.outer.cma_es import LEAST_AXIS, LEAST_STEP, MOST, CmaEs, CmaState
from neurometa.streams import generator
from neurometa.tasks.tracking import Tracking, kalman_gain

F64 = torch.float64


def quadratic(params, copies=1):
    """Losses of 4 tasks whose mean is a stretched bowl about (1, -2 | 0.5), up to a constant."""
    a, b = params["a"].reshape(copies, 1, 2), params["b"].reshape(copies, 1, 1)
    tasks = torch.linspace(-1, 1, 4, dtype=a.dtype)[None, :, None]
    distance = torch.cat([a - torch.tensor([1.0, -2.0], dtype=a.dtype), b - 0.5], -1) + tasks
    return (distance.square() * torch.tensor([1.0, 100.0, 10.0], dtype=a.dtype)).sum(-1).reshape(-1)


def rosenbrock(params, copies=1):
    x = torch.cat([params["a"].reshape(copies, 2), params["b"].reshape(copies, 1)], 1)
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def start(dtype=F64):
    return {"a": torch.tensor([-1.0, 1.0], dtype=dtype), "b": torch.zeros(1, 1, dtype=dtype)}


def run(losses, n, algorithm=None, params=None, seed=0):
    algorithm, params, stream = algorithm or CmaEs(), params or start(), generator(seed, "outer")
    state, history = algorithm.init(params), []
    for i in range(n):
        params, state, metrics = algorithm.step(params, state, Problem(losses, i, n, stream=stream))
        history.append(metrics)
    return params, state, history


@pytest.mark.parametrize("population", [0, 4, 20])
def test_optimum_of_a_quadratic_is_reached(population):
    params, state, history = run(quadratic, 300, CmaEs(population))
    torch.testing.assert_close(params["a"], torch.tensor([1.0, -2.0], dtype=F64), rtol=0, atol=1e-6)
    torch.testing.assert_close(params["b"], torch.tensor([[0.5]], dtype=F64), rtol=0, atol=1e-6)
    assert list(history[0]) == ["loss", "best", "sigma"]
    assert all(h["best"] <= h["loss"] for h in history)
    assert history[-1]["loss"] == pytest.approx(float(quadratic(params).mean()), rel=1e-9)
    assert state.n_steps == 300


@pytest.mark.parametrize("seed", range(5))
def test_optimum_of_rosenbrock_is_reached(seed):
    params, _, _ = run(rosenbrock, 300, seed=seed)
    for leaf in params.values():
        torch.testing.assert_close(leaf, torch.ones_like(leaf), rtol=0, atol=1e-6)


def test_a_single_scalar_is_enough():
    params, _, _ = run(lambda p, copies=1: (p["p"].reshape(copies) - 3) ** 2, 100, params={"p": torch.zeros(1)})
    assert params["p"].item() == pytest.approx(3, abs=1e-4)


def test_the_shape_of_the_loss_is_learned():
    """On a quadratic, the covariance tends to the inverse Hessian, up to a factor (Hansen 2016, arXiv:1604.00772)."""
    _, state, _ = run(quadratic, 60, CmaEs(50))
    scaled = state.covariance.diagonal() * torch.tensor([1.0, 100.0, 10.0], dtype=F64)
    assert scaled.max() / scaled.min() < 3
    assert float(state.covariance.trace()) == pytest.approx(3, rel=1e-12)


def test_it_is_the_library_left_alone_but_for_the_seed():
    """The library's own object, with the same seeds, takes the same way; only step and shape are told apart."""
    from cmaes import CMA

    _, state, history = run(rosenbrock, 40)
    stream, own = generator(0, "outer"), CMA(np.array([-1.0, 1.0, 0.0]), 0.3)
    for metrics in history:
        own.reseed_rng(int(torch.randint(2**32, (), generator=stream)))
        x = np.stack([own.ask() for _ in range(own.population_size)])
        losses = rosenbrock({"a": torch.from_numpy(x[:, :2]), "b": torch.from_numpy(x[:, 2:])}, len(x))
        assert metrics["loss"] == pytest.approx(float(losses.mean()), rel=1e-6)
        own.tell([(each, float(loss)) for each, loss in zip(x, losses, strict=True)])
    torch.testing.assert_close(state.mean, torch.from_numpy(own.mean), rtol=1e-6, atol=1e-9)
    wanted = torch.from_numpy(own._sigma**2 * own._C)
    torch.testing.assert_close(state.sigma**2 * state.covariance, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("cut", [1, 2, 17, 39])
def test_resumed_through_plain_containers_equals_undisturbed_bit_for_bit(cut):
    wanted, wanted_state, _ = run(rosenbrock, 40)
    algorithm, params, stream = CmaEs(), start(), generator(0, "outer")
    state = algorithm.init(params)
    for i in range(40):
        if i == cut:
            fresh, stored, numbers = algorithm.init(start()), plain(state), stream.get_state()
            assert type(stored) is tuple
            assert alike(stored, plain(fresh))
            state = rebuilt(stored, fresh)
            assert isinstance(state, CmaState)
            algorithm, stream = CmaEs(), torch.Generator()
            stream.set_state(numbers)
        params, state, _ = algorithm.step(params, state, Problem(rosenbrock, i, 40, stream=stream))
    assert all(torch.equal(params[name], wanted[name]) for name in wanted)
    for found, expected in zip(state, wanted_state, strict=True):
        assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected


def test_the_state_is_plain_and_is_not_changed_in_place():
    algorithm, params = CmaEs(), start()
    state = algorithm.init(params)
    for i in range(3):
        kept = [each.clone() if isinstance(each, torch.Tensor) else each for each in state]
        before = {name: leaf.clone() for name, leaf in params.items()}
        problem = Problem(quadratic, i, 3, stream=generator(i, "outer"))
        new, after, _ = algorithm.step(params, state, problem)
        again, _, _ = algorithm.step(params, state, problem._replace(stream=generator(i, "outer")))
        for old, now in zip(kept, state, strict=True):
            assert torch.equal(old, now) if isinstance(old, torch.Tensor) else old == now
        assert all(torch.equal(params[name], before[name]) for name in before)
        assert all(torch.equal(new[name], again[name]) for name in new)
        for name, kind in get_type_hints(CmaState).items():
            assert type(getattr(after, name)) is kind  # not one of numpy's numbers, which no checkpoint reads
        params, state = new, after


def test_the_whole_population_is_one_batched_call():
    calls = []

    def losses(params, copies=1):
        calls.append((copies, {name: tuple(leaf.shape) for name, leaf in params.items()}))
        return quadratic(params, copies)

    run(losses, 5)
    assert calls == [(7, {"a": (7, 2), "b": (7, 1, 1)})] * 5  # 4 + floor(3*log(3))
    calls.clear()
    run(losses, 2, CmaEs(12))
    assert calls == [(12, {"a": (12, 2), "b": (12, 1, 1)})] * 2


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_the_number_format_is_kept_and_the_state_is_in_double(dtype):
    seen = []

    def losses(params, copies=1):
        seen.extend(leaf.dtype for leaf in params.values())
        return quadratic(params, copies)

    params, state, _ = run(losses, 3, params=start(dtype))
    assert {leaf.dtype for leaf in params.values()} == {*seen} == {dtype}
    assert {name: leaf.shape for name, leaf in params.items()} == {name: leaf.shape for name, leaf in start().items()}
    assert {each.dtype for each in state[:4]} == {F64}
    assert torch.equal(state.mean.to(dtype), torch.cat([leaf.flatten() for leaf in params.values()]))


def test_a_candidate_without_a_finite_loss_ranks_last():
    def holed(params, copies=1):
        found = rosenbrock(params, copies)
        bad = torch.full_like(found, float("nan"))
        bad[::2] = -math.inf
        return torch.where(params["a"].reshape(copies, 2)[:, 0] < -0.7, bad, found)  # the start is in the hole

    params, state, history = run(holed, 300, CmaEs(sigma=0.5))
    assert all(math.isfinite(value) for metrics in history for value in metrics.values())
    assert all(torch.isfinite(each).all() for each in state[:4])
    torch.testing.assert_close(params["a"], torch.ones(2, dtype=F64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_without_any_finite_loss_nothing_moves_and_the_loop_gives_up(value):
    params, state, history = run(lambda p, copies=1: torch.full((copies,), value), 1)
    assert not math.isfinite(history[0]["loss"])
    assert next(iter(history[0])) == "loss"  # what the loop names
    assert all(torch.equal(params[name], start()[name]) for name in params)
    assert state.n_steps == 0
    with pytest.raises(TrainingError, match="loss is nan at the first iteration"):
        meta_train(delta(), Broken(n_steps=4, n_skip=1), CmaEs(), n_iterations=2, n_tasks=2)


def test_a_long_run_past_convergence_stays_finite():
    params, state, history = run(quadratic, 2000)
    assert LEAST_STEP * CmaEs().sigma <= state.sigma < 1e-6
    assert torch.linalg.eigvalsh(state.covariance).min() > 0
    assert all(math.isfinite(value) for value in history[-1].values())
    torch.testing.assert_close(params["a"], torch.tensor([1.0, -2.0], dtype=F64), rtol=0, atol=1e-6)


def test_an_axis_that_rounding_hides_keeps_its_least_width():
    """Candidates near 1e9 in steps of 1e-12 of it teach nothing about that axis, and its variance would go to 0."""

    def cliff(params, copies=1):
        a, b = params["a"].reshape(copies, 2), params["b"].reshape(copies)
        return a[:, 0].abs().sqrt() + 1e12 * (a[:, 1] - 1e9).abs() + b

    params = {"a": torch.tensor([-1.0, 1e9], dtype=F64), "b": torch.zeros(1, 1, dtype=F64)}
    _, state, _ = run(cliff, 1000, CmaEs(12), params)
    assert torch.linalg.eigvalsh(state.covariance).min() > 0.9 * LEAST_AXIS
    assert all(torch.isfinite(each).all() for each in state[:4])


class Broken(Tracking):
    """Tracking whose loss is lost."""

    def loss(self, output, part):
        return super().loss(output, part) * math.nan


def delta():
    return PlasticLearner(networks.tracker(1, 1, rule=rules.get("delta")))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_meta_training_finds_the_kalman_gain(seed):
    task = Tracking(n_steps=100, n_skip=0)
    run = meta_train(delta(), task, CmaEs(), n_iterations=40, n_tasks=256, seed=seed)
    (rate,) = run.rule_values().values()
    assert float(rate) == pytest.approx(kalman_gain(task.q, task.r), rel=0.02)


def test_resumed_meta_training_equals_undisturbed_bit_for_bit(tmp_path):
    options = {"n_iterations": 8, "n_tasks": 4, "seed": 3}
    task = Tracking(n_steps=12, n_skip=2)
    whole = meta_train(delta(), task, CmaEs(), run_dir=tmp_path / "whole", **options)

    class Cut(Exception):
        pass

    def cut(progress):
        if progress.iteration == 5:
            raise Cut

    options |= {"run_dir": tmp_path / "cut", "checkpoint_every": 3}
    with pytest.raises(Cut):
        meta_train(delta(), task, CmaEs(), on_progress=cut, **options)
    resumed = meta_train(delta(), task, CmaEs(), resume=True, **options)
    last, other = (torch.load(run.path / "last.pt", weights_only=True)["state"] for run in (whole, resumed))
    for found, expected in zip(last, other, strict=True):
        assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected
    assert all(torch.equal(whole.params[name], resumed.params[name]) for name in whole.params)


def test_settings_are_checked_and_the_folder_registers_it():
    assert outer.get("cma_es") is CmaEs
    assert "cma_es" in outer.names()
    assert CmaEs().init({"p": torch.zeros(MOST)}).covariance.shape == (MOST, MOST)
    message = "CmaEs takes at most 200 learned scalars, found 201; use Evolution or Backprop, or learn fewer groups"
    with pytest.raises(SpecificationError, match=message):
        CmaEs().init({"p": torch.zeros(MOST), "q": torch.zeros(1, 1)})
    with pytest.raises(SpecificationError, match=re.escape("CmaEs needs a random stream; pass Problem(..., stream=)")):
        CmaEs().step(start(), CmaEs().init(start()), Problem(quadratic, 0, 1))
    for population in (-4, 1, 3):
        with pytest.raises(SpecificationError, match=f"population is {population}; allowed: 4 or more, or 0"):
            CmaEs(population)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SpecificationError, match=rf"sigma is {sigma}; allowed: above 0; type sigma=0.3"):
            CmaEs(sigma=sigma)
