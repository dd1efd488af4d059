"""Harmonic regression: floor and ideal observer against simulation, the observer against sampling from the prior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks import harmonic
from neurometa.tasks.harmonic import Harmonic, posterior

N = 4000
TASKS = {
    "standard": Harmonic(),
    "few points": Harmonic(n_shot=3, noise=0.5),
    "one sine": Harmonic(n_harmonic=1, frequency=(0.5, 1.5), spread=2.0, place=0.0),
}
each = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def draw(task, n=N, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def arrays(episode):
    """Return support x and y and the queries, ``(batch, time)``."""
    shown = episode.support.inputs
    return tuple(v[..., 0].T.numpy() for v in (shown["stimulus"], shown["target"], episode.query.inputs["stimulus"]))


def answers(task, episode, observer=None):
    x, y, asked = arrays(episode)
    chunks = [
        posterior(observer or task, x[i : i + 50], y[i : i + 50], asked[i : i + 50]) for i in range(0, len(x), 50)
    ]
    return tuple(torch.from_numpy(np.concatenate(part)).T[..., None] for part in zip(*chunks, strict=True))


def mean_and_error(values):
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


@each
def test_the_floor_is_reached_by_0_and_not_beaten_without_support(task):
    query = draw(task, 20_000).query
    blind = task.score(torch.zeros_like(query.target), query)
    found, error = mean_and_error(blind)
    assert abs(found - task.floor()) < 4 * error and error < 0.02 * found
    x = query.inputs["stimulus"]
    for other in (0.2 * torch.sin(6 * x), 0.2 * torch.cos(x), torch.full_like(x, 0.1)):
        worse, scatter = mean_and_error(task.score(other, query) - blind)  # paired
        assert worse > 4 * scatter


def test_the_floor_by_hand():
    assert Harmonic().floor() == pytest.approx(1 + 0.09, rel=1e-14)
    assert TASKS["one sine"].floor() == pytest.approx(2 + 0.09, rel=1e-14)


@each
def test_the_ceiling_is_what_the_observer_scores_and_others_are_worse(task):
    episode = draw(task)
    mean, variance = answers(task, episode)
    ideal = task.score(mean, episode.query)
    found, error = mean_and_error(ideal)
    ceiling, own = harmonic._error(task)
    assert ceiling == task.ceiling() and own < 0.02 * ceiling
    assert abs(found - ceiling) < 4 * math.hypot(error, own)
    # its variance is the error that it makes
    expected = mean_and_error(ideal - task.noise**2 - variance[..., 0].mean(0))
    assert abs(expected[0]) < 4 * expected[1]
    for wrong in (
        Harmonic(**{**vars(task), "noise": 3 * task.noise}),
        Harmonic(**{**vars(task), "frequency": (0.6, 0.7)}),
    ):
        worse, scatter = mean_and_error(task.score(answers(task, episode, wrong)[0], episode.query) - ideal)  # paired
        assert worse > 2 * scatter
    for scale in (0.9, 1.1):
        worse, scatter = mean_and_error(task.score(scale * mean, episode.query) - ideal)
        assert worse > 2 * scatter


def test_the_standard_error_is_the_stated_one_and_the_grid_is_fine_enough(monkeypatch):
    value, error = harmonic._error(Harmonic())
    assert 0.005 < error / value < 0.008  # the docstring says .6 %
    x, y, asked = arrays(draw(Harmonic(), 50))
    monkeypatch.setattr(harmonic, "FINENESS", 40)
    fine = posterior(Harmonic(), x, y, asked)
    monkeypatch.undo()
    for coarse, exact in zip(posterior(Harmonic(), x, y, asked), fine, strict=True):
        assert np.abs(coarse - exact).max() < 0.02 and np.abs(coarse - exact).mean() < 1e-3


@pytest.mark.parametrize(
    "task",
    [Harmonic(n_shot=2, noise=0.5), Harmonic(n_shot=3, n_harmonic=1, frequency=(0.1, 4.0), noise=0.3, place=0.0)],
    ids=["two sines", "one sine"],
)
def test_the_observer_is_bayes_rule_by_sampling_from_the_prior(task):
    """A million curves from the prior, weighted by their likelihood: none of the observer's algebra."""
    rng, size = np.random.default_rng(0), (1_000_000, task.n_harmonic)
    x, y, asked = arrays(draw(task, 3, seed=1))
    amplitude, phase = np.sqrt(rng.exponential(1.0, size)), rng.uniform(0, 2 * np.pi, size)
    frequency = rng.uniform(*task.frequency, (1_000_000, 1))

    def curve(places):  # (curves, points)
        waves = [np.sin((k + 1) * frequency * places + phase[:, k, None]) for k in range(task.n_harmonic)]
        return sum(amplitude[:, k, None] * wave for k, wave in enumerate(waves))

    mean, variance = posterior(task, x, y, asked)
    for i in range(3):
        log = -((curve(x[i]) - y[i]) ** 2).sum(1) / (2 * task.noise**2)
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        there = curve(asked[i, :4])
        expected = weight @ there
        scatter = np.sqrt((weight**2) @ (there - expected) ** 2)
        assert (np.abs(mean[i, :4] - expected) < 5 * scatter).all()
        assert variance[i, :4] == pytest.approx(weight @ (there - expected) ** 2, rel=0.03)


def test_it_cannot_be_solved_without_its_own_support():
    task = TASKS["standard"]
    episode = draw(task, 500)
    support = episode.support
    other = {**support.inputs, "target": support.target.roll(1, 1)}
    mean, _ = answers(task, episode._replace(support=support._replace(inputs=other)))
    assert float(task.score(mean, episode.query).mean()) > task.floor()


def test_points_lie_on_the_curve_that_info_holds():
    task = Harmonic(n_shot=3, n_query=7)
    episode = task.sample(generator(0), 500)
    x = torch.cat([part.inputs["stimulus"] for part in episode[:2]])  # (time, batch, 1)
    y = torch.cat([part.target for part in episode[:2]])[..., 0]
    angle = episode.info["frequency"][:, None] * x * torch.tensor([1.0, 2.0])
    curve = (torch.cat([angle.sin(), angle.cos()], -1) * episode.info["coefficient"]).sum(-1)
    assert float((y - curve).std()) == pytest.approx(0.3, rel=0.05)
    assert episode.support.inputs["stimulus"].shape == (3, 500, 1) and episode.query.target.shape == (7, 500, 1)
    assert torch.equal(episode.support.inputs["target"], episode.support.target)
    assert not episode.query.inputs["target"].any() and not episode.query.inputs["teach"].any()


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = (draw(Harmonic(), 4, split=split).support.target for split in ("train", "train", "test"))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"n_shot": 0}, "n_shot is 0"),
        ({"noise": 0.0}, "noise is 0.0; allowed: above 0"),
        ({"frequency": (2.0, 1.0)}, "0 < low < high"),
        ({"place": -1.0}, "place -1.0"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(SpecificationError, match=message):
        Harmonic(**bad)
