"""Perturbations do what their names say, on the same tasks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.cli.main import run as command
from neurometa.errors import SpecificationError
from neurometa.perturb import perturb
from neurometa.spec.surgery import impose
from neurometa.streams import generator


@pytest.fixture(scope="module")
def tracker():
    task = nm.tasks.get("volatility")(n_steps=60, n_skip=5)
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=8))
    return nm.meta_train(learner, task, nm.Backprop(lr=0.02), n_iterations=60, n_tasks=32)


@pytest.fixture(scope="module")
def named():
    task = nm.tasks.get("gaussian_clusters")(n_way=3, n_query=3)
    learner = nm.PlasticLearner(nm.networks.modulated(task.n_in, task.n_out, n_hidden=8))
    return nm.meta_train(learner, task, nm.Backprop(lr=0.02), n_iterations=60, n_tasks=16)


def table(rows):
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}


def test_rows_are_what_they_would_be_by_hand(tracker):
    rows = table(perturb(tracker, n_episodes=50, batch=50, seed=3))
    learner, params, task = tracker.learner, tracker.params, tracker.task
    part = task.sample(generator(3, "perturb"), 50, "test").support
    imposed = nm.PlasticLearner(impose(learner.network, "rate"))
    with torch.no_grad():
        plain = learner.run(params, part, save=nm.Save(("x.rate",)))
        m = plain["x.rate"]
        other = imposed.run(params, part._replace(inputs={**part.inputs, "rate": m.roll(1, 1)})).output
        off = learner.run(params, part._replace(learn=torch.zeros_like(part.learn))).output
    for name, output in (("as it is", plain.output), ("rate of another episode", other), ("plasticity off", off)):
        assert rows[name].score[0] == pytest.approx(float(task.score(output, part).mean()), rel=1e-6)
    paired = (task.score(other, part) - task.score(plain.output, part)).numpy()
    assert rows["rate of another episode"].difference[0] == pytest.approx(paired.mean(), rel=1e-5)
    assert rows["as it is"].difference is None and not rows["as it is"].hurts


def test_a_modulator_that_is_exchanged_or_turned_upside_down_hurts(tracker):
    rows = table(perturb(tracker, n_episodes=200))
    for name in ("plasticity off", "rate of another episode", "rate upside down"):
        assert rows[name].hurts and rows[name].difference[1] > 0
    assert {"rate clamped to its mean", "rate 5 steps late", "hidden silenced"} <= set(rows)
    assert not any("cut" in name for name in rows)  # half of a single synapse cannot be


def test_nothing_is_changed_by_cutting_nothing_and_all_by_cutting_all(named):
    rows = table(perturb(named, lesions=(0.0, 1.0), n_episodes=100, noise=0.0))
    assert rows["0 % of synapses cut"].difference == (0.0, 0.0, 0.0)
    assert rows["noise on the stimulus, 0 sd"].difference == (0.0, 0.0, 0.0)
    floor = named.task.floor()
    assert rows["100 % of synapses cut"].score[0] == pytest.approx(floor, abs=0.1)
    assert rows["100 % of synapses cut"].hurts and rows["hidden silenced"].hurts
    assert rows["plasticity off"].score[0] == pytest.approx(floor, abs=0.1)
    halves = rows["plasticity off in the first half"], rows["plasticity off in the second half"]
    assert all(rows["plasticity off"].score[0] < row.score[0] < rows["as it is"].score[0] for row in halves)


def test_the_rule_is_transplanted(named):
    rows = table(perturb(named, n_episodes=50, batch=25))
    fresh = named.learner.init(generator(1, "init"))
    mixed = {n: named.params[n] if n.startswith("plastic.rule.") else fresh[n] for n in named.params}
    stream, scores = generator(0, "perturb"), []
    for _ in range(2):
        episode = named.task.sample(stream, 25, "test")
        with torch.no_grad():
            scores.append(named.task.score(named.learner.respond(mixed, episode, named.task), episode.scored))
    assert rows["the rule, everything else fresh"].score[0] == pytest.approx(float(torch.cat(scores).mean()), rel=1e-6)
    assert np.isfinite([row.score for row in rows.values()]).all()


def test_closed_loops_and_spikes(tmp_path):
    task = nm.tasks.get("reversal")(n_steps=20)
    run = nm.meta_train(
        nm.PlasticLearner(nm.networks.recurrent(task.n_in, task.n_out, nm.rules.gated_hebb, n_hidden=5)),
        task,
        n_iterations=2,
    )
    rows = table(perturb(run, n_episodes=20, batch=10))
    assert "m_hidden upside down" in rows
    task = nm.tasks.get("gaussian_clusters")(n_way=2, n_query=2)
    network = nm.networks.spiking(task.n_in, task.n_out, nm.rules.r_stdp, n_hidden=5)
    run = nm.meta_train(nm.PlasticLearner(network, hold=10), task, n_iterations=1, n_tasks=4)
    rows = table(perturb(run, n_episodes=10, batch=5, lesions=()))
    assert {"m_out clamped to its mean", "hidden silenced", "plasticity off in the first half"} <= set(rows)


def test_refusals(named):
    maml = nm.GradientLearner(nm.networks.mlp(1, 1))
    with pytest.raises(SpecificationError, match=r"GradientLearner has no rule to perturb"):
        perturb(nm.Run(maml, nm.tasks.Sinusoid(), nm.Backprop(), maml.init(generator(0, "x"))))
    with pytest.raises(SpecificationError, match=r"lesions in 0 to 1"):
        perturb(named, lesions=(2.0,))


def test_command(tmp_path, capsys):
    words = ["train", "--task", "gaussian_clusters", "--network", "modulated", "--iterations", "2", "--tasks", "4"]
    assert command([*words, "--validate-every", "0", "--run", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert command(["perturb", str(tmp_path / "run"), "--episodes", "20", "--lesions", "0.5", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["name"] == "as it is" and "50 % of synapses cut" in [row["name"] for row in rows]
    assert command(["perturb", str(tmp_path / "run"), "--episodes", "20"]) == 0
    assert "minus as it is, paired" in capsys.readouterr().out
    assert command(["perturb", str(tmp_path / "run"), "--episodes", "1"]) == 1
    assert command(["distil", str(tmp_path / "run"), "--test-episodes", "20", "--out", str(tmp_path / "r.py")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("dw = ") and "plastic, rule 'gated_hebb'" in out and f"--rule {tmp_path}/r.py:rule" in out
    words = ["train", "--task", "gaussian_clusters", "--network", "modulated", "--iterations", "1", "--tasks", "4"]
    assert command([*words, "--rule", f"{tmp_path}/r.py:rule", "--run", str(tmp_path / "again")]) == 0
    capsys.readouterr()
    assert command(["distil", str(tmp_path / "run"), "--test-episodes", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["r2"] > 0.99 and {"term", "coefficient", "low", "high", "probability"} == set(found["terms"][0])
    for wrong in (["--episodes", "2"], ["--variables", "psot"], ["--projection", "x"], ["--out", "r.txt"]):
        assert command(["distil", str(tmp_path / "run"), *wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1
