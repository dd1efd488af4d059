"""Training that ends when it has reached what it was for, alone and with other seeds."""

from __future__ import annotations

import pytest

from neurometa import networks, rules
from neurometa.errors import SpecificationError
from neurometa.learners import PlasticLearner
from neurometa.meta import meta_train, meta_train_seeds
from neurometa.outer import Backprop
from neurometa.tasks.tracking import Tracking

SHORT = Tracking(n_steps=12, n_skip=2)
RATE = Backprop(lr=0.02)
OPTIONS = {"n_iterations": 40, "n_tasks": 4, "validate_every": 2, "n_validation": 8}
SEEDS = (0, 1, 2, 3, 4)


def learner():
    return PlasticLearner(networks.tracker(1, 1, rule=rules.delta))


def validations(history):
    return [record["validation"] for record in history if "validation" in record]


def enough(times):
    """Finish after so many validations, fewer where the first score is low: seeds finish at different times."""

    def until(history):
        found = validations(history)
        return len(found) >= times + int(1000 * found[0]) % 5

    return until


def test_training_ends_at_the_first_validation_that_is_good_enough(tmp_path, assert_same_runs):
    asked = []

    def until(history):
        asked.append(len(history))
        return len(validations(history)) == 4

    run = meta_train(learner(), SHORT, RATE, run_dir=tmp_path, until=until, **OPTIONS)
    assert run.history[-1]["iteration"] == 8 and len(validations(run.history)) == 4 == len(asked)
    before = (tmp_path / "last.pt").read_bytes()
    again = meta_train(learner(), SHORT, RATE, run_dir=tmp_path, until=until, resume=True, **OPTIONS)
    assert_same_runs(run, again)
    assert (tmp_path / "last.pt").read_bytes() == before
    longer = meta_train(learner(), SHORT, RATE, run_dir=tmp_path, resume=True, **OPTIONS)
    assert longer.history[-1]["iteration"] == 40


def test_every_seed_finishes_by_itself_as_it_would_alone(tmp_path):
    runs = meta_train_seeds(learner(), SHORT, RATE, seeds=SEEDS, until=enough(2), run_dir=tmp_path, **OPTIONS)
    ends = [run.history[-1]["iteration"] for run in runs]
    assert len({*ends}) > 1  # otherwise this shows nothing
    for run, seed in zip(runs, SEEDS, strict=True):
        alone = meta_train(learner(), SHORT, RATE, seed=seed, until=enough(2), **OPTIONS)
        assert alone.history[-1]["iteration"] == run.history[-1]["iteration"]
        assert validations(run.history) == pytest.approx(validations(alone.history), rel=1e-4)


@pytest.mark.parametrize("cut", [5, 7, 9])
def test_resumed_equals_undisturbed_where_some_seeds_were_finished(tmp_path, cut, assert_same_runs):
    options = {**OPTIONS, "seeds": SEEDS, "until": enough(2), "checkpoint_every": 3}
    whole = meta_train_seeds(learner(), SHORT, RATE, run_dir=tmp_path / "whole", **options)

    def stop(report):
        if report.iteration == cut:
            raise KeyError

    with pytest.raises(KeyError):
        meta_train_seeds(learner(), SHORT, RATE, run_dir=tmp_path / "cut", on_progress=stop, **options)
    resumed = meta_train_seeds(learner(), SHORT, RATE, run_dir=tmp_path / "cut", resume=True, **options)
    for run, other in zip(whole, resumed, strict=True):
        assert_same_runs(run, other)


def test_fresh_validation_draws_new_tasks_and_keeps_the_last_parameters():
    still = {**OPTIONS, "n_iterations": 6, "learn": ("rule",)}
    slow = Backprop(lr=1e-12)
    fixed = meta_train(learner(), SHORT, slow, **still)
    fresh = meta_train(learner(), SHORT, slow, fresh_validation=True, **still)
    assert max(validations(fixed.history)) == pytest.approx(min(validations(fixed.history)), rel=1e-6)
    assert len({round(score, 6) for score in validations(fresh.history)}) == 3
    assert fresh.iteration == 6


def test_until_needs_validations():
    with pytest.raises(SpecificationError, match="until is asked after each validation; give validate_every too"):
        meta_train(learner(), SHORT, RATE, until=lambda history: True)
