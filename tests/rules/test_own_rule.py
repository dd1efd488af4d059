"""A rule in ten lines of a user's own file trains, shows its card and cross-checks; nothing else is touched."""

import os
import subprocess
import sys

import pytest

OWN = '''"""The instar rule."""

from neurometa import Param, PlasticityRule

my_rule = PlasticityRule(
    name="my_rule",
    dw="eta*post*(pre - w)",
    params={"eta": Param(0.1, "positive")},
    bounds=(-1, 1),
)
'''


def neurometa(folder, *arguments):
    command = [sys.executable, "-m", "neurometa.cli.main", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_rule_of_ten_lines_is_a_citizen(tmp_path):
    (tmp_path / "my_rule.py").write_text(OWN)
    assert len(OWN.splitlines()) <= 10
    shown = neurometa(tmp_path, "rules", "show", "my_rule.py:my_rule")
    assert "eta*post*(pre - w)" in shown and "two-factor" in shown
    small = ("--set", "network.n_hidden=4", "trunk.channels=4")
    options = ("--rule", "my_rule.py:my_rule", "--iterations", "2", "--tasks", "2", "--validate-every", "0", *small)
    trained = neurometa(tmp_path, "train", *options, "--run", "run")
    assert "plastic.rule.eta" in trained
    pytest.importorskip("brian2")
    assert "agree" in neurometa(tmp_path, "crosscheck", "run").lower()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["my_rule.py", "run"]
