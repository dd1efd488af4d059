"""The call itself: the same as torch's, the same trajectory, the same refusals; and Brian2 is left as it was found."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurometa import Save, brian2_engine, rules, torch_engine
from neurometa.errors import EngineError
from neurometa.spec import MLP, Network, Normal, Param, PerEpisode, PlasticityRule, Population, Projection
from neurometa.streams import generator
from neurometa.trajectory import State
from neurometa.verify import contract_networks

b2 = pytest.importorskip("brian2")

F64 = torch.double
SORTED = Population("out", 2, "kwta(drive, 1)")
NETWORK = contract_networks(rules.get("gated_hebb"))["modulated"]
NOISY = Network(
    (Population("stimulus", 2), Population("out", 2, "tanh(drive + 0.1*noise)")),
    (Projection("stimulus", "out", rule=PlasticityRule("r", dw="pre*post - w")),),
)


def drawn(network, steps=12, batch=2):
    stream = generator(0, "drawn")
    params = {name: 0.5 * torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in network.leaves.items()}
    inputs = {name: torch.randn(steps, batch, n, generator=stream, dtype=F64) for name, n in network.inputs.items()}
    return params, inputs


# --- the same call ---------------------------------------------------------------------------------------------------


def test_a_trajectory_has_the_same_names_shapes_and_steps():
    params, inputs = drawn(NETWORK)
    for save in (Save(every=5), Save(("w.*", "x.s*", "drive.*"), every=1), None):
        ours = torch_engine.simulate(NETWORK, params, inputs, save=save)
        theirs = brian2_engine.simulate(NETWORK, params, inputs, save=save)
        assert theirs.steps == ours.steps and set(theirs.saved) == set(ours.saved)
        np.testing.assert_allclose(theirs.output, ours.output, rtol=0, atol=1e-12)
        for name, values in ours.saved.items():
            np.testing.assert_allclose(theirs[name], values, rtol=0, atol=1e-12, err_msg=name)
        for mine, its in zip(ours.final, theirs.final, strict=True):
            assert set(mine) == set(its)
            for name, values in mine.items():
                np.testing.assert_allclose(its[name], values, rtol=0, atol=1e-12, err_msg=name)
    assert brian2_engine.simulate(NETWORK, params, {**inputs, "unknown": None}).saved == {}


def test_a_state_continues_in_either_engine():
    params, inputs = drawn(NETWORK)
    whole = brian2_engine.simulate(NETWORK, params, inputs)
    first, last = ({k: v[part] for k, v in inputs.items()} for part in (slice(0, 5), slice(5, None)))
    half = brian2_engine.simulate(NETWORK, params, first).final
    np.testing.assert_array_equal(brian2_engine.simulate(NETWORK, params, last, state=half).output, whole.output[5:])
    tensors = State(*({key: torch.tensor(value) for key, value in part.items()} for part in half))
    ours = torch_engine.simulate(NETWORK, params, last, state=tensors)
    np.testing.assert_allclose(ours.output, whole.output[5:], rtol=0, atol=1e-12)


def test_a_reset_goes_back_to_the_start_not_to_the_state():
    start = {"start": {"x": Param(0.7)}}
    network = Network(
        (Population("stimulus", 1), Population("out", 1, {"dx/dt": "drive"}, **start)), (Projection("stimulus", "out"),)
    )
    params = {"stimulus__out.w": torch.ones(1, 1), "out.start_x": torch.tensor([0.5])}
    state = State(
        {"one.x": torch.ones(1, 1), "stimulus.x": torch.zeros(1, 1), "out.x": torch.full((1, 1), 9.0)}, {}, {}
    )
    for engine in (torch_engine, brian2_engine):
        made = engine.simulate(network, params, {"stimulus": torch.ones(2, 1, 1)}, reset=[False, True], state=state)
        assert np.asarray(made.output).ravel().tolist() == [10.0, 1.5]


def test_where_the_rule_is_off_nothing_that_it_would_give_is_seen():
    """A rule that divides by zero while it is off leaves its weights alone."""
    network = Network(
        (Population("stimulus", 1), Population("out", 1, "drive")),
        (
            Projection(
                "stimulus", "out", "p", rule=PlasticityRule("r", dw="1/pre", traces={"u": "1/post"}), w=Param(1.0)
            ),
        ),
    )
    inputs = {"stimulus": torch.tensor([1.0, 0.0, 0.0])[:, None, None]}
    made = brian2_engine.simulate(
        network, {"p.w": torch.ones(1, 1)}, inputs, learn=[True, False, False], save=Save(("w.*", "traces.*"))
    )
    assert made["w.p"].ravel().tolist() == [2.0, 2.0, 2.0]
    assert made["traces.p.u"].ravel().tolist() == [1.0, 1.0, 1.0]


def test_synapses_that_do_not_exist_are_nan_where_kept_and_zero_at_the_end():
    rule = PlasticityRule("r", dw="pre*post", traces={"u": "pre - u"})
    network = Network(
        (Population("stimulus", 2), Population("h", 2, "drive")),
        (Projection("stimulus", "h", "p", rule=rule, w=Param(1.0), mask="one_to_one"),),
    )
    made = brian2_engine.simulate(
        network, {"p.w": torch.ones(1, 1)}, {"stimulus": torch.ones(1, 1, 2)}, save=Save(("w.*",))
    )
    np.testing.assert_array_equal(made["w.p"][0, 0], [[2.0, np.nan], [np.nan, 2.0]])
    assert made.final.w["p"].tolist() == [[[2.0, 0.0], [0.0, 2.0]]]
    assert made.final.traces["p.u"].tolist() == [[[1.0, 1.0]]]


@pytest.mark.parametrize("dt", [0.1, 1 / 3, 7.3, 1e-3])
def test_every_dt_gives_every_step(dt):
    network = Network(
        (Population("stimulus", 1), Population("out", 1, {"dx/dt": "drive"})), (Projection("stimulus", "out"),), dt=dt
    )
    made = brian2_engine.simulate(network, {"stimulus__out.w": torch.ones(1, 1)}, {"stimulus": torch.ones(333, 1, 1)})
    assert made.output[:, 0, 0] == pytest.approx(dt * np.arange(1, 334), rel=1e-12)


# --- refusals --------------------------------------------------------------------------------------------------------

PARAMS, INPUTS = drawn(NOISY)
NOISE = {"out": torch.zeros(12, 2, 2)}
DRAWN = Network(
    (Population("stimulus", 2), Population("out", 2, "drive", start={"x": Param(PerEpisode(Normal()))})),
    (Projection("stimulus", "out", w=Param(PerEpisode(Normal()))),),
)
LEARNED = PlasticityRule("r", dw="f(pre)", functions={"f": MLP(1, (2,))})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": {}}, "input 'stimulus' is missing; network 'network' reads stimulus"),
        (
            {"inputs": {"stimulus": torch.ones(3, 2)}},
            r"input 'stimulus' has shape \(3, 2\); allowed: \(time, batch, 2\)",
        ),
        ({"inputs": {"stimulus": torch.ones(3, 1, 5)}}, r"allowed: \(time, batch, 2\)"),
        ({"noise": None}, "population 'out' reads noise; pass noise="),
        ({"noise": {"out": torch.ones(12, 1, 2)}}, r"noise of 'out' has shape \(12, 1, 2\); allowed: \(12, 2, 2\)"),
        ({"learn": [True]}, "learn has 1 steps, the inputs have 12"),
        ({"reset": torch.ones(4) > 0}, "reset has 4 steps, the inputs have 12"),
        ({"params": {}}, "parameter 'stimulus__out.w' is missing"),
        ({"params": {"stimulus__out.w": torch.ones(2)}}, r"'stimulus__out.w' has shape \(2,\); allowed: \(1, 1\)"),
        ({"params": {"stimulus__out.w": torch.ones(3, 1, 1)}}, "one batch axis of 2 more in front"),
        ({"save": Save(("spikes.*",))}, r"Save: 'spikes.\*' matches nothing"),
        (
            {"network": Network((Population("out", 1, "drive"),)), "params": {}},
            "network 'network' has no input population",
        ),
        ({"network": DRAWN, "params": {}}, "parameter '[a-z_.]+' is drawn per episode; put its values into params"),
    ],
)
def test_refusals(changed, message):
    call = {"network": NOISY, "params": PARAMS, "inputs": INPUTS, "noise": NOISE} | changed
    network, params, inputs = (call.pop(name) for name in ("network", "params", "inputs"))
    with pytest.raises(EngineError, match=message):
        brian2_engine.simulate(network, params, inputs, **call)


def test_inputs_that_differ_in_length_are_refused():
    network = Network((Population("a", 1), Population("b", 1), Population("out", 1, "drive")))
    with pytest.raises(EngineError, match=r"inputs differ in \(time, batch\): \[\(2, 1\), \(3, 1\)\]"):
        brian2_engine.simulate(network, {}, {"a": torch.ones(3, 1, 1), "b": torch.ones(2, 1, 1)})


# --- a guest in the user's process -----------------------------------------------------------------------------------


@pytest.fixture
def unlike():
    """Set Brian2's preferences as a user might, and put them back afterwards."""
    wanted = {
        "codegen.target": "cython",
        "codegen.loop_invariant_optimisations": True,
        "core.default_float_dtype": np.float32,
        "logging.file_log": True,
    }
    before = {name: b2.prefs[name] for name in wanted}
    for name, value in wanted.items():
        b2.prefs[name] = value
    yield wanted
    for name, value in before.items():
        b2.prefs[name] = value


def test_preferences_are_restored_and_do_not_matter(unlike):
    params, inputs = drawn(NETWORK)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 (Brian2's generator)
    clock, hook = b2.defaultclock.dt, sys.excepthook
    made = brian2_engine.simulate(NETWORK, params, inputs)
    ours = torch_engine.simulate(NETWORK, params, inputs)
    np.testing.assert_allclose(made.output, ours.output, rtol=0, atol=1e-13)
    assert {name: b2.prefs[name] for name in unlike} == unlike
    with pytest.raises(EngineError, match="matches nothing"):
        brian2_engine.simulate(NETWORK, params, inputs, save=Save(("nothing",)))
    assert {name: b2.prefs[name] for name in unlike} == unlike
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert b2.defaultclock.dt == clock and sys.excepthook is hook


def test_nothing_is_printed(capfd):
    params, inputs = drawn(NETWORK)
    brian2_engine.simulate(NETWORK, params, inputs, save=Save())
    huge = {name: 1e200 * value for name, value in inputs.items()}  # overflows on the way, without a word
    brian2_engine.simulate(NETWORK, params, huge)
    with pytest.raises(EngineError, match="matches nothing"):
        brian2_engine.simulate(NETWORK, params, inputs, save=Save(("nothing",)))
    with pytest.raises(EngineError, match="kwta"):
        brian2_engine.simulate(replace(NOISY, populations=(NOISY.populations[0], SORTED)), PARAMS, INPUTS)
    gc.collect()  # Brian2 complains of objects that never ran when they are collected
    assert capfd.readouterr() == ("", "")


OWN_RUN = """
import neurometa as nm, torch
from neurometa import brian2_engine, rules
from neurometa.verify import contract_networks
from neurometa.brian2_engine.simulate import Model

made = []
init = Model.__init__
Model.__init__ = lambda self, *arguments: (init(self, *arguments), made.append(self))[0]
network = contract_networks(rules.get("hebb"))["recurrent"]
params = {name: torch.ones(leaf.shape) for name, leaf in network.leaves.items()}
inputs = {"stimulus": torch.ones(5, 1, 3)}
simulate = brian2_engine.simulate
simulate(network, params, inputs)
objects = made[0].objects
w = made[0].synapses["plastic"].w[:].tolist()

import brian2 as b2
b2.prefs.codegen.target = "numpy"
group = b2.NeuronGroup(1, "dv/dt = 1/ms : 1", method="euler")
kept = objects[0], made[0].groups["hidden"]
b2.run(1*b2.ms)
collected = {each.name for each in b2.collect()}
print(round(group.v[0], 9), sorted(collected), made[0].synapses["plastic"].w[:].tolist() == w)
"""


def script(code, path, **more):
    """Run a script in a process of its own; return what it printed, its errors, and the files that it left."""
    (path / "script.py").write_text(code)
    folder = path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", **more}
    found = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, cwd=path, env=environment, check=False
    )
    return found, sorted(os.listdir(folder))


def test_a_users_own_run_does_not_run_ours(tmp_path):
    found, _ = script(OWN_RUN, tmp_path)
    assert found.stdout.split() == ["1.0", "['neurongroup']", "True"], found.stderr
    assert found.stderr == ""


def test_no_log_file_is_left_even_after_an_error(tmp_path):
    code = (
        "import os, sys, warnings\n"
        "before = sys.excepthook, warnings.showwarning\n"
        "from neurometa.brian2_engine._brian2 import load\n"
        "load()\n"
        "print(os.listdir(os.environ['TMPDIR']), (sys.excepthook, warnings.showwarning) == before)\n"
        "raise KeyError('as usual')\n"
    )
    found, left = script(code, tmp_path)
    assert found.stdout == "[] True\n" and left == []
    assert found.stderr.startswith("Traceback") and found.stderr.endswith("KeyError: 'as usual'\n")
    assert "Brian 2" not in found.stderr


def test_a_log_file_of_the_user_is_kept(tmp_path):
    code = (
        "import os, brian2\n"
        "from neurometa.brian2_engine._brian2 import load, plain_numpy\n"
        "with plain_numpy(load()):\n"
        "    pass\n"
        "print(os.path.exists(brian2.BrianLogger.tmp_log), brian2.prefs['logging.file_log'])\n"
    )
    found, _ = script(code, tmp_path)
    assert found.stdout == "True True\n", found.stderr


def test_another_device_is_refused_and_kept(tmp_path):
    code = (
        "import brian2, torch\n"
        "from neurometa import errors, networks\n"
        "from neurometa.brian2_engine import simulate\n"
        "brian2.set_device('cpp_standalone', build_on_run=False)\n"
        "try:\n"
        "    network = networks.associative(1, 1)\n"
        "    simulate(network, {}, {name: torch.ones(1, 1, 1) for name in network.inputs})\n"
        "except errors.EngineError as error:\n"
        "    print(error)\n"
        "print(brian2.get_device() is brian2.all_devices['cpp_standalone'])\n"
    )
    found, _ = script(code, tmp_path)
    message, kept = found.stdout.splitlines()
    assert message.startswith("Brian2's device is cpp_standalone;") and "type brian2.set_device('runtime')" in message
    assert kept == "True"
