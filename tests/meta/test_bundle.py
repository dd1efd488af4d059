"""Many seeds in one call: every run is that of its seed alone, whatever the others do and whenever they stop."""

from __future__ import annotations

import math
import re
import shutil
import signal
import threading
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

import neurometa as nm
from neurometa import networks, rules
from neurometa.errors import RunError, SpecificationError, TrainingError
from neurometa.learners import GradientLearner, PlasticLearner
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.learners.recurrent import RecurrentLearner
from neurometa.meta import load_run, meta_train, meta_train_seeds
from neurometa.meta.train import Stopped
from neurometa.outer import Backprop
from neurometa.tasks.glyphs import Glyphs
from neurometa.tasks.linear_gaussian import LinearGaussian
from neurometa.tasks.tracking import Tracking

SHORT = Tracking(n_steps=12, n_skip=2)
LINEAR = LinearGaussian(n_dim=2, n_shot=4, n_query=4)
GLYPHS = Glyphs(n_classes=30, n_held_out=8, n_validation=8, size=8)
SEEDS = (3, 0, 7)
SMALL = {"n_iterations": 10, "n_tasks": 4, "validate_every": 3, "n_validation": 8, "report_every": 2}
RATE = Backprop(lr=0.02, schedule="cosine")


def tracker():
    return PlasticLearner(networks.tracker(1, 1, n_hidden=3))


def delta():
    return PlasticLearner(networks.tracker(1, 1, rule=rules.delta))


def gradient():
    return GradientLearner(networks.mlp(2, 1, hidden=(3,), transfer="tanh"), steps=2, learn_rate=True)


def module():
    torch.manual_seed(0)
    return GradientLearner(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))


def behind_a_trunk():
    trunk = nm.ConvTrunk(channels=(3, 3), image_shape=(1, 8, 8))
    return PlasticLearner(networks.associative(trunk.n_features, GLYPHS.n_out), trunk)


CASES = {
    "plastic": (tracker, SHORT, {}),
    "recurrent, rule only": (lambda: PlasticLearner(networks.recurrent(1, 1, n_hidden=3)), SHORT, {"learn": ("rule",)}),
    "recurrent, start only": (lambda: PlasticLearner(networks.recurrent(1, 1, n_hidden=3)), SHORT, {"learn": ("w0",)}),
    "gradient": (gradient, LINEAR, {}),
    "gradient, module": (module, LINEAR, {}),
    "gradient, rate only": (gradient, LINEAR, {"learn": ("rule",)}),
    "online gradient": (lambda: OnlineGradientLearner(networks.tracker(1, 1, rule=rules.delta)), SHORT, {}),
    "black box": (lambda: RecurrentLearner(1, 1, n_hidden=3), SHORT, {}),
    "trunk": (behind_a_trunk, GLYPHS, {"n_tasks": 3}),
}


class PowerCut(Exception):
    """Whatever ends a session between two checkpoints."""


def cut_at(iteration):
    def on_progress(report):
        if report.iteration == iteration:
            raise PowerCut

    return on_progress


def close(found, wanted, tolerance):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_every_run_is_that_of_its_seed_alone(case):
    make, task, more = CASES[case]
    options = {**SMALL, "dtype": torch.double, **more}
    start = {seed: make().init(torch.Generator().manual_seed(seed), dtype=torch.double) for seed in SEEDS}
    for n_iterations, tolerance in ((1, 1e-12), (20, 1e-9)):
        options["n_iterations"] = n_iterations
        together = meta_train_seeds(make(), task, RATE, seeds=SEEDS, **options)
        assert [run.seed for run in together] == [*SEEDS]
        for run, seed in zip(together, SEEDS, strict=True):
            alone = meta_train(make(), task, RATE, seed=seed, **options)
            close(run.params, alone.params, tolerance)
            assert run.iteration == alone.iteration
            assert len(run.history) == len(alone.history)
            for record, other in zip(run.history, alone.history, strict=True):
                assert record.keys() == other.keys()
                for key in other.keys() - {"seconds"}:
                    assert record[key] == pytest.approx(other[key], rel=tolerance, abs=tolerance), key
            assert any(not torch.equal(run.params[name], start[seed][name]) for name in start[seed])
    first, *others = together
    assert all(any(not torch.equal(first.params[name], run.params[name]) for name in run.params) for run in others)


def test_best_on_validation_is_chosen_for_every_run_by_itself(tmp_path, checkpoint, same):
    outer = Backprop(lr=0.8)  # overshoots, so that the best comes early, and at another time for each seed
    options = {"n_iterations": 12, "n_tasks": 4, "validate_every": 1, "n_validation": 64, "dtype": torch.double}
    together = meta_train_seeds(delta(), SHORT, outer, seeds=range(4), run_dir=tmp_path, **options)
    alone = [meta_train(delta(), SHORT, outer, seed=seed, **options) for seed in range(4)]
    assert [run.iteration for run in together] == [run.iteration for run in alone]
    assert len({run.iteration for run in alone}) > 1 and max(run.iteration for run in alone) < 12
    for run, other in zip(together, alone, strict=True):
        close(run.params, other.params, 1e-9)
        stored = checkpoint(run.path / "best.pt")
        assert same(stored["params"], run.params) and stored["iteration"] == run.iteration
        scores = [record["validation"] for record in run.history]
        assert stored["score"] == min(scores) == scores[run.iteration - 1]


def test_one_seed_is_the_ordinary_run(tmp_path, assert_same_runs):
    (run,) = meta_train_seeds(tracker(), SHORT, RATE, seeds=[5], run_dir=tmp_path / "many", **SMALL)
    assert run.path == tmp_path / "many" / "seed-5"
    assert_same_runs(meta_train(tracker(), SHORT, RATE, seed=5, run_dir=tmp_path / "one", **SMALL), run)


# --- run folders -----------------------------------------------------------------------------------------------------


def test_each_run_folder_can_be_read_evaluated_and_resumed_alone(tmp_path, same, checkpoint):
    options = {**SMALL, "dtype": torch.double, "checkpoint_every": 2}
    whole = meta_train_seeds(tracker(), SHORT, RATE, seeds=SEEDS, run_dir=tmp_path / "whole", **options)
    for run, seed in zip(whole, SEEDS, strict=True):
        assert run.path == tmp_path / "whole" / f"seed-{seed}"
        read = load_run(run.path)
        assert same(read.params, run.params) and (read.seed, read.iteration) == (seed, run.iteration)
        assert read.history == run.history
        assert len(nm.evaluate(read, n_episodes=5).rows) > 2
    with pytest.raises(PowerCut):
        meta_train_seeds(
            tracker(), SHORT, RATE, seeds=SEEDS, run_dir=tmp_path / "cut", on_progress=cut_at(5), **options
        )
    for run, seed in zip(whole, SEEDS, strict=True):
        folder = tmp_path / "cut" / f"seed-{seed}"
        assert checkpoint(folder / "last.pt")["iteration"] == 4
        resumed = meta_train(tracker(), SHORT, RATE, seed=seed, run_dir=folder, resume=True, **options)
        close(resumed.params, run.params, 1e-9)
        assert [r["iteration"] for r in resumed.history] == [r["iteration"] for r in run.history]


def test_a_folder_that_was_begun_alone_can_be_continued_with_others(tmp_path, checkpoint):
    options = {**SMALL, "dtype": torch.double, "checkpoint_every": 3}
    wanted = meta_train_seeds(tracker(), SHORT, RATE, seeds=(0, 1), **options)
    with pytest.raises(PowerCut):
        meta_train(tracker(), SHORT, RATE, seed=1, run_dir=tmp_path / "seed-1", on_progress=cut_at(8), **options)
    assert checkpoint(tmp_path / "seed-1" / "last.pt")["iteration"] == 6
    found = meta_train_seeds(tracker(), SHORT, RATE, seeds=(0, 1), run_dir=tmp_path, resume=True, **options)
    for run, other in zip(found, wanted, strict=True):
        close(run.params, other.params, 1e-9)


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 9, 10])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, cut, assert_same_runs):
    options = {**SMALL, "seeds": SEEDS, "checkpoint_every": 3}
    whole = meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "whole", **options)
    with pytest.raises(PowerCut):
        meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "cut", on_progress=cut_at(cut), **options)
    resumed = meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "cut", resume=True, **options)
    for run, other in zip(whole, resumed, strict=True):
        assert_same_runs(run, other)


@pytest.mark.parametrize("make", [tracker, gradient], ids=["groups", "copies"])
@pytest.mark.parametrize("late", [0, 1, 2])
def test_resumed_from_checkpoints_of_different_iterations_equals_undisturbed_bit_for_bit(
    tmp_path, make, late, assert_same_runs, checkpoint
):
    """A kill while checkpoints are written leaves some seeds ahead of others."""
    task = SHORT if make is tracker else LINEAR
    options = {**SMALL, "seeds": SEEDS, "checkpoint_every": 2}
    whole = meta_train_seeds(make(), task, RATE, run_dir=tmp_path / "whole", **options)
    cut = {"run_dir": tmp_path / "cut", "resume": True, **options}
    old, path = tmp_path / "old.pt", tmp_path / "cut" / f"seed-{SEEDS[late]}" / "last.pt"
    with pytest.raises(PowerCut):
        meta_train_seeds(make(), task, RATE, on_progress=cut_at(3), **cut)
    shutil.copy(path, old)
    with pytest.raises(PowerCut):
        meta_train_seeds(make(), task, RATE, on_progress=cut_at(7), **cut)
    shutil.copy(old, path)
    iterations = [checkpoint(tmp_path / "cut" / f"seed-{seed}" / "last.pt")["iteration"] for seed in SEEDS]
    assert iterations == [2 if i == late else 6 for i in range(3)]
    seen = []
    resumed = meta_train_seeds(make(), task, RATE, on_progress=lambda p: seen.append(p.iteration), **cut)
    assert seen == [*range(3, 11)]
    for run, other in zip(whole, resumed, strict=True):
        assert_same_runs(run, other)


def test_one_that_is_finished_waits_for_the_rest(tmp_path, assert_same_runs):
    options = {**SMALL, "seeds": SEEDS, "checkpoint_every": 2}
    whole = meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "whole", **options)
    shutil.copytree(tmp_path / "whole" / "seed-0", tmp_path / "new" / "seed-0")
    resumed = meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "new", resume=True, **options)
    for run, other in zip(whole, resumed, strict=True):
        assert_same_runs(run, other)
    again = meta_train_seeds(tracker(), SHORT, RATE, run_dir=tmp_path / "new", resume=True, **options)
    for run, other in zip(whole, again, strict=True):
        assert_same_runs(run, other)


def test_a_folder_in_use_or_of_another_run_is_refused(tmp_path):
    options = {**SMALL, "n_iterations": 2, "run_dir": tmp_path}
    meta_train_seeds(tracker(), SHORT, RATE, seeds=(0, 1), **options)
    with pytest.raises(RunError, match="seed-1 already holds this run; add --resume"):
        meta_train_seeds(tracker(), SHORT, RATE, seeds=(1, 2), **options)
    with pytest.raises(RunError, match=r"outer\.lr is 0\.02 there, 0\.5 here"):
        meta_train_seeds(tracker(), SHORT, Backprop(lr=0.5, schedule="cosine"), seeds=(0, 1), resume=True, **options)


def test_progress_counts_every_run_once_and_stopping_keeps_all_of_them(tmp_path, checkpoint):
    reports = []
    runs = meta_train_seeds(tracker(), SHORT, RATE, seeds=SEEDS, on_progress=reports.append, **SMALL)
    assert [report.iteration for report in reports] == [*range(1, 11)]
    last = [record["validation"] for record in (run.history[-1] for run in runs)]
    assert reports[-1].score == pytest.approx(sum(last) / 3, rel=1e-12)

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread only")

    def caught(report):
        if report.iteration == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match="stopped after iteration 4 of 10"):
        meta_train_seeds(tracker(), SHORT, RATE, seeds=SEEDS, on_progress=caught, run_dir=tmp_path, **SMALL)
    assert [checkpoint(tmp_path / f"seed-{seed}" / "last.pt")["iteration"] for seed in SEEDS] == [4, 4, 4]


# --- no run knows of another -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loud(Tracking):
    """Tracking in which every ``period``-th draw of training tasks, the first among them, is ``factor`` times larger.

    Runs draw in turn, so this is always the same seed.
    """

    factor: ClassVar[float] = 1.0
    first: ClassVar[int] = 0
    period: ClassVar[int] = 2
    drawn: ClassVar[int] = 0

    def sample(self, stream, n, split="train", *, device=None, dtype=None):
        episode = super().sample(stream, n, split, device=device, dtype=dtype)
        if split == "train":
            if Loud.drawn >= Loud.first and Loud.drawn % Loud.period == 0:
                episode.support.inputs["target"].mul_(Loud.factor)
            Loud.drawn += 1
        return episode


@pytest.fixture
def loud():
    def make(factor, first=0):
        Loud.factor, Loud.first, Loud.drawn = factor, first, 0
        return Loud(n_steps=12, n_skip=2)

    yield make
    make(1.0)


@pytest.mark.parametrize("clip", [0.5, 0.0])
def test_a_huge_gradient_in_one_run_does_not_change_another(loud, same, timeless, clip):
    outer, options = Backprop(lr=0.02, clip=clip), {**SMALL, "seeds": (0, 1), "report_every": 1}
    _, wanted = meta_train_seeds(delta(), loud(1.0), outer, **options)
    shaken, found = meta_train_seeds(delta(), loud(1e4), outer, **options)
    assert min(record["gradient_norm"] for record in shaken.history) > 1e4
    assert max(record["gradient_norm"] for record in found.history) < 2
    assert same(found.params, wanted.params)
    assert timeless(found.history) == timeless(wanted.history)


def test_a_loss_that_is_not_finite_stops_all_and_none_is_lost(tmp_path, loud, assert_same_runs):
    options = {**SMALL, "seeds": (0, 1), "checkpoint_every": 2}
    whole = meta_train_seeds(delta(), loud(1.0), RATE, run_dir=tmp_path / "whole", **options)
    where = re.escape(str(tmp_path / "cut" / "seed-0"))
    with pytest.raises(TrainingError, match=rf"loss is nan at iteration 7; .* after iteration 5.*{where}"):
        meta_train_seeds(delta(), loud(math.nan, first=12), RATE, run_dir=tmp_path / "cut", **options)
    resumed = meta_train_seeds(delta(), loud(1.0), RATE, run_dir=tmp_path / "cut", resume=True, **options)
    for run, other in zip(whole, resumed, strict=True):
        assert_same_runs(run, other)


def test_an_episode_in_which_nothing_learned_acts_moves_nothing():
    runs = meta_train_seeds(delta(), Tracking(n_steps=1, n_skip=0), seeds=(0, 1), n_iterations=2, n_tasks=2)
    for run in runs:
        assert [record["gradient_norm"] for record in run.history] == [0, 0]
        assert run.rule_values()["cue.rule.eta"] == pytest.approx(0.1)


# --- what is refused -------------------------------------------------------------------------------------------------


def noisy():
    population = nm.Population("out", 1, "drive + 0.1*noise")
    return nm.Network((nm.Population("stimulus", 1), population), (nm.Projection("stimulus", "out"),), output="out.x")


def drawn_per_episode():
    weight = nm.Param(nm.PerEpisode(nm.Normal(0.0, 1.0)), per="synapse")
    return nm.Network(
        (nm.Population("stimulus", 1), nm.Population("out", 1, "drive + k", params={"k": nm.Param(0.1)})),
        (nm.Projection("stimulus", "out", w=weight),),
        output="out.x",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": (0, 1, 0)}, r"seeds is \(0, 1, 0\); give at least one seed, and each once"),
        ({"seeds": ()}, r"seeds is \(\); give at least one seed"),
        ({"seeds": (0, -1)}, "seed is -1; it must be a whole number, 0 or more"),
        ({"learner": PlasticLearner(noisy())}, "network 'network' draws out within episodes; use meta_train"),
        ({"learner": PlasticLearner(drawn_per_episode())}, "draws stimulus__out.w within episodes; use meta_train"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; it must be 1 or more"),
        ({"report_every": -5}, "report_every is -5; it must be 1 or more"),
        ({"n_tasks": 0}, "n_tasks is 0"),
        ({"learn": ("trunk",)}, "nothing is left to learn"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, options, message):
    given = {"learner": tracker(), "seeds": (0, 1), "run_dir": tmp_path / "runs", **SMALL, **options}
    with pytest.raises(SpecificationError, match=message):
        meta_train_seeds(given.pop("learner"), SHORT, **given)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", [name for name in nm.outer.names() if name != "backprop"])
def test_other_outer_algorithms_are_refused_by_name(tmp_path, name):
    made = nm.outer.get(name)()
    with pytest.raises(SpecificationError, match=f"need Backprop, not {type(made).__name__}; use meta_train"):
        meta_train_seeds(tracker(), SHORT, made, seeds=(0, 1), run_dir=tmp_path / "runs", **SMALL)
    assert not (tmp_path / "runs").exists()
