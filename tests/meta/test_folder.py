"""Run folders: what is refused, what survives damage, and that nothing stored is ever executed."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurometa import networks, rules
from neurometa.errors import NeurometaError, RunError
from neurometa.files import write_atomically
from neurometa.learners import GradientLearner, PlasticLearner
from neurometa.meta import RunFolder, load_run, meta_train
from neurometa.meta.compare import differences
from neurometa.meta.folder import _seal
from neurometa.meta.settings import describe
from neurometa.outer import Backprop
from neurometa.tasks.tracking import Tracking

TASK = Tracking(n_steps=10, n_skip=2)
OPTIONS = {"n_iterations": 4, "n_tasks": 3, "validate_every": 2, "n_validation": 4}


def train(path, hidden=3, task=TASK, outer=None, rule=None, **options):
    network = networks.tracker(1, 1, n_hidden=hidden, **({} if rule is None else {"rule": rule}))
    return meta_train(PlasticLearner(network), task, outer, run_dir=path, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(tmp_path_factory.mktemp("meta") / "run").path


@pytest.fixture
def folder(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def content(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


class Malicious:
    """Unpickling it would make a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


# --- what a folder accepts -------------------------------------------------------------------------------------------


def test_a_run_that_is_there_is_not_overwritten_unasked(folder):
    before = content(folder)
    with pytest.raises(RunError, match="already holds this run; add --resume to continue it, or choose another folder"):
        train(folder)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_iterations": 5}, "n_iterations is 4 there, 5 here; choose"),
        ({"seed": 1}, "seed is 0 there, 1 here; choose"),
        ({"task": Tracking(n_steps=11, n_skip=2)}, "task.n_steps is 10 there, 11 here; choose"),
        ({"hidden": 4}, "learner.network.populations.hidden.size is 3 there, 4 here; choose"),
        ({"outer": Backprop(lr=0.5)}, "outer.lr is 0.001 there, 0.5 here; choose"),
        ({"learn": ("modulator",)}, r"learn is \[.*\] there, \[\"modulator\"\] here; choose"),
        ({"n_tasks": 9, "seed": 1, "n_validation": 7}, "n_tasks is 3 there, 9 here; n_validation .*; seed .*; choose"),
        ({"rule": rules.delta}, r"learner.network.populations is \[.* there, \[.*\] here; learner.network.projections"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_configuration_is_refused_by_what_differs(folder, change, message, resume):
    before = content(folder)
    with pytest.raises(RunError, match=rf"holds a run of another configuration: .*{message}") as error:
        train(folder, resume=resume, **change)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    assert content(folder) == before


def test_differences_name_a_strategy_as_a_whole():
    a = {"task": {"name": "glyphs", "settings": {"n_way": 5}}, "x": {"deep": [1, 2]}, "dtype": "None"}
    assert differences(a, a) == []
    assert differences(a, {**a, "task": {"name": "tracking", "settings": {}}}) == [
        "task is glyphs there, tracking here"
    ]
    assert differences(a, {**a, "x": {"deep": [1, 3]}}) == ["x.deep is [1, 2] there, [1, 3] here"]
    assert differences(a, {"task": a["task"], "dtype": "None"}) == ['x is {"deep": [1, 2]} there, null here']
    rule = {"kind": "PlasticityRule", "name": "oja", "dw": "a"}
    assert differences({"rule": rule}, {"rule": {**rule, "dw": "b"}}) == ["rule.dw is a there, b here"]


def test_a_folder_that_never_came_to_a_checkpoint_is_used_afresh(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_text('{"seed": 77}')
    (path / "metrics.jsonl").write_text('{"iteration": 1, "loss": 0.5}\n{"iter')
    run = train(path)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert lines == run.history and [line["iteration"] for line in lines] == [1, 2, 3, 4]


def test_a_folder_in_which_training_goes_on_is_closed_to_others(tmp_path):
    path, refused = tmp_path / "run", []

    def intrude(report):
        for resume in (False, True):
            with pytest.raises(RunError, match=r"another process is training in .*run; wait for it") as error:
                train(path, resume=resume)
            refused.append(error.value)

    run = train(path, on_progress=intrude)
    assert len(refused) == 8 and len(run.history) == 4
    train(path, resume=True)  # it is open again


def test_something_else_than_a_run_folder(tmp_path):
    with pytest.raises(RunError, match=r"is not a run folder \(no config.json\); make one with 'neurometa train'"):
        load_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a run folder"):
        load_run(tmp_path / "file")
    with pytest.raises(RunError, match=r"cannot make the run folder .*: Not a directory"):
        train(tmp_path / "file" / "run")
    with pytest.raises(RunError, match=r"cannot make the run folder .*: File exists"):
        train(tmp_path / "file")


# --- damage ----------------------------------------------------------------------------------------------------------


def test_every_truncation_of_a_checkpoint_is_one_error(folder):
    whole = (folder / "last.pt").read_bytes()
    for length in (0, 1, 4, 100, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        (folder / "last.pt").write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"last.pt is damaged, or not a checkpoint, and was not read"):
            train(folder, resume=True)
        with pytest.raises(RunError, match=r"last.pt is damaged"):
            load_run(folder, "last")


def test_a_flipped_bit_is_never_read_as_a_parameter(folder):
    whole = (folder / "best.pt").read_bytes()
    assert torch.load(folder / "best.pt", weights_only=True)["params"].keys() == load_run(folder).params.keys()
    chance = random.Random(0)
    for where in [*range(0, len(whole), 37), *range(len(whole) - 100, len(whole))]:
        flipped = bytearray(whole)
        flipped[where] ^= 1 << chance.randrange(8)
        (folder / "best.pt").write_bytes(flipped)
        with pytest.raises(RunError, match="damaged"):
            load_run(folder)


def test_a_damaged_or_missing_best_does_not_stop_what_needs_only_the_last(folder):
    good = load_run(folder)
    for damage in (lambda path: path.write_bytes(b"rubbish"), lambda path: path.unlink()):
        damage(folder / "best.pt")
        if (folder / "best.pt").exists():
            with pytest.raises(RunError, match=r"best.pt is damaged.*resume the training, which writes it anew"):
                load_run(folder)
        assert load_run(folder, "last").iteration == 4
        run = train(folder, resume=True)
        assert all(torch.equal(leaf, run.params[name]) for name, leaf in good.params.items())
        assert load_run(folder).iteration == good.iteration


def test_a_damaged_last_does_not_stop_what_needs_only_the_best(folder):
    good = load_run(folder).params
    (folder / "last.pt").write_bytes(b"rubbish")
    assert all(torch.equal(leaf, good[name]) for name, leaf in load_run(folder).params.items())
    with pytest.raises(RunError, match=r"last.pt is damaged.*best.pt beside it can be evaluated"):
        load_run(folder, "last")
    (folder / "last.pt").unlink()
    with pytest.raises(RunError, match="already holds this run"):  # best.pt is not thrown away unasked
        train(folder)


def test_nothing_in_a_checkpoint_is_ever_executed(folder, tmp_path):
    target = tmp_path / "executed"
    bomb = {"params": {"x": Malicious(target)}, "iteration": 1}
    for name in ("last", "best"):
        for save in (
            lambda path: torch.save(bomb, path),
            lambda path: torch.save(bomb, path, _use_new_zipfile_serialization=False),
            lambda path: path.write_bytes(pickle.dumps(bomb)),
        ):
            save(folder / f"{name}.pt")
            with pytest.raises(RunError, match=rf"{name}.pt is damaged, or not a checkpoint, and was not read"):
                load_run(folder, name)
        with pytest.raises(RunError):
            train(folder, resume=True)
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    for name in ("last", "best"):  # somebody who knows how to make a checksum
        (folder / f"{name}.pt").write_bytes(_seal(buffer.getvalue()))
        with pytest.raises(RunError, match="not a checkpoint"):
            load_run(folder, name)
    with pytest.raises(RunError):
        train(folder, resume=True)
    assert not target.exists()


@pytest.mark.parametrize(
    "record",
    [
        [1, 2],
        {"iteration": 1},
        {"params": [1]},
        {"params": {"x": 1}},
        {"params": {}, "iteration": 1},
        {"params": {"x": torch.zeros(1)}, "iteration": 1, "state": (), "streams": {}},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(folder, record):
    for name in ("last", "best"):
        RunFolder(folder).save(name, record)
        with pytest.raises(RunError, match=rf"{name}.pt (is not a checkpoint of a run|does not fit the settings)"):
            load_run(folder, name)
    with pytest.raises(RunError, match=r"last.pt (is not a checkpoint of a run|does not fit the settings)"):
        train(folder, resume=True)


def test_a_checkpoint_of_another_network_is_refused(folder, tmp_path):
    other = train(tmp_path / "other", hidden=5).path
    for name in ("last", "best"):
        shutil.copy(other / f"{name}.pt", folder)
        with pytest.raises(RunError, match=rf"{name}.pt does not fit the settings beside it"):
            load_run(folder, name)
    with pytest.raises(RunError, match=r"last.pt does not fit the settings beside it"):
        train(folder, resume=True)


def test_settings_of_any_kind_are_read_or_refused(folder):
    text = (folder / "config.json").read_text()
    for rubbish in ("", "{", "[]", "5", "null", '"a"', "\x00", "[" * 100_000, "{}", '{"seed": 0}', '{"learner": 3}'):
        (folder / "config.json").write_text(rubbish)
        with pytest.raises(RunError) as error:
            load_run(folder)
        assert "\n" not in str(error.value)
        with pytest.raises(RunError):
            train(folder, resume=True)
    (folder / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"config.json cannot be read"):
        load_run(folder)
    chance = random.Random(1)
    for _ in range(150):  # any value of the settings replaced by any other
        config = json.loads(text)
        where = [config]
        while isinstance(where[-1], dict | list) and where[-1] and chance.random() < 0.9:
            keys = [*where[-1]] if isinstance(where[-1], dict) else range(len(where[-1]))
            key = chance.choice(list(keys))
            where.append(where[-1][key])
        if len(where) > 1:
            where[-2][key] = chance.choice([None, True, -1, 2.5, "x", [], {}, [1], {"kind": "Network"}, {"a": 1}])
        (folder / "config.json").write_text(json.dumps(config))
        try:
            load_run(folder)
        except NeurometaError as error:
            assert str(error)


def test_metrics_survive_what_a_kill_leaves_and_more(folder):
    path = folder / "metrics.jsonl"
    good = path.read_text()
    path.write_text(good + '{"iteration": 9, "loss": 1.0}\n5\n[]\n{"iteration": "x"}\n{"itera')
    assert [record["iteration"] for record in RunFolder(folder).metrics()] == [1, 2, 3, 4, 9]
    assert len(train(folder, resume=True).history) == 4
    assert path.read_text() == good
    path.write_bytes(b"\xff\xfe\x00\n")
    assert train(folder, resume=True).history == []
    path.unlink()
    assert train(folder, resume=True).history == []


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_checkpoint_before_intact(folder, tmp_path):
    whole = train(tmp_path / "whole", n_iterations=8, checkpoint_every=2)

    def stop(report):
        if report.iteration == 5:
            os.symlink("/dev/full", run / "last.pt.part")

    run = tmp_path / "full"
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    message = "cannot write .*last.pt: No space left on device; what was there before is untouched"
    with pytest.raises(RunError, match=message):
        train(run, n_iterations=8, checkpoint_every=2, on_progress=stop)
    assert torch.load(run / "last.pt", weights_only=True)["iteration"] == 4
    assert not [*run.glob("*.part")]
    resumed = train(run, n_iterations=8, resume=True)
    assert all(torch.equal(leaf, resumed.params[name]) for name, leaf in whole.params.items())


@pytest.mark.parametrize("error", [OSError(errno.EDQUOT, "Disk quota exceeded"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write(file):
        file.write(b"new")
        raise error

    with pytest.raises(RunError if isinstance(error, OSError) else KeyboardInterrupt):
        write_atomically(path, write)
    assert content(tmp_path) == {"file": b"old"}
    write_atomically(path, lambda file: file.write(b"new"))
    assert content(tmp_path) == {"file": b"new"}


def test_a_limit_on_the_size_of_files_is_one_line_and_loses_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "neurometa.cli.main", "train", "--task", "tracking", "--network", "tracker"]
    command += ["--set", "task.n_steps=10", "task.n_skip=2", "network.n_hidden=4", "--tasks", "3", "--iterations", "40"]
    command += ["--validate-every", "0", "--checkpoint-every", "10", "--run", str(tmp_path / "run"), "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))  # a checkpoint has more

    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limited)
    *progress, line = done.stderr.strip().splitlines()
    assert done.returncode == 1 and "File too large" in line and line.startswith("error: cannot write")
    assert all(text.startswith("meta-training: ") for text in progress)
    assert not [*(tmp_path / "run").glob("*.part")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["iteration"] == 40


# --- reading back ----------------------------------------------------------------------------------------------------


def test_load_run_rebuilds_learner_task_and_outer(folder):
    run = load_run(folder)
    assert run.task == TASK and run.outer == Backprop()
    assert run.learner == PlasticLearner(networks.tracker(1, 1, n_hidden=3))
    assert run.seed == 0 and run.path == folder and len(run.history) == 4
    last = load_run(folder, "last")
    assert last.iteration == 4 and run.iteration in (2, 4)
    with pytest.raises(NeurometaError, match="checkpoint is 'newest'; allowed: 'best', 'last'"):
        load_run(folder, "newest")


def test_a_module_of_ones_own_is_given_again(tmp_path):
    from neurometa.tasks.glyphs import Glyphs

    task = Glyphs(n_classes=30, n_held_out=8, n_validation=8, size=8)
    torch.manual_seed(0)
    learner = GradientLearner(torch.nn.Linear(task.n_in, task.n_out))
    run = meta_train(learner, task, run_dir=tmp_path / "run", **OPTIONS)
    with pytest.raises(RunError, match="the run's learner is 'custom GradientLearner', which is not part of neurometa"):
        load_run(run.path)
    again = load_run(run.path, learner=learner)
    assert all(torch.equal(leaf, again.params[name]) for name, leaf in run.params.items())
    with pytest.raises(RunError, match="the run's learner is 'custom GradientLearner', not PlasticLearner"):
        load_run(run.path, learner=PlasticLearner)
    with pytest.raises(NeurometaError, match="learner is GradientLearner; it must be an object of a frozen dataclass"):
        describe("learner", GradientLearner)
