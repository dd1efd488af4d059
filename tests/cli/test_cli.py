"""The command line: results on standard output, one clear line for everything that goes wrong, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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
    raise KeyError("two\\nlines")
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


@pytest.fixture
def cli(capsys):
    """Return a function that runs a command and returns its status, its output, and its error lines."""

    def call(*arguments):
        capsys.readouterr()
        try:
            status = run([*map(str, arguments)])
        except SystemExit as stop:
            status = stop.code or 0
        output, errors = capsys.readouterr()
        return status, output, errors.splitlines()

    return call


def refusal(result, status=1):
    """Return the one line with which a command was refused."""
    found, output, lines = result
    assert found == status, (output, lines)
    assert output == ""
    lines = [line for line in lines if not line.startswith(("meta-training: ", "scoring "))]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ") and len(lines[0]) < 900 and "Traceback" not in lines[0]
    return lines[0]


def only_json(result):
    """Return the JSON object that a command printed and nothing else."""
    status, output, lines = result
    assert status == 0 and lines == []
    assert output.endswith("\n") and output.count("\n") == 1
    found = json.loads(output, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


# --- what is listed --------------------------------------------------------------------------------------------------


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
    found = {name: entry for part in only_json(cli(kind, "--json")).values() for name, entry in part.items()}
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
    found = only_json(cli("rules", "show", "dw = eta*pre*post - decay*w; decay = 0.25", "--json"))
    params = found["description"] if isinstance(found["description"], dict) else json.loads(found["description"])
    assert params["params"]["decay"]["init"] == 0.25 and params["dw"] == "eta*pre*post - decay*w"


def test_data_info(cli, here):
    status, output, _ = cli("data", "info")
    assert status == 0 and "present: False" in output and "neurometa data fetch omniglot" in output
    (omniglot, *_) = only_json(cli("data", "--json"))["data"]
    assert omniglot["name"] == "omniglot" and omniglot["path"].startswith(str(here / "no-data"))
    (omniglot, *_) = only_json(cli("data", "info", "--data-root", "shelf", "--json"))["data"]
    assert omniglot["path"] == "shelf/omniglot.npz"


# --- what works ------------------------------------------------------------------------------------------------------


def test_train_and_evaluate(cli, trained):
    found = only_json(cli("evaluate", trained, "--episodes", "20", "--json"))
    assert found["run"] == trained and found["split"] == "test" and found["iteration"] in (1, 2)
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "learned" and "floor (best without support)" in names and "ceiling (ideal observer)" in names
    status, output, lines = cli("evaluate", trained, "--episodes", "20", "--split", "validation", "--seed", "5")
    assert status == 0 and lines == ["scoring 20 validation tasks ..."]
    assert f"{found['rows'][-1]['mean']:.4f}" in output and "squared error" in output and "20 episodes" in output
    assert only_json(cli("evaluate", trained, "--episodes", "20", "--checkpoint", "last", "--json"))["iteration"] == 2


def test_train_prints_where_the_run_is_and_what_was_learned(cli, here):
    status, output, lines = cli("train", *TINY, "--iterations", "40", "--tasks", "2", "--rule", "delta")
    assert status == 0 and "run folder: runs/tracking-tracker-0" in output and "cue.rule.eta = 0.1" in output
    assert "next: neurometa evaluate runs/tracking-tracker-0" in output
    assert len(lines) == 10 and all(line.startswith("meta-training: ") for line in lines)
    for text in ("40/40", "loss 0.", "validation squared error 0.", "episodes/s", "0:00 left"):
        assert text in lines[-1]


def test_train_json_says_what_was_learned(cli, here):
    found = only_json(cli("train", *TINY, *QUICK, "--rule", "delta", "--validate-every", "1", "--run", "r", "--json"))
    assert found["run"] == "r" and found["iterations"] == 2 and 0 < found["loss"] < 1 and 0 < found["validation"] < 1
    assert found["rule"] == {"cue.rule.eta": pytest.approx(0.1, abs=0.01)}
    assert only_json(cli("train", *TINY, *QUICK, "--rule", "delta", "--validate-every", "1", "--run", "r", "--resume", "--json")) == found  # fmt: skip # noqa: E501
    without = only_json(cli("train", *TINY, *QUICK, "--validate-every", "0", "--run", "s", "--json"))
    assert without["validation"] is None and without["rule"] == {}


def test_a_rule_may_be_typed(cli, here):
    rule = "dw = eta*x*error_post - decay*w; dx/dt = -x/tau + pre; eta = 0.2; decay = 0.01"
    found = only_json(cli("train", *TINY, *QUICK, "--rule", rule, "--run", "r", "--json"))
    assert found["rule"].keys() == {"cue.rule.eta", "cue.rule.decay", "cue.rule.tau"}
    assert found["rule"]["cue.rule.decay"] == pytest.approx(0.01, abs=0.01)
    assert only_json(cli("evaluate", "r", "--episodes", "10", "--json"))["rule"] == found["rule"]


def test_rule_network_learner_and_task_may_come_from_a_file(cli, own):
    options = [*TINY[4:], *QUICK, "--json"]
    by_rule = only_json(cli("train", *TINY, *QUICK, "--rule", "own.py:slow", "--run", "a", "--json"))
    assert by_rule["rule"].keys() == {"cue.rule.rate"}
    only_json(cli("evaluate", "a", "--episodes", "10", "--json"))
    only_json(cli("train", "--task", "tracking", "--network", "own.py:network", "--run", "b", *options))
    (own / "own.py").rename(own / "elsewhere.py")  # a network is kept as its description
    only_json(cli("evaluate", "b", "--episodes", "10", "--json"))
    (own / "elsewhere.py").rename(own / "own.py")
    own_task = ["--task", "own.py:Mine", "--network", "tracker", "--learner", "own.py:Own", "--outer", "own.py:Still"]
    only_json(cli("train", *own_task, "--run", "c", *options))
    line = refusal(cli("evaluate", "c", "--episodes", "10", "--json"))
    assert "the run's learner is 'custom Own', which is not part of neurometa" in line and "--learner PATH.py:" in line
    line = refusal(cli("evaluate", "c", "--learner", "own.py:Own"))
    assert "the run's task is 'custom Mine'" in line and "--task PATH.py:NAME" in line
    given = ["--learner", "own.py:Own", "--task", "own.py:Mine"]
    assert "the run's outer is 'custom Still'" in refusal(cli("evaluate", "c", *given))
    given += ["--outer", "own.py:Still"]
    assert only_json(cli("evaluate", "c", *given, "--episodes", "10", "--json"))["score"] == "my error"
    only_json(cli("train", *own_task, *options))
    assert Path("runs/Mine-tracker-0/last.pt").exists()


def test_options_reach_what_they_belong_to(cli, here):
    glyphs = ["task.n_classes=30", "task.n_held_out=8", "task.n_validation=8", "task.size=12", "task.n_way=3"]
    more = ["network.n_hidden=6", "network.alpha=2.5", "outer.weight_decay=0.01", "trunk.channels=4,4"]
    more += ["learner.checkpoint_every=2", "task.shuffle_labels=true"]
    command = ["train", "--set", *glyphs, *more, *QUICK, "--learn", "rule", "w0", "--clip", "0", "--float64"]
    only_json(cli(*command, "--run", "r", "--json"))
    config = json.loads(Path("r/config.json").read_text())
    task, outer = config["task"]["settings"], config["outer"]["settings"]
    assert (task["n_way"], task["size"], task["shuffle_labels"]) == (3, 12, True)
    assert (outer["weight_decay"], outer["clip"], outer["schedule"]) == (0.01, 0.0, "cosine")
    learner = config["learner"]["settings"]
    assert learner["trunk"]["channels"] == [4, 4] and learner["checkpoint_every"] == 2
    assert config["learn"] == ["rule", "w0"] and config["dtype"] == "torch.float64"
    sizes = {population["name"]: population["size"] for population in learner["network"]["populations"]}
    assert sizes["hidden"] == 6 and sizes["out"] == 3
    only_json(cli("evaluate", "r", "--episodes", "10", "--json"))


@pytest.mark.parametrize("name", ["backprop", "evolution", "forward"])
def test_every_outer_algorithm_trains_and_resumes(cli, here, name):
    options = ["outer.population=4"] if name == "evolution" else []
    command = ["train", *TINY, *options, "--rule", "delta", "--outer", name, "--lr", "0.01", "--tasks", "3"]
    command += ["--validate-every", "2", "--json", "--iterations", "6"]
    whole = only_json(cli(*command, "--run", "whole"))
    assert whole["rule"]["cue.rule.eta"] != pytest.approx(0.1, rel=1e-4)
    config = json.loads(Path("whole/config.json").read_text())
    assert config["outer"]["name"] == name
    assert config["outer"]["settings"]["lr"] == 0.01 and config["outer"]["settings"]["schedule"] == "cosine"
    assert only_json(cli("evaluate", "whole", "--episodes", "4", "--json"))["rule"] == whole["rule"]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bogus", ["bogus", "available subcommands: quickstart, train", "see 'neurometa --help'"]),
        ("train --itrations 4", ["--itrations", "did you mean --iterations?", "see 'neurometa train --help'"]),
        ("train --iterations abc", ["--iterations", "'abc'", "neurometa train --help"]),
        ("train extra", ["extra"]),
        ("train --lr", ["Missing value for argument '--lr'"]),
        ("evaluate", ["Missing from neurometa evaluate: PATH Run folder"]),
        ("rules shw", ["invalid choice 'shw'", "'list', 'show'"]),
        ("data get", ["invalid choice 'get'", "'info', 'fetch'"]),
        ("--bogus", ["--bogus"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(cli, here, command, words):
    line = refusal(cli(*command.split()), status=2)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train", "--task", "volatilty"], ["unknown task 'volatilty' (did you mean 'volatility'?)", "glyphs"]),
        (["train", "--network", "trackr"], ["unknown network 'trackr' (did you mean 'tracker'?)"]),
        (["train", "--rule", "ojja"], ["unknown rule 'ojja' (did you mean 'oja'?)", "gated_hebb"]),
        (["train", "--learner", "plastik"], ["unknown learner 'plastik' (did you mean 'plastic'?)", "gradient"]),
        (["train", "--trunk", "con"], ["unknown trunk 'con' (did you mean 'conv'?)"]),
        (["train", *TINY, "--trunk", "conv"], ["--trunk conv needs a task of images; Tracking has none"]),
        (["train", *TINY, "trunk.out=unit"], ["this run has no trunk"]),
        (["train", "--schedule", "cos"], ["schedule is 'cos'", "cosine"]),
        (["train", "--set", "task.n_wy=5"], ["unknown option of the task 'n_wy' (did you mean 'n_way'?)"]),
        (["train", "--set", "network.hidden=5"], ["unknown option of the network 'hidden' (did you mean 'n_hidden'?)"]),
        (["train", "--set", "learner.step=5"], ["unknown option of the learner 'step'"]),
        (["train", "--set", "outer.beta=5"], ["unknown option of the outer 'beta'", "weight_decay"]),
        (["train", "--set", "outer.lr=5"], ["--set outer.lr: use --lr"]),
        (["train", "--outer", "evolutoin"], ["unknown outer algorithm 'evolutoin' (did you mean 'evolution'?)"]),
        (["train", "--outer", "reptile", "--clip", "1"], ["--clip: the outer algorithm 'reptile' has none"]),
        (["train", *TINY, "--outer", "reptile"], ["Reptile"]),
        (["train", "--set", "trunk.chanels=5"], ["unknown option of the trunk 'chanels' (did you mean 'channels'?)"]),
        (["train", "--set", "n_way=5"], ["--set n_way=5: write one of task.<option>=<value>, network."]),
        (["train", "--set", "task.n_way"], ["--set task.n_way: write one of task.<option>=<value>"]),
        (["train", "--set", "task.n_way=five"], ["task.n_way is 'five'; it must be a whole number"]),
        (["train", "--set", "task.jitter=x"], ["task.jitter is 'x'; it must be a number"]),
        (["train", "--set", "task.shuffle_labels=maybe"], ["task.shuffle_labels is 'maybe'", "true or false"]),
        (["train", "--set", "task.n_way=1"], ["n_way is 1", "2 or more"]),
        (["train", "--device", "cray"], ["--device cray cannot be used"]),
        (["train", "--device", "meta"], ["--device meta cannot be used"]),
        (["train", *TINY, "--seed", "-1"], ["seed is -1"]),
        (["train", *TINY, "--iterations", "0"], ["n_iterations is 0"]),
        (["train", *TINY, "--tasks", "0"], ["n_tasks is 0"]),
        (["train", *TINY, "--lr", "-1"], ["lr"]),
        (["train", *TINY, "--learn", "w1"], ["unknown learned group 'w1'", "modulator, rule, trunk, w0"]),
        (["train", *TINY, "--learn", "trunk"], ["nothing is left to learn", "modulator"]),
        (["train", *TINY, "--tasks", str(10**11)], ["not enough memory; use fewer tasks"]),
        (["train", "--task", "arrays"], ["arrays needs path"]),
        (["train", "--task", "nowhere.py:X"], ["task: there is no file nowhere.py"]),
        (["evaluate", "nowhere"], ["nowhere is not a run folder (no config.json); make one with 'neurometa train'"]),
        (["evaluate", "nowhere", "--split", "tst"], ["unknown split 'tst' (did you mean 'test'?)"]),
        (["evaluate", "nowhere", "--episodes", "1"], ["--episodes is 1; it must be 2 or more"]),
        (["evaluate", "nowhere", "--seed", "-1"], ["--seed is -1; it must be 0 or more"]),
        (["evaluate", "nowhere", "--checkpoint", "newest"], ["checkpoint is 'newest'", "'best', 'last'"]),
        (["quickstart", "--episodes", "1"], ["--episodes is 1; it must be 2 or more"]),
        (["quickstart", "--iterations", "0"], ["n_iterations is 0"]),
        (["rules", "show"], ["rules show needs a name", "oja"]),
        (["rules", "show", "ojja"], ["unknown rule 'ojja' (did you mean 'oja'?)"]),
        (["data", "fetch"], ["data fetch needs a name", "omniglot"]),
        (["data", "fetch", "bogus"], ["unknown data set 'bogus'", "omniglot"]),
        (["data", "fetch", "fly_choice18"], ["fly_choice18 cannot be fetched"]),
    ],
)
def test_bad_input_is_one_line_and_exit_1(cli, here, command, words):
    line = refusal(cli(*command))
    for word in words:
        assert word in line, line
    assert not [*here.rglob("last.pt")]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("dw = eta*pree*post", ["unknown name 'pree' (did you mean 'pre'?)", "declare it: pree = 0.1"]),
        ("dw = eta*pre*psot", ["unknown name 'psot' (did you mean 'post'?)"]),
        ("dw = etaa*pre*post; eta = 0.5", ["unknown name 'etaa' (did you mean 'eta'?)"]),
        ("dw = eta*pre*(post", ["rule, column 9", "not a formula"]),
        ("dw = eta^2*pre", ["**"]),
        ("dw = eta*pre*post ** 40", ["exponents"]),
        ("dw = foo(pre)", ["foo"]),
        ("dw = __import__('os')", ["__import__"]),
        ("dw = " + "(" * 500 + "pre" + ")" * 500, ["rule, column", "not a formula"]),
        ("dw = " + "pre + " * 1000 + "pre", ["6003 characters", "at most 2000"]),
        ("dx = pre", ["there is no dw"]),
        ("= pre", ["is none of 'dw = ...', 'd<trace> = ...' or '<parameter> = number'"]),
        ("w = w + pre", ["write dw = ... for its change"]),
        ("dw = pre; eta = fast", ["'eta = fast' is none of"]),
        ("dw = pre; dw = post", ["'w' is given twice"]),
        ("dw = x; dx = pre; x = 2", ["'x' is given twice"]),
        ("dw = pre; dx = -x + pre", ["dx is given, but nothing else reads 'x'"]),
        ("dw = pre*unknown_post", ["unknown"]),
        ("dw = int(pre)", ["int"]),
    ],
)
def test_a_typed_rule_that_is_wrong_is_refused(cli, here, rule, words):
    line = refusal(cli("train", *TINY, *QUICK, "--rule", rule))
    for word in words:
        assert word in line, line


@pytest.mark.parametrize("rule", ["dw = eta1*pre*error_post - eta2*w; eta1 = 1", "dw = eta*error_post - beta*w; eta=1"])
def test_names_that_are_alike_on_purpose_are_parameters(cli, rule):
    assert cli("rules", "show", rule)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "own.py"], ["own.py lacks the name", "own.py:NAME"]),
        (["--task", "own.py:Mien"], ["unknown attribute 'Mien' (did you mean 'Mine'?)"]),
        (["--task", "own.py:number"], ["not a class derived from Task"]),
        (["--task", "own.py:Half"], ["does not define floor, loss, n_in, n_out, sample, score"]),
        (["--task", "broken.py:X"], ["broken.py fails with SyntaxError"]),
        (["--task", "raising.py:X"], ["raising.py fails with ZeroDivisionError"]),
        (["--task", "leaving.py:X"], ["leaving.py fails with SystemExit"]),
        (["--rule", "own.py:number"], ["'own.py:number' is a int, not a PlasticityRule"]),
        (["--network", "own.py:number"], ["is not a function (n_in, n_out"]),
        (["--network", "own.py:wrong"], ["returned a str, not a Network"]),
        (["--network", "own.py:failing"], ["fails with KeyError: 'two\\nlines'"]),
        (["--network", "own.py:stubborn", "--rule", "delta"], ["fails with TypeError", "rule"]),
        (["--learner", "own.py:Mine"], ["not a class derived from Learner"]),
    ],
)
def test_a_file_that_does_not_do_is_one_line(cli, own, arguments, words):
    (own / "broken.py").write_text("def (:\n")
    (own / "raising.py").write_text("1 / 0\n")
    (own / "leaving.py").write_text("raise SystemExit(3)\n")
    rest = [] if "--task" in arguments else ["--task", "tracking"]
    line = refusal(cli("train", *arguments, *rest, *QUICK))
    for word in words:
        assert word in line, line


def test_missing_and_damaged_data_say_how_to_get_them(cli, here):
    line = refusal(cli("train", "--task", "omniglot", *QUICK, "--run", "r"))
    assert "neurometa data fetch omniglot" in line and "NEUROMETA_DATA" in line and str(here / "no-data") in line
    line = refusal(cli("train", "--task", "omniglot", *QUICK, "--run", "r", "--data-root", "shelf"))
    assert "no omniglot.npz in shelf" in line
    Path("shelf").mkdir()
    for rubbish in (b"", b"PK\x03\x04 rubbish", b"rubbish" * 1000):
        Path("shelf/omniglot.npz").write_bytes(rubbish)
        line = refusal(cli("train", "--task", "omniglot", *QUICK, "--run", "r", "--data-root", "shelf"))
        assert "shelf/omniglot.npz is not a readable .npz file" in line and "neurometa data fetch omniglot" in line
        Path("own.npz").write_bytes(rubbish)
        line = refusal(cli("train", "--task", "arrays", "--set", "task.path=own.npz", *QUICK, "--run", "s"))
        assert "own.npz is not a readable .npz file" in line


def test_a_run_folder_is_protected(cli, trained):
    before = {file.name: file.read_bytes() for file in Path(trained).iterdir()}
    command = ["train", *TINY, *QUICK, "--validate-every", "1", "--run", trained]
    assert "already holds this run; add --resume to continue it" in refusal(cli(*command))
    line = refusal(cli(*command, "--seed", "3", "--resume"))
    assert "holds a run of another configuration: seed is 0 there, 3 here" in line
    line = refusal(cli("train", "--task", "volatility", *TINY[2:], *QUICK, "--run", trained, "--resume"))
    assert "task is tracking there, volatility here" in line
    assert only_json(cli(*command, "--resume", "--json"))["iterations"] == 2
    assert before == {file.name: file.read_bytes() for file in Path(trained).iterdir()}


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "config.json"])
def test_a_damaged_run_is_one_line(cli, trained, name):
    Path(trained, name).write_bytes(Path(trained, name).read_bytes()[:-7])
    checkpoint = "best" if name == "best.pt" else "last"
    line = refusal(cli("evaluate", trained, "--checkpoint", checkpoint))
    assert f"{trained}/{name}" in line and ("damaged" in line or "cannot be read" in line)


def test_an_unwritable_target_is_one_line(cli, here):
    Path("file").write_text("precious")
    for target in ("file", "file/run", "/dev/null/run"):
        line = refusal(cli("train", *TINY, *QUICK, "--run", target))
        assert f"cannot make the run folder {target}" in line
        line = refusal(cli("quickstart", "--iterations", "1", "--run", target))
        assert "cannot make the run folder" in line
    line = refusal(cli("data", "fetch", "omniglot", "--data-root", "file/data"))
    assert "file/data" in line
    assert Path("file").read_text() == "precious"


def test_a_run_that_diverges_is_one_line_and_can_be_evaluated(cli, here):
    command = ["train", "--task", "tracking", "--network", "tracker", "--rule", "delta", "--tasks", "4"]
    line = refusal(cli(*command, "--lr", "100", "--clip", "0", "--iterations", "20", "--run", "r"))
    assert "at iteration 2; the parameters after iteration 0" in line and "smaller learning rate" in line
    found = only_json(cli("evaluate", "r", "--episodes", "20", "--json"))
    assert found["rows"][0]["mean"] < 0.4


# --- as a process ----------------------------------------------------------------------------------------------------


def process(*arguments, **options):
    """Run the console script as a user does."""
    script = Path(sys.executable).with_name("neurometa")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "neurometa.cli.main"]
    options = {"stdout": subprocess.PIPE, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, **options}
    done = subprocess.run([*start, *arguments], stderr=subprocess.PIPE, text=True, timeout=100, **options)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_the_console_script(here):
    assert "unknown rule 'ojja'" in refusal(process("rules", "show", "ojja"))
    assert "--rulez" in refusal(process("train", "--rulez"), status=2)
    assert "oja" in only_json(process("rules", "--json"))["rules"]


def test_output_that_cannot_be_written_is_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:
        for arguments in (["rules"], ["--help"]):
            status, _, lines = process(*arguments, stdout=full)
            assert status == 1 and lines == ["error: No space left on device"]


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, _, lines = process("rules", stdout=writing)
    finally:
        os.close(writing)
    assert status == 1 and lines == []


def test_a_terminal_without_our_characters_gets_replacements():
    status, output, lines = process("--help", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert status == 0 and "quickstart" in output and lines == []


def test_starting_the_command_line_loads_nothing_that_only_some_commands_need():
    heavy = ["matplotlib", "brian2", "scipy", "h5py", "pooch", "sympy", "gymnasium", "PIL"]
    code = f"import neurometa.cli.main, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_device_is_recorded_nowhere_and_may_change(cli, trained):
    command = ["train", *TINY, *QUICK, "--validate-every", "1", "--run", trained, "--resume", "--json"]
    only_json(cli(*command, "--device", "cpu"))
    only_json(cli("evaluate", trained, "--device", "cpu", "--episodes", "4", "--json"))
    if torch.cuda.is_available():
        only_json(cli("evaluate", trained, "--device", "cuda", "--episodes", "4", "--json"))
