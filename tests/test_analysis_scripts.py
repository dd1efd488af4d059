"""The scripts of analysis/, run as a user runs them, on small runs of every kind."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

import neurometa as nm

FOLDER = Path(__file__).parents[1] / "analysis"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.name.startswith("_") and path.stem != "gallery")


def script(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout, done.stderr


def modulated(folder):
    task = nm.tasks.get("volatility")(n_steps=40, n_skip=5)
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=4))
    options = {"validate_every": 2, "n_validation": 8, "observer": nm.Recorder(nm.RecordPlan(every=2))}
    nm.meta_train(learner, task, n_iterations=4, n_tasks=4, run_dir=folder, **options)
    return {"learning", "rule", "distilled", "weights", "modulators", "activity", "fixed_points", "perturbed"}


def recurrent(folder):
    task = nm.tasks.get("reversal")(n_steps=20)
    learner = nm.PlasticLearner(nm.networks.recurrent(task.n_in, task.n_out, nm.rules.gated_hebb, n_hidden=6))
    options = {"observer": nm.Recorder(nm.RecordPlan(every=2))}
    nm.meta_train(learner, task, nm.Backprop(0.1), n_iterations=4, n_tasks=4, run_dir=folder, **options)
    return {*SCRIPTS} - {"spikes"}


def spiking(folder):
    task = nm.tasks.get("gaussian_clusters")(n_way=2, n_query=2)
    network = nm.networks.spiking(task.n_in, task.n_out, nm.rules.r_stdp, n_hidden=6)
    nm.meta_train(nm.PlasticLearner(network, hold=12), task, n_iterations=2, n_tasks=3, run_dir=folder)
    return {"learning", "rule", "weights", "modulators", "spikes", "perturbed", "representations"}


@pytest.mark.parametrize("make", [modulated, recurrent, spiking])
def test_a_gallery_has_every_figure_that_suits_the_run(make, tmp_path):
    wanted = make(tmp_path / "run")
    status, output, errors = script("gallery", "--source", tmp_path / "run", "--out", tmp_path / "gallery")
    assert status == 0, errors
    made = {path.stem for path in (tmp_path / "gallery").glob("*.png")}
    assert made == wanted, errors
    assert all(" left out, " in line for line in errors.splitlines())
    page = (tmp_path / "gallery" / "README.md").read_text()
    for name in made:
        assert f"]({name}.png)" in page and (tmp_path / "gallery" / f"{name}.svg").stat().st_size > 1000
        with open(tmp_path / "gallery" / f"{name}.csv") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["panel", "series", "x", "y", "low", "high"]
        assert all(float(row["x"]) == float(row["x"]) or name == "spikes" for row in rows)
        sentence = next(line for line in output.splitlines() if line.startswith(f"{name}: ")).partition(": ")[2]
        assert sentence in page and sentence.endswith(".")


def test_a_recording_will_do(tmp_path):
    modulated(tmp_path / "run")
    path = nm.record(tmp_path / "a.h5", nm.load_run(tmp_path / "run"))
    status, output, errors = script("weights", "--source", path, "--out", tmp_path / "out", "--episode", "1")
    assert status == 0 and output.startswith(f"{tmp_path}/out/weights.png: The weights of cue move"), errors
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["weights.csv", "weights.png", "weights.svg"]
    status, output, errors = script("perturbed", "--source", path, "--out", tmp_path / "out")
    assert status == 1 and output == "" and errors.endswith("a.h5 is no run folder, which this figure needs\n")


@pytest.mark.parametrize("name", ["weights", "perturbed", "gallery"])
def test_help_and_a_source_that_is_not_there(name, tmp_path):
    status, output, errors = script(name, "--help")
    assert status == 0 and "--source" in output and errors == ""
    status, output, errors = script(name, "--source", tmp_path / "none", "--out", tmp_path / "out")
    assert status == 1 and errors.splitlines()[-1].startswith("error: ") and "Traceback" not in errors
    assert not (tmp_path / "out").exists()
