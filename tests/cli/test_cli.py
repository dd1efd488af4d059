"""The command line: what it lists, trains and evaluates; results are on standard output, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

TINY = ["--task", "tracking", "--network", "tracker", "--set", "task.n_steps=10", "task.n_skip=2", "network.n_hidden=3"]
QUICK = ["--iterations", "2", "--tasks", "2"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["quickstart", "train", "evaluate", "rules", "tasks", "networks", "learners", "data"]),
        (["--help"], ["quickstart", "train", "evaluate", "rules", "tasks", "networks", "learners", "data"]),
        (["quickstart", "--help"], ["--iterations", "--episodes", "--run", "--seed", "--json", "continued"]),
        (["train", "--help"], ["PATH.py:NAME (the file is executed)", "equation", "neurometa tasks", "--set", "w0"]),
        (
            ["train", "--help"],
            [
                "task.n_way=20",
                "cosine (falls to 0 at the end; the default) or constant",
                "auto (conv before images), conv or none",
            ],
        ),
        (["evaluate", "--help"], ["train, validation or test", "best (on validation) or last", "--task", "executed"]),
        (
            ["compare", "--help"],
            ["PATH.toml, or PATH.py:NAME", "goes on where it was", "smoke, default or paper", "--seeds"],
        ),
        (["report", "--help"], ["one HTML page that needs nothing else", "--out"]),
        (["rules", "--help"], ["list", "show", "a name, PATH.py:NAME, or an equation"]),
        (["tasks", "--help"], ["--json"]),
        (["networks", "--help"], ["--json"]),
        (["learners", "--help"], ["--json"]),
        (["data", "--help"], ["info", "fetch", "NEUROMETA_DATA", "--data-root"]),
    ],
)
def test_help_says_what_is_allowed(cli, command, words):
    status, output, lines = cli(*command)
    plain = " ".join(output.translate({ord("│"): " ", ord("|"): " "}).split())
    assert status == 0 and lines == []
    for word in words:
        assert word in plain


def test_version(cli):
    status, output, _ = cli("--version")
    assert status == 0 and output.startswith("neurometa ")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("rules", ["delta", "gated_hebb", "hebb", "oja"]),
        ("tasks", ["arrays", "glyphs", "omniglot", "tracking", "volatility"]),
        ("networks", ["associative", "modulated", "recurrent", "tracker"]),
        ("learners", ["gradient", "plastic"]),
        ("learners", ["backprop", "evolution", "forward", "reptile"]),
    ],
)
def test_lists(cli, kind, names):
    status, output, _ = cli(kind)
    assert status == 0 and "``" not in output and ":math:" not in output
    found = {name: entry for part in cli.json(kind, "--json").values() for name, entry in part.items()}
    assert set(names) <= set(found)
    for name in found:
        assert name in output
        assert all(isinstance(text, str) for text in found[name].values())


def test_rules_show(cli, own):
    _, output, _ = cli("rules", "show", "gated_hebb")
    for text in ("dw/dt = eta*m*elig - decay*w", "delig/dt = -elig/tau + pre*post", "class: three-factor", "doi:"):
        assert text in output
    assert "tau = 2.0 ms (positive, per scalar, at least 1.0)" in output
    assert "dw/dt = rate*pre*error_post" in cli("rules", "show", "own.py:slow")[1]
    found = cli.json("rules", "show", "dw = eta*pre*post - decay*w; decay = 0.25", "--json")
    params = found["description"] if isinstance(found["description"], dict) else json.loads(found["description"])
    assert params["params"]["decay"]["init"] == 0.25 and params["dw"] == "eta*pre*post - decay*w"


def test_data_info(cli, here):
    status, output, _ = cli("data", "info")
    assert status == 0 and "present: False" in output and "neurometa data fetch omniglot" in output
    (omniglot, *_) = cli.json("data", "--json")["data"]
    assert omniglot["name"] == "omniglot" and omniglot["path"].startswith(str(here / "no-data"))
    (omniglot, *_) = cli.json("data", "info", "--data-root", "shelf", "--json")["data"]
    assert omniglot["path"] == "shelf/omniglot.npz"


def test_train_and_evaluate(cli, trained):
    found = cli.json("evaluate", trained, "--episodes", "20", "--json")
    assert found["run"] == trained and found["split"] == "test" and found["iteration"] in (1, 2)
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "learned" and "floor (best without support)" in names and "ceiling (ideal observer)" in names
    status, output, lines = cli("evaluate", trained, "--episodes", "20", "--split", "validation", "--seed", "5")
    assert status == 0 and lines == ["scoring 20 validation tasks ..."]
    assert f"{found['rows'][-1]['mean']:.4f}" in output and "squared error" in output and "20 episodes" in output
    assert cli.json("evaluate", trained, "--episodes", "20", "--checkpoint", "last", "--json")["iteration"] == 2


def test_train_prints_where_the_run_is_and_what_was_learned(cli, here):
    status, output, lines = cli("train", *TINY, "--iterations", "40", "--tasks", "2", "--rule", "delta")
    assert status == 0 and "run folder: runs/tracking-tracker-0" in output and "cue.rule.eta = 0.1" in output
    assert "next: neurometa evaluate runs/tracking-tracker-0" in output
    assert len(lines) == 10 and all(line.startswith("meta-training: ") for line in lines)
    for text in ("40/40", "loss 0.", "validation squared error 0.", "episodes/s", "0:00 left"):
        assert text in lines[-1]


def test_train_json_says_what_was_learned(cli, here):
    found = cli.json("train", *TINY, *QUICK, "--rule", "delta", "--validate-every", "1", "--run", "r", "--json")
    assert found["run"] == "r" and found["iterations"] == 2 and 0 < found["loss"] < 1 and 0 < found["validation"] < 1
    assert found["rule"] == {"cue.rule.eta": pytest.approx(0.1, abs=0.01)}
    assert cli.json("train", *TINY, *QUICK, "--rule", "delta", "--validate-every", "1", "--run", "r", "--resume", "--json") == found  # fmt: skip # noqa: E501
    without = cli.json("train", *TINY, *QUICK, "--validate-every", "0", "--run", "s", "--json")
    assert without["validation"] is None and without["rule"] == {}


def test_a_rule_may_be_typed(cli, here):
    rule = "dw = eta*x*error_post - decay*w; dx/dt = -x/tau + pre; eta = 0.2; decay = 0.01"
    found = cli.json("train", *TINY, *QUICK, "--rule", rule, "--run", "r", "--json")
    assert found["rule"].keys() == {"cue.rule.eta", "cue.rule.decay", "cue.rule.tau"}
    assert found["rule"]["cue.rule.decay"] == pytest.approx(0.01, abs=0.01)
    assert cli.json("evaluate", "r", "--episodes", "10", "--json")["rule"] == found["rule"]


def test_rule_network_learner_and_task_may_come_from_a_file(cli, own):
    options = [*TINY[4:], *QUICK, "--json"]
    by_rule = cli.json("train", *TINY, *QUICK, "--rule", "own.py:slow", "--run", "a", "--json")
    assert by_rule["rule"].keys() == {"cue.rule.rate"}
    cli.json("evaluate", "a", "--episodes", "10", "--json")
    cli.json("train", "--task", "tracking", "--network", "own.py:network", "--run", "b", *options)
    (own / "own.py").rename(own / "elsewhere.py")  # a network is kept as its description
    cli.json("evaluate", "b", "--episodes", "10", "--json")
    (own / "elsewhere.py").rename(own / "own.py")
    own_task = ["--task", "own.py:Mine", "--network", "tracker", "--learner", "own.py:Own", "--outer", "own.py:Still"]
    cli.json("train", *own_task, "--run", "c", *options)
    line = cli.refused("evaluate", "c", "--episodes", "10", "--json")
    assert "the run's learner is 'custom Own', which is not part of neurometa" in line and "--learner PATH.py:" in line
    line = cli.refused("evaluate", "c", "--learner", "own.py:Own")
    assert "the run's task is 'custom Mine'" in line and "--task PATH.py:NAME" in line
    given = ["--learner", "own.py:Own", "--task", "own.py:Mine"]
    assert "the run's outer is 'custom Still'" in cli.refused("evaluate", "c", *given)
    given += ["--outer", "own.py:Still"]
    assert cli.json("evaluate", "c", *given, "--episodes", "10", "--json")["score"] == "my error"
    cli.json("train", *own_task, *options)
    assert Path("runs/Mine-tracker-0/last.pt").exists()


def test_options_reach_what_they_belong_to(cli, here):
    glyphs = ["task.n_classes=30", "task.n_held_out=8", "task.n_validation=8", "task.size=12", "task.n_way=3"]
    more = ["network.n_hidden=6", "network.alpha=2.5", "outer.weight_decay=0.01", "trunk.channels=4,4"]
    more += ["learner.checkpoint_every=2", "task.shuffle_labels=true"]
    command = ["train", "--set", *glyphs, *more, *QUICK, "--learn", "rule", "w0", "--clip", "0", "--float64"]
    cli.json(*command, "--run", "r", "--json")
    config = json.loads(Path("r/config.json").read_text())
    task, outer = config["task"]["settings"], config["outer"]["settings"]
    assert (task["n_way"], task["size"], task["shuffle_labels"]) == (3, 12, True)
    assert (outer["weight_decay"], outer["clip"], outer["schedule"]) == (0.01, 0.0, "cosine")
    learner = config["learner"]["settings"]
    assert learner["trunk"]["channels"] == [4, 4] and learner["checkpoint_every"] == 2
    assert config["learn"] == ["rule", "w0"] and config["dtype"] == "torch.float64"
    sizes = {population["name"]: population["size"] for population in learner["network"]["populations"]}
    assert sizes["hidden"] == 6 and sizes["out"] == 3
    cli.json("evaluate", "r", "--episodes", "10", "--json")


@pytest.mark.parametrize("name", ["backprop", "evolution", "forward"])
def test_every_outer_algorithm_trains_and_resumes(cli, here, name):
    options = ["outer.population=4"] if name == "evolution" else []
    command = ["train", *TINY, *options, "--rule", "delta", "--outer", name, "--lr", "0.01", "--tasks", "3"]
    command += ["--validate-every", "2", "--json", "--iterations", "6"]
    whole = cli.json(*command, "--run", "whole")
    assert whole["rule"]["cue.rule.eta"] != pytest.approx(0.1, rel=1e-4)
    config = json.loads(Path("whole/config.json").read_text())
    assert config["outer"]["name"] == name
    assert config["outer"]["settings"]["lr"] == 0.01 and config["outer"]["settings"]["schedule"] == "cosine"
    assert cli.json("evaluate", "whole", "--episodes", "4", "--json")["rule"] == whole["rule"]


def test_device_is_recorded_nowhere_and_may_change(cli, trained):
    command = ["train", *TINY, *QUICK, "--validate-every", "1", "--run", trained, "--resume", "--json"]
    cli.json(*command, "--device", "cpu")
    cli.json("evaluate", trained, "--device", "cpu", "--episodes", "4", "--json")
    if torch.cuda.is_available():
        cli.json("evaluate", trained, "--device", "cuda", "--episodes", "4", "--json")
