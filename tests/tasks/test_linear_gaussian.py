"""Linear-Gaussian regression: its closed forms against simulation, and what no predictor may beat."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.meta.settings import build, describe
from neurometa.streams import generator
from neurometa.tasks import get, names
from neurometa.tasks.base import SPLITS
from neurometa.tasks.linear_gaussian import LinearGaussian, _posterior_error

F64 = torch.float64
N = 20_000
TASKS = [
    LinearGaussian(),
    LinearGaussian(n_dim=3, n_shot=2, mean=(0.5, -1.0, 2.0), spread=1.0, noise=0.3),
    LinearGaussian(n_dim=6, n_shot=5, mean=-0.5, spread=0.3, noise=1.0),
]
EACH = pytest.mark.parametrize("task", TASKS, ids=["standard", "few points", "noisy"])


def answer(w, part):
    """Answer by weights ``(batch, n_dim)``."""
    return (part.inputs["stimulus"] * w).sum(-1, keepdim=True)


def posterior(task, part, strength):
    """Return the ridge solution towards the prior mean, ``(batch, n_dim)``."""
    x, y = part.inputs["stimulus"].transpose(0, 1), part.inputs["target"].transpose(0, 1)  # (batch, time, n)
    mean = x.new_tensor(task.prior_mean())
    eye = torch.eye(task.n_dim, dtype=F64)
    residual = y - (x * mean).sum(-1, keepdim=True)
    return mean + torch.linalg.solve(x.mT @ x + strength * eye, x.mT @ residual).squeeze(-1)


def one_step(task, part, start, rate):
    """Take one gradient step on half the mean squared error, written out."""
    x, y = part.inputs["stimulus"], part.inputs["target"]
    error = y - (x * start).sum(-1, keepdim=True)
    return start + rate * (error * x).mean(0)


def mean_and_error(values):
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def test_the_standard_numbers_by_hand():
    task = LinearGaussian()  # d 4, K 10, spread .5, noise .5: c = 1.5, a = .25/(.25*1.5 + .025)
    assert task.best_rate() == pytest.approx(0.625, rel=1e-14)
    assert task.floor() == pytest.approx((4 * 0.25 + 0.25) / 2, rel=1e-14)
    kept = 0.25 * (1 - 2 * 0.625 + 0.625**2 * 1.5) + 0.625**2 * 0.025
    assert task.adapted_error(0.625) == pytest.approx((4 * kept + 0.25) / 2, rel=1e-14)
    assert task.ceiling() == pytest.approx(0.1979, abs=5e-4)


@EACH
def test_the_adapted_error_is_that_of_simulated_steps_and_least_at_the_best_rate(task):
    episode = task.sample(generator(1), N, "test", dtype=F64)
    mean, best, found = episode.info["w"].new_tensor(task.prior_mean()), task.best_rate(), []
    for rate in (0.3 * best, 0.7 * best, best, 1.3 * best, 2 * best):
        w = one_step(task, episode.support, mean, rate)
        value, error = mean_and_error(task.score(answer(w, episode.query), episode.query))
        assert abs(value - task.adapted_error(rate)) < 4 * error, rate
        found.append(task.adapted_error(rate))
    assert min(found) == found[2]
    slope = (task.adapted_error(best + 1e-5) - task.adapted_error(best - 1e-5)) / 2e-5
    assert abs(slope) < 1e-8
    assert task.adapted_error(0.0) == pytest.approx(task.floor(), rel=1e-14)
    assert task.ceiling() < task.references()["one gradient step"] == task.adapted_error(best) < task.floor()


@EACH
def test_another_start_adds_what_the_notes_say(task):
    episode = task.sample(generator(2), N, "test", dtype=F64)
    shift = torch.linspace(-1, 1, task.n_dim, dtype=F64) + 0.5
    rate = task.best_rate()
    w = one_step(task, episode.support, shift + shift.new_tensor(task.prior_mean()), rate)
    value, error = mean_and_error(task.score(answer(w, episode.query), episode.query))
    curvature = 1 + (task.n_dim + 1) / task.n_shot
    more = float(shift.square().sum()) * (1 - 2 * rate + rate**2 * curvature) / 2
    assert more > 10 * error
    assert abs(value - task.adapted_error(rate) - more) < 4 * error


@EACH
def test_the_floor_is_reached_by_the_mean_of_the_tasks_and_not_beaten_without_support(task):
    query = task.sample(generator(3), N, "test", dtype=F64).query
    mean = query.target.new_tensor(task.prior_mean())
    blind = task.score(answer(mean, query), query)
    value, error = mean_and_error(blind)
    assert abs(value - task.floor()) < 4 * error
    away = torch.linspace(-0.5, 1, task.n_dim, dtype=F64)
    for other in (0 * mean, 0.8 * mean, 1.2 * mean, mean + away):
        worse, scatter = mean_and_error(task.score(answer(other, query), query) - blind)  # paired
        assert worse > 4 * scatter


@EACH
def test_the_ceiling_is_reached_by_ridge_regression_and_not_beaten(task):
    episode = task.sample(generator(4), N, "test", dtype=F64)
    strength = task.noise**2 / task.spread**2
    ideal = task.score(answer(posterior(task, episode.support, strength), episode.query), episode.query)
    value, error = mean_and_error(ideal)
    assert abs(value - task.ceiling()) < 4 * math.hypot(error, _posterior_error(task)[1])
    for factor in (0.1, 0.5, 2.0, 10.0):
        w = posterior(task, episode.support, factor * strength)
        worse, scatter = mean_and_error(task.score(answer(w, episode.query), episode.query) - ideal)  # paired
        assert worse > 2 * scatter, factor


@EACH
def test_it_cannot_be_solved_without_its_own_support_set(task):
    episode = task.sample(generator(5), N, "test", dtype=F64)
    w = posterior(task, episode.support, task.noise**2 / task.spread**2).roll(1, 0)
    value, error = mean_and_error(task.score(answer(w, episode.query), episode.query))
    assert value > task.floor() + 4 * error


def test_the_ceiling_s_standard_error_is_the_stated_one_and_it_has_no_noise_to_explain_without_noise():
    value, error = _posterior_error(LinearGaussian())
    assert 0.0006 < error / value < 0.0008  # the docstring says .07 %
    assert LinearGaussian(noise=0.0).ceiling() == 0
    few = LinearGaussian(noise=0.0, n_shot=3, spread=0.5)  # one direction of four stays unseen
    assert few.ceiling() == pytest.approx(0.25 / 2, rel=1e-12)


def test_the_weights_have_the_stated_distribution():
    task = TASKS[1]
    episode = task.sample(generator(6), N, "test", dtype=F64)
    w, x = episode.info["w"], episode.query.inputs["stimulus"]
    wanted = w.new_tensor(task.prior_mean())
    assert ((w.mean(0) - wanted).abs() < 4 * task.spread / math.sqrt(N)).all()
    covariance = torch.cov(w.T)
    limit = 4 * task.spread**2 * math.sqrt(2 / N)
    assert ((covariance - task.spread**2 * torch.eye(3, dtype=F64)).abs() < limit).all()
    residual = episode.query.target - answer(w, episode.query)
    assert float(residual.std()) == pytest.approx(task.noise, rel=0.01)
    assert float(x.mean()) == pytest.approx(0, abs=0.01) and float(x.std()) == pytest.approx(1, rel=0.01)
    # the mean of x x' over the support points, squared
    s = torch.einsum("tbi,tbj->bij", *[episode.support.inputs["stimulus"]] * 2) / task.n_shot
    square = (s @ s).diagonal(dim1=1, dim2=2).mean(1)
    value, error = mean_and_error(square)
    assert abs(value - (1 + (task.n_dim + 1) / task.n_shot)) < 4 * error


def test_shapes_and_what_is_shown():
    task = LinearGaussian(n_dim=3, n_shot=4, n_query=7)
    episode = task.sample(generator(0), 5)
    assert (task.n_in, task.n_out, task.image_shape) == (3, 1, None)
    for part, time, shown in ((episode.support, 4, 1.0), (episode.query, 7, 0.0)):
        assert {k: tuple(v.shape) for k, v in part.inputs.items()} == {
            "stimulus": (time, 5, 3), "target": (time, 5, 1), "teach": (time, 5, 1),
        }  # fmt: skip
        assert part.target.shape == (time, 5, 1) and part.weight.shape == (time, 5)
        assert part.inputs["teach"].eq(shown).all() and part.weight.eq(1).all() and part.reset.all()
        assert part.learn.tolist() == [bool(shown)] * time
        assert torch.equal(part.inputs["target"], shown * part.target)
        assert {v.dtype for v in (*part.inputs.values(), part.target)} == {torch.float32}
        assert task.loss(torch.zeros(time, 5, 1), part).shape == (5,)
    half = task.loss(torch.zeros(7, 5, 1), episode.query)
    torch.testing.assert_close(half, episode.query.target.square().mean(0).squeeze(-1) / 2)
    assert episode.info["w"].shape == (5, 3)


def test_same_seed_same_episode_and_splits_differ():
    task = LinearGaussian()
    one, two = (task.sample(generator(8), 4, dtype=F64) for _ in range(2))
    narrow = task.sample(generator(8), 4)
    assert torch.equal(one.support.target, two.support.target) and torch.equal(one.query.target, two.query.target)
    assert torch.equal(one.query.inputs["stimulus"].float(), narrow.query.inputs["stimulus"])
    torch.testing.assert_close(one.query.target.float(), narrow.query.target, rtol=1e-5, atol=1e-5)
    draws = [task.sample(generator(8), 4, split).support.target for split in SPLITS]
    for first, second in itertools.combinations(draws, 2):
        assert not torch.isin(first, second).any()
    with pytest.raises(SpecificationError, match=r"unknown split 'tset' .*did you mean 'test'"):
        task.sample(generator(0), 2, "tset")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_dim": 0}, "n_dim is 0, n_shot 10 and n_query 10; each must be 1 or more"),
        ({"n_shot": 0}, "n_dim is 4, n_shot 0 and n_query 10; each must be 1 or more"),
        ({"n_query": -1}, "each must be 1 or more"),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers; allowed: one, or n_dim=4 of them"),
        ({"spread": 0.0}, "spread is 0.0 and noise 0.5; allowed: spread above 0, noise 0 or more; type spread=0.5"),
        ({"spread": math.nan}, "spread is nan"),
        ({"noise": -0.1}, "noise -0.1; allowed"),
        ({"noise": math.inf}, "noise inf; allowed"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(SpecificationError, match=re.escape(message)):
        LinearGaussian(**settings)


@EACH
def test_the_folder_registers_it_and_its_settings_survive_a_run_folder(task):
    assert "linear_gaussian" in names() and get("linear_gaussian") is LinearGaussian
    assert build("task", describe("task", task)) == task
    assert hash(task) == hash(LinearGaussian(**vars(task)))
