"""`neurometa train` as a process: stopped by a signal, or killed at any moment, it goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

ITERATIONS = 240
COMMAND = [sys.executable, "-m", "neurometa.cli.main", "train", "--task", "volatility", "--network", "tracker"]
COMMAND += ["--set", "task.n_steps=40", "task.n_skip=5", "network.n_hidden=4", "--tasks", "4", "--lr", "0.01"]
COMMAND += ["--iterations", str(ITERATIONS), "--validate-every", "50", "--resume", "--json"]


def start(path, *more):
    """Start a training process; Ctrl-C reaches it even where the tests themselves run in the background."""
    return subprocess.Popen(
        [*COMMAND, "--run", str(path), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process):
    """Return the JSON object that a process prints at its end."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return json.loads(output)


def lines(path):
    file = path / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def wait_for(path, n_lines, process):
    """Wait until a run has reported so many times."""
    began = time.monotonic()
    while lines(path) < n_lines and process.poll() is None:
        assert time.monotonic() - began < 60
        time.sleep(0.005)


def result(path):
    """Return all that a run leaves behind, but for the time that it took."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    checkpoints = [torch.load(path / f"{name}.pt", weights_only=True) for name in ("last", "best")]
    tensors = [checkpoint["params"] for checkpoint in checkpoints] + [checkpoints[0]["state"][0]]
    plain = {name: [leaf.tolist() for leaf in tree.values()] for name, tree in zip("lbs", tensors, strict=True)}
    return {**plain, "records": records, "iteration": [each["iteration"] for each in checkpoints]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("kill") / "run"
    return path, finish(start(path)), result(path)


def assert_goes_on(path, undisturbed):
    """Finish a run, and compare all that it leaves with the undisturbed one."""
    _, summary, expected = undisturbed
    assert {**finish(start(path)), "run": ""} == {**summary, "run": ""}
    assert result(path) == expected
    assert [record["iteration"] for record in expected["records"]] == list(range(1, ITERATIONS + 1))
    assert not [*path.glob("*.part")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_one_line_and_a_run_that_goes_on(tmp_path, undisturbed, number):
    path = tmp_path / "run"
    process = start(path)
    wait_for(path, 20, process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert output == ""
    (line,) = errors.splitlines()
    assert line.startswith("stopped after iteration ") and str(path) in line
    assert 20 <= lines(path) < ITERATIONS
    assert_goes_on(path, undisturbed)


def test_a_kill_at_any_moment_loses_nothing(tmp_path, undisturbed):
    path, chance = tmp_path / "run", random.Random(2)
    for attempt in range(4):  # the first kill comes before the first checkpoint
        process = start(path, "--checkpoint-every", "7")
        wait_for(path, 3 if attempt == 0 else lines(path) + chance.randrange(1, 60), process)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    (path / "best.pt.part").write_text("as a kill leaves it in the middle of a write")
    assert_goes_on(path, undisturbed)


def test_ctrl_c_during_evaluation_is_one_line(undisturbed):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-m", "neurometa.cli.main", "evaluate", str(undisturbed[0]), "--episodes", "100000000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stderr.readline() == "scoring 100000000 test tasks ...\n"
        time.sleep(0.2)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert (output, errors) == ("", "stopped\n")
