"""A wrong engine is caught, names mean nothing, orders differ, and Brian2 written by hand agrees."""

import re

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.crosscheck import crosscheck
from neurometa.errors import EngineError
from neurometa.streams import generator

pytest.importorskip("brian2")

import brian2 as b2

from neurometa import brian2_engine
from neurometa.brian2_engine.build import Model

STEPS = 30


def network(names=("stimulus", "dopamine", "hidden"), labels=("in", "gate", "plastic"), **rule):
    """A recurrent plastic network with a modulator and bounds that bind."""
    settings = {"dw": "0.4*m*pre*post - 0.02*w", "bounds": (-0.3, 0.3), **rule}
    stimulus, dopamine, hidden = names
    return nm.Network(
        (
            nm.Population(stimulus, 3),
            nm.Population(dopamine, 1, "sigmoid(drive)"),
            nm.Population(hidden, 4, "tanh(drive)"),
        ),
        (
            nm.Projection(stimulus, hidden, name=labels[0]),
            nm.Projection(stimulus, dopamine, name=labels[1]),
            nm.Projection(
                hidden,
                hidden,
                name=labels[2],
                efficacy="w0 + w",
                params={"w0": nm.Param(nm.Normal(0, 0.5), per="synapse")},
                rule=nm.PlasticityRule("mutant", **settings),
                modulators={"m": dopamine},
            ),
        ),
        output=hidden,
    )


def case(net):
    params = nm.init_params(net, generator(0, "init"), dtype=torch.double)
    shape = (STEPS, 2, 3)
    inputs = torch.randn(shape, generator=generator(0, "inputs"), dtype=torch.double)
    return params, {net.populations[0].name: inputs}


def flip_sign(monkeypatch):
    text = Model.rule_text
    monkeypatch.setattr(Model, "rule_text", lambda self, *a, **k: f"-({text(self, *a, **k)})")


def swap_pre(monkeypatch):
    text = Model.rule_text

    def new_pre(self, *arguments, **options):
        return text(self, *arguments, **options).replace("c2_pre", "v_x_pre")

    monkeypatch.setattr(Model, "rule_text", new_pre)


def skip_bounds(monkeypatch):
    run = Model._run

    def unbounded(self, target, code):
        return run(self, target, re.sub(r"= clip\((\w+), .*", r"= 1.0*\1", code))

    monkeypatch.setattr(Model, "_run", unbounded)


def late_modulator(monkeypatch):
    """The modulator is computed after everything that reads it."""
    build = Model._population

    def late(self, population, late=False):
        if population.name != "dopamine":
            build(self, population, late)

    rule = Model._rule

    def rule_then_modulator(self, projection):
        rule(self, projection)
        build(self, self.network["dopamine"])

    monkeypatch.setattr(Model, "_population", late)
    monkeypatch.setattr(Model, "_rule", rule_then_modulator)


@pytest.mark.parametrize("mutate", [flip_sign, swap_pre, skip_bounds, late_modulator])
def test_a_wrong_engine_is_caught(monkeypatch, mutate):
    net = network()
    params, inputs = case(net)
    crosscheck(net, params, inputs).assert_agrees()
    mutate(monkeypatch)
    found = crosscheck(net, params, inputs)
    assert not found.agrees
    with pytest.raises(EngineError, match="differs by"):
        found.assert_agrees()
    row = next(row for row in found.rows if row.name == "w.plastic")
    assert row.largest > 1e-3 and row.first is not None


def test_names_mean_nothing():
    """Names that sort the other way round, some of them Brian2's own words, give the same bits."""
    plain = network()
    params, inputs = case(plain)
    names, labels = ("zebra", "neurongroup", "aardvark"), ("z9", "synapses", "a0")
    other = network(names, labels)
    renamed = dict(zip(("in", "gate", "plastic"), labels, strict=True))
    moved = {f"{renamed[k.split('.')[0]]}.{k.split('.', 1)[1]}": v for k, v in params.items()}
    a = brian2_engine.simulate(plain, params, inputs)
    b = brian2_engine.simulate(other, moved, {"zebra": inputs["stimulus"]})
    assert np.array_equal(a.output, b.output)
    assert np.array_equal(a.final.w["plastic"], b.final.w["a0"])


ORDERS = {
    "sequential": {"dw": "0.2*elig - 0.1*w", "traces": {"elig": "-elig/3 + pre*post"}},
    "joint": {"dw": "0.2*elig - 0.1*w", "traces": {"elig": "-elig/3 + pre*post"}, "joint": True},
    "step": {"step": "w = w + 0.2*elig - 0.1*w\nelig = elig/2 + pre*post", "traces": {"elig": ""}},
}


def test_orders_differ_and_each_is_right_in_both_engines():
    x = torch.randn(STEPS, 1, 1, generator=generator(1), dtype=torch.double)
    finals = {}
    for name, rule in ORDERS.items():
        net = nm.Network(
            (nm.Population("a", 1), nm.Population("b", 1, "drive + 1")),
            (nm.Projection("a", "b", name="s", efficacy="1 + 0*w", rule=nm.PlasticityRule(name, **rule)),),
        )
        params = nm.init_params(net, generator(0), dtype=torch.double)
        w = elig = 0.0
        for pre in x[:, 0, 0].tolist():
            product = pre * (pre + 1)
            if name == "step":
                w = w + 0.2 * elig - 0.1 * w
                elig = elig / 2 + product
                continue
            new = elig + (-elig / 3 + product)
            w = w + (0.2 * (elig if name == "joint" else new) - 0.1 * w)
            elig = new
        with torch.no_grad():
            ours = float(nm.simulate(net, params, {"a": x}).final.w["s"])
        theirs = float(brian2_engine.simulate(net, params, {"a": x}).final.w["s"].item())
        assert ours == pytest.approx(w, rel=1e-12) and theirs == pytest.approx(w, rel=1e-12)
        finals[name] = w
    assert len({round(value, 6) for value in finals.values()}) == 3


def by_hand(equations, update, inputs, w0, **variables):
    """Run one plastic neuron the way a Brian2 user would; return the weights after the last step."""
    b2.prefs.codegen.target = "numpy"
    b2.prefs.logging.file_log = False
    clock = b2.Clock(dt=1 * b2.ms)
    shown = b2.TimedArray(inputs, dt=1 * b2.ms)
    source = b2.NeuronGroup(inputs.shape[1], "x = shown(t, i) : 1", name="source", order=0, clock=clock)
    target = b2.NeuronGroup(1, f"y : 1\n{equations}", name="target", order=0, clock=clock)
    synapses = b2.Synapses(source, target, "w : 1\ny_post = w*x_pre : 1 (summed)", name="synapse", order=1, clock=clock)
    synapses.connect()
    synapses.w = w0
    for name, value in variables.items():
        setattr(target, name, value)
    learn = synapses.run_regularly(update, when="synapses", order=1, clock=clock)
    objects = [source, target, synapses, learn]
    if "theta" in variables:
        objects.append(target.run_regularly("theta += 0.02*(y**2 - theta)", when="thresholds", clock=clock))
    b2.Network(*objects).run(len(inputs) * b2.ms, namespace={"shown": shown})
    return np.asarray(synapses.w)


def test_hand_written_oja_agrees():
    x = torch.randn(500, 3, generator=generator(2), dtype=torch.double).numpy()
    w0 = np.array([0.1, 0.2, 0.3])
    theirs = by_hand("", "w += 0.01*y_post*(x_pre - y_post*w)", x, w0)
    ours = plain_run(nm.rules.oja, {"x": "drive"}, x, w0, eta=0.01)
    assert np.allclose(ours, theirs, rtol=1e-12, atol=0)


def test_hand_written_bcm_agrees():
    x = torch.rand(500, 3, generator=generator(3), dtype=torch.double).numpy()
    w0 = np.array([0.5, 0.4, 0.3])
    bcm = nm.PlasticityRule("bcm", dw="eta*post*(post - theta_post)*pre", params={"eta": nm.Param(0.1, "positive")})
    theirs = by_hand("theta : 1", "w += 0.01*y_post*(y_post - theta_post)*x_pre", x, w0, theta=1.0)
    update = {"x": "drive", "theta": "theta + 0.02*(x**2 - theta)"}
    ours = plain_run(bcm, update, x, w0, eta=0.01, start={"theta": 1.0})
    assert np.allclose(ours, theirs, rtol=1e-12, atol=0)


def plain_run(rule, update, x, w0, eta, start=None):
    net = nm.Network(
        (nm.Population("source", x.shape[1]), nm.Population("target", 1, update, start=start or {})),
        (nm.Projection("source", "target", name="s", rule=rule, w=nm.Param(0.1, per="synapse")),),
    )
    params = nm.init_params(net, generator(0), dtype=torch.double)
    params["s.w"] = torch.tensor(w0)[None]
    params["s.rule.eta"] = torch.full((1, 1), eta, dtype=torch.double).expm1().log()
    found = [
        f(net, params, {"source": torch.tensor(x)[:, None]}).final.w["s"] for f in (nm.simulate, brian2_engine.simulate)
    ]
    assert np.allclose(found[0].detach().numpy(), found[1], rtol=1e-12, atol=0)
    return found[1][0, 0]
