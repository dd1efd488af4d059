"""What runs before what: against plain numpy, against Brian2 as its users write it, and under other names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurometa import Save, brian2_engine, rules, torch_engine
from neurometa.brian2_engine._brian2 import plain_numpy
from neurometa.spec import Network, Normal, Param, PlasticityRule, Population, Projection, Sum, Trace
from neurometa.streams import generator
from neurometa.verify import contract_networks

b2 = pytest.importorskip("brian2")

ENGINES = {"torch": torch_engine.simulate, "brian2": brian2_engine.simulate}
F64 = torch.double

# --- sequential, joint, step first -----------------------------------------------------------------------------------

ETA, TAU, DT = 0.3, 4.0, 0.5
ORDERS = {
    "sequential": dict(dw="0.3*(elig*post - w)", traces={"elig": "-elig/4 + pre*w"}),
    "joint": dict(dw="0.3*(elig*post - w)", traces={"elig": "-elig/4 + pre*w"}, joint=True),
    "step": dict(step="w = w + dt*0.3*(elig*post - w)\nelig = elig + dt*(-elig/4 + pre*w)", traces={"elig": Trace()}),
}


def by_hand(order: str, stimulus: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the weights after each step of a recurrent network, from the definition of its order."""
    h, elig, found = np.zeros(len(w)), np.zeros_like(w), []
    for u in stimulus:
        pre, h = h, np.tanh(u + w @ h)  # a recurrent synapse carries what was; it helps to produce what is
        pre, post = pre[None, :], h[:, None]
        if order == "sequential":
            elig = elig + DT * (-elig / TAU + pre * w)
            w = w + DT * ETA * (elig * post - w)
        elif order == "joint":
            old = elig
            elig = elig + DT * (-elig / TAU + pre * w)
            w = w + DT * ETA * (old * post - w)
        else:
            w = w + DT * ETA * (elig * post - w)
            elig = elig + DT * (-elig / TAU + pre * w)
        found.append(w)
    return np.array(found)


def ordered(order: str, engine: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights by an engine and by hand."""
    network = Network(
        (Population("stimulus", 3), Population("hidden", 3, "tanh(drive)")),
        (
            Projection("stimulus", "hidden", w=Param(1.0), mask="one_to_one"),
            Projection(
                "hidden", "hidden", "loop", rule=PlasticityRule("r", **ORDERS[order]), w=Param(1.0, per="synapse")
            ),
        ),
        dt=DT,
    )
    stream = np.random.default_rng(0)
    stimulus, w = stream.normal(size=(30, 1, 3)), stream.normal(size=(3, 3))
    params = {"stimulus__hidden.w": torch.ones(1, 1, dtype=F64), "loop.w": torch.tensor(w)}
    made = ENGINES[engine](network, params, {"stimulus": torch.tensor(stimulus)}, save=Save(("w.*",)))
    return np.asarray(made["w.loop"])[:, 0], by_hand(order, stimulus[:, 0], w)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_order_is_its_own_and_correct(engine):
    made = {}
    for order in ORDERS:
        made[order], expected = ordered(order, engine)
        np.testing.assert_allclose(made[order], expected, rtol=1e-12, atol=1e-14)
    for one, other in (("sequential", "joint"), ("joint", "step"), ("step", "sequential")):
        assert np.abs(made[one] - made[other]).max() > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_all_rules_read_the_same_old_values(engine):
    """Two rules that read each other's neuron and sum: neither sees what the other has done in this step."""
    rule = PlasticityRule("r", dw="0.1*(post - total)", sums={"total": Sum("w", "both")})
    network = Network(
        (Population("stimulus", 2), Population("out", 2, "drive")),
        (
            Projection("stimulus", "out", "a", rule=rule, w=Param(0.5)),
            Projection("stimulus", "out", "b", rule=rule, w=Param(-0.25)),
        ),
    )
    params = {"a.w": torch.full((1, 1), 0.5, dtype=F64), "b.w": torch.full((1, 1), -0.25, dtype=F64)}
    final = ENGINES[engine](network, params, {"stimulus": torch.ones(1, 1, 2, dtype=F64)}).final
    # x = 2*(0.5 - 0.25) = 0.5; the sums of the old weights are 2 and -1
    assert np.asarray(final.w["a"]) == pytest.approx(0.5 + 0.1 * (0.5 - 2.0), abs=1e-15)
    assert np.asarray(final.w["b"]) == pytest.approx(-0.25 + 0.1 * (0.5 + 1.0), abs=1e-15)


# --- names -----------------------------------------------------------------------------------------------------------


def renamed(network: Network, names: dict[str, str]) -> Network:
    """Return the network with populations and projections under other names."""
    return replace(
        network,
        populations=tuple(
            replace(p, name=names[p.name], modulators={k: names[v] for k, v in p.modulators.items()})
            for p in network.populations
        ),
        projections=tuple(
            replace(
                p,
                pre=names.get(p.pre, p.pre),
                post=names[p.post],
                name=names[p.label],
                modulators={k: names[v] for k, v in p.modulators.items()},
            )
            for p in network.projections
        ),
        output=".".join([names[network.output.split(".")[0]], network.output.split(".")[1]]),
    )


@pytest.mark.parametrize("rule", ["gated_hebb", "oja"])
@pytest.mark.parametrize("kind", ["recurrent", "modulated"])
def test_names_mean_nothing(rule, kind):
    """Brian2 sorts objects by name; names that sort the other way round change no bit of any result."""
    network = contract_networks(rules.get(rule))[kind]
    labels = [p.name for p in network.populations] + [p.label for p in network.projections]
    backwards = dict(
        zip(sorted(labels), [f"{letter}{i}" for i, letter in enumerate("zyxwvutsrqponmlkj")], strict=False)
    )
    assert sorted(labels, key=backwards.__getitem__) == sorted(labels)[::-1]
    other = renamed(network, backwards)
    stream = generator(0, "names")
    params = {name: torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in network.leaves.items()}
    inputs = {name: torch.randn(20, 2, size, generator=stream, dtype=F64) for name, size in network.inputs.items()}

    def rename(key: str) -> str:
        """Rename ``population.variable`` or ``w.projection``."""
        return ".".join(backwards.get(part, part) for part in key.split("."))

    ours = brian2_engine.simulate(network, params, inputs, save=Save())
    theirs = brian2_engine.simulate(
        other, {rename(k): v for k, v in params.items()}, {rename(k): v for k, v in inputs.items()}, save=Save()
    )
    assert {rename(name) for name in ours.saved} == set(theirs.saved)
    for name, values in ours.saved.items():
        np.testing.assert_array_equal(values, theirs.saved[rename(name)], err_msg=name)


# --- Brian2 as its users write it ------------------------------------------------------------------------------------


def idiomatic(x: np.ndarray, w: np.ndarray, output: str, rule: str, more: str = "", **constants: float) -> np.ndarray:
    """Return the weights after each step ``(time, post, pre)``, by a script as a user of Brian2 would write it."""
    n_post, n_pre = w.shape
    before = b2.defaultclock.dt
    with plain_numpy(b2):
        b2.defaultclock.dt = 1 * b2.ms
        stimulus = b2.TimedArray(x, dt=1 * b2.ms)
        source = b2.NeuronGroup(n_pre, "x : 1", name="source")
        source.run_regularly("x = stimulus(t, i)", when="start", order=0, name="read_stimulus")
        target = b2.NeuronGroup(n_post, f"drive : 1\ny : 1\ntheta : 1\n{more}", name="target", method="euler")
        target.run_regularly(output, when="thresholds", order=0, name="respond")
        synapses = b2.Synapses(source, target, "w : 1\ndrive_post = w*x_pre : 1 (summed)", name="synapses", order=1)
        synapses.connect()
        synapses.w = w.T.ravel()  # Brian2 stores synapses by pre
        synapses.run_regularly(rule, when="synapses", order=1, name="learn")
        monitor = b2.StateMonitor(synapses, "w", record=True, when="end", order=9, name="monitor")
        network = b2.Network(source, target, synapses, monitor)
        network.run(len(x) * b2.ms, namespace={"stimulus": stimulus, **constants})
        b2.defaultclock.dt = before
        return np.array(monitor.w).T.reshape(len(x), n_pre, n_post).transpose(0, 2, 1)


def ours(rule: PlasticityRule, out: Population, x: np.ndarray, w: np.ndarray, engine: str) -> np.ndarray:
    plastic = Projection("stimulus", "out", "synapses", rule=rule, w=Param(Normal(), per="synapse"))
    network = Network((Population("stimulus", w.shape[1]), out), (plastic,))
    params = {
        name: torch.full(leaf.shape, leaf.param.init, dtype=F64)
        for name, leaf in network.leaves.items()
        if name != "synapses.w"
    }
    params["synapses.w"] = torch.tensor(w)
    return np.asarray(
        ENGINES[engine](network, params, {"stimulus": torch.tensor(x)[:, None]}, save=Save(("w.*",)))["w.synapses"]
    )[:, 0]


@pytest.fixture(scope="module")
def stimulus() -> np.ndarray:
    """Return correlated, zero-mean input, ``(time, 4)``."""
    stream = np.random.default_rng(1)
    return stream.normal(size=(1000, 4)) @ stream.normal(size=(4, 4)) * 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_oja_equals_hand_written_brian2(stimulus, engine):
    w = np.random.default_rng(2).normal(size=(2, 4))
    theirs = idiomatic(stimulus, w, "y = drive", "w += eta*y_post*(x_pre - y_post*w)", eta=0.01)
    rule = PlasticityRule("oja", dw=rules.get("oja").dw, params={"eta": Param(0.01)})
    found = ours(rule, Population("out", 2, "drive"), stimulus, w, engine)
    np.testing.assert_allclose(found, theirs, rtol=1e-12, atol=1e-14)
    assert np.linalg.norm(theirs[-1], axis=1) == pytest.approx(1.0, abs=0.1)


THETA = {"dw": "eta*post*(post - theta_post)*pre", "params": {"eta": Param(0.005)}}
BCM = {
    "a variable of the population": (
        PlasticityRule("bcm", **THETA),
        Population("out", 2, {"x": "maximum(drive, 0)", "dtheta/dt": "(x**2 - theta)/20"}),
    ),
    "a trace": (
        PlasticityRule(
            "bcm", dw="eta*post*(post - theta)*pre", traces={"theta": "(post**2 - theta)/20"}, params=THETA["params"]
        ),
        Population("out", 2, "relu(drive)"),
    ),
}


@pytest.mark.parametrize("form", BCM)
@pytest.mark.parametrize("engine", ENGINES)
def test_bcm_equals_hand_written_brian2(stimulus, engine, form):
    x = np.abs(stimulus)
    w = np.random.default_rng(3).uniform(0.1, 0.5, size=(2, 4))
    output = "y = clip(drive, 0, inf)\ntheta += (y**2 - theta)/tau"
    theirs = idiomatic(x, w, output, "w += eta*y_post*(y_post - theta_post)*x_pre", eta=0.005, tau=20.0)
    found = ours(*BCM[form], x, w, engine)
    np.testing.assert_allclose(found, theirs, rtol=1e-12, atol=1e-14)
    assert np.abs(theirs[-1] - theirs[0]).max() > 0.05
