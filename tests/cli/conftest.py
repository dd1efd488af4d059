"""What the tests of the command line share."""

from __future__ import annotations

import json
import shutil

import pytest

from neurometa.cli.main import run

TINY = ["--task", "tracking", "--network", "tracker", "--set", "task.n_steps=10", "task.n_skip=2", "network.n_hidden=3"]
QUICK = ["--iterations", "2", "--tasks", "2"]

OWN = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from neurometa import networks
from neurometa.learners import PlasticLearner
from neurometa.outer import Backprop
from neurometa.spec import Param, PlasticityRule
from neurometa.tasks.base import Task
from neurometa.tasks.tracking import Tracking

number = 3
slow = PlasticityRule("slow", dw="rate*pre*error_post", params={"rate": Param(0.05)})


@dataclass(frozen=True)
class Mine(Tracking):
    """My task."""

    score_name: ClassVar[str] = "my error"


class Half(Task):
    pass


class Plain(Tracking):
    def __init__(self):
        pass


@dataclass(frozen=True)
class Own(PlasticLearner):
    """My learner."""


@dataclass(frozen=True)
class Still(Backprop):
    """My outer algorithm."""


def network(n_in, n_out, rule=slow, n_hidden=2):
    return networks.tracker(n_in, n_out, rule=rule, n_hidden=n_hidden)


def stubborn(n_in, n_out):
    return networks.tracker(n_in, n_out)


def wrong(n_in, n_out, rule=None):
    return "nothing"


def failing(n_in, n_out):
    raise ValueError("two\\nlines")
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty working folder; no data are found from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROMETA_DATA", str(tmp_path / "no-data"))
    return tmp_path


@pytest.fixture
def own(here):
    (here / "own.py").write_text(OWN)
    return here


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of a short run."""
    path = tmp_path_factory.mktemp("cli") / "run"
    assert run(["train", *TINY, *QUICK, "--validate-every", "1", "--run", str(path), "--json"]) == 0
    return path


@pytest.fixture
def trained(made, here):
    return shutil.copytree(made, here / "run").name


class Cli:
    """Runs commands in this process; what they print is taken from pytest."""

    def __init__(self, capsys):
        self.capsys = capsys

    def __call__(self, *arguments):
        """Return exit status, output and error lines of a command."""
        self.capsys.readouterr()
        try:
            status = run([*map(str, arguments)])
        except SystemExit as stop:
            status = stop.code or 0
        output, errors = self.capsys.readouterr()
        return status, output, errors.splitlines()

    def refused(self, *arguments, status=1):
        """Return the one line with which a command is refused."""
        found, output, lines = self(*arguments)
        assert found == status, (output, lines)
        assert output == ""
        (line,) = (line for line in lines if not line.startswith(("meta-training: ", "scoring ", "[")))
        assert line.startswith("error: ") and len(line) < 900 and "Traceback" not in line
        return line

    def json(self, *arguments):
        """Return the JSON object that a command prints and nothing else."""
        status, output, lines = self(*arguments)
        assert status == 0 and lines == []
        assert output.endswith("\n") and output.count("\n") == 1
        found = json.loads(output, parse_constant=pytest.fail)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def cli(capsys):
    """Return `Cli`: ``cli(...)``, ``cli.refused(...)``, ``cli.json(...)``."""
    return Cli(capsys)
