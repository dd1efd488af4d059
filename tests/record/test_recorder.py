"""Recording while training: nothing of the training changes, and nothing recorded is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.errors import RecordingError
from neurometa.record import RecordPlan, validate
from neurometa.recording import shards

COMMAND = [sys.executable, "-m", "neurometa.cli.main", "train", "--task", "gaussian_clusters", "--network", "modulated"]
COMMAND += ["--set", "task.n_query=3", "network.n_hidden=4", "--tasks", "4", "--iterations", "60"]
COMMAND += ["--validate-every", "20", "--checkpoint-every", "7", "--record", "every=2", "--resume", "--json"]


def test_losses_and_parameters_are_the_same_bit_for_bit(tmp_path, train):
    plain = train(None)
    recorder = nm.Recorder(RecordPlan(every=3, episodes=2))
    run = train(tmp_path / "run", observer=recorder)
    assert all(torch.equal(leaf, run.params[name]) for name, leaf in plain.params.items())
    losses = [[record["loss"] for record in each.history] for each in (plain, run)]
    assert losses[0] == losses[1] and len(losses[0]) == 8
    files = shards(tmp_path / "run" / "recording")
    assert [path.stem for path in files] == ["00000000", "00000003", "00000006"]
    assert recorder.expected == pytest.approx(sum(path.stat().st_size for path in files), rel=0.05)
    with nm.open_recording(tmp_path / "run") as rec:
        assert rec.iterations.tolist() == [0, 3, 6] and rec.n_episodes == 6
        assert rec.variable("episode")[:].tolist() == list(range(6))
        for iteration in (0, 3, 6):
            assert rec.replay(iteration).largest == 0.0
        assert not torch.equal(rec.params(0)["plastic.rule.eta"], rec.params(6)["plastic.rule.eta"])
        first = run.task.sample(nm.Streams(0)["tasks"], 5, "train")
        assert torch.equal(rec.episode(0).support.inputs["stimulus"], first.support.inputs["stimulus"][:, :2])
        assert rec.w["plastic"].shape[:2] == (3, 6)
        assert np.array_equal(rec.w["plastic"][:, [5, 0]], rec.w["plastic"][()][:, [5, 0]])
        assert "6 episodes of 3 meta-iterations" in str(rec)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_the_index_opens_as_one_file(tmp_path, train, engine):
    xarray = pytest.importorskip("xarray")
    train(tmp_path / "run", observer=nm.Recorder(RecordPlan(every=3)))
    folder = tmp_path / "run" / "recording"
    with nm.open_recording(folder / "index.h5") as rec:
        with xarray.open_datatree(folder / "index.h5", engine=engine) as tree:
            assert np.array_equal(tree["w/plastic"].values, rec.w["plastic"][()])
            assert np.array_equal(tree["params/plastic.rule.eta"].values, rec.variable("params/plastic.rule.eta")[()])
            assert tree.attrs["complete"] and tree["iteration"].values.tolist() == [0, 3, 6]
        tree = rec.to_xarray()
        assert tree["loss"].shape == (12,)
        tree.close()
    assert not validate(folder)
    (folder / "00000003.h5").unlink()
    (problem,) = validate(folder)
    assert "00000003.h5 is missing" in problem
    with pytest.raises(RecordingError, match=r"00000003.h5 is missing"):
        nm.open_recording(folder)


def test_a_plan_above_the_cap_is_refused_before_anything_is_written(tmp_path, train):
    message = r"the recording would have .* kB, and the cap is 100 kB; record fewer episodes, less often"
    with pytest.raises(RecordingError, match=message):
        train(tmp_path / "run", observer=nm.Recorder(RecordPlan(every=1, cap=100_000)))
    assert not (tmp_path / "run").exists()


def test_a_recorder_needs_a_folder(train, tmp_path):
    with pytest.raises(RecordingError, match=r"a recording needs a folder; pass run_dir="):
        train(None, observer=nm.Recorder())
    train(None, observer=nm.Recorder(RecordPlan(every=4), tmp_path / "elsewhere"))
    assert len(shards(tmp_path / "elsewhere")) == 2


def test_recordings_of_another_run_are_not_mixed(tmp_path, train):
    train(tmp_path / "run", observer=nm.Recorder(RecordPlan(every=4)))
    shutil.move(tmp_path / "run" / "recording", tmp_path / "kept")
    for options in ({"seed": 1, "observer": nm.Recorder(RecordPlan(every=4), tmp_path / "kept")},
                    {"observer": nm.Recorder(RecordPlan(every=2), tmp_path / "kept")}):  # fmt: skip
        with pytest.raises(RecordingError, match=r"kept holds recordings of another run or by another plan"):
            train(None, **options)


def test_a_full_disk_stops_training_with_one_line(tmp_path, train):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    folder = tmp_path / "run" / "recording"

    def stop(report):
        if report.iteration == 4:
            os.symlink("/dev/full", folder / "00000004.h5.part")

    recorder = nm.Recorder(RecordPlan(every=2))
    with pytest.raises(RecordingError, match=r"cannot write .*00000004.h5: No space left on device"):
        train(tmp_path / "run", observer=recorder, checkpoint_every=1, n_iterations=400, on_progress=stop)
    assert [path.stem for path in shards(folder)] == ["00000000", "00000002"] and not validate(folder)
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["iteration"] >= 4


def start(path):
    return subprocess.Popen(
        [*COMMAND, "--run", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(path):
    process = start(path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return {**json.loads(output), "run": ""}


def test_a_limit_on_the_size_of_files_is_one_line_and_loses_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    limit = 40_000  # a checkpoint has less, a recording more
    done = subprocess.run(
        [*COMMAND, "--run", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot write ") and "00000000.h5: File too large" in line
    assert not [*(tmp_path / "run" / "recording").glob("*")]


def numbers(path):
    """Return everything in a file as bytes, but for its attributes, of which the commit may be another."""
    with nm.open_recording(path) as rec:
        return {name: rec.variable(name)[...].tobytes() for name in (*rec.source.names, *rec.source.dims)}


def kills(tmp_path, n):
    """Kill trainings at random moments; each leaves whole files, and goes on to the numbers of an undisturbed one."""
    wanted, chance = finished(tmp_path / "whole"), random.Random(3)
    for attempt in range(n):
        path = tmp_path / str(attempt)
        process, folder = start(path), path / "recording"
        least, begun = chance.randrange(1, 29), time.monotonic()
        while process.poll() is None and len(shards(folder)) < least and time.monotonic() - begun < 60:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.01)
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        seen = shards(folder)
        assert len(seen) >= least and not validate(folder)
        with nm.open_recording(path) as rec:
            assert rec.iterations.tolist() == list(range(0, 2 * len(seen), 2))
            assert np.isfinite(rec.w["plastic"][()]).all()
        before = {file.name: numbers(file) for file in seen}
        assert finished(path) == wanted
        assert not validate(path) and len(shards(folder)) == 30 and not [*folder.glob("*.part")]
        whole = tmp_path / "whole" / "recording"
        for file in shards(folder):
            assert before.get(file.name, numbers(file)) == numbers(file) == numbers(whole / file.name)


def test_a_kill_leaves_every_file_whole(tmp_path):
    kills(tmp_path, 2)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    kills(tmp_path, 20)
