"""The simulation scripts, run as a user runs them, with their smallest settings."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neurometa.data import data_root

FOLDER = Path(__file__).parents[1] / "simulations"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if not path.name.startswith("_"))
#: Scripts, where their smoke preset writes, and the figure that it draws.
SMOKE = {
    "volatility.py": ("runs/volatility-smoke", "volatility.png"),
    "omniglot_plasticity.py": ("runs/omniglot-smoke", "omniglot.png"),
    "sinusoid_maml.py": ("runs/sinusoid-smoke", "sinusoid.png"),
    "omniglot_maml.py": ("runs/omniglot-maml-smoke", "omniglot_maml.png"),
    "allocation.py": ("runs/allocation-smoke", "allocation.png"),
    "cue_reward.py": ("runs/cue-reward-smoke", "cue_reward.png"),
    "familiarity.py": ("runs/familiarity-smoke", "familiarity.png"),
    "random_labels.py": ("runs/random_labels-smoke", "random_labels.png"),
    "associative_retrieval.py": ("runs/associative_retrieval-smoke", "associative_retrieval.png"),
    "evolve_rule.py": ("runs/evolve_rule-smoke", "evolve_rule.png"),
    "transitive_inference.py": ("runs/transitive_inference-smoke", "transitive_inference.png"),
    "spiking_few_shot.py": ("runs/spiking_few_shot-smoke", "spiking_few_shot.png"),
    "surrogate_gradient.py": ("runs/surrogate_gradient-smoke", "surrogate_gradient.png"),
    "pattern_completion.py": ("runs/pattern_completion-smoke", "pattern_completion.png"),
}


def script(name, *arguments, folder, **environment):
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Return a function that runs a script in this process, which need not import everything again."""

    def run(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(FOLDER / name), run_name="__main__")
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_every_script_is_tested():
    assert set(SCRIPTS) == set(SMOKE)


@pytest.mark.parametrize("name", SMOKE)
def test_the_smoke_preset_runs_to_its_end_and_a_second_time_from_its_folder(name, here, tmp_path):
    if "omniglot" in name and not (data_root() / "omniglot.npz").is_file():
        pytest.skip("no Omniglot here: set NEUROMETA_DATA, or type 'neurometa data fetch omniglot'")
    folder, figure = SMOKE[name]
    began = time.monotonic()
    status, output, errors = here(name, "--preset", "smoke")
    first = time.monotonic() - began
    assert status == 0, errors
    table = json.loads((tmp_path / folder / "result.json").read_text(), parse_constant=pytest.fail)
    assert table
    assert not figure or (tmp_path / folder / figure).read_bytes()[:4] == b"\x89PNG"
    assert all(" episodes/s " in line for line in errors.splitlines())
    began = time.monotonic()
    status, again, errors = here(name, "--preset", "smoke")
    assert status == 0 and again == output and errors == ""  # nothing was trained again
    assert time.monotonic() - began < first + 2
    assert json.loads((tmp_path / folder / "result.json").read_text()) == table


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_wrong_usage(name, here, tmp_path):
    status, output, errors = here(name, "--help")
    assert status == 0 and errors == "" and "--preset" in output
    status, output, errors = here(name, "--preset", "smok")
    assert status == 2 and output == ""
    assert errors == "error: unknown preset 'smok' (did you mean 'smoke'?); allowed: default, paper, smoke\n"
    status, output, errors = here(name, "--bogus", "3")
    assert status == 2 and output == "" and errors.count("\n") == 1 and "--bogus" in errors
    assert not [*tmp_path.iterdir()]


def test_omniglot_without_data_says_how_to_get_them(tmp_path):
    environment = {"NEUROMETA_DATA": str(tmp_path / "nothing")}
    status, output, errors = script("omniglot_plasticity.py", "--preset", "smoke", folder=tmp_path, **environment)
    assert status == 1 and output == ""
    assert errors.count("\n") == 1 and "neurometa data fetch omniglot" in errors


def test_an_unwritable_target_is_one_line(tmp_path):
    (tmp_path / "file").write_text("precious")
    status, _, errors = script("volatility.py", "--preset", "smoke", "--out", "file/runs", folder=tmp_path)
    assert status == 1 and errors.count("\n") == 1 and "cannot make the run folder file/runs" in errors
