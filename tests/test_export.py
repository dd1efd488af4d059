"""Exported scripts, run by a Python that has no neurometa."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa import networks, rules, tasks
from neurometa.bridge import brian2_script, synapses_text
from neurometa.cli.main import run
from neurometa.learners import PlasticLearner
from neurometa.spec import Network, Param, Population, Projection, Spikes
from neurometa.torch_engine.params import constrain

b2 = pytest.importorskip("brian2")
#: Runs a script without neurometa and keeps the weights that it found.
RUNNER = """
import runpy, sys
sys.modules["neurometa"] = sys.modules["torch"] = None
found = runpy.run_path(sys.argv[1], run_name="__main__")
import numpy as np
np.savez(sys.argv[2], **found["w"])
"""


def fresh(script, folder):
    """Run a script in a process of its own, elsewhere; return its weights and what it printed."""
    arguments = [sys.executable, "-c", RUNNER, str(script), str(folder / "found.npz")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "found.npz", allow_pickle=False) as found:
        return dict(found), done.stdout


def apart(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def trained(folder, network):
    """Meta-train a little and return the run folder."""
    task = tasks.get("gaussian_clusters")()
    learner = PlasticLearner(networks.get(network)(task.n_in, task.n_out))
    nm.meta_train(
        learner, task, nm.Backprop(), n_iterations=2, n_tasks=2, validate_every=0, run_dir=folder, dtype=torch.double
    )
    return folder


@pytest.mark.parametrize("network", ["associative", "spiking"])
def test_a_run_becomes_a_script_with_the_same_weights(network, tmp_path, capsys):
    folder = trained(tmp_path / "run", network)
    assert run(["export", "brian2", str(folder), "--episodes", "2", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    source = open(written["script"]).read()
    assert "import neurometa" not in source and "from neurometa" not in source and "pickle=True" not in source
    found, said = fresh(written["script"], tmp_path)
    assert "largest relative difference from the torch engine" in said
    with np.load(written["arrays"], allow_pickle=False) as data:
        for label, w in found.items():
            expected = data[f"expected_{label}"]
            assert w.shape == expected.shape and len(w) == 2
            assert expected.std() > 1e-6  # it has learned
            assert apart(w, expected) < 1e-10


def make(network, folder, n_steps=30, batch=2, change=lambda source: source):
    """Export a network with random parameters and inputs; return torch's weights and the script."""
    stream = torch.Generator().manual_seed(3)
    params = nm.init_params(network, stream, dtype=torch.double)
    params = {k: v + 0.1 * torch.randn(v.shape, generator=stream, dtype=v.dtype) for k, v in params.items()}
    sizes = network.inputs.items()
    inputs = {k: 2 * torch.rand(n_steps, batch, n, generator=stream, dtype=torch.double) for k, n in sizes}
    if "teach" in inputs:
        inputs["teach"] = (torch.arange(n_steps) % 3 < 2).double()[:, None, None].expand(n_steps, batch, 1)
    options = {"learn": [t % 7 != 6 for t in range(n_steps)], "reset": [t == 20 for t in range(n_steps)]}
    with torch.no_grad():
        final = nm.simulate(network, params, inputs, **options).final
    source, data = brian2_script(network, params, inputs, **options, arrays="made.npz")
    (folder / "made.py").write_text(change(source))
    np.savez(folder / "made.npz", **data)
    return {label: w.numpy() for label, w in final.w.items()}, folder / "made.py"


NETWORKS = {
    "spikes on both sides": lambda: networks.spiking(3, 2, rule=rules.get("stdp"), n_hidden=5),
    "learned function": lambda: networks.associative(3, 2, rule=rules.get("mlp_rule")),
    "sum": lambda: networks.associative(3, 2, rule=rules.get("subspace_oja")),
    "modulator": lambda: networks.modulated(3, 2, n_hidden=4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_script_of_every_kind(name, tmp_path):
    ours, script = make(NETWORKS[name](), tmp_path)
    found, _ = fresh(script, tmp_path)
    for label, w in ours.items():
        assert w.std() > 1e-6
        assert apart(found[label], w) < 1e-10


def test_a_script_that_is_changed_gives_other_weights(tmp_path):
    """What the comparison would see: one number of the rule that is wrong in the seventh digit."""
    network = networks.associative(3, 2, rule=rules.get("oja"))
    label = network.plastic[0].label
    digits = r"r_eta = ([0-9.e-]+)"

    def change(source):
        import re

        assert re.search(digits, source)
        return re.sub(digits, lambda m: f"r_eta = {float(m[1]) * (1 + 1e-6)!r}", source)

    ours, script = make(network, tmp_path, change=change)
    found, _ = fresh(script, tmp_path)
    assert 1e-10 < apart(found[label], ours[label]) < 1e-4


def test_names_that_the_script_needs_itself(tmp_path):
    populations = (Population("data", 2), Population("step", 2, "tanh(drive)"))
    wires = Projection("data", "step", rule=rules.get("hebb"))
    ours, script = make(Network(populations, (wires,)), tmp_path)
    found, _ = fresh(script, tmp_path)
    assert apart(found["data__step"], ours["data__step"]) < 1e-10
    assert "data_neurons = NeuronGroup" in script.read_text()


@pytest.mark.parametrize("rule", ["stdp", "triplet_stdp", "inhibitory_stdp"])
def test_the_printed_synapses_work_in_a_network_of_the_users(rule):
    """Model, on_pre, on_post and namespace, as they are printed, between groups written by hand."""
    cells = Population(
        "cells", 2, {"dv/dt": "(18 - v)/tau"}, {"tau": Param(10.0)}, inputs=(), method="exact",
        spikes=Spikes("v > 15", "v = 0"),
    )  # fmt: skip
    wires = Projection("source", "cells", into="v", rule=rules.get(rule), w=Param(0.5, learned=False))
    network = Network((Population("source", 3), cells), (wires,), dt=0.1)
    params = nm.init_params(network, nm.Streams(0)["init"], dtype=torch.double)
    spikes = (np.random.default_rng(0).random((1500, 3)) < 0.01).astype(float)
    ours = nm.simulate(network, params, {"source": torch.from_numpy(spikes)[:, None]}).final.w[wires.label]
    values = {name: value.numpy() for name, value in constrain(network, params).items()}
    before = b2.prefs["codegen.target"]
    b2.prefs["codegen.target"] = "numpy"
    try:
        steps, indices = np.nonzero(spikes)
        source = b2.SpikeGeneratorGroup(3, indices, steps * 0.1 * b2.ms, dt=0.1 * b2.ms)
        target = b2.NeuronGroup(
            2, "dv/dt = (18 - v)/(10*ms) : 1", threshold="v > 15", reset="v = 0", method="exact", dt=0.1 * b2.ms
        )
        scope = {**vars(b2), "source": source, "target": target}
        exec(synapses_text(network, wires, values), scope)
        synapses = scope["synapses"]
        synapses.connect()
        synapses.w = 0.5
        b2.Network(source, target, synapses).run(150 * b2.ms, namespace={})
        theirs = np.array(synapses.w).reshape(3, 2).T
    finally:
        b2.prefs["codegen.target"] = before
    assert theirs.std() > 1e-4
    assert apart(ours[0].numpy(), theirs) < 1e-10


def test_the_command_prints_synapses(tmp_path, capsys):
    folder = trained(tmp_path / "run", "spiking")
    assert run(["export", "brian2", str(folder), "--synapses"]) == 0
    said = capsys.readouterr().out
    assert "model = '''" in said and "v_post += w0 + alpha * w" in said and "namespace = {" in said


def test_mistakes_are_one_line(tmp_path, capsys):
    assert run(["export", "brian2", str(tmp_path)]) == 1
    assert "is not a run folder" in capsys.readouterr().err
    folder = trained(tmp_path / "run", "associative")
    assert run(["export", "brian2", str(folder), "--out", str(tmp_path / "script.txt")]) == 1
    assert "it must end in .py" in capsys.readouterr().err
    assert run(["export", "brian2", str(folder), "--episodes", "0"]) == 1
    assert run(["export", "nest", str(folder)]) == 2
