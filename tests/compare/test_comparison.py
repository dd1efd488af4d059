"""A comparison from plan to record: what is in it, that it is fair, and that a kill does not change it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import neurometa as nm
from neurometa.analysis.paired import paired
from neurometa.cli.choose import by_path
from neurometa.cli.main import run as command
from neurometa.errors import RunError, SpecificationError
from neurometa.meta.evaluate import score_run

TOML = """
title = "Mine"
task = "gaussian_clusters"
main = "rule"
rival = "MAML"
seeds = 2
iterations = 3
tasks = 4
trials = 1
trial_iterations = 2
validation_episodes = 8
test_episodes = 20
without = ["all"]

[set]
n_way = 3

[arms.rule]
network = "modulated"
rule = "dw = eta*m*pre*error_post; eta = 0.2"
set = { "network.n_hidden" = 5, "outer.lr" = 0.01 }
search = { lr = [0.001, 0.1], "network.alpha" = [0.5, 2.0] }

[arms.MAML]
learner = "gradient"
network = "mlp"
set = { "network.hidden" = [5], "learner.steps" = 2 }
search = { lr = [0.001, 0.1], "learner.rate" = [0.1, 1.0] }
"""


def numbers(folder):
    """Return what a comparison found, without times."""
    record = json.loads((folder / "result.json").read_text())
    for arm in record["arms"]:
        for name in ("training_seconds", "adaptation_seconds"):
            arm["cost"].pop(name)
    return {k: v for k, v in record.items() if k not in ("seconds", "commit", "command")}


def test_a_plan_from_training_to_record(plan_file, tmp_path):
    plan, out = by_path(f"{plan_file}:plan", "plan"), tmp_path / "out"
    found = nm.compare(plan, out=out)
    record = json.loads((out / "result.json").read_text())
    assert record == found.record
    arms = {arm["name"]: arm for arm in record["arms"]}
    wanted = {"rule", "MAML", "MAML, presentations matched", "no plasticity", "random rule", "constant modulator"}
    assert wanted | {"pre-train, fine-tune", "GRU, equal parameters", "prototypes"} <= set(arms)
    assert {arm["role"] for arm in arms.values()} == {"learner", "control"}
    # Every learner had as many trials, and every seed its own tasks, which all learners share.
    assert {len(arm["trials"]) for arm in arms.values()} == {2}
    mine = nm.load_run(out / "runs" / "rule" / "seed-2")
    score = score_run(mine.learner, mine.params, plan.task, n_episodes=60, seed=2).mean()
    assert arms["rule"]["per_seed"][1] == score
    other = nm.load_run(out / "runs" / "maml" / "seed-2")
    maml = score_run(other.learner, other.params, plan.task, n_episodes=60, seed=2).mean()
    assert arms["MAML"]["per_seed"][1] == maml and other.outer.lr == arms["MAML"]["chosen"]["lr"]
    d = paired(arms["MAML"]["per_seed"], arms["rule"]["per_seed"])
    assert arms["MAML"]["difference"]["mean"] == d.mean and arms["MAML"]["difference"]["p"] == d.p
    assert arms["MAML"]["cost"]["presentations"] == 6
    assert arms["MAML, presentations matched"]["cost"]["presentations"] == arms["rule"]["cost"]["presentations"] == 3
    assert all(arm["shuffled"]["at_chance"] for arm in arms.values())
    assert {row["name"] for row in record["lesions"]} >= {"plasticity off", "dopamine upside down"}
    assert set(record["curves"]) == {"meta-iterations", "presentations", "inner FLOPs", "shots"}
    shown = record["curves"]["presentations"]
    assert shown["rule"]["x"] == [1, 2, 3] and shown["MAML"]["x"] == [2, 4, 6]  # each of its steps shows all again
    flops = record["curves"]["inner FLOPs"]["rule"]["x"]
    assert flops == sorted(flops) and flops[0] > 0 and np.allclose(np.diff(flops), flops[0], rtol=0.05)
    assert record["generalisation"]["rows"]["rule"][0] == arms["rule"]["score"]
    assert len(record["tables"][0]["rows"]) == 7  # all three groups learned, and six proper combinations
    assert arms["no plasticity"]["score"][0] < 0.5 < arms["rule"]["score"][0]
    assert "rule scores" in str(found) and "floor" in str(found)
    # Again: nothing is done twice, and another plan does not fit.
    before = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert nm.compare(plan, out=out).record == record
    assert before == {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    with pytest.raises(RunError, match=r"holds another comparison: test_episodes is 60 there, 61 here"):
        nm.compare(replace(plan, test_episodes=61), out=out)


def test_finished_runs(tmp_path):
    task = nm.tasks.GaussianClusters(n_way=3, n_query=3, n_dim=4)
    network = nm.networks.modulated(task.n_in, task.n_out, n_hidden=6)
    options = {"n_iterations": 3, "n_tasks": 4}
    rule = nm.meta_train(nm.PlasticLearner(network), task, **options)
    maml = nm.meta_train(nm.GradientLearner(nm.networks.mlp(task.n_in, task.n_out)), task, **options)
    found = nm.compare({"rule": rule, "MAML": maml}, task, n_episodes=50, seed=1, thorough=False)
    a, b = (score_run(each.learner, each.params, task, n_episodes=50, seed=1) for each in (rule, maml))
    assert found.table["rule"].mean == a.mean() and found.record["over"] == "tasks"
    assert found.record["arms"][1]["difference"]["mean"] == pytest.approx((b - a).mean())
    seeds = {
        name: nm.meta_train_seeds(run.learner, task, seeds=(0, 1, 2), **options)
        for name, run in (("rule", rule), ("MAML", maml))
    }
    assert nm.compare(seeds, thorough=False, n_episodes=30).record["over"] == "seeds"
    with pytest.raises(SpecificationError, match=r"as many runs of every learner, found 3 of 'rule', 1 of 'MAML'"):
        nm.compare({"rule": seeds["rule"], "MAML": maml})
    with pytest.raises(SpecificationError, match="of the same seeds, in the same order"):
        nm.compare({"rule": seeds["rule"], "MAML": seeds["MAML"][::-1]})
    with pytest.raises(SpecificationError, match="two learners at least"):
        nm.compare({"rule": rule})
    other = nm.tasks.GaussianClusters(n_way=3, n_shot=5, n_query=3, n_dim=4)
    with pytest.raises(SpecificationError, match="unequal information: 'rule' was trained with n_shot 1"):
        nm.compare({"rule": rule, "MAML": maml}, other)
    nm.compare({"rule": rule, "MAML": maml}, out=tmp_path, thorough=False, n_episodes=20)
    with pytest.raises(RunError, match=r"holds another comparison.*parameters"):
        nm.compare({"rule": seeds["rule"][1], "MAML": maml}, out=tmp_path, seed=0, thorough=False, n_episodes=20)


def killed(plan_file, out, after):
    """Start the command, kill it after some seconds; return whether it had ended before."""
    words = [sys.executable, "-m", "neurometa.cli.main", "compare", f"{plan_file}:plan", "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0
    return True


@pytest.mark.parametrize("trials", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_changes_no_number(plan_file, tmp_path, trials):
    environment = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        began = time.monotonic()
        assert killed(plan_file, tmp_path / "whole", 600)
        whole, chance = time.monotonic() - began, random.Random(trials)
        for trial in range(trials):
            out = tmp_path / f"{trial}"
            while not killed(plan_file, out, 4 + chance.uniform(0.1, 0.5) * (whole - 4)):
                pass
            assert numbers(out) == numbers(tmp_path / "whole")
    finally:
        if environment is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = environment


def test_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TOML)
    assert command(["compare"]) == 0
    assert "random_labels" in capsys.readouterr().out
    assert command(["compare", "mine.toml", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in found["arms"]] == ["rule", "MAML", "MAML, presentations matched"]
    assert {*found["arms"][0]["chosen"]} == {"lr", "network.alpha"} and found["command"].endswith("mine.toml --quick")
    assert (tmp_path / found["report"]).read_text().startswith("<!DOCTYPE html>")
    runs = [f"runs/compare/mine/runs/{name}/seed-{seed}" for name, seed in (("rule", 0), ("maml", 0))]
    for path, name in zip(runs, ("rule", "maml"), strict=True):
        os.rename(path, name)
    assert command(["compare", "rule", "maml", "--quick", "--episodes", "20"]) == 0
    assert "rule scores" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("iterations", "iteration"), "unknown field 'iteration'"),
        (('network = "mlp"', 'network = "mlpp"'), "unknown network 'mlpp'"),
        (('learner = "gradient"', 'learner = "own.py:Mine"'), "what is stored is never executed"),
        (("[0.001, 0.1]", "[0.001]"), r"write \[low, high\]"),
        (('main = "rule"\n', ""), "has no 'main'"),
        (("seeds = 2", "seeds = "), "is not TOML"),
        (('"learner.steps"', '"learner.step"'), "unknown option of the learner 'step'"),
    ],
)
def test_refused_files(change, message, tmp_path, capsys):
    path = tmp_path / "plan.toml"
    path.write_text(TOML.replace(*change, 1))
    assert command(["compare", str(path), "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and re.search(message, lines[0]), lines
    assert not (tmp_path / "out").exists()


def test_refused_subjects(tmp_path, capsys):
    for words, message in (
        (["volatilty"], "unknown plan 'volatilty'"),
        (["volatility", "--preset", "tiny"], "unknown preset 'tiny'"),
        ([str(tmp_path / "none.toml")], "cannot be read"),
        ([str(tmp_path / "a"), str(tmp_path / "b")], "not a run folder"),
        (["volatility", "--seeds", "0"], "give each once"),
    ):
        assert command(["compare", *words]) == 1
        assert message in capsys.readouterr().err
