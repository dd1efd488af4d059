"""A small comparison that every test of the report reads."""

from __future__ import annotations

import json
import shutil

import pytest

import neurometa as nm
from neurometa.compare import Arm, Plan, compare

NASTY = 'GRU <b> & "co" | `x`'


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """Return the folder of a comparison of two seeds."""
    task = nm.tasks.Volatility(n_steps=24, n_skip=4)
    plan = Plan(
        name="tiny",
        title="Tiny & <small>",
        question="Is it so?",
        task=task,
        arms={
            "rule": Arm(lambda: nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=3)), {"lr": (1e-3, 1e-2)}),
            NASTY: Arm(lambda: nm.learners.RecurrentLearner(1, 1, 3), {"lr": (1e-3, 1e-2)}),
        },
        main="rule",
        rival=NASTY,
        seeds=(3, 4),
        iterations=4,
        tasks=4,
        trials=1,
        trial_iterations=2,
        validation_episodes=8,
        test_episodes=20,
        without=("textbook Hebb", "textbook Oja", "LSTM, equal parameters"),
    )
    folder = tmp_path_factory.mktemp("report") / "tiny"
    compare(plan, out=folder, preset="smoke", command="neurometa compare tiny.py:plan")
    return folder


@pytest.fixture
def folder(compared, tmp_path):
    """Return a copy that a test may spoil."""
    return shutil.copytree(compared, tmp_path / "copy")


@pytest.fixture
def spoil(folder):
    """Return ``spoil(change)``: rewrites the record, and gives the folder."""

    def change(edit):
        path = folder / "result.json"
        record = json.loads(path.read_text())
        edit(record)
        path.write_text(json.dumps(record))
        return folder

    return change
