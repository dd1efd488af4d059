"""Gaussian clusters: floor, ideal observer and reference against simulation, and what no reader beats."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.base import SPLITS
from neurometa.tasks.gaussian_clusters import GaussianClusters, _accuracy

N = 20_000
TASKS = {
    "standard": GaussianClusters(),
    "distractors": GaussianClusters(n_distractor=3),
    "shots": GaussianClusters(n_way=3, n_shot=4, n_dim=2, spread=0.7, noise=1.5),
    "line": GaussianClusters(n_way=2, n_dim=1, noise=0.4),
}
each = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def draw(task, n=N, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def sums(task, episode, n_dim=None):
    """Return the sum of the support points of each label, ``(batch, n_way, n)``."""
    shown = episode.support.inputs
    return torch.einsum("tbk,tbf->bkf", shown["target"], shown["stimulus"][..., :n_dim])


def nearest(task, episode, centre):
    """Answer with minus the distance to given centres ``(batch, n_way, n_dim)``, label by label."""
    asked = episode.query.inputs["stimulus"][..., : task.n_dim].transpose(0, 1)
    return -torch.cdist(asked, centre).transpose(0, 1)


def mean_and_error(scores):
    return float(scores.mean()), float(scores.std()) / math.sqrt(len(scores))


@each
def test_the_ceiling_is_what_the_nearest_posterior_mean_scores(task):
    episode = draw(task)
    mean = sums(task, episode, task.n_dim) / (task.n_shot + task.noise**2 / task.spread**2)
    ideal = task.score(nearest(task, episode, mean), episode.query)
    found, error = mean_and_error(ideal)
    assert abs(found - task.ceiling()) < 4 * error and error < 0.005
    # other readings of the same support are worse: means not drawn to 0, and inner products
    raw = nearest(task, episode, mean * (1 + task.noise**2 / task.spread**2 / task.n_shot))
    product = (episode.query.inputs["stimulus"].transpose(0, 1) @ sums(task, episode).mT).transpose(0, 1)
    for other in (raw, product):
        worse, scatter = mean_and_error(ideal - task.score(other, episode.query))  # paired
        assert worse > 2 * scatter


@each
def test_the_reference_is_what_the_true_centres_score(task):
    episode = draw(task)
    order = episode.info["label"].argsort(-1)[..., None].expand(-1, -1, task.n_dim)  # the cluster of each label
    centre = episode.info["centre"].gather(1, order).double()
    found, error = mean_and_error(task.score(nearest(task, episode, centre), episode.query))
    known = task.references()["knows centres and labels"]
    assert abs(found - known) < 4 * error and known > task.ceiling()


def test_the_ideal_observer_is_bayes_rule_by_enumeration():
    """Of one episode, over a grid of centres on a line, without any formula of the task's."""
    task = GaussianClusters(n_way=2, n_dim=1, n_shot=2, n_query=40, noise=0.8)
    episode = draw(task, 30)
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    prior = -0.5 * (grid / task.spread) ** 2
    shown, asked = episode.support.inputs, episode.query.inputs["stimulus"][..., 0]
    likelihood = -0.5 * ((shown["stimulus"] - grid) / task.noise) ** 2  # (time, batch, grid)
    belief = torch.softmax(prior + torch.einsum("tbk,tbg->bkg", shown["target"], likelihood), -1)
    density = torch.exp(-0.5 * ((asked[..., None] - grid) / task.noise) ** 2)  # (query, batch, grid)
    evidence = torch.einsum("bkg,qbg->qbk", belief, density)
    mean = sums(task, episode) / (task.n_shot + task.noise**2 / task.spread**2)
    clear = (evidence[..., 0] / evidence[..., 1]).log().abs() > 1e-6
    assert torch.equal(evidence.argmax(-1)[clear], nearest(task, episode, mean).argmax(-1)[clear]) and clear.all()


def test_the_quadrature_has_converged_and_knows_two_closed_forms():
    for task in TASKS.values():
        for n_shot in (task.n_shot, math.inf):
            assert _accuracy(task, n_shot) == pytest.approx(_accuracy(task, n_shot, 96), abs=1e-8)
    assert _accuracy(TASKS["standard"], 1000) == pytest.approx(_accuracy(TASKS["standard"], math.inf), abs=2e-4)
    # two known centres on a line, half their distance N(0, s^2/2): P(right) = 1/2 + arctan(s/(sqrt(2) sigma))/pi
    task = TASKS["line"]
    wanted = 0.5 + math.atan(task.spread / (math.sqrt(2) * task.noise)) / math.pi
    assert task.references()["knows centres and labels"] == pytest.approx(wanted, abs=1e-8)


def test_distractors_change_neither_floor_nor_ceiling():
    assert TASKS["distractors"].ceiling() == TASKS["standard"].ceiling()
    episode = draw(TASKS["distractors"])
    ignored = torch.cat([part.inputs["stimulus"] for part in episode[:2]])[..., 16:]
    assert float(ignored.std()) == pytest.approx(2.0, rel=0.01)
    by_label = torch.einsum("tbk,tbf->kf", episode.query.target, episode.query.inputs["stimulus"][..., 16:]) / N
    assert by_label.abs().max() < 5 * 2 / math.sqrt(N)


@each
def test_an_episode_is_what_it_says(task):
    episode = draw(task, 200)
    support, query, info = episode
    cluster, label = info["cluster"], info["label"]
    n_support = task.n_way * task.n_shot
    assert support.inputs["stimulus"].shape == (n_support, 200, task.n_in)
    assert torch.equal(label.sort(-1).values, torch.arange(task.n_way).expand(200, -1))
    for k in range(task.n_way):
        assert (cluster[:n_support] == k).sum(0).eq(task.n_shot).all()
    told = torch.cat([support.target, query.target]).argmax(-1)
    assert torch.equal(told, label.gather(1, cluster.T).T)
    rows = torch.arange(200)
    away = (
        torch.cat([p.inputs["stimulus"] for p in (support, query)])[..., : task.n_dim] - info["centre"][rows, cluster]
    )
    assert float(away.std()) == pytest.approx(task.noise, rel=0.1)
    assert float(info["centre"].std()) == pytest.approx(task.spread, rel=0.1)
    assert torch.equal(support.inputs["target"], support.target) and support.learn.all() and support.reset.all()
    assert query.inputs["target"].eq(0).all() and query.inputs["teach"].eq(0).all() and not query.learn.any()


def test_label_maps_are_uniform_and_independent_of_order_and_place():
    episode = draw(GaussianClusters(n_way=3, n_dim=2), 30_000)
    code = (episode.info["label"] * torch.tensor([9, 3, 1])).sum(-1)
    counts = np.unique(code.numpy(), return_counts=True)[1]
    assert len(counts) == 6 and abs(counts - 5000).max() < 5 * math.sqrt(5000)
    first = episode.support.target[0].mean(0)
    assert (first - 1 / 3).abs().max() < 0.015
    centre = episode.info["centre"].gather(1, episode.info["label"].argsort(-1)[..., None].expand(-1, -1, 2))
    assert centre.mean(0).abs().max() < 0.03


def test_shuffled_labels_leave_chance_and_the_same_points():
    task = TASKS["standard"]
    shuffled = replace(task, shuffle_labels=True)
    assert shuffled.ceiling() == shuffled.floor() == 0.2
    plain, control = draw(task), draw(shuffled)
    assert torch.equal(plain.support.inputs["stimulus"], control.support.inputs["stimulus"])
    assert torch.equal(plain.query.target, control.query.target)
    same = (plain.support.target == control.support.target).all(-1).double().mean()
    assert float(same) == pytest.approx(0.2, abs=0.01)
    mean = sums(shuffled, control) / 2
    found, error = mean_and_error(shuffled.score(nearest(shuffled, control, mean), control.query))
    assert abs(found - 0.2) < 4 * error


def test_same_seed_same_episode_and_splits_differ():
    first = {split: draw(TASKS["standard"], 5, split=split).query.inputs["stimulus"] for split in SPLITS}
    assert all(torch.equal(first[s], draw(TASKS["standard"], 5, split=s).query.inputs["stimulus"]) for s in SPLITS)
    assert len({float(value.sum()) for value in first.values()}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_way": 1}, "n_way is 1; allowed: 2 or more; type n_way=5"),
        ({"n_shot": 0}, "n_shot is 0; allowed: 1 or more"),
        ({"n_distractor": -1}, "n_distractor is -1; allowed: 0 or more"),
        ({"noise": 0.0}, "noise is 0.0; allowed: above 0; type noise=1.0"),
        ({"spread": math.inf}, "spread is inf"),
        ({"noise": 30.0}, "noise is 30.0 and spread 1.0; allowed: noise up to 20 times spread"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SpecificationError, match=message):
        GaussianClusters(**settings)
