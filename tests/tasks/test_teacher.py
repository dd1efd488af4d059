"""Teacher regression: its kernel, floor and reference against simulated teachers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks import teacher
from neurometa.tasks.teacher import Teacher, kernel

N = 10_000
TASKS = {
    "standard": Teacher(),
    "one neuron": Teacher(n_hidden=1, n_dim=1, n_shot=4, noise=0.5),
    "wide, exact": Teacher(n_hidden=64, n_dim=3, gain=1.0, noise=0.0),
}
each = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def draw(task, n=N, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def regress(task, episode, noise):
    """Answer by Gaussian-process regression with the kernel of the teachers and some noise."""
    x, new = (part.inputs["stimulus"].transpose(0, 1).numpy() for part in episode[:2])
    y = episode.support.target.transpose(0, 1).numpy()
    among = kernel(task, x, x) + noise**2 * np.eye(task.n_shot)
    answer = kernel(task, new, x) @ np.linalg.solve(among, y)
    return torch.from_numpy(answer).transpose(0, 1)


def mean_and_error(values):
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


@each
def test_the_floor_is_reached_by_0_and_not_beaten_without_support(task):
    query = draw(task, 20_000).query
    blind = task.score(torch.zeros_like(query.target), query)
    found, error = mean_and_error(blind)
    assert abs(found - task.floor()) < 4 * error and error < 0.03 * found
    x = query.inputs["stimulus"][..., :1]
    for other in (0.1 * x, 0.1 * torch.erf(x), torch.full_like(x, 0.1)):
        worse, scatter = mean_and_error(task.score(other, query) - blind)  # paired
        assert worse > 4 * scatter


@each
def test_the_reference_is_what_the_kernel_scores_and_other_linear_answers_are_worse(task):
    episode = draw(task)
    own = max(task.noise, 1e-4)
    best = task.score(regress(task, episode, own), episode.query)
    found, error = mean_and_error(best)
    reference, sampled = teacher._linear_error(task)
    assert task.references() == {"best linear in the shown answers": reference}
    assert abs(found - reference) < 4 * math.hypot(error, sampled) and sampled < 0.05 * reference
    for noise in (own + 0.2, own + 0.05):
        worse, scatter = mean_and_error(task.score(regress(task, episode, noise), episode.query) - best)  # paired
        assert worse > 2 * scatter
    assert task.noise**2 < reference < task.floor()


@each
def test_the_kernel_is_the_covariance_of_teachers(task):
    info = draw(task, 40_000).info
    x = torch.randn(5, task.n_dim, generator=generator(1), dtype=torch.float64)
    w, b, v = (info[name].double() for name in ("w", "b", "v"))
    hidden = torch.erf(torch.einsum("bhd,td->bth", w, x) + b[:, None])
    y = torch.einsum("bth,bh->bt", hidden, v) / task.n_hidden**0.5  # (teacher, point)
    products = y[:, :, None] * y[:, None, :]
    limit = 5 * products.std(0) / math.sqrt(len(y))
    assert ((products.mean(0) - torch.from_numpy(kernel(task, x.numpy(), x.numpy()))).abs() < limit).all()


def test_the_quadrature_has_converged_and_errors_are_the_stated_ones(monkeypatch):
    floors = {name: task.floor() for name, task in TASKS.items()}
    monkeypatch.setattr(teacher, "NODES", 200)
    assert {name: task.floor() for name, task in TASKS.items()} == pytest.approx(floors, abs=1e-8)
    value, error = teacher._linear_error(Teacher())
    assert 0.012 < error / value < 0.016  # the docstring says 1.4 %


def test_answers_are_those_of_the_teacher_that_info_holds():
    task = Teacher(n_shot=3, n_query=7, noise=0.0)
    episode = task.sample(generator(0), 6)
    w, b, v = (episode.info[name] for name in ("w", "b", "v"))
    for part, time in zip(episode[:2], (3, 7), strict=True):
        hidden = torch.erf(torch.einsum("bhd,tbd->tbh", w, part.inputs["stimulus"]) + b)
        torch.testing.assert_close(part.target[..., 0], (hidden * v).sum(-1) / 8**0.5)
        assert part.inputs["stimulus"].shape == (time, 6, 2)
    assert torch.equal(episode.support.inputs["target"], episode.support.target)
    assert not episode.query.inputs["target"].any() and not episode.query.inputs["teach"].any()


def test_it_cannot_be_solved_without_its_own_support():
    task = TASKS["standard"]
    episode = draw(task, 2000)
    answer = regress(task, episode, task.noise).roll(1, 1)
    assert float(task.score(answer, episode.query).mean()) > task.floor()


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = (draw(Teacher(), 4, split=split).support.target for split in ("train", "train", "test"))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"n_hidden": 0}, "n_hidden is 0; allowed: 1 or more"),
        ({"gain": 0.0}, "gain is 0.0 and noise 0.1; allowed: gain above 0"),
        ({"noise": -1.0}, "noise -1.0"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(SpecificationError, match=message):
        Teacher(**bad)
