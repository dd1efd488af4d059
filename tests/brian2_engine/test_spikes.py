"""Spike trains that hold every ordering, three ways: plain Python, torch and Brian2."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurometa import Save, init_params, rules, simulate
from neurometa.brian2_engine import simulate as simulate_in_brian2
from neurometa.errors import EngineError
from neurometa.spec import Delays, Network, Param, PlasticityRule, Population, Projection, Spikes, Trace, Uniform
from neurometa.streams import generator

pytest.importorskip("brian2")

DT, REFRACTORY = 0.1, 5
F64 = torch.float64
#: After the random part: steps of pre and post spikes that hold both orders, two and three in a row, coincidences, one
#: post spike within and one at the edge of the refractory time of another, and coincidences at the upper bound.
TAIL_PRE = (0, 30, 60, 61, 90, 120, 150, 180, 200, 202, 204, 206, 208, 240)
TAIL_POST = (10, 20, 60, 91, 119, 125, 128, 130, 155, 160, 181, 186, 206, 212, 218, 240, 246)


def trains(steps: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return Poisson spikes and the tail, ``(time, n)``: 3 pre, 2 post neurons; the tail is for all of them."""
    rng = np.random.default_rng(seed)
    pre, post = (rng.random((steps, n)) < 0.01 for n in (3, 2))
    for spikes, tail in ((pre, TAIL_PRE), (post, TAIL_POST)):
        spikes[-300:] = False
        spikes[np.asarray(tail) + steps - 300] = True
    return pre, post


def forced(rule: PlasticityRule, delay=0.0) -> Network:
    """Return a network whose post neurons spike where they are told to, if they are not refractory."""
    sink = Population(
        "sink", 2, {"fires": "drive", "dg/dt": "-g/5"}, spikes=Spikes("fires > 0.5", refractory=REFRACTORY * DT)
    )
    synapse = Projection("source", "sink", "s", into="g", rule=rule, delay=delay, w=Param(Uniform(0, 1), per="synapse"))
    teacher = Projection("teacher", "sink", w=Param(1.0), mask="one_to_one")
    return Network((Population("source", 3), Population("teacher", 2), sink), (teacher, synapse), output="sink", dt=DT)


def fixed(name: str, **changes) -> PlasticityRule:
    """Return a library rule with large amplitudes, so that bounds are met."""
    rule = rules.get(name)
    params = {key: Param(value.init) for key, value in rule.params.items()}
    params |= {key: Param(0.2) for key in params if key.startswith(("a_", "a2", "a3"))}
    fields = {f: getattr(rule, f) for f in ("traces", "on_pre", "on_post")}
    return PlasticityRule(name, params=params, bounds=(0.0, 1.0), **fields, **changes)


def reference(name: str, pre, post, w, delays, coincidence):
    """Run pair rules and the triplet rule in plain Python, one synapse and one step at a time."""
    spikes, last = np.zeros_like(post), [-(10**9)] * post.shape[1]
    rate = {key: math.exp(-DT / tau) for key, tau in (("p", 20.0), ("m", 20.0), ("tp", 16.8), ("tm", 33.7))}
    rate |= {"tx": math.exp(-DT / 101.0), "ty": math.exp(-DT / 114.0)}
    for k in range(len(post)):
        for i in range(post.shape[1]):
            if post[k, i] and k - last[i] >= REFRACTORY:
                spikes[k, i], last[i] = True, k
    w = w.copy()
    for i in range(post.shape[1]):
        for j in range(pre.shape[1]):
            state = dict.fromkeys(("ltp", "ltd", "r1", "r2", "o1", "o2"), 0.0) | {"w": w[i, j]}
            for k in range(len(post)):
                for trace, key in zip(("ltp", "ltd", "r1", "r2", "o1", "o2"), rate, strict=True):
                    state[trace] *= rate[_RATES[name].get(trace, key)]
                at_pre = k >= delays[i, j] and pre[k - delays[i, j], j]
                state = _meet(name, state, bool(at_pre), bool(spikes[k, i]), coincidence)
            w[i, j] = state["w"]
    return w, spikes


_RATES = {
    "stdp": {"ltp": "p", "ltd": "m"},
    "stdp_nearest": {"ltp": "p", "ltd": "m"},
    "stdp_soft": {"ltp": "p", "ltd": "m"},
    "triplet_stdp": {"r1": "tp", "r2": "tx", "o1": "tm", "o2": "ty"},
}


def _pre(name, s):
    s = dict(s)
    if name == "triplet_stdp":
        s["w"] -= s["o1"] * (0.2 + 0.2 * s["r2"])
        s["r1"] += 1
        s["r2"] += 1
    else:
        s["w"] -= {"stdp": s["ltd"], "stdp_nearest": 0.2 * s["ltd"], "stdp_soft": 0.2 * s["w"] * s["ltd"]}[name]
        s["ltp"] = {"stdp": s["ltp"] + 0.2, "stdp_nearest": 1.0, "stdp_soft": s["ltp"] + 1}[name]
    s["w"] = min(max(s["w"], 0.0), 1.0)
    return s


def _post(name, s):
    s = dict(s)
    if name == "triplet_stdp":
        s["w"] += s["r1"] * (0.2 + 0.2 * s["o2"])
        s["o1"] += 1
        s["o2"] += 1
    else:
        s["w"] += {"stdp": s["ltp"], "stdp_nearest": 0.2 * s["ltp"], "stdp_soft": 0.2 * (1 - s["w"]) * s["ltp"]}[name]
        s["ltd"] = {"stdp": s["ltd"] + 0.2, "stdp_nearest": 1.0, "stdp_soft": s["ltd"] + 1}[name]
    s["w"] = min(max(s["w"], 0.0), 1.0)
    return s


def _meet(name, s, at_pre, at_post, coincidence):
    if not (at_pre and at_post):
        return _pre(name, s) if at_pre else _post(name, s) if at_post else s
    if coincidence == "brian":
        return _post(name, _pre(name, s))
    if coincidence == "symmetric":
        a, b = _post(name, _pre(name, s)), _pre(name, _post(name, s))
        return {key: (a[key] + b[key]) / 2 for key in s}
    a, b = _pre(name, s), _post(name, s)
    both = {key: a[key] + (b[key] - s[key]) for key in s}
    return both | {"w": min(max(both["w"], 0.0), 1.0)}


@pytest.mark.parametrize("coincidence", ["brian", "ignore", "symmetric"])
@pytest.mark.parametrize("delay", [0.0, 1.0, Delays(0.0, 2.0, 3)], ids=["none", "one", "each"])
@pytest.mark.parametrize("name", _RATES)
def test_three_ways_to_the_same_weights(name, delay, coincidence):
    network = forced(fixed(name, coincidence=coincidence), delay)
    params = init_params(network, generator(0, "w"), dtype=F64)
    pre, post = trains()
    inputs = {n: torch.tensor(x, dtype=F64)[:, None] for n, x in (("source", pre), ("teacher", post))}
    ours, theirs = simulate(network, params, inputs), simulate_in_brian2(network, params, inputs)
    delays = np.broadcast_to(network.projections[1].delay_steps(2, 3, DT), (2, 3))
    w, spikes = reference(name, pre, post, params["s.w"].numpy(), delays, coincidence)
    assert spikes.sum() < post.sum(), "no spike fell into a refractory time"
    for found in (ours.output[:, 0].numpy(), np.asarray(theirs.output)[:, 0]):
        assert np.array_equal(found > 0.5, spikes)
    np.testing.assert_allclose(ours.final.w["s"][0].numpy(), w, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(np.asarray(theirs.final.w["s"])[0], w, rtol=1e-12, atol=1e-13)
    assert abs(w - params["s.w"].numpy()).max() > 0.1


def test_the_options_for_coincidences_differ():
    pre, post = trains()
    inputs = {n: torch.tensor(x, dtype=F64)[:, None] for n, x in (("source", pre), ("teacher", post))}
    found = []
    for coincidence in ("brian", "ignore", "symmetric"):
        network = forced(fixed("stdp_soft", coincidence=coincidence))
        params = init_params(network, generator(0, "w"), dtype=F64)
        found.append(simulate(network, params, inputs, save=Save(("w.*",)))["w.s"])
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(found, found[1:] + found[:1], strict=True))


LIF = {"dv/dt": "(g - v)/tau_m", "dg/dt": "-g/tau_s"}
NEURONS = {
    "integrate and fire": dict(
        update=LIF,
        params={"tau_m": Param(10.0), "tau_s": Param(5.0)},
        spikes=Spikes("v > 1", "v = 0", refractory=2.0, held=("v",)),
        method="exact",
    ),
    "adaptive": dict(
        update={"dv/dt": "(g - v)/10", "dg/dt": "-g/5", "db/dt": "-b/100"},
        spikes=Spikes("v > 1 + b", "v = v - 1; b = b + 0.3"),
        method="exact",
    ),
    "conductances": dict(
        update={"dv/dt": "(g*(0 - v) - 74 - v)/10", "dg/dt": "-g/5"},
        start={"v": -60.0},
        spikes=Spikes("v > -54", "v = -60", refractory=1.0),
    ),
    "Izhikevich": dict(
        update={"dv/dt": "0.04*v**2 + 5*v + 140 - u + 20*g", "du/dt": "0.02*(0.2*v - u)", "dg/dt": "-g/5"},
        start={"v": -65.0, "u": -13.0},
        spikes=Spikes("v >= 30", "v = -65\nu = u + 8"),
    ),
}


@pytest.mark.parametrize(("kind", "delay"), [*((kind, Delays(0.5, 3.0, 1)) for kind in NEURONS), ("adaptive", 0.0)])
def test_neurons_and_stdp_agree_over_5000_steps(kind, delay):
    out = Population("out", 4, inputs=(), **NEURONS[kind])
    w = Param(Uniform(0.0, 0.6), per="synapse")
    plastic = Projection("stimulus", "out", "s", into="g", w=w, rule=fixed("stdp"), delay=delay)
    network = Network((Population("stimulus", 20), out), (plastic,), output="out", dt=DT)
    params = init_params(network, generator(1, "w"), dtype=F64)
    rng = np.random.default_rng(2)
    inputs = {"stimulus": torch.tensor(rng.random((5000, 1, 20)) < 0.002, dtype=F64)}
    ours, theirs = simulate(network, params, inputs), simulate_in_brian2(network, params, inputs)
    assert ours.output.sum() > 10
    assert np.array_equal(ours.output.numpy(), np.asarray(theirs.output))
    np.testing.assert_allclose(ours.final.w["s"].numpy(), theirs.final.w["s"], rtol=1e-12, atol=1e-13)
    for name, value in ours.final.x.items():
        if not name.endswith(".arriving"):
            np.testing.assert_allclose(value.numpy(), theirs.final.x[name], rtol=1e-9, atol=1e-9)


def test_a_run_is_continued_from_its_state_refractory_neurons_too():
    out = Population("out", 4, inputs=(), **NEURONS["integrate and fire"])
    plastic = Projection("stimulus", "out", "s", into="g", w=Param(0.5), rule=fixed("stdp"))
    network = Network((Population("stimulus", 20), out), (plastic,), output="out", dt=DT)
    params = init_params(network, generator(1, "w"), dtype=F64)
    rng = np.random.default_rng(2)
    spikes = torch.tensor(rng.random((3000, 1, 20)) < 0.002, dtype=F64)
    whole = simulate(network, params, {"stimulus": spikes})
    cut = 1 + int(whole.output[:, 0, 0].nonzero()[1])  # the step after a spike
    first = simulate(network, params, {"stimulus": spikes[:cut]})
    assert first.final.x["out.refractory"].max() > 0
    for run in (simulate, simulate_in_brian2):
        rest = run(network, params, {"stimulus": spikes[cut:]}, state=first.final)
        assert np.array_equal(np.asarray(rest.output), whole.output[cut:].numpy())
        np.testing.assert_allclose(np.asarray(rest.final.w["s"]), whole.final.w["s"].numpy(), rtol=1e-12)


def test_spikes_under_way_are_not_handed_to_brian2():
    network = forced(fixed("stdp"), delay=1.0)
    params = init_params(network, generator(0, "w"), dtype=F64)
    inputs = {n: torch.ones(3, 1, size, dtype=F64) for n, size in network.inputs.items()}
    state = simulate(network, params, inputs).final
    with pytest.raises(EngineError, match="queues start empty"):
        simulate_in_brian2(network, params, inputs, state=state)


def test_traces_stand_still_while_learning_is_off():
    rule = PlasticityRule("r", traces={"u": Trace("-u/20", method="exact")}, on_pre="w = w + u\nu = u + 1")
    network = forced(rule)
    params = init_params(network, generator(0, "w"), dtype=F64)
    pre, post = trains()
    inputs = {n: torch.tensor(x, dtype=F64)[:, None] for n, x in (("source", pre), ("teacher", post))}
    learn = [k % 50 < 30 for k in range(len(pre))]
    ours, theirs = (run(network, params, inputs, learn=learn) for run in (simulate, simulate_in_brian2))
    np.testing.assert_allclose(ours.final.w["s"].numpy(), theirs.final.w["s"], rtol=1e-12)
    assert (ours.final.w["s"] - simulate(network, params, inputs).final.w["s"]).abs().max() > 1e-3
