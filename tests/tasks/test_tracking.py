"""The tracking task: closed forms of the Kalman filter against simulation."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.base import SPLITS
from neurometa.tasks.tracking import Tracking, kalman_error, kalman_gain


def follow(observations, rate):
    """Predict each observation with a delta rule that starts at 0."""
    w, predictions = torch.zeros_like(observations[0]), []
    for y in observations:
        predictions.append(w)
        w = w + rate * (y - w)
    return torch.stack(predictions)[:, :, None]


def test_published_numbers():
    assert kalman_gain(0.04, 0.25) == pytest.approx(0.3279, abs=5e-5)
    assert kalman_error(0.04, 0.25) == pytest.approx(0.1220, abs=5e-5)
    assert kalman_gain(0.01, 1.0) == pytest.approx(0.0951, abs=5e-5)
    assert kalman_gain(1.0, 1.0) == pytest.approx(0.6180, abs=5e-5)


@pytest.mark.parametrize(("q", "r"), [(0.04, 0.25), (0.01, 1.0), (1.0, 1.0), (3.0, 0.1)])
def test_closed_form_is_the_fixed_point_of_the_riccati_recursion(q, r):
    error = 10.0
    for _ in range(2000):
        error = (1 - error / (error + r)) * error + q
    assert kalman_error(q, r) == pytest.approx(error, rel=1e-12)
    assert kalman_gain(q, r) == pytest.approx(error / (error + r), rel=1e-12)
    assert kalman_error(q, r) - q == pytest.approx(kalman_gain(q, r) * r, rel=1e-12)  # error after the observation


@pytest.mark.parametrize(("q", "r"), [(0.04, 0.25), (0.01, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize(("n_steps", "n_skip"), [(200, 50), (10, 0), (3, 1)])
def test_the_gain_is_the_exact_optimum_of_a_fixed_rate_for_any_length(q, r, n_steps, n_skip):
    task, gain = Tracking(q, r, n_steps, n_skip), kalman_gain(q, r)
    assert task.fixed_rate_error(gain) == pytest.approx(task.ceiling(), rel=1e-12)
    slope = (task.fixed_rate_error(gain + 1e-5) - task.fixed_rate_error(gain - 1e-5)) / 2e-5
    assert abs(slope) < 1e-8
    assert all(task.fixed_rate_error(gain * scale) > task.ceiling() for scale in (0.5, 0.9, 1.1, 1.5))


def test_simulated_filter_is_best_at_the_gain_and_has_the_closed_form_errors():
    task = Tracking()
    gain = kalman_gain(task.q, task.r)
    episode = task.sample(generator(1), 3000, "test")
    means = []
    for rate in (0.6 * gain, 0.85 * gain, gain, 1.15 * gain, 1.5 * gain, 1.0):
        errors = task.score(follow(episode.info["observation"], rate), episode.support)
        means.append(float(errors.mean()))
        assert abs(means[-1] - task.fixed_rate_error(rate)) < 3.5 * float(errors.std()) / math.sqrt(3000)
    assert min(means) == means[2]
    assert task.references() == {"last observation": pytest.approx(task.q + task.r)}


def test_the_gradient_of_the_loss_leads_to_the_gain_within_one_per_cent():
    task = Tracking(n_steps=120, n_skip=0)
    episode = task.sample(generator(2), 4000, dtype=torch.float64)
    rate = torch.tensor(0.6, dtype=torch.float64)
    for _ in range(5):  # Newton's method, by second-order differentiation of the loss
        rate = rate.detach().requires_grad_()
        loss = task.loss(follow(episode.info["observation"], rate), episode.support).mean()
        (slope,) = torch.autograd.grad(loss, rate, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, rate)
        rate = rate - slope / curvature
    assert rate.item() == pytest.approx(kalman_gain(task.q, task.r), rel=0.01)


def test_error_is_steady_from_the_first_step():
    task = Tracking(n_steps=12, n_skip=0)
    episode = task.sample(generator(3), 20_000)
    error = follow(episode.info["observation"], kalman_gain(task.q, task.r)) - episode.support.target
    by_step = error.square().mean((1, 2))
    assert (by_step - task.ceiling()).abs().max() < 4 * task.ceiling() * math.sqrt(2 / 20_000)


@pytest.mark.parametrize(("n_steps", "n_skip"), [(200, 50), (20, 0)])
def test_floor_is_the_error_of_predicting_zero(n_steps, n_skip):
    task = Tracking(n_steps=n_steps, n_skip=n_skip)
    part = task.sample(generator(4), 4000).support
    errors = task.loss(torch.zeros_like(part.target), part)
    assert abs(float(errors.mean()) - task.floor()) < 3.5 * float(errors.std()) / math.sqrt(4000)
    assert task.floor() > task.references()["last observation"] > task.ceiling()


def test_episode_has_the_promised_shapes():
    task = Tracking(n_steps=40, n_skip=7)
    episode = task.sample(generator(0), 5)
    part = episode.scored
    assert episode.query is None and (task.n_in, task.n_out) == (1, 1)
    assert {name: tuple(x.shape) for name, x in part.inputs.items()} == dict.fromkeys(
        ("stimulus", "target", "teach"), (40, 5, 1)
    )
    assert part.inputs["stimulus"].eq(1).all() and part.inputs["teach"].eq(1).all()
    assert torch.equal(part.inputs["target"][..., 0], episode.info["observation"])
    assert torch.equal(part.target[..., 0], episode.info["mean"])
    assert part.weight.shape == (40, 5) and not part.weight[:7].any() and part.weight[7:].eq(1).all()
    assert part.learn.shape == (40,) and part.learn.all()
    assert part.reset.tolist() == [True] + [False] * 39
    assert task.loss(torch.zeros(40, 5, 1), part).shape == (5,)


def test_same_seed_same_episode_and_splits_differ():
    task = Tracking(n_steps=60)
    one, two, wide = (task.sample(generator(8), 4, dtype=dtype) for dtype in (None, None, torch.float64))
    assert torch.equal(one.info["observation"], two.info["observation"])
    assert torch.equal(one.info["observation"].double(), wide.info["observation"])
    draws = [task.sample(generator(8), 4, split).support.target for split in SPLITS]
    for first, second in itertools.combinations(draws, 2):
        assert not torch.isin(first, second).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q": 0.0}, "tracking: q is 0.0; allowed: above 0; type q=0.04"),
        ({"r": -1.0}, "tracking: r is -1.0; allowed: above 0; type r=0.25"),
        ({"n_steps": 50}, "tracking: n_skip is 50 of n_steps 50; allowed: 0 to n_steps - 1; type n_steps=200"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(SpecificationError, match=re.escape(message)):
        Tracking(**settings)


def test_wrong_rate_and_wrong_split_are_refused():
    with pytest.raises(SpecificationError, match=r"rate is 2\.5; allowed: between 0 and 2"):
        Tracking().fixed_rate_error(2.5)
    with pytest.raises(SpecificationError, match=r"unknown split 'tset' .*did you mean 'test'"):
        Tracking().sample(generator(0), 2, "tset")
