"""``neurometa crosscheck`` and ``neurometa verify``: agreement on trained runs, exit codes, one-line errors."""

import json
import subprocess
import sys

import pytest

import neurometa as nm
from neurometa.cli.main import run

brian2 = pytest.importorskip("brian2")


@pytest.fixture(scope="module")
def glyph_run(tmp_path_factory):
    """A float32 run of the quickstart's kind: conv trunk, modulated network, trained a little."""
    folder = tmp_path_factory.mktemp("runs") / "glyphs"
    task = nm.tasks.Glyphs()
    trunk = nm.ConvTrunk(task.image_shape, channels=(4, 4, 4), out="unit")
    learner = nm.PlasticLearner(nm.networks.modulated(trunk.n_features, 5, n_hidden=8, alpha=5.0), trunk)
    nm.meta_train(learner, task, nm.Backprop(lr=3e-3), n_iterations=5, n_tasks=8, run_dir=folder)
    return folder


def test_a_float32_run_agrees_over_the_whole_episode(glyph_run, capsys):
    assert run(["crosscheck", str(glyph_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    closed, single = found["checks"]
    assert found["agrees"] and closed["mode"] == "closed loop" and single["mode"] == "float32"
    assert closed["horizon"] == closed["n_steps"] == 10
    assert max(row["largest"] for row in closed["rows"]) <= 1e-10
    assert 0 < max(row["largest"] for row in single["rows"]) <= 1e-5
    assert {"w.plastic", "traces.plastic.elig", "x.dopamine"} <= {row["name"] for row in closed["rows"]}


def test_replay_compares_the_synapses(glyph_run, capsys):
    assert run(["crosscheck", str(glyph_run), "--replay", "--json"]) == 0
    (replay,) = json.loads(capsys.readouterr().out)["checks"]
    assert replay["mode"] == "replay"
    assert [row["name"] for row in replay["rows"]] == ["w.plastic", "traces.plastic.elig"]


def test_disagreement_is_exit_1_and_named(glyph_run, capsys):
    assert run(["crosscheck", str(glyph_run), "--tolerance", "1e-30"]) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS" in printed and "DISAGREES" in printed


def test_a_gradient_learner_is_refused(tmp_path, capsys):
    task = nm.tasks.Sinusoid()
    nm.meta_train(nm.GradientLearner(nm.networks.mlp(1, 1)), task, n_iterations=1, n_tasks=2, run_dir=tmp_path / "g")
    assert run(["crosscheck", str(tmp_path / "g")]) == 1
    assert "plastic learner" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["verify"], ["crosscheck", "RUN"]])
def test_without_brian2_one_line_says_what_to_install(glyph_run, command):
    words = [str(glyph_run) if word == "RUN" else word for word in command]
    code = f"import sys; sys.modules['brian2'] = None; from neurometa.cli.main import run; sys.exit(run({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "pip install" in done.stderr and "Traceback" not in done.stderr


def test_without_brian2_the_rest_works():
    code = (
        "import sys; sys.modules['brian2'] = None\n"
        "import neurometa as nm\n"
        "network = nm.networks.tracker(1, 1)\n"
        "task = nm.tasks.Volatility(n_steps=5, n_skip=1)\n"
        "nm.meta_train(nm.PlasticLearner(network), task, n_iterations=1, n_tasks=2)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_interactive_run_is_compared_on_what_its_choices_brought_about(tmp_path, capsys, monkeypatch):
    module, shown = sys.modules["neurometa.cli.crosscheck"], []
    original = module.crosscheck

    def watched(network, params, inputs, **options):
        shown.append(inputs["stimulus"])
        return original(network, params, inputs, **options)

    monkeypatch.setattr(module, "crosscheck", watched)
    task = nm.tasks.Reversal(n_steps=8)
    learner = nm.PlasticLearner(nm.networks.recurrent(task.n_in, task.n_out, n_hidden=4))
    nm.meta_train(learner, task, n_iterations=2, n_tasks=4, run_dir=tmp_path / "run")
    assert run(["crosscheck", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"]
    assert not shown[0][0].any() and shown[0][1:, :, :2].sum(-1).eq(1).all()  # a choice at every step but the first
