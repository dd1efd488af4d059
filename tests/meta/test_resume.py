"""Going on is the same as never having stopped: after a cut, a signal, with any outer algorithm, compiled or not."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from neurometa import networks, rules
from neurometa.errors import RunError
from neurometa.learners import PlasticLearner
from neurometa.meta import meta_train
from neurometa.meta.train import Stopped
from neurometa.outer import Backprop
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.streams import generator
from neurometa.tasks.glyphs import Glyphs
from neurometa.tasks.tracking import Tracking

SHORT = Tracking(n_steps=12, n_skip=2)
SMALL = {"n_iterations": 10, "n_tasks": 4, "seed": 3, "validate_every": 3, "n_validation": 8, "report_every": 4}


class PowerCut(Exception):
    """Whatever ends a session between two checkpoints."""


def tracker(**options):
    return PlasticLearner(networks.tracker(1, 1, n_hidden=3), **options)


def delta():
    return PlasticLearner(networks.tracker(1, 1, rule=rules.delta))


def cut_at(iteration):
    def on_progress(report):
        if report.iteration == iteration:
            raise PowerCut

    return on_progress


# Checkpoint every 3, records every 4 iterations: a cut may fall between the two, and before the first checkpoint.
@pytest.mark.parametrize("cut", [1, 3, 4, 5, 9, 10])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, cut, assert_same_runs):
    whole = meta_train(tracker(), SHORT, run_dir=tmp_path / "whole", checkpoint_every=3, **SMALL)
    options = {"run_dir": tmp_path / "cut", "checkpoint_every": 3, **SMALL}
    with pytest.raises(PowerCut):
        meta_train(tracker(), SHORT, on_progress=cut_at(cut), **options)
    resumed = meta_train(tracker(), SHORT, resume=True, **options)
    assert_same_runs(whole, resumed)
    assert [record["iteration"] for record in whole.history] == [3, 4, 6, 8, 9, 10]


def test_resumed_equals_undisturbed_when_cut_at_every_iteration(tmp_path, assert_same_runs):
    whole = meta_train(tracker(), SHORT, Backprop(schedule="cosine"), run_dir=tmp_path / "whole", **SMALL)
    for cut in range(2, 11):
        with pytest.raises(PowerCut):
            meta_train(
                tracker(), SHORT, Backprop(schedule="cosine"), run_dir=tmp_path / "cut", checkpoint_every=1,
                resume=True, on_progress=cut_at(cut), **SMALL,
            )  # fmt: skip
    resumed = meta_train(tracker(), SHORT, Backprop(schedule="cosine"), run_dir=tmp_path / "cut", resume=True, **SMALL)
    assert_same_runs(whole, resumed)


@dataclass(frozen=True)
class Deep(Backprop):
    """Back-propagation whose state has named tuples in named tuples, as a combination of algorithms has."""

    def init(self, params):
        return Pair(super().init(params), {"count": Pair(0, None)})

    def step(self, params, state, problem):
        new, own, metrics = super().step(params, state.first, problem)
        count = state.second["count"]
        return new, Pair(own, {"count": count._replace(first=count.first + 1)}), metrics


class Pair(NamedTuple):
    first: object
    second: object


@pytest.mark.parametrize("outer", [Evolution(lr=0.02, population=4), Forward(lr=0.02), Deep(lr=0.02)])
def test_resumed_equals_undisturbed_with_every_outer_algorithm(tmp_path, outer, same, assert_same_runs):
    options = {**SMALL, "n_iterations": 6, "checkpoint_every": 2}
    whole = meta_train(delta(), SHORT, outer, run_dir=tmp_path / "whole", **options)
    with pytest.raises(PowerCut):
        meta_train(delta(), SHORT, outer, run_dir=tmp_path / "cut", on_progress=cut_at(3), **options)
    resumed = meta_train(delta(), SHORT, outer, run_dir=tmp_path / "cut", resume=True, **options)
    assert_same_runs(whole, resumed)
    start = delta().init(generator(3, "init"))
    assert not same(whole.params, start)


def test_resumed_equals_undisturbed_with_noise_in_the_network_and_on_a_few_shot_task(tmp_path, assert_same_runs):
    task = Glyphs(n_classes=30, n_held_out=8, n_validation=8, size=8)
    network = networks.modulated(task.n_in, task.n_out, n_hidden=4, tau=3.0)
    options = {**SMALL, "n_iterations": 5, "checkpoint_every": 2, "learn": ("rule", "w0")}
    whole = meta_train(PlasticLearner(network), task, run_dir=tmp_path / "whole", **options)
    with pytest.raises(PowerCut):
        meta_train(PlasticLearner(network), task, run_dir=tmp_path / "cut", on_progress=cut_at(3), **options)
    assert_same_runs(whole, meta_train(PlasticLearner(network), task, run_dir=tmp_path / "cut", resume=True, **options))


@pytest.mark.slow
def test_resumed_equals_undisturbed_when_compiled(tmp_path, assert_same_runs):
    task = Tracking(n_steps=5, n_skip=1)
    options = {**SMALL, "n_iterations": 5, "validate_every": 2, "checkpoint_every": 2}
    whole = meta_train(tracker(compile=True), task, run_dir=tmp_path / "whole", **options)
    with pytest.raises(PowerCut):
        meta_train(tracker(compile=True), task, run_dir=tmp_path / "cut", on_progress=cut_at(3), **options)
    resumed = meta_train(tracker(compile=True), task, run_dir=tmp_path / "cut", resume=True, **options)
    assert_same_runs(whole, resumed)
    eager = meta_train(tracker(), task, **{**options, "checkpoint_every": None})
    for name, leaf in whole.params.items():
        assert torch.allclose(leaf, eager.params[name], atol=1e-4)


def test_a_finished_run_is_returned_at_once_and_its_folder_is_left_alone(tmp_path, assert_same_runs):
    run = meta_train(tracker(), SHORT, run_dir=tmp_path / "run", **SMALL)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.path.iterdir()}
    calls = []
    again = meta_train(tracker(), SHORT, run_dir=run.path, resume=True, on_progress=calls.append, **SMALL)
    assert_same_runs(run, again)
    assert not calls
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.path.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_after_the_iteration_with_a_checkpoint(tmp_path, number, checkpoint, assert_same_runs):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread only")
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for iteration in (4, 10):  # also during the last one: what follows training must not go on unasked
        path = tmp_path / str(iteration)

        def at(report, iteration=iteration):
            if report.iteration == iteration:
                signal.raise_signal(number)

        with pytest.raises(Stopped, match=rf"stopped after iteration {iteration} of 10.*nothing is lost") as stop:
            meta_train(tracker(), SHORT, run_dir=path, on_progress=at, **SMALL)
        assert stop.value.signum == number
        assert checkpoint(path / "last.pt")["iteration"] == iteration
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    whole = meta_train(tracker(), SHORT, run_dir=tmp_path / "whole", **SMALL)
    assert_same_runs(whole, meta_train(tracker(), SHORT, run_dir=tmp_path / "4", resume=True, **SMALL))


def test_an_ignored_signal_stays_ignored(tmp_path):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread only")
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for jobs in the background
    try:
        run = meta_train(tracker(), SHORT, on_progress=lambda report: signal.raise_signal(signal.SIGINT), **SMALL)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert run.history[-1]["iteration"] == 10


def test_training_works_outside_the_main_thread(same):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(meta_train(tracker(), SHORT, **SMALL)))
    thread.start()
    thread.join()
    assert same(runs[0].params, meta_train(tracker(), SHORT, **SMALL).params)


def test_a_folder_from_before_a_setting_existed_is_continued(tmp_path):
    """Its strategies meant the default; another value than that is another run."""
    options = {"n_iterations": 4, "n_tasks": 2, "run_dir": tmp_path}
    task = Tracking(n_steps=6, n_skip=1)
    whole = meta_train(tracker(), task, **options)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["learner"]["settings"]["window"], config["task"]["settings"]["n_skip"], config["outer"]["settings"]["lr"]
    path.write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"task\.n_skip is 50 there, 1 here"):
        meta_train(tracker(), task, resume=True, **options)
    config["task"]["settings"]["n_skip"] = 1
    path.write_text(json.dumps(config))
    again = meta_train(tracker(), task, resume=True, **options)
    assert again.history == whole.history
