"""Plasticity: order of sums, traces, weights and bounds, against numbers worked out by hand and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neurometa import Save, init_params, rules, simulate, start
from neurometa.spec import MLP, Network, Normal, Param, PlasticityRule, Population, Projection, Random, Sum, Trace
from neurometa.torch_engine import prepare
from neurometa.torch_engine.plasticity import make_update

F64 = torch.float64


def tensor(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def pair(rule: PlasticityRule, n_pre: int = 1, n_post: int = 1, dt: float = 1.0, extra=(), **options) -> Network:
    """Return one plastic projection whose weights do not act: post is what ``target`` shows."""
    options = {"efficacy": "0*w", **options}
    show = Projection("target", "out", into="target", w=Param(1.0), mask="one_to_one")
    populations = (
        Population("stimulus", n_pre),
        Population("target", n_post),
        *extra,
        Population("out", n_post, {"x": "target", "error": "target - drive"}, inputs=("drive", "target")),
    )
    return Network(populations, (Projection("stimulus", "out", name="p", rule=rule, **options), show), dt=dt)


def learn(network: Network, pre, post, params=None, **more):
    """Run with ``pre`` and ``post`` ``(time, n)`` imposed; return the trajectory with everything kept."""
    found = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    found |= params or {}
    inputs = {"stimulus": torch.as_tensor(pre, dtype=F64)[:, None], "target": torch.as_tensor(post, dtype=F64)[:, None]}
    inputs |= {name: torch.as_tensor(value, dtype=F64)[:, None] for name, value in more.items()}
    return simulate(network, found, inputs, save=Save())


def ones(time: int, n: int = 1) -> torch.Tensor:
    return torch.ones(time, n, dtype=F64)


# --- order of operations ---------------------------------------------------------------------------------------------

ELIG = {"elig": "-elig/2 + pre*post"}


def test_sequential_joint_and_step_orders_differ_and_each_is_right():
    """With pre = post = 1 and dt = 1/2: e' = -e/2 + 1, w' = e."""
    sequential = PlasticityRule("r", dw="elig", traces=ELIG)
    joint = PlasticityRule("r", dw="elig", traces=ELIG, joint=True)
    step = PlasticityRule("r", step="w = w + elig\nelig = elig/2 + pre*post", traces={"elig": ""})
    late = PlasticityRule("r", step="elig = elig/2 + pre*post\nw += elig", traces={"elig": ""})
    w, elig = {}, {}
    for name, rule in {"sequential": sequential, "joint": joint, "step": step, "late": late}.items():
        made = learn(pair(rule, dt=0.5), ones(3), ones(3))
        w[name], elig[name] = made["w.p"].flatten().tolist(), made["traces.p.elig"].flatten().tolist()
    assert elig["sequential"] == elig["joint"] == [0.5, 0.875, 1.15625]
    assert elig["step"] == elig["late"] == [1.0, 1.5, 1.75]  # a step knows no dt
    assert w["sequential"] == [0.25, 0.6875, 1.265625]  # reads the new trace
    assert w["joint"] == [0.0, 0.25, 0.6875]  # reads the old trace
    assert w["step"] == [0.0, 1.0, 2.5]  # in the order of its statements
    assert w["late"] == [1.0, 2.5, 4.25]


def test_traces_advance_at_once_from_old_values():
    rule = PlasticityRule("r", dw="b", traces={"a": "pre - b", "b": "a"})
    made = learn(pair(rule), ones(4), ones(4))
    assert made["traces.p.a"].flatten().tolist() == [1.0, 2.0, 2.0, 0.0]
    assert made["traces.p.b"].flatten().tolist() == [0.0, 1.0, 3.0, 5.0]
    assert made["w.p"].flatten().tolist() == [0.0, 1.0, 4.0, 9.0]


def test_traces_start_where_they_were_told_and_have_the_size_of_what_they_read():
    traces = {"a": Trace("pre - a", init=3.0), "b": "post", "c": "pre*post", "d": "a - d", "z": "-z"}
    made = learn(pair(PlasticityRule("r", dw="d", traces=traces), 3, 2), tensor([1.0, 2.0, 3.0]), tensor([5.0, 7.0]))
    assert {name: tuple(kept.shape[2:]) for name, kept in made.saved.items() if name.startswith("traces")} == {
        "traces.p.a": (1, 3),
        "traces.p.b": (2, 1),
        "traces.p.c": (2, 3),
        "traces.p.d": (1, 3),
        "traces.p.z": (2, 3),
    }
    assert made["traces.p.a"].flatten().tolist() == [1.0, 2.0, 3.0]
    assert made["traces.p.b"].flatten().tolist() == [5.0, 7.0]
    assert made["traces.p.c"][0, 0].tolist() == [[5.0, 10.0, 15.0], [7.0, 14.0, 21.0]]
    assert made["w.p"][0, 0].tolist() == [[3.0] * 3] * 2  # d reads the old a, w the new d


def test_locals_of_a_step_and_a_constant():
    rule = PlasticityRule("r", step="d = pre - w\nk = 2\nd = k*d\nw += d*post\nw = w + 1")
    made = learn(pair(rule, 2, 1), tensor([1.0, 3.0]), tensor([0.5]))
    assert made["w.p"].flatten().tolist() == [2.0, 4.0]
    assert learn(pair(PlasticityRule("r", dw="3"), dt=0.5), ones(2), ones(2))["w.p"].flatten().tolist() == [1.5, 3.0]
    assert learn(pair(PlasticityRule("r", step="w = 3"), 2, 2), ones(1, 2), ones(1, 2))["w.p"].unique().item() == 3.0


def test_w_eff_is_the_efficacy_that_the_network_used_in_this_step():
    rule = PlasticityRule("r", dw="w_eff")
    network = pair(rule, efficacy="w0 + 2*w", params={"w0": Param(1.0)})
    made = learn(network, ones(3), ones(3))
    assert made["w.p"].flatten().tolist() == [1.0, 4.0, 13.0]
    assert made["drive.out"].flatten().tolist() == [1.0, 3.0, 9.0]


def test_every_rule_reads_the_same_values_from_before_all_rules():
    """The first rule changes its own weight; the second reads the current that the old weight produced."""
    populations = (Population("stimulus", 1), Population("out", 1, "drive"))
    first = PlasticityRule("first", dw="1")
    second = PlasticityRule("second", dw="post + drive_post")
    for order in ((first, second), (second, first)):
        projections = tuple(Projection("stimulus", "out", name=rule.name, rule=rule) for rule in order)
        made = simulate(
            Network(populations, projections),
            {"first.w": tensor([0.0]), "second.w": tensor([0.0])},
            {"stimulus": torch.ones(3, 1, 1, dtype=F64)},
            save=Save(),
        )
        assert made["x.out"].flatten().tolist() == [0.0, 1.0, 4.0]
        assert made["w.first"].flatten().tolist() == [1.0, 2.0, 3.0]
        assert made["w.second"].flatten().tolist() == [0.0, 2.0, 10.0]


def test_a_rule_reads_other_variables_of_its_populations():
    made = learn(
        pair(PlasticityRule("r", dw="pre*error_post + target_post"), efficacy="w"), [[2.0], [2.0]], [[1.0], [1.0]]
    )
    assert made["w.p"].flatten().tolist() == [3.0, 3.0 + 2.0 * (1.0 - 6.0) + 1.0]


# --- sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, "random"])
@pytest.mark.parametrize("over", ["post", "pre", "both"])
def test_sums_equal_numpy(over, mask):
    rng = np.random.default_rng(0)
    w0, e0 = rng.normal(size=(3, 4)), 0.5
    pre, post = rng.normal(size=(1, 4)), rng.normal(size=(1, 3))
    rule = PlasticityRule(
        "r", dw="total - w", traces={"elig": Trace("pre*post", init=e0)}, sums={"total": Sum("w*post + elig", over)}
    )
    network = pair(rule, 4, 3, mask=Random(0.5, 1) if mask else None)
    made = learn(network, pre, post, {"p.w": torch.tensor(w0)})
    exists = np.ones((3, 4))
    if mask:
        exists = (start(network, {"p.w": torch.ones(3, 4)}, 1, like=tensor(1.0)).w["p"][0] != 0).numpy()
        assert 0 < exists.sum() < 12
    w = w0 * exists
    terms = (w * post.T + e0) * exists  # the old trace, and only synapses that exist
    total = terms.sum({"post": 0, "pre": 1, "both": (0, 1)}[over], keepdims=True)
    np.testing.assert_allclose(made["w.p"][0, 0], (w + total - w) * exists, rtol=1e-14, atol=1e-14)


def test_a_rule_that_keeps_the_sum_of_incoming_weights():
    """Subtractive normalisation: what a neuron gains in one synapse it loses in the others."""
    rule = PlasticityRule("miller", dw="post*(pre - total/n_pre)", sums={"total": Sum("pre", over="pre")})
    made = learn(pair(rule, 5, 2), torch.randn(6, 5, dtype=F64), torch.rand(6, 2, dtype=F64))
    np.testing.assert_allclose(made["w.p"].sum(-1), 0, atol=1e-14)
    assert made["w.p"].abs().min() > 0


# --- bounds, masks, parameters ---------------------------------------------------------------------------------------


def test_bounds_are_numbers_or_parameters_and_a_projection_may_override_numbers():
    pre, post = tensor([1.0, 1.0, -3.0]).expand(3, 3), ones(3, 2)
    hebb = PlasticityRule("r", dw="pre*post")
    free = learn(pair(hebb, 3, 2), pre, post)["w.p"]
    assert free[-1, 0].tolist() == [[3.0, 3.0, -9.0]] * 2
    numbers = PlasticityRule("r", dw="pre*post", bounds=(-4, 2))
    assert learn(pair(numbers, 3, 2), pre, post)["w.p"][-1, 0].tolist() == [[2.0, 2.0, -4.0]] * 2
    assert learn(pair(numbers, 3, 2, bounds=(-1, 1)), pre, post)["w.p"][-1, 0].tolist() == [[1.0, 1.0, -1.0]] * 2
    named = PlasticityRule(
        "r", dw="pre*post", bounds=("low", "high"), params={"low": Param(-5.0), "high": Param(per="post")}
    )
    made = learn(pair(named, 3, 2), pre, post, {"p.rule.high": tensor([0.5], [2.5])})
    assert made["w.p"][-1, 0].tolist() == [[0.5, 0.5, -5.0], [2.5, 2.5, -5.0]]
    mixed = PlasticityRule("r", step="w += pre*post", bounds=(float("-inf"), "high"), params={"high": Param(1.5)})
    assert learn(pair(mixed, 3, 2), pre, post)["w.p"][-1, 0].tolist() == [[1.5, 1.5, -9.0]] * 2


def test_bounds_act_after_every_step_not_only_at_the_end():
    rule = PlasticityRule("r", dw="pre", bounds=(0, 1))
    assert learn(pair(rule), [[5.0], [-0.25], [-9.0], [0.5]], ones(4))["w.p"].flatten().tolist() == [1, 0.75, 0, 0.5]


@pytest.mark.parametrize("mask", ["no_self", "one_to_one", Random(0.4, 2)])
@pytest.mark.parametrize("text", [{"dw": "pre*post + 1"}, {"step": "w = w + 1"}])
def test_absent_synapses_stay_at_zero_even_outside_the_bounds(mask, text):
    rule = PlasticityRule("r", bounds=(0.5, 9), **text)
    network = pair(rule, 4, 4, mask=mask, w=Param(2.0))
    exists = start(network, {"p.w": tensor([2.0])}, 1).w["p"] > 0
    kept = learn(network, ones(3, 4), ones(3, 4))["w.p"]
    assert (kept[:, ~exists] == 0).all()
    assert (kept[:, exists] > 2).all()
    assert 0 < exists.sum() < 16


@pytest.mark.parametrize(("per", "shape"), [("scalar", (1, 1)), ("post", (2, 1)), ("pre", (1, 3)), ("synapse", (2, 3))])
def test_parameters_vary_over_what_they_say(per, shape):
    rule = PlasticityRule("r", dw="eta*pre*post", params={"eta": Param(per=per)})
    eta = torch.arange(1.0, 7.0, dtype=F64)[: shape[0] * shape[1]].reshape(shape)
    made = learn(pair(rule, 3, 2), tensor([1.0, 2.0, 3.0]), tensor([1.0, -1.0]), {"p.rule.eta": eta})
    assert torch.equal(made["w.p"][0, 0], eta * tensor([1.0], [-1.0]) * tensor([1.0, 2.0, 3.0]))


def test_a_minimum_keeps_a_time_constant_at_the_step_or_above():
    """However far the stored leaf wanders, the trace does not overshoot."""
    tau = Param(5.0, "positive", minimum=1.0, unit="ms")
    rule = PlasticityRule("r", dw="elig", traces={"elig": Trace("-elig/tau", init=1.0)}, params={"tau": tau})
    for stored, smallest in ((-40.0, 0.0), (-1000.0, 0.0), (40.0, 0.9)):
        made = learn(pair(rule), ones(2), ones(2), {"p.rule.tau": tensor([stored])})["traces.p.elig"].flatten()
        assert (made >= smallest - 1e-15).all() and (made <= 1).all()


@pytest.mark.parametrize("size", [1, 2])
def test_modulators_are_global_or_per_neuron(size):
    gates = Population("gate", size)
    rule = PlasticityRule("r", dw="m_gate*pre*post", traces={"elig": "m_gate"})
    network = pair(rule, 3, 2, extra=(gates,), modulators={"gate": "gate"})
    gate = tensor([[0.0] * size, [2.0, -1.0][:size]])[0]
    made = learn(network, ones(2, 3), ones(2, 2), gate=gate)
    assert made["w.p"][0].abs().max() == 0
    assert made["w.p"][1, 0].tolist() == [[v] * 3 for v in ([2.0, 2.0] if size == 1 else [2.0, -1.0])]
    assert made["traces.p.elig"][1, 0].flatten().tolist() == [v[0] for v in made["w.p"][1, 0].tolist()]


# --- learned functions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "activation", "out"), [((5,), "leaky_relu", "tanh"), ((), "tanh", "linear")])
def test_a_learned_function_is_applied_synapse_by_synapse(hidden, activation, out):
    rule = PlasticityRule(
        "r",
        dw="eta*f(pre, post, w, m) + f(eta, 2, w, 0.5)",
        params={"eta": Param(0.5)},
        functions={"f": MLP(4, hidden, activation, out)},
    )
    network = pair(
        rule, 3, 2, w=Param(Normal(), per="synapse"), extra=(Population("gate", 1),), modulators={"m": "gate"}
    )
    stream = torch.Generator().manual_seed(3)
    params = init_params(network, stream, dtype=F64)
    params = {
        name: torch.randn(leaf.shape, generator=stream, dtype=F64)
        for name, leaf in params.items()
        if name.startswith("p.")
    }
    assert [name for name in params if ".f." in name] == [
        f"p.rule.f.{i}.{k}" for i in range(len(hidden) + 1) for k in ("w", "b")
    ]
    pre, post, gate = torch.randn(1, 3, dtype=F64), torch.randn(1, 2, dtype=F64), tensor([0.7])
    made = learn(network, pre, post, params, gate=gate)["w.p"][0, 0]

    def f(*x: torch.Tensor) -> torch.Tensor:
        h = torch.stack(x)
        for i in range(len(hidden) + 1):
            h = params[f"p.rule.f.{i}.w"] @ h + params[f"p.rule.f.{i}.b"]
            h = (getattr(F, activation) if hasattr(F, activation) else torch.tanh)(h) if i < len(hidden) else h
        return (torch.tanh(h) if out == "tanh" else h)[0]

    w, eta = params["p.w"], params["p.rule.eta"][0, 0]
    for i in range(2):
        for j in range(3):
            first = f(pre[0, j], post[0, i], w[i, j], gate[0, 0])
            second = f(eta, tensor(2.0)[0], w[i, j], tensor(0.5)[0])
            torch.testing.assert_close(made[i, j], w[i, j] + eta * first + second, rtol=1e-13, atol=1e-13)


def test_learned_functions_may_differ_per_batch_entry():
    rule = PlasticityRule("r", dw="f(pre, post) + f(1, 2)", functions={"f": MLP(2, (4,))})
    network = pair(rule, 3, 2)
    params = [init_params(network, torch.Generator().manual_seed(seed), dtype=F64) for seed in range(3)]
    inputs = {name: torch.randn(4, 3, size, dtype=F64) for name, size in network.inputs.items()}
    alone = [
        simulate(network, p, {k: v[:, i : i + 1] for k, v in inputs.items()}).final.w["p"] for i, p in enumerate(params)
    ]
    stacked = {name: torch.stack([p[name] for p in params]) for name in params[0]}
    together = simulate(network, stacked, inputs).final.w["p"]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
    # and so may some of their leaves only
    shared = [
        {**p, "p.rule.f.0.b": params[0]["p.rule.f.0.b"], "p.rule.f.1.w": params[0]["p.rule.f.1.w"]} for p in params
    ]
    alone = [
        simulate(network, p, {k: v[:, i : i + 1] for k, v in inputs.items()}).final.w["p"] for i, p in enumerate(shared)
    ]
    some = {**stacked, "p.rule.f.0.b": params[0]["p.rule.f.0.b"], "p.rule.f.1.w": params[0]["p.rule.f.1.w"]}
    torch.testing.assert_close(simulate(network, some, inputs).final.w["p"], torch.cat(alone), rtol=1e-12, atol=1e-12)


# --- contracts over the library --------------------------------------------------------------------------------------


def scene(network: Network, lively, seed: int = 0):
    """Return the update function of the first plastic projection and random arguments for it."""
    projection = network.plastic[0]
    stream = torch.Generator().manual_seed(seed)
    values = prepare(network, lively(network))
    state = start(network, lively(network), 2, like=torch.zeros(1, dtype=F64))
    fresh = lambda leaf: torch.randn(leaf.shape, generator=stream, dtype=F64)  # noqa: E731
    state = type(state)(*({name: fresh(leaf) for name, leaf in part.items()} for part in state))
    x = {name: fresh(leaf) for name, leaf in state.x.items()}
    currents = {
        f"{p.name}.{into}": torch.randn(2, p.size, generator=stream, dtype=F64)
        for p in network.populations
        for into in p.inputs
    }
    pre = torch.randn(2, network[projection.pre].size, generator=stream, dtype=F64)
    efficacy = fresh(state.w[projection.label])
    return make_update(network, projection), projection, values, pre, efficacy, x, currents, state


def read_at_once(rule):
    """Return what the change of w reads in the same step: through the traces in a ``dw``, not in a ``step``."""
    own = [a.expression for a in rule.assignments["step"] if a.target == "w"]
    read = set().union(*(each.names for each in ([rule.dw_expression] if rule.dw else own)))
    traces = rule.trace_expressions if rule.dw else {}
    read |= {name for trace in read & set(traces) for name in traces[trace].names}
    return read | {name.rpartition("_")[2] for name in read if name.endswith(("_pre", "_post"))}


def test_a_synapse_changes_with_its_own_neurons_only_bit_for_bit(rate_pair, library, lively):
    """Elementwise: another pre, post or weight leaves the change of every other synapse bit-identical."""
    network = library(*rate_pair)
    update, projection, values, pre, efficacy, x, currents, state = scene(network, lively)
    if projection.rule.sums:
        pytest.skip("a rule with sums is not elementwise, and says so in its locality class")
    label = projection.label
    w, _ = update(values, pre, efficacy, x, currents, state)
    post, n_pre = w.shape[1:]

    def others(changed, expected_rows, expected_columns):
        moved = changed != w
        allowed = torch.zeros(post, n_pre, dtype=torch.bool)
        allowed[expected_rows, expected_columns] = True
        assert not moved[:, ~allowed].any()
        return moved[:, allowed].any()

    read = read_at_once(projection.rule) if projection.limits is None else set()  # a bound may hide what moves

    everything = slice(None)
    nudged = pre.clone()
    nudged[:, 1] += 0.37
    assert others(update(values, nudged, efficacy, x, currents, state)[0], everything, 1) or "pre" not in read
    target = {name: leaf.clone() for name, leaf in x.items()}
    flow = {name: leaf.clone() for name, leaf in currents.items()}
    for part in (target, flow):
        for name in part:
            if name.startswith(f"{projection.post}."):
                part[name][:, 1] += 0.37
    assert others(update(values, pre, efficacy, target, flow, state)[0], 1, everything) or "post" not in read
    heavier = state._replace(w={**state.w, label: state.w[label].clone()})
    heavier.w[label][:, 1, 0] += 0.37
    assert others(update(values, pre, efficacy, x, currents, heavier)[0], 1, 0) or projection.limits is not None
    # and an entry of the batch with its own task only
    other = pre.clone()
    other[1] += 0.37
    assert torch.equal(update(values, other, efficacy, x, currents, state)[0][0], w[0])


def test_a_rule_is_its_text(rate_pair, library, lively):
    """One update against the text evaluated by Python, number by number."""
    network = library(*rate_pair)
    update, projection, values, pre, efficacy, x, currents, state = scene(network, lively)
    rule, label = projection.rule, projection.label
    if rule.sums or rule.functions or rule.step or rule.bounds or projection.mask:
        pytest.skip("written for plain dw rules")
    w, traces = update(values, pre, efficacy, x, currents, state)
    for b in range(2):
        for i in range(w.shape[1]):
            for j in range(w.shape[2]):
                at = lambda leaf, i=i, j=j: float(leaf[min(i, leaf.shape[-2] - 1), min(j, leaf.shape[-1] - 1)])  # noqa: E731
                names = {name: at(values[f"{label}.rule.{name}"]) for name in rule.params}
                names |= {"pre": float(pre[b, j]), "post": float(x[f"{projection.post}.x"][b, i])}
                names |= {"w": float(state.w[label][b, i, j]), "w_eff": float(efficacy[b, i, j]), "dt": network.dt}
                for name, source in projection.modulators.items():
                    gate = x[f"{source}.x"][b]
                    names[name] = float(gate[min(i, len(gate) - 1)])
                for name in rule.variables:
                    side = projection.post if name.endswith("_post") else projection.pre
                    key = f"{side}.{name.rpartition('_')[0]}"
                    names[name] = float((x | currents)[key][b, i if name.endswith("_post") else j])
                old = {name: at(state.traces[f"{label}.{name}"][b]) for name in rule.traces}
                new = {
                    name: old[name] + network.dt * eval(trace.text, {}, names | old)
                    for name, trace in rule.traces.items()
                }
                wanted = names["w"] + network.dt * eval(rule.dw, {}, names | (old if rule.joint else new))
                assert float(w[b, i, j]) == pytest.approx(wanted, rel=1e-13, abs=1e-13)
                for name, value in new.items():
                    assert at(traces[f"{label}.{name}"][b]) == pytest.approx(value, rel=1e-13, abs=1e-13)


def test_gradients_are_exact(rate_pair, library, lively, sequences):
    """Central differences, in float64, over every parameter and every input of three learning steps."""
    network = library(*rate_pair)
    params, inputs = lively(network), sequences(network, 3, 1)
    names, shown = list(params), [name for name in inputs if name != "teach"]

    def scalar(*leaves):
        p = dict(zip(names, leaves, strict=False))
        made = simulate(network, p, inputs | dict(zip(shown, leaves[len(names) :], strict=True)))
        project = torch.Generator().manual_seed(5)
        parts = [made.output, *made.final.w.values(), *made.final.traces.values()]
        return sum((part * torch.randn(part.shape, generator=project, dtype=F64)).sum() for part in parts)

    leaves = [leaf.clone().requires_grad_() for leaf in (*params.values(), *(inputs[name] for name in shown))]
    assert torch.autograd.gradcheck(scalar, leaves)


# --- what rules are known to do --------------------------------------------------------------------------------------


def test_oja_converges_to_the_first_eigenvector():
    """Zero-mean input, eigenvalues 3, 1.5, 1 and 0.5: the weight vector has length 1 and the first direction."""
    n, time, batch = 4, 60_000, 3
    stream = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(n, n, generator=stream, dtype=F64)).Q
    deviation = tensor(3.0, 1.5, 1.0, 0.5).sqrt()
    x = (torch.randn(time, batch, n, generator=stream, dtype=F64) * deviation) @ basis.T
    oja = PlasticityRule("oja", dw=rules.get("oja").dw, params={"eta": Param(2e-4, "positive")})
    network = Network(
        (Population("stimulus", n), Population("out", 1, "drive")),
        (Projection("stimulus", "out", rule=oja, w=Param(Normal(0.0, 0.3), per="synapse")),),
    )
    params = init_params(network, stream, dtype=F64)
    with torch.no_grad():
        w = simulate(network, params, {"stimulus": x}, save=Save(("w.*",), every=500))["w.stimulus__out"][:, :, 0]
    first = basis[:, 0]
    cosine = (w[-1] @ first).abs() / w[-1].norm(dim=-1)
    assert (w[-1].norm(dim=-1) - 1).abs().max() < 0.02
    assert cosine.min() > 0.999
    assert ((w[0] @ first).abs() / w[0].norm(dim=-1)).max() < 0.95, "it has to learn"


def test_hebb_without_decay_grows_along_the_first_eigenvector_without_bound():
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(400, 1, 3, generator=stream, dtype=F64) * tensor(2.0, 1.0, 0.5)
    hebb = PlasticityRule("r", dw="eta*pre*post", params={"eta": Param(0.02)})
    network = Network(
        (Population("stimulus", 3), Population("out", 1, "drive")),
        (Projection("stimulus", "out", rule=hebb, w=Param(0.1)),),
    )
    w = simulate(network, init_params(network, stream, dtype=F64), {"stimulus": x}).final.w["stimulus__out"][0, 0]
    assert w.norm() > 100
    assert w[0].abs() / w.norm() > 0.99


def test_the_delta_rule_finds_the_regression():
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 1, 3, generator=stream, dtype=F64)
    target = x @ tensor([1.0, -2.0, 0.5]).T
    made = learn(pair(rules.get("delta"), 3, 1, efficacy="w"), x[:, 0], target[:, 0])
    torch.testing.assert_close(made.final.w["p"][0, 0], tensor(1.0, -2.0, 0.5), rtol=1e-6, atol=1e-6)
