"""The volatility task: its published numbers, its exact observer, its random streams."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch

from neurometa.errors import DataError, SpecificationError
from neurometa.streams import generator
from neurometa.tasks.base import SPLITS
from neurometa.tasks.volatility import Volatility, bayes, best_fixed_rate, fixed_rate


def brute_force(y, hazard, mean_sd, observation_sd):
    """Predict each mean from the observations before it, by summing over every sequence of jumps."""
    means, variances = [], []
    for t in range(len(y) + 1):
        weights, conditional_means, conditional_variances = [], [], []
        for jumps in itertools.product((0, 1), repeat=t):  # whether the mean was drawn anew at steps 1 ... t
            segment = torch.tensor((0, *jumps)).cumsum(0)
            together = mean_sd**2 * (segment[:, None] == segment).to(y)  # covariance of the means
            seen = together[:t, :t] + observation_sd**2 * torch.eye(t).to(y)
            solved = torch.linalg.solve(seen, y[:t])
            log_weight = -0.5 * (y[:t] @ solved + torch.logdet(2 * math.pi * seen)) if t else y.new_zeros(())
            prior = math.prod(hazard if jump else 1 - hazard for jump in jumps)
            weights.append(prior * log_weight.exp())
            conditional_means.append(together[t, :t] @ solved)
            gap = together[t, :t] @ torch.linalg.solve(seen, together[:t, t])
            conditional_variances.append(mean_sd**2 - gap)
        weights, ms, vs = (torch.stack(each) for each in (weights, conditional_means, conditional_variances))
        weights = weights / weights.sum()
        means.append((weights * ms).sum())
        variances.append((weights * (vs + ms**2)).sum() - means[-1] ** 2)
    return torch.stack(means), torch.stack(variances)


@pytest.mark.parametrize(("hazard", "mean_sd", "observation_sd"), [(0.02, 1.0, 0.5), (0.3, 2.0, 0.7), (0.9, 0.5, 1.0)])
def test_observer_equals_a_sum_over_all_jump_sequences(hazard, mean_sd, observation_sd):
    y = torch.randn((6, 3), generator=generator(3), dtype=torch.float64) * 1.5
    belief = bayes(y, hazard, mean_sd, observation_sd)
    for b in range(3):
        means, variances = brute_force(y[:, b], hazard, mean_sd, observation_sd)
        torch.testing.assert_close(belief.prediction[:, b], means[:-1], rtol=0, atol=1e-10)
        torch.testing.assert_close(belief.variance[:, b], variances[:-1], rtol=0, atol=1e-10)
        rate = means.diff() / (y[:, b] - means[:-1])
        torch.testing.assert_close(belief.rate[:, b], rate, rtol=1e-10, atol=1e-10)


def test_observer_without_jumps_is_a_shrunken_running_mean():
    y = torch.randn((30, 4), generator=generator(5), dtype=torch.float64)
    belief = bayes(y, hazard=0.0)
    n = torch.arange(30).to(y)[:, None]
    before = torch.cat((torch.zeros_like(y[:1]), y.cumsum(0)[:-1]))
    torch.testing.assert_close(belief.prediction, before / (n + 0.25))
    torch.testing.assert_close(belief.gain, (1 / (n + 1.25)).expand(30, 4))
    torch.testing.assert_close(belief.rate, belief.gain)


def test_observer_that_expects_a_jump_at_every_step_predicts_nothing():
    belief = bayes(torch.ones(5, 2), hazard=1.0)
    assert not belief.prediction.any() and torch.isfinite(belief.rate).all()
    torch.testing.assert_close(belief.gain, torch.full((5, 2), 0.8))


def test_rate_is_finite_where_the_prediction_error_is_zero():
    belief = bayes(torch.zeros(4, 1))
    assert torch.equal(belief.rate, belief.gain)


def test_gain_rises_after_a_jump():
    episode = Volatility().sample(generator(2), 500)
    gain, jump = bayes(episode.info["observation"]).gain, episode.info["jump"]
    assert gain[20:][jump[20:]].mean() > 2.5 * gain[20:][~jump[20:]].mean()


def test_published_numbers():
    """Floor 1.00, best fixed rate .117-.119, Bayesian observer .0765 (.0748 over 60,000 episodes)."""
    task = Volatility()
    assert task.floor() == 1.0
    rate, error = best_fixed_rate(task)
    assert 0.26 <= rate <= 0.36
    assert 0.117 <= error <= 0.119
    assert task.references() == {"best fixed rate": error}
    assert abs(task.ceiling() - 0.0765) < 2 * 0.0485 / math.sqrt(1000)  # two standard errors of 1,000 episodes
    assert abs(task.ceiling() - 0.0748) < 0.001


def test_observer_earns_the_error_that_it_expects():
    task = Volatility()
    episode = task.sample(generator(11), 1500, "test")
    prediction = bayes(episode.info["observation"]).prediction
    errors = task.score(prediction[:, :, None], episode.support)
    assert abs(errors.mean() - task.ceiling()) < 3 * errors.std() / math.sqrt(1500)


def test_ceiling_is_cached_per_setting():
    quick = Volatility(n_steps=30, n_skip=5)
    assert quick.ceiling() == Volatility(n_steps=30, n_skip=5).ceiling()
    assert quick.ceiling() != Volatility(n_steps=30, n_skip=6).ceiling()
    assert quick.ceiling() < quick.references()["best fixed rate"] < quick.floor()


def test_floor_is_the_error_of_predicting_zero():
    task = Volatility(mean_sd=2.0)
    part = task.sample(generator(4), 3000).support
    errors = task.loss(torch.zeros_like(part.target), part)
    assert abs(errors.mean() - task.floor()) < 4 * errors.std() / math.sqrt(3000)


def test_fixed_rate_has_the_error_of_its_closed_form():
    """A leaky sum of a jumping mean whose correlation falls by a factor 1 - hazard each step."""
    task = Volatility()
    episode = task.sample(generator(6), 4000)
    rates = torch.tensor([0.1, 0.32, 0.8])
    predictions = fixed_rate(episode.info["observation"], rates)
    assert predictions.shape == (200, 4000, 3)
    a, kept = 1 - task.hazard, 1 - rates
    noise = task.observation_sd**2 * rates / (2 - rates)
    lag = 1 - 2 * rates * a / (1 - kept * a) + rates / (2 - rates) * (1 + kept * a) / (1 - kept * a)
    for i, expected in enumerate(noise + task.mean_sd**2 * lag):
        errors = task.loss(predictions[:, :, i, None], episode.support)
        assert abs(errors.mean() - expected) < 4 * errors.std() / math.sqrt(4000) + 1e-3  # start: .9**40 = .015 at .1


def test_episode_has_the_promised_shapes():
    task = Volatility(n_steps=40, n_skip=7)
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


def test_mean_changes_exactly_at_jumps():
    episode = Volatility().sample(generator(1), 200)
    mean, jump = episode.info["mean"], episode.info["jump"]
    assert jump[0].all()
    assert torch.equal(mean.diff(dim=0) != 0, jump[1:])
    assert abs(jump[1:].float().mean() - 0.02) < 0.003


def test_same_seed_same_episode_in_any_dtype():
    task = Volatility(n_steps=30)
    one, two, wide = (task.sample(generator(8), 4, dtype=dtype) for dtype in (None, None, torch.float64))
    assert torch.equal(one.support.target, two.support.target)
    assert wide.support.weight.dtype == wide.support.inputs["teach"].dtype == torch.float64
    assert torch.equal(one.info["observation"].double(), wide.info["observation"])
    stream = generator(8)
    assert not torch.equal(task.sample(stream, 4).support.target, task.sample(stream, 4).support.target)


def test_splits_differ_for_the_same_stream():
    draws = [Volatility(n_steps=30).sample(generator(8), 4, split).support.target for split in SPLITS]
    for one, two in itertools.combinations(draws, 2):
        assert not torch.isin(one, two).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hazard": 1.5}, "volatility: hazard is 1.5; allowed: 0 to 1; type hazard=0.02"),
        ({"mean_sd": 0.0}, "volatility: mean_sd is 0.0; allowed: above 0; type mean_sd=1.0"),
        ({"observation_sd": math.nan}, "volatility: observation_sd is nan; allowed: above 0; type observation_sd=0.5"),
        ({"n_steps": 20}, "volatility: n_skip is 20 of n_steps 20; allowed: 0 to n_steps - 1; type n_steps=200"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(SpecificationError, match=re.escape(message)):
        Volatility(**settings)


def test_wrong_split_and_wrong_shape_are_refused():
    with pytest.raises(SpecificationError, match=r"unknown split 'tset' .*did you mean 'test'"):
        Volatility().sample(generator(0), 2, "tset")
    with pytest.raises(DataError, match=re.escape("observations have shape (5, 2, 1); allowed: (time, batch)")):
        bayes(torch.zeros(5, 2, 1))
