"""Whatever is wrong with what a user types is one clear line, and an exit status."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from neurometa.cli.output import print_json

TINY = ["--task", "tracking", "--network", "tracker", "--set", "task.n_steps=10", "task.n_skip=2", "network.n_hidden=3"]
QUICK = ["--iterations", "2", "--tasks", "2"]


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
    line = cli.refused(*command.split(), status=2)
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
    line = cli.refused(*command)
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
    line = cli.refused("train", *TINY, *QUICK, "--rule", rule)
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
        (["--network", "own.py:failing"], ["fails with ValueError: two lines"]),
        (["--network", "own.py:stubborn", "--rule", "delta"], ["fails with TypeError", "rule"]),
        (["--learner", "own.py:Mine"], ["not a class derived from Learner"]),
    ],
)
def test_a_file_that_does_not_do_is_one_line(cli, own, arguments, words):
    (own / "broken.py").write_text("def (:\n")
    (own / "raising.py").write_text("1 / 0\n")
    (own / "leaving.py").write_text("raise SystemExit(3)\n")
    rest = [] if "--task" in arguments else ["--task", "tracking"]
    line = cli.refused("train", *arguments, *rest, *QUICK)
    for word in words:
        assert word in line, line


def test_missing_and_damaged_data_say_how_to_get_them(cli, here):
    line = cli.refused("train", "--task", "omniglot", *QUICK, "--run", "r")
    assert "neurometa data fetch omniglot" in line and "NEUROMETA_DATA" in line and str(here / "no-data") in line
    line = cli.refused("train", "--task", "omniglot", *QUICK, "--run", "r", "--data-root", "shelf")
    assert "no omniglot.npz in shelf" in line
    Path("shelf").mkdir()
    for rubbish in (b"", b"PK\x03\x04 rubbish", b"rubbish" * 1000):
        Path("shelf/omniglot.npz").write_bytes(rubbish)
        line = cli.refused("train", "--task", "omniglot", *QUICK, "--run", "r", "--data-root", "shelf")
        assert "shelf/omniglot.npz is not a readable .npz file" in line and "neurometa data fetch omniglot" in line
        Path("own.npz").write_bytes(rubbish)
        line = cli.refused("train", "--task", "arrays", "--set", "task.path=own.npz", *QUICK, "--run", "s")
        assert "own.npz is not a readable .npz file" in line


def test_a_run_folder_is_protected(cli, trained):
    before = {file.name: file.read_bytes() for file in Path(trained).iterdir()}
    command = ["train", *TINY, *QUICK, "--validate-every", "1", "--run", trained]
    assert "already holds this run; add --resume to continue it" in cli.refused(*command)
    line = cli.refused(*command, "--seed", "3", "--resume")
    assert "holds a run of another configuration: seed is 0 there, 3 here" in line
    line = cli.refused("train", "--task", "volatility", *TINY[2:], *QUICK, "--run", trained, "--resume")
    assert "task is tracking there, volatility here" in line
    assert cli.json(*command, "--resume", "--json")["iterations"] == 2
    assert before == {file.name: file.read_bytes() for file in Path(trained).iterdir()}


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "config.json"])
def test_a_damaged_run_is_one_line(cli, trained, name):
    Path(trained, name).write_bytes(Path(trained, name).read_bytes()[:-7])
    checkpoint = "best" if name == "best.pt" else "last"
    line = cli.refused("evaluate", trained, "--checkpoint", checkpoint)
    assert f"{trained}/{name}" in line and ("damaged" in line or "cannot be read" in line)


def test_an_unwritable_target_is_one_line(cli, here):
    Path("file").write_text("precious")
    for target in ("file", "file/run", "/dev/null/run"):
        line = cli.refused("train", *TINY, *QUICK, "--run", target)
        assert f"cannot make the run folder {target}" in line
        line = cli.refused("quickstart", "--iterations", "1", "--run", target)
        assert "cannot make the run folder" in line
    line = cli.refused("data", "fetch", "omniglot", "--data-root", "file/data")
    assert "file/data" in line
    assert Path("file").read_text() == "precious"


def test_a_run_that_diverges_is_one_line_and_can_be_evaluated(cli, here):
    command = ["train", "--task", "tracking", "--network", "tracker", "--rule", "delta", "--tasks", "4"]
    line = cli.refused(*command, "--lr", "100", "--clip", "0", "--iterations", "20", "--run", "r")
    assert "at iteration 2; the parameters after iteration 0" in line and "smaller learning rate" in line
    found = cli.json("evaluate", "r", "--episodes", "20", "--json")
    assert found["rows"][0]["mean"] < 0.4


def test_numbers_that_json_does_not_have_become_null(cli, here, capsys):
    print_json({"a": math.nan, "b": [1.5, math.inf, {"c": -math.inf}], "d": None})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None, {"c": None}], "d": None}
    cli.refused("train", "--task", "tracking", "--network", "associative", "--iterations", "9", "--run", "r")
    assert cli.json("evaluate", "r", "--episodes", "20", "--json")["rows"][0] == {
        "name": "learned", "mean": None, "n": 20, "over": "episodes",
    }  # fmt: skip
