"""Evaluation: the interval, the same tasks for everybody, controls, and the figure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from neurometa import networks, rules
from neurometa.errors import SpecificationError
from neurometa.learners import GradientLearner, PlasticLearner
from neurometa.meta import Run, ablate, evaluate, meta_train
from neurometa.meta.evaluate import Row, Table, interval, score_run
from neurometa.meta.figure import few_shot_figure
from neurometa.outer import Backprop
from neurometa.streams import generator
from neurometa.tasks.glyphs import Glyphs
from neurometa.tasks.tracking import Tracking, kalman_error

ALPHABET = {"n_classes": 120, "n_held_out": 50, "n_validation": 20, "size": 14}


@dataclass(frozen=True, kw_only=True)
class UnitGlyphs(Glyphs):
    """Glyphs whose images have length 1, so that a dot product is a cosine; every episode drawn is noted."""

    drawn: ClassVar[list] = []

    def sample(self, stream, n, split="train", *, device=None, dtype=None):
        episode = super().sample(stream, n, split, device=device, dtype=dtype)
        self.drawn.append(episode.info["class"])
        for part in (episode.support, episode.query):
            part.inputs["stimulus"].div_(part.inputs["stimulus"].norm(dim=-1, keepdim=True))
        return episode


def untrained(task, learner):
    return Run(learner, task, Backprop(), learner.init(generator(0, "init")))


def pixel_head(**options):
    """Bind raw images to labels by a plastic layer: what it scores needs no training."""
    task = UnitGlyphs(**ALPHABET, **options)
    return untrained(task, PlasticLearner(networks.associative(task.n_in, task.n_out)))


def test_the_interval_by_hand():
    # 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9)/3, t(3 degrees of freedom, 97.5 %) = 3.1824.
    half = 3.182446305284263 * math.sqrt(14 / 3 / 4)
    assert interval([1, 2, 3, 6]) == pytest.approx((3.0, 3 - half, 3 + half), rel=1e-12)
    # 90 %: t = 2.3534
    assert interval([1, 2, 3, 6], 0.9)[2] == pytest.approx(3 + 2.3533634348018264 * math.sqrt(14 / 12), rel=1e-12)
    assert interval([5.0, 5.0]) == (5.0, 5.0, 5.0)
    mean, low, high = interval([7.0])
    assert mean == 7.0 and math.isnan(low) and math.isnan(high)


def test_the_same_seed_gives_every_learner_the_same_tasks():
    task = UnitGlyphs(**ALPHABET)
    learners = [
        PlasticLearner(networks.associative(task.n_in, 5)),
        PlasticLearner(networks.modulated(task.n_in, 5, n_hidden=3)),
        GradientLearner(torch.nn.Linear(task.n_in, 5)),
    ]
    episodes = []
    for learner in learners:
        UnitGlyphs.drawn.clear()
        score_run(learner, learner.init(generator(0)), task, n_episodes=25, batch=10, seed=4)
        episodes.append(torch.cat(UnitGlyphs.drawn, 1))
    assert episodes[0].shape == (10, 25)
    assert torch.equal(episodes[0], episodes[1]) and torch.equal(episodes[0], episodes[2])
    assert episodes[0].min() >= 70  # the held-out classes
    UnitGlyphs.drawn.clear()
    score_run(learners[0], learners[0].init(generator(0)), task, n_episodes=25, batch=10, seed=5)
    assert not torch.equal(episodes[0], torch.cat(UnitGlyphs.drawn, 1))


def test_scores_are_per_task_and_those_of_the_task():
    task = Tracking(n_steps=20, n_skip=5)
    learner = PlasticLearner(networks.tracker(1, 1, rule=rules.delta))
    params = learner.init(generator(0))
    scores = score_run(learner, params, task, n_episodes=7, seed=2, batch=7)
    episode = task.sample(generator(2, "eval"), 7, "test")
    eta, w, expected = 0.1, torch.zeros(7), torch.zeros(7)
    for step in range(20):
        expected += (w - episode.info["mean"][step]) ** 2 / 15 if step >= 5 else 0
        w = w + eta * (episode.info["observation"][step] - w)
    assert scores == pytest.approx(expected.numpy(), rel=1e-5)


def test_the_table_has_learned_controls_references_floor_and_ceiling():
    task = Tracking()
    run = untrained(task, PlasticLearner(networks.tracker(1, 1, rule=rules.delta)))
    table = evaluate(run, n_episodes=200, seed=1)
    names = ["learned", "plasticity off (alpha = 0)", "last observation"]
    names += ["floor (best without support)", "ceiling (ideal observer)"]
    assert [row.name for row in table.rows] == names
    assert (table.score_name, table.higher_is_better) == ("squared error", False)
    assert table["floor (best without support)"] == Row("floor (best without support)", task.floor())
    assert table["ceiling (ideal observer)"].mean == kalman_error(0.04, 0.25)
    assert table["last observation"].mean == task.references()["last observation"]
    learned = table["learned"]
    assert learned.n == 200 and learned.over == "episodes"
    assert interval(score_run(run.learner, run.params, task, n_episodes=200, seed=1))[1:] == (learned.low, learned.high)
    off = table["plasticity off (alpha = 0)"]
    assert learned.mean < 0.4 < off.mean and off.low < task.floor() < off.high  # it answers 0, as the floor does
    with pytest.raises(KeyError, match="no row 'learnt'; there are learned, plasticity off"):
        table["learnt"]
    assert "squared error (lower is better), 95 % interval" in str(table) and "n = 200 episodes" in str(table)
    record = table.as_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["rows"][-1] == {"name": "ceiling (ideal observer)", "mean": kalman_error(0.04, 0.25)}


def test_no_ceiling_where_none_is_known_and_no_controls_where_none_are_wanted():
    run = pixel_head()
    table = evaluate(run, n_episodes=50)
    assert [row.name for row in table.rows] == [
        "learned", "plasticity off (alpha = 0)", "pixel nearest neighbour", "floor (best without support)",
    ]  # fmt: skip
    assert [row.name for row in evaluate(run, n_episodes=50, controls=False).rows] == ["learned", table.rows[-1].name]
    module = GradientLearner(torch.nn.Linear(run.task.n_in, 5))
    assert "plasticity off" not in str(evaluate(untrained(run.task, module), n_episodes=50))


def test_a_table_without_an_interval_is_still_text_and_json():
    table = Table("accuracy", True, [Row("one seed", *interval([0.5]), 1, "seeds"), Row("lost", math.nan)])
    assert "nan, nan" not in str(table)
    assert table.as_dict()["rows"] == [
        {"name": "one seed", "mean": 0.5, "n": 1, "over": "seeds"},
        {"name": "lost", "mean": None},
    ]


def test_ablation_switches_every_rule_off_and_nothing_else():
    task = UnitGlyphs(**ALPHABET)
    episode = task.sample(generator(0), 3, "test")
    off = ablate(episode)
    assert episode.support.learn.all() and not off.support.learn.any() and not off.query.learn.any()
    for part, other in zip(episode[:2], off[:2], strict=True):
        assert part.inputs is other.inputs and part._replace(learn=0) == other._replace(learn=0)
    run = pixel_head()
    output = run.learner.respond(run.params, off, task)
    assert (output == 0).all()  # without plasticity the head has no weights


def test_shuffled_labels_fall_to_chance_and_right_ones_do_not():
    """A head that has learned from the images answers at chance when the labels it was shown mean nothing."""
    run = pixel_head()
    table = evaluate(run, n_episodes=4000, seed=1)
    assert table["learned"].mean == pytest.approx(table["pixel nearest neighbour"].mean, abs=0.02)
    assert table["learned"].low > 0.4
    shuffled = replace(run, task=replace(run.task, shuffle_labels=True))
    scores = score_run(shuffled.learner, run.params, shuffled.task, n_episodes=6000, seed=1)
    assert abs(scores.mean() - 0.2) < 4 * scores.std() / math.sqrt(len(scores))
    assert scores.std() > 0.1


def test_a_trained_run_is_above_its_floor_and_its_controls():
    task = Glyphs(**ALPHABET)
    network = networks.modulated(task.n_in, task.n_out, n_hidden=16, alpha=5.0)
    run = meta_train(PlasticLearner(network), task, Backprop(lr=3e-3), n_iterations=60, n_tasks=16, seed=0)
    table = evaluate(run, n_episodes=500)
    assert table["learned"].low > table["plasticity off (alpha = 0)"].high
    assert table["learned"].low > table["floor (best without support)"].mean
    shuffled = score_run(run.learner, run.params, replace(task, shuffle_labels=True), n_episodes=4000)
    assert abs(shuffled.mean() - 0.2) < 4 * shuffled.std() / math.sqrt(4000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_episodes": 0}, "n_episodes is 0; it must be 1 or more"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"split": "tst"}, "unknown split 'tst' .did you mean 'test'"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    run = untrained(Tracking(), PlasticLearner(networks.tracker(1, 1, rule=rules.delta)))
    with pytest.raises(SpecificationError, match=message):
        evaluate(run, **options)


@pytest.mark.parametrize("learner", ["plastic", "gradient"])
def test_the_figure_is_written(tmp_path, learner):
    run = pixel_head(n_query=7)
    if learner == "gradient":
        run = replace(run, learner=GradientLearner(torch.nn.Linear(run.task.n_in, 5)))
        run = replace(run, params=run.learner.init(generator(0)))
    run = replace(run, history=[{"episodes": 4, "loss": 1.0, "validation": None}, {"episodes": 8, "loss": 0.9}])
    path = few_shot_figure(run, evaluate(run, n_episodes=20), tmp_path / "deep" / "figure.png")
    assert path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 10_000
    tracking = untrained(Tracking(), PlasticLearner(networks.tracker(1, 1, rule=rules.delta)))
    with pytest.raises(SpecificationError, match="the figure needs a task of images; Tracking has none"):
        few_shot_figure(tracking, Table("x", True), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
