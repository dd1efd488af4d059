"""Scripts of Brian2 users, imported as they are: the torch engine arrives at the same weights."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.errors import SpecificationError
from neurometa.spec import Listed, Network, Pairs, Projection

b2 = pytest.importorskip("brian2")
ms, mV, nS, pA, Hz = b2.ms, b2.mV, b2.nS, b2.pA, b2.Hz
FOLDER = Path(__file__).parent / "brian2_scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def numpy_target():
    before = b2.prefs["codegen.target"]
    b2.prefs["codegen.target"] = "numpy"
    b2.start_scope()
    b2.BrianLogger.suppress_name("unused_brian_object")
    yield
    b2.prefs["codegen.target"] = before


def load(name):
    found = importlib.util.spec_from_file_location(f"brian2_script_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def weights(found, label, synapses, n_steps):
    with torch.no_grad():
        final = nm.simulate(found.network, found.params, found.inputs(n_steps)).final
    return final.w[label][0].numpy()[np.array(synapses.j), np.array(synapses.i)]


def apart(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_there_are_five_scripts():
    assert len(SCRIPTS) >= 5


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_with_the_same_weights(name):
    script = load(name)
    network, synapses = script.build()
    found = nm.from_brian2(network, namespace=vars(script))
    n_steps = round(float(script.DURATION / b2.defaultclock.dt))
    begin = np.array(synapses.w)
    network.run(script.DURATION, namespace=vars(script))
    theirs = np.array(synapses.w)
    assert apart(begin, theirs) > 1e-2  # it learns
    assert apart(weights(found, synapses.name, synapses, n_steps), theirs) < 1e-10
    # The comparison would see a time constant of the rule that is wrong in the seventh digit.
    leaf = next(leaf for leaf in found.params if ".rule." in leaf and "tau" in leaf)
    params = {**found.params, leaf: found.params[leaf] * (1 + 1e-6)}
    assert apart(weights(replace(found, params=params), synapses.name, synapses, n_steps), theirs) > 1e-10


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_import_is_text_and_reads_back(name):
    script = load(name)
    found = nm.from_brian2(script.build()[0], namespace=vars(script))
    assert Network.from_json(found.network.to_json()) == found.network
    assert set(found.params) == set(found.network.leaves)


def test_both_engines_run_an_import():
    script = load("short_term_plasticity")
    found = nm.from_brian2(script.build()[0])
    nm.crosscheck.crosscheck(found.network, found.params, found.inputs(600)).assert_agrees()


# Small models


def make(model="w : 1", on_pre="v_post += w", on_post="", *, times=(1, 4, 6, 9, 9, 13), neuron=None, **options):
    """Return two sources, two neurons, and synapses between all."""
    source = b2.SpikeGeneratorGroup(2, np.arange(len(times)) % 2, np.array(times) * ms, name="source")
    given = {"threshold": "v > 1", "reset": "v = 0", "method": "exact", "name": "target", **(neuron or {})}
    target = b2.NeuronGroup(2, given.pop("model", "dv/dt = -v/(10*ms) : 1"), **given)
    synapses = b2.Synapses(source, target, model, on_pre=on_pre, on_post=on_post, name="wires", **options)
    synapses.connect()
    if model.startswith(("w : 1", "dw")):
        synapses.w = 0.7
    return source, target, synapses


def agree(objects, n_steps=200, tolerance=1e-12, **options):
    """Import, run both, compare weights; return what was imported."""
    *_, synapses = objects
    found = nm.from_brian2(objects, **options)
    before = np.array(synapses.w)
    b2.Network(*objects).run(n_steps * 0.1 * ms, namespace={"tau": 20 * ms, "eta": 0.1})
    assert apart(before, np.array(synapses.w)) > 1e-3
    assert apart(weights(found, "wires", synapses, n_steps), np.array(synapses.w)) < tolerance
    return found


PAIR = "w : 1\nda/dt = -a/tau : 1 (event-driven)\ndb/dt = -b/tau : 1 (event-driven)"


def test_constants_are_found_where_the_caller_has_them():
    tau = 20 * ms
    found = nm.from_brian2(make(PAIR, "v_post += w\na += 1", "w += 0.1*a\nb += 1"))
    assert found.network.projections[0].rule.params["tau"].init == 20.0
    assert found.network.projections[0].rule.params["tau"].unit == "ms" and tau


def test_units_are_coherent():
    equations = "dv/dt = (g*(0*mV - v) + I)/(200*pF) : volt\ndg/dt = -g/(5*ms) : siemens\nI : amp"
    neuron = {"model": equations, "threshold": "v > -50*mV", "reset": "v = -60*mV", "method": "euler"}
    _, target, synapses = parts = make("w : siemens", "g_post += w", neuron=neuron)
    target.I, target.v, synapses.w = 300 * pA, -60 * mV, 2 * nS
    found = nm.from_brian2(parts)
    assert found.network["target"].update["dv/dt"] == "(g * (0.0 - v) + I) / 0.2"  # nF
    assert found.network["target"].params["I"].init == 0.3  # nA
    assert found.network["target"].start["v"] == -60.0
    assert found.network.projections[0].w.init == 0.002  # uS
    assert found.network.projections[0].w.unit == "uS"


def test_statements_in_the_order_of_the_script():
    """Delivery before and after the weight changes are different models, and both are met."""
    after = agree(make(PAIR, "a += 1\nw = w*(1 - eta*b)\nv_post += w", "w += eta*a\nb += 1"), **SPACE)
    before = agree(make(PAIR, "v_post += w\na += 1\nw = w*(1 - eta*b)", "w += eta*a\nb += 1"), **SPACE)
    assert after.network.projections[0].efficacy == "w * (1 - eta * b)"
    assert before.network.projections[0].efficacy == "w"


SPACE = {"namespace": {"tau": 20 * ms, "eta": 0.1}}


def test_a_trace_that_is_not_at_rest_when_it_starts():
    *_, synapses = parts = make(PAIR, "v_post += w\nw += eta*b", "b += 1")
    synapses.b = 0.5
    found = agree(parts, **SPACE)
    assert found.network.projections[0].rule.traces["b"].init > 0.5


def test_two_pathways_with_two_delays():
    paths = {"deliver": "v_post += w", "learn": "a += 1\nw -= 0.01*b"}
    parts = make(PAIR, paths, "w += eta*a\nb += 1", delay={"deliver": 0.5 * ms, "learn": 2 * ms})
    found = agree(parts, **SPACE)
    assert found.network.projections[0].rule.on_pre_delay == 1.5


def test_a_constant_of_the_neuron_and_a_second_delivery():
    neuron = {"model": "dv/dt = -v/(10*ms) : 1\ngain : 1\ncount : 1", "method": "exact"}
    _, target, _ = parts = make(PAIR, "v_post += w\ncount_post += 1\na += 1", "w += eta*a*gain_post", neuron=neuron)
    target.gain = [1, 2]
    found = agree(parts, **SPACE)
    rule = found.network.projections[0].rule
    assert rule.params["post_gain"].per == "post"
    assert [p.into for p in found.network.projections] == ["v", "count"]


def test_synapses_that_nothing_hears():
    neuron = {"model": "dv/dt = (1.5 - v)/(2*ms) : 1"}
    found = agree(make(PAIR, "a += 1\nw -= 0.01*b", "w += eta*a\nb += 1", neuron=neuron), **SPACE)
    assert found.network.projections[0].into == "unheard"


def test_names_that_are_reserved_here_are_changed():
    neuron = {"model": "dx/dt = -x/(10*ms) : 1", "threshold": "x > 1", "reset": "x = 0"}
    model = "w : 1\ndm/dt = -m/tau_pre : 1 (event-driven)"
    parts = make(model, "x_post += w\nm += 1", "w += m", neuron=neuron)
    found = nm.from_brian2(parts, namespace={"tau_pre": 5 * ms})
    assert found.renamed == {"target.x": "x_var", "wires.m": "var_m_var", "wires.tau_pre": "pre_tau"}


def test_one_synapses_object_gives_its_rule():
    *_, synapses = make(PAIR.replace("w", "strength"), "v_post += strength\na += 1", "strength += eta*a")
    found = nm.from_brian2(synapses, weight="strength", **SPACE)
    assert found.rule.on_post == "w = w + eta * a" and found.projection.efficacy == "w"
    assert found.values["wires.rule.tau"].item() == 20.0


# What is refused, in one line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_pre": "v_post += w*rand()"}, "calls 'rand', which has no counterpart here"),
        ({"on_pre": "v_post += w", "on_post": "v_post += w"}, "on_post assigns 'v_post' of the neuron"),
        ({"on_pre": "v_post = w"}, r"allowed: in on_pre, v_post \+= ..."),
        ({"on_pre": "v_post += w*v_post"}, "what a spike delivers, .* reads 'v_post'"),
        ({"on_pre": "v_post += w\nw = w*v_post"}, "on_pre reads 'v_post', to which spikes add in the same step"),
        ({"on_pre": "v_post += w*lastupdate/ms"}, "reads 'lastupdate'"),
        (
            {
                "model": "w : 1\nI_post = w : 1 (summed)",
                "on_pre": "",
                "neuron": {"model": "dv/dt = (I - v)/ms : 1\nI : 1"},
            },
            r"'I_post' is \(summed\)",
        ),
        ({"on_pre": "v_post += w*unknown"}, "reads 'unknown', which is not known; type from_brian2"),
        ({"on_post": "w += t/second"}, "reads the time 't'"),
        ({"on_post": "w += 1", "delay": {"post": 1 * ms}}, "on_post has a delay; allowed: none"),
        ({"model": "dw/dt = -w/(5*ms) : 1 (clock-driven)"}, "is integrated exactly; allowed: Euler's method"),
        ({"neuron": {"model": "dv/dt = -v/ms + xi/ms**0.5 : 1", "method": "euler"}}, "noise within an equation"),
        ({"neuron": {"model": "dv/dt = -v/ms : 1", "method": "rk4"}}, "is integrated by 'rk4'; allowed"),
        ({"neuron": {"refractory": "v > 0.5"}}, "refractory is 'v > 0.5'; allowed: a time"),
        ({"neuron": {"model": "dv/dt = -v/ms : 1\nT : kelvin", "threshold": "T > 3*kelvin"}}, "has the unit"),
        ({"neuron": {"events": {"dip": "v < 0"}}}, "has the event 'dip'"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(options, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        nm.from_brian2(make(**options), namespace={})
    assert "\n" not in str(caught.value)


def test_objects_that_are_not_taken():
    source, target, synapses = parts = make()
    target.run_regularly("v = 0", dt=1 * ms)
    with pytest.raises(SpecificationError, match="'target' has run_regularly code"):
        nm.from_brian2(parts)
    with pytest.raises(SpecificationError, match="'noise' is a NetworkOperation, which is not taken"):
        nm.from_brian2([b2.NetworkOperation(lambda: None, name="noise")])
    with pytest.raises(SpecificationError, match="'wires' needs 'source', which is not among the objects"):
        nm.from_brian2([make()[1], synapses])
    with pytest.raises(SpecificationError, match=r"'target\[0:1\]' is a part of a group"):
        part = b2.Synapses(target[:1], target, "w : 1", on_pre="v_post += w", name="part")
        part.connect()
        nm.from_brian2(part)
    with pytest.raises(SpecificationError, match="connects nothing; call empty"):
        nm.from_brian2(b2.Synapses(source, target, "w : 1", on_pre="v_post += w", name="empty"))


def test_a_rule_that_reads_neurons_before_they_have_moved():
    model = "dw/dt = 0.1*v_post/ms : 1 (clock-driven)"
    with pytest.raises(SpecificationError, match="because Brian2 goes by name"):
        source, target, _ = make(neuron={"name": "zelle"})
        early = b2.Synapses(source, target, model, on_pre="v_post += w", name="early", method="euler")
        early.connect()
        nm.from_brian2(early)


# Listed synapses and delays


def test_listed_synapses_and_delays():
    projection = Projection("a", "b", into="v", mask=Pairs((0, 2, 1), (1, 0, 1)), delay=Listed((0.5, 0.0, 0.26)))
    assert Projection.from_json(projection.to_json()) == projection
    assert projection.synapses(2, 3).tolist() == [[False, False, True], [True, True, False]]
    assert projection.delay_steps(2, 3, 0.1).tolist() == [[0, 0, 5], [0, 3, 0]]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Pairs((0, 0), (1, 1)), "listed twice"),
        (lambda: Pairs((0,), (1, 2)), "equally many whole numbers"),
        (lambda: Listed((-1.0,)), "every delay must be 0 or more"),
        (lambda: Pairs((5,), (0,)).synapses(2, 3), "lists pre neuron 5, but there are 3"),
        (lambda: Projection("a", "b", delay=Listed((1.0,))).delay_steps(2, 3, 0.1), "1 delays for 6 synapses"),
    ],
)
def test_wrong_lists_are_refused(build, message):
    with pytest.raises(SpecificationError, match=message):
        build()
