"""Scores in other conditions: paired with the plain ones, at chance where labels say nothing, and grown labels."""

import numpy as np
import pytest
import torch
from scipy import stats

import neurometa as nm
from neurometa.compare.conditions import (
    conditions,
    default_counts,
    floor_of,
    prefix_scores,
    score_condition,
    shuffled_scores,
)
from neurometa.compare.widen import widened
from neurometa.errors import SpecificationError
from neurometa.meta.evaluate import score_run
from neurometa.streams import generator

TASK = nm.tasks.GaussianClusters(n_way=4, n_query=4, n_dim=8)


@pytest.fixture(scope="module")
def runs():
    plain = nm.networks.mlp(TASK.n_in, TASK.n_out, hidden=(16,), transfer="tanh")
    learners = {
        "rule": nm.PlasticLearner(nm.networks.modulated(TASK.n_in, TASK.n_out, n_hidden=16)),
        "delta": nm.PlasticLearner(nm.networks.error_broadcast(TASK.n_in, TASK.n_out, hidden=(16,))),
        "MAML": nm.GradientLearner(plain, rate=0.5),
        "Meta-SGD": nm.learners.MetaSgdLearner(plain, rate=0.5),
        "prototypes": nm.learners.PrototypeLearner(plain, features="layer0"),
        "GRU": nm.learners.RecurrentLearner(TASK.n_in, TASK.n_out, 16),
    }
    outer = nm.Backprop(lr=0.02)
    return {name: nm.meta_train(each, TASK, outer, n_iterations=150, n_tasks=32) for name, each in learners.items()}


def scored(name, run, **options):
    found = {each.name: each for each in conditions(TASK)}[name]
    return score_condition(found, run.learner, run.params, TASK, n_episodes=300, **options)


def test_as_trained_is_the_plain_score(runs):
    for run in runs.values():
        plain = score_run(run.learner, run.params, TASK, n_episodes=300, seed=3)
        assert np.array_equal(scored("as trained", run, seed=3), plain)


def test_without_labels_everybody_is_at_chance(runs):
    for name, run in runs.items():
        known = score_run(run.learner, run.params, TASK, n_episodes=1000)
        blind = shuffled_scores(run.learner, run.params, TASK, n_episodes=1000)
        assert known.mean() > (0.26 if name == "GRU" else 0.4), name  # a GRU learns slowly
        assert stats.ttest_1samp(blind, TASK.floor()).pvalue > 0.001, name


def test_every_condition_scores_every_learner(runs):
    names = [each.name for each in conditions(TASK)]
    assert names[:3] == ["as trained", "8 ways", "5 shots"] and "reversal half-way" in names
    for name, run in runs.items():
        found = {each: scored(each, run) for each in names}
        assert all(values is not None and np.isfinite(values).all() for values in found.values()), name
        plain = found["as trained"].mean()
        assert found["5 shots"].mean() > plain - 0.1 and found["40 % of labels wrong"].mean() < plain, name
        assert floor_of(conditions(TASK)[1], TASK) == 1 / 8
        assert found["8 ways"].mean() > (1.0 if name == "GRU" else 1.4) / 8, name


def test_grown_labels_leave_what_was_learned(runs):
    for name, run in runs.items():
        same, params = widened(run.learner, run.params, TASK.n_out)
        assert same == run.learner and all(torch.equal(params[n], leaf) for n, leaf in run.params.items()), name
        wide, params = widened(run.learner, run.params, TASK.n_out + 3)
        wide.init(generator(0, "init"))
        grown = [n for n, leaf in run.params.items() if params[n].shape != leaf.shape]
        assert grown or name in ("rule", "prototypes"), name
        for leaf in (n for n in grown if n.startswith(("layer0__out.w", "readout.w"))):
            assert torch.equal(params[leaf][:4], run.params[leaf])
            assert torch.allclose(params[leaf][4:], run.params[leaf].mean(0).expand(3, -1))
    gru, params = runs["GRU"], widened(runs["GRU"].learner, runs["GRU"].params, 6)[1]
    old, new = gru.params["cell.weight_ih_l0"], params["cell.weight_ih_l0"]
    assert torch.equal(new[:, :12], old[:, :12]) and torch.equal(new[:, -1], old[:, -1])
    assert torch.allclose(new[:, 12], old[:, 8:12].mean(1))
    with pytest.raises(SpecificationError, match="1 labels more than are asked for"):
        widened(gru.learner, gru.params, 3)


def test_cut_synapses_are_cut_before_and_after_adaptation(runs):
    for name, run in runs.items():
        plain, cut = (scored(each, run).mean() for each in ("as trained", "30 % of synapses cut"))
        assert cut < plain - 0.005, name
        assert np.array_equal(scored("30 % of synapses cut", run), scored("30 % of synapses cut", run))


def test_a_module_cannot_be_cut_or_widened():
    learner = nm.GradientLearner(torch.nn.Linear(TASK.n_in, TASK.n_out))
    params = learner.init(generator(0, "init"))
    found = [score_condition(each, learner, params, TASK, n_episodes=4) for each in conditions(TASK)]
    missing = [each.name for each, values in zip(conditions(TASK), found, strict=True) if values is None]
    assert missing == ["8 ways", "10 % of synapses cut", "30 % of synapses cut"]


def test_more_presentations_help_and_the_last_is_the_whole(runs):
    run, counts = runs["rule"], default_counts(TASK)
    assert counts == (1, 2, 3, 4)
    found = prefix_scores(run.learner, run.params, TASK, counts, n_episodes=300)
    assert np.array_equal(found[4], score_run(run.learner, run.params, TASK, n_episodes=300))
    assert found[1].mean() < found[4].mean()


def test_a_sequence_is_scored_step_by_step():
    task = nm.tasks.Volatility(n_steps=40, n_skip=0)
    run = nm.meta_train(nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=4)), task, n_iterations=2, n_tasks=4)
    counts = default_counts(task)
    found = prefix_scores(run.learner, run.params, task, counts, n_episodes=200)
    assert found[1].mean() > 1.5 * found[40].mean()  # the first answer knows nothing
    steps = np.diff([0, *counts])
    whole = sum(n * found[k].mean() for n, k in zip(steps, counts, strict=True)) / 40
    assert whole == pytest.approx(score_run(run.learner, run.params, task, n_episodes=200).mean(), rel=1e-5)
    assert [each.name for each in conditions(task)][1:3] == ["hazard 0.08", "observation sd 1"]
