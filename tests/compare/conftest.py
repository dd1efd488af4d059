"""A plan that takes seconds, as a file that a user would write."""

from __future__ import annotations

import pytest

PLAN = """
import neurometa as nm
from neurometa.compare import Arm, Plan

TASK = nm.tasks.GaussianClusters(n_way=3, n_query=3, n_dim=4)
LR = {"lr": (1e-3, 3e-2)}


def rule(eta=0.3):
    rule = nm.PlasticityRule("delta", dw="eta*m*pre*error_post", params={"eta": nm.Param(eta, "positive")})
    return nm.PlasticLearner(nm.networks.modulated(TASK.n_in, TASK.n_out, rule=rule, n_hidden=6))


def maml(rate=0.3):
    return nm.GradientLearner(nm.networks.mlp(TASK.n_in, TASK.n_out, hidden=(6,)), rate=rate, steps=2)


plan = Plan(
    name="tiny", title="Tiny", question="Which?", task=TASK, main="rule", rival="MAML", seeds=(1, 2, 3),
    arms={"rule": Arm(rule, {**LR, "eta": (0.1, 1.0)}), "MAML": Arm(maml, {**LR, "rate": (0.1, 1.0)})},
    iterations=30, tasks=8, trials=2, trial_iterations=10, validation_episodes=20, test_episodes=60,
    without=("textbook Hebb", "textbook Oja", "LSTM, equal parameters", "GRU, equal state"), allocation=True,
)
"""


@pytest.fixture
def plan_file(tmp_path):
    """Return the path of a plan in Python."""
    path = tmp_path / "tiny.py"
    path.write_text(PLAN)
    return path
