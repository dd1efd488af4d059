"""Meta-training: what it learns, what it keeps, what stops it, what it reports."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from neurometa import networks, rules
from neurometa.errors import RunError, SpecificationError, TrainingError
from neurometa.learners import GradientLearner, PlasticLearner
from neurometa.meta import evaluate, load_run, meta_train
from neurometa.meta.evaluate import score_run
from neurometa.outer import Backprop
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.outer.reptile import Reptile
from neurometa.streams import generator
from neurometa.tasks.glyphs import Glyphs
from neurometa.tasks.tracking import Tracking, kalman_error, kalman_gain

SHORT = Tracking(n_steps=12, n_skip=2)
SMALL = {"n_iterations": 10, "n_tasks": 4, "seed": 3, "validate_every": 3, "n_validation": 8, "report_every": 4}


@dataclass(frozen=True)
class Breaking(Tracking):
    """Tracking whose training observations are not finite from one iteration on; ``broken_at`` 0 never breaks."""

    broken_at: ClassVar[int] = 0
    drawn: ClassVar[int] = 0

    def sample(self, stream, n, split="train", *, device=None, dtype=None):
        episode = super().sample(stream, n, split, device=device, dtype=dtype)
        if split == "train":
            Breaking.drawn += 1
            if Breaking.broken_at and Breaking.drawn >= Breaking.broken_at:
                episode.support.inputs["target"].mul_(math.nan)
        return episode


@pytest.fixture
def breaking():
    Breaking.broken_at = Breaking.drawn = 0
    yield Breaking(n_steps=12, n_skip=2)
    Breaking.broken_at = Breaking.drawn = 0


def tracker(**options):
    return PlasticLearner(networks.tracker(1, 1, n_hidden=3), **options)


def delta():
    return PlasticLearner(networks.tracker(1, 1, rule=rules.delta))


def test_evolution_sees_the_same_tasks_with_every_copy_of_the_parameters():
    """With copies that are all alike, the population's mean loss is the loss, and no direction is better."""
    outer = Evolution(sigma=1e-12, population=6, shaping="none", clip=0.0)
    options = {**SMALL, "n_iterations": 1, "dtype": torch.double}
    one, many = (meta_train(tracker(), SHORT, each, **options) for each in (Backprop(), outer))
    assert many.history[0]["loss"] == pytest.approx(one.history[0]["loss"], rel=1e-9)
    blurred = meta_train(delta(), SHORT, Evolution(sigma=1e-4, population=2, shaping="none", clip=0.0), **options)
    exact = meta_train(delta(), SHORT, Forward(clip=0.0), **options)  # one parameter: |gradient estimate| = |slope| z^2
    assert blurred.history[0]["loss"] == pytest.approx(exact.history[0]["loss"], rel=1e-5)
    assert exact.history[0]["gradient_norm"] == pytest.approx(
        meta_train(delta(), SHORT, Backprop(clip=0.0), **options).history[0]["gradient_norm"], rel=1e-9
    )


def test_reptile_moves_weights_towards_what_tasks_make_of_them(tmp_path, same):
    task = Glyphs(n_classes=30, n_held_out=8, n_validation=8, size=8)
    torch.manual_seed(0)
    learner = GradientLearner(torch.nn.Linear(task.n_in, task.n_out), steps=3, rate=0.5)
    options = {"n_iterations": 4, "n_tasks": 4, "run_dir": tmp_path / "run"}
    run = meta_train(learner, task, Reptile(lr=0.5), **options)
    assert not same(run.params, learner.init(generator(0, "init")))
    assert same(load_run(run.path, learner=learner).params, run.params)


@dataclass(frozen=True)
class Upside(Tracking):
    """Tracking with a score of which more is better."""

    higher_is_better: ClassVar[bool] = True

    def score(self, output, part):
        return -self.loss(output, part)


@pytest.mark.parametrize("task", [SHORT, Upside(n_steps=12, n_skip=2)])
def test_the_best_on_validation_is_kept_not_the_last(tmp_path, task, same, checkpoint):
    options = {**SMALL, "n_iterations": 12, "validate_every": 1, "n_validation": 64}
    run = meta_train(delta(), task, Backprop(lr=0.8), run_dir=tmp_path / "run", **options)  # a rate that overshoots
    scores = [record["validation"] for record in run.history]
    best = (max if task.higher_is_better else min)(scores)
    assert run.iteration == 1 + scores.index(best) < 12
    stored = checkpoint(run.path / "best.pt")
    assert stored["score"] == best and same(stored["params"], run.params)
    assert not same(run.params, checkpoint(run.path / "last.pt")["params"])
    stream, noise = generator(3, "validation"), generator(3, "validation noise")
    episode = task.sample(stream, 64, "validation")
    assert float(task.score(run.learner.respond(run.params, episode, task, noise), episode.scored).mean()) == best


def test_without_validation_the_last_is_kept():
    run = meta_train(delta(), SHORT, Backprop(lr=0.8), **{**SMALL, "validate_every": 0})
    assert run.iteration == 10
    assert not any("validation" in record for record in run.history)


def test_frozen_groups_stay_bit_identical_and_learned_ones_move(tmp_path, same):
    network = networks.recurrent(1, 1, n_hidden=3, transfer="tanh")
    learner = PlasticLearner(network)
    groups, start = learner.groups(), learner.init(generator(3, "init"))
    assert set(groups.values()) == {"w0", "rule"}
    for learn in (("w0",), ("rule",), ("w0", "rule")):
        run = meta_train(learner, SHORT, Backprop(lr=0.01), learn=learn, run_dir=tmp_path / "-".join(learn), **SMALL)
        for name, leaf in start.items():
            assert torch.equal(run.params[name], leaf) == (groups.get(name) not in learn), name
        assert same(load_run(run.path).params, run.params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn": ("w1",)}, "unknown learned group 'w1'; allowed: modulator, rule, trunk, w0"),
        ({"learn": ("trunk",)}, "learn is trunk: nothing is left to learn; this learner has the groups modulator$"),
        ({"learn": ()}, "learn is none: nothing is left to learn"),
        ({"n_iterations": 0}, "n_iterations is 0; it must be a whole number, 1 or more"),
        ({"n_tasks": -2}, "n_tasks is -2"),
        ({"n_tasks": 2.5}, "n_tasks is 2.5"),
        ({"seed": -1}, "seed is -1; it must be a whole number, 0 or more"),
        ({"validate_every": -1}, "validate_every is -1"),
        ({"validate_every": 1, "n_validation": 0}, "n_validation is 0"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; it must be 1 or more"),
        ({"report_every": -5}, "report_every is -5; it must be 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(SpecificationError, match=message):
        meta_train(tracker(), SHORT, run_dir=tmp_path / "run", **{**SMALL, **options})
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(
    tmp_path, breaking, checkpoint, assert_same_runs
):
    whole = meta_train(delta(), breaking, run_dir=tmp_path / "whole", **SMALL)
    for resumed_at_once in (False, True):
        path = tmp_path / f"broken-{resumed_at_once}"
        Breaking.drawn, Breaking.broken_at = 0, 7
        with pytest.raises(TrainingError, match=r"loss is nan at iteration 7; .* after iteration 5.*are kept") as error:
            meta_train(delta(), breaking, run_dir=path, checkpoint_every=1, **SMALL)
        assert str(path) in str(error.value) and "smaller learning rate" in str(error.value)
        assert checkpoint(path / "last.pt")["iteration"] == 5
        good = load_run(path, "last", task=breaking)
        assert all(leaf.isfinite().all() for leaf in good.params.values())
        if resumed_at_once:  # the same thing happens again: nothing was skipped
            Breaking.drawn = 5
            with pytest.raises(TrainingError, match="loss is nan at iteration 7"):
                meta_train(delta(), breaking, run_dir=path, resume=True, **SMALL)
        Breaking.broken_at = 0
        assert_same_runs(whole, meta_train(delta(), breaking, run_dir=path, resume=True, **SMALL))


def test_a_learning_rate_that_is_too_large_leaves_parameters_that_work(tmp_path):
    task = Tracking(n_steps=200, n_skip=50)
    with pytest.raises(TrainingError, match=r"(loss|gradient_norm) is (nan|inf) at iteration \d+"):
        meta_train(delta(), task, Backprop(lr=100.0, clip=0.0), n_iterations=50, n_tasks=8, run_dir=tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert all(leaf.isfinite().all() for leaf in run.params.values())
    episode = task.sample(generator(0, "tasks"), 8)
    assert run.learner.loss(run.params, episode, task).isfinite().all()


def test_a_loss_that_is_not_finite_from_the_start_blames_the_network_not_the_learning_rate(tmp_path, breaking):
    Breaking.broken_at = 1
    with pytest.raises(TrainingError, match="loss is nan at the first iteration, before anything was learned"):
        meta_train(delta(), breaking, run_dir=tmp_path / "run", **SMALL)


def test_a_validation_score_that_is_not_finite_is_never_the_best(tmp_path, monkeypatch):
    scores = iter([math.nan, 0.5, math.inf, 0.25, math.nan])
    monkeypatch.setattr(Tracking, "score", lambda self, output, part: torch.full((2,), next(scores)))
    options = {**SMALL, "n_iterations": 5, "validate_every": 1}
    run = meta_train(delta(), SHORT, run_dir=tmp_path / "run", **options)
    assert run.iteration == 4
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["validation"] for line in lines] == [
        None, 0.5, None, 0.25, None,
    ]  # fmt: skip


def test_progress_has_loss_score_rate_and_time_left(tmp_path):
    reports = []
    began = time.monotonic()
    meta_train(tracker(), SHORT, on_progress=reports.append, **SMALL)
    passed = time.monotonic() - began
    assert [report.iteration for report in reports] == list(range(1, 11))
    assert [report.score is None for report in reports] == [True, True] + 8 * [False]
    assert all(math.isfinite(report.loss) and report.n_iterations == 10 for report in reports)
    assert reports[-1].seconds_left == 0 and all(0 < report.seconds_left < 100 for report in reports[:-1])
    assert reports[-1].episodes_per_second > 40 / passed


def test_history_has_the_mean_loss_since_the_last_record():
    losses = []
    run = meta_train(tracker(), SHORT, on_progress=lambda report: losses.append(report.loss), **SMALL)
    assert run.history[0] == pytest.approx(run.history[0] | {"iteration": 3, "episodes": 12})
    assert run.history[0]["loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert run.history[1]["loss"] == pytest.approx(losses[3])  # iteration 4 alone
    assert run.history[2]["loss"] == pytest.approx(sum(losses[4:6]) / 2)
    assert {"gradient_norm", "lr", "seconds"} < run.history[0].keys()


def test_the_seed_decides_everything(same, timeless):
    first, again, other = (meta_train(tracker(), SHORT, **{**SMALL, "seed": seed}) for seed in (3, 3, 4))
    assert same(first.params, again.params) and timeless(first.history) == timeless(again.history)
    assert not same(first.params, other.params)
    unwatched = meta_train(tracker(), SHORT, **{**SMALL, "validate_every": 0})  # validation disturbs nothing
    assert unwatched.history[-1]["gradient_norm"] == first.history[-1]["gradient_norm"]


def test_double_precision(tmp_path, same):
    run = meta_train(tracker(), SHORT, run_dir=tmp_path / "run", dtype=torch.double, **SMALL)
    assert all(leaf.dtype == torch.double for leaf in run.params.values())
    assert same(load_run(run.path).params, run.params)
    assert score_run(run.learner, run.params, SHORT, n_episodes=4, dtype=torch.double).shape == (4,)
    with pytest.raises(RunError, match=r"dtype is torch.float64 there, None here"):
        meta_train(tracker(), SHORT, run_dir=run.path, resume=True, **SMALL)


def test_a_delta_rule_learns_the_kalman_gain_on_tracking():
    """An optimum that is known exactly: q .04, r .25 give the gain .3279 and the error .1220."""
    task = Tracking()
    run = meta_train(delta(), task, Backprop(lr=0.05, schedule="cosine"), n_iterations=150, n_tasks=64, seed=0)
    assert kalman_gain(0.04, 0.25) == pytest.approx(0.3279, abs=5e-5)
    assert run.rule_values()["cue.rule.eta"] == pytest.approx(kalman_gain(task.q, task.r), rel=0.01)
    row = evaluate(run, n_episodes=2000)["learned"]
    assert row.low < kalman_error(task.q, task.r) < row.high or row.mean == pytest.approx(0.1220, rel=0.02)
