"""Spiking in torch: closed forms, exact equations, gradients with frozen spikes, surrogates, whole graphs."""

from __future__ import annotations

import math

import pytest
import torch

from neurometa import init_params, make_step, simulate, start
from neurometa.algebra import linear, margin
from neurometa.errors import ExpressionError, SpecificationError
from neurometa.expression import parse
from neurometa.spec import Delays, Network, Param, PlasticityRule, Population, Projection, Spikes, Trace, Uniform
from neurometa.spec.spikes import SURROGATES
from neurometa.streams import generator
from neurometa.torch_engine import prepare

F64 = torch.float64
PAIR = PlasticityRule(
    "pair",
    traces={"a": Trace("-a/tau", method="exact"), "b": Trace("-b/tau", method="exact")},
    on_pre="w = w - down*b*w\na = a + 1",
    on_post="w = w + up*a*(1 - w)\nb = b + 1",
    params={"up": Param(0.1), "down": Param(0.12), "tau": Param(5.0)},
)
THREE = PlasticityRule(
    "three",
    dw="m*elig",
    traces={"a": Trace("-a/tau", method="exact"), "elig": Trace("-elig/20", method="exact")},
    on_pre="a = a + 1",
    on_post="elig = elig + up*a",
    params={"up": Param(0.1), "tau": Param(5.0)},
)


def lif(size=2, threshold=1.0, **options) -> Population:
    spikes = Spikes(f"v > {threshold}", "v = 0", **options)
    return Population("out", size, {"dv/dt": "(drive - v)/tau"}, params={"tau": Param(10.0)}, spikes=spikes)


def constant(steps, value, size=1):
    return {"stimulus": torch.full((steps, 1, size), value, dtype=F64)}


def net(out, *projections, dt=1.0, size=1):
    return Network((Population("stimulus", size), out), projections, output="out", dt=dt)


# --- neurons -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refractory", [0.0, 3.0])
def test_interspike_interval_of_a_constant_current(refractory):
    """Exact: v(k) = I (1 - exp(-k/tau)) crosses threshold after ln(I/(I - 1)) tau, rounded up, plus what is held."""
    exact = Population(
        "out",
        1,
        {"dv/dt": "(drive - v)/tau"},
        params={"tau": Param(10.0)},
        method="exact",
        spikes=Spikes("v > 1", "v = 0", refractory=refractory, held=("v",)),
    )
    network = net(exact, Projection("stimulus", "out", w=Param(1.0)), dt=0.1)
    x = simulate(network, init_params(network, generator(0), dtype=F64), constant(2000, 1.5)).output[:, 0, 0]
    times = x.nonzero()[:, 0]
    rise = math.ceil(math.log(1.5 / 0.5) * 10 / 0.1)
    held = max(round(refractory / 0.1) - 1, 0)
    assert times[0] == rise - 1
    assert set(times.diff().tolist()) == {rise + held}


def test_the_exact_method_is_the_matrix_exponential():
    population = Population(
        "out",
        1,
        {"dx/dt": "-x/tau + 0.5*y", "dy/dt": "drive - y/3"},
        params={"tau": Param(7.0)},
        start={"x": 0.3, "y": -0.2},
        method="exact",
    )
    network = net(population, Projection("stimulus", "out", w=Param(1.0)), dt=0.7)
    x = simulate(network, init_params(network, generator(0), dtype=F64), constant(9, 0.4)).final.x
    a = torch.tensor([[-1 / 7, 0.5, 0], [0, -1 / 3, 0.4], [0, 0, 0]], dtype=F64)
    wanted = torch.linalg.matrix_exp(a * 0.7 * 9) @ torch.tensor([0.3, -0.2, 1.0], dtype=F64)
    assert x["out.x"].item() == pytest.approx(wanted[0].item(), rel=1e-13)
    assert x["out.y"].item() == pytest.approx(wanted[1].item(), rel=1e-13)


def test_a_spike_arrives_after_its_delay():
    out = Population("out", 3, {"dv/dt": "0.0"}, spikes=Spikes("v > 1e9"))
    for delay, steps in ((0.0, [[0, 0]] * 3), (2.0, [[2, 2]] * 3), (Delays(0, 4, 1), None)):
        projection = Projection("stimulus", "out", into="v", w=Param(1.0), delay=delay)
        network = net(out, projection, size=2)
        steps = projection.delay_steps(3, 2, 1.0).tolist() if steps is None else steps
        inputs = torch.zeros(8, 1, 2, dtype=F64)
        inputs[1, 0, 0] = inputs[2, 0, 1] = 1.0
        params = init_params(network, generator(0), dtype=F64)
        v = torch.stack([simulate(network, params, {"stimulus": inputs[:t]}).final.x["out.v"][0] for t in range(1, 9)])
        for i in range(3):
            arrivals = [1 + steps[i][0], 2 + steps[i][1]]
            assert v[:, i].tolist() == [float(sum(a <= t for a in arrivals)) for t in range(8)]


def test_resumed_spikes_under_way_arrive():
    out = Population("out", 3, {"dv/dt": "-v/9"}, spikes=Spikes("v > 1", "v = 0"))
    network = net(out, Projection("stimulus", "out", into="v", delay=Delays(0, 5, 1), rule=PAIR, w=Param(0.5)), size=4)
    params = init_params(network, generator(0), dtype=F64)
    spikes = (torch.rand(60, 2, 4, generator=generator(1), dtype=F64) < 0.3).double()
    whole = simulate(network, params, {"stimulus": spikes})
    first = simulate(network, params, {"stimulus": spikes[:30]})
    rest = simulate(network, params, {"stimulus": spikes[30:]}, state=first.final)
    assert torch.equal(rest.output, whole.output[30:]) and whole.output.sum() > 5
    for part, other in zip(rest.final, whole.final, strict=True):
        assert all(torch.equal(part[name], other[name]) for name in part)


def test_queries_of_spiking_networks_are_answered_one_by_one_from_rest():
    out = lif(refractory=2.0, held=("v",))
    network = net(out, Projection("stimulus", "out", into="v", w=Param(0.6), delay=1.0))
    params = init_params(network, generator(0), dtype=F64)
    x = torch.ones(12, 1, 1, dtype=F64)
    reset = [t % 4 == 0 for t in range(12)]
    items = simulate(network, params, {"stimulus": x}, learn=False, reset=reset).output
    one = simulate(network, params, {"stimulus": x[:4]}, learn=False).output
    assert torch.equal(items, one.repeat(3, 1, 1)) and one.sum() > 0


# --- gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [PAIR, THREE], ids=lambda rule: rule.name)
def test_gradcheck_of_five_steps_with_frozen_spikes(rule):
    """Spikes are imposed, so everything else is smooth: derivatives by parameters, time constants, weights, gains."""
    out = Population("out", 2, {"fires": "drive", "g": "0.0"}, spikes=Spikes("fires > 0.5"))
    gate = {"m": "dopamine"} if rule.modulators else {}
    network = Network(
        (Population("stimulus", 3), Population("teacher", 2), Population("dopamine", 1), out),
        (
            Projection("teacher", "out", w=Param(1.0), mask="one_to_one"),
            Projection("stimulus", "out", "s", into="g", w=Param(0.4, per="synapse"), rule=rule, modulators=gate),
        ),
        output="out.x",
    )
    drawn = init_params(network, generator(0), dtype=F64)
    names = [name for name in drawn if name.startswith("s.")]
    stream = generator(1)
    spikes = {n: (torch.rand(5, 2, k, generator=stream) < 0.6).double() for n, k in (("stimulus", 3), ("teacher", 2))}
    dopamine = torch.rand(5, 2, 1, generator=stream, dtype=F64)

    def final(dopamine, *leaves):
        params = drawn | dict(zip(names, leaves, strict=True))
        made = simulate(network, params, {**spikes, "dopamine": dopamine}).final
        return made.w["s"], *made.traces.values()

    leaves = [drawn[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(final, [dopamine.requires_grad_(), *leaves])
    slopes = torch.autograd.grad(final(dopamine, *leaves)[0].sum(), leaves)
    assert all(slope.abs().max() > 0 for slope in slopes)


DERIVATIVES = {
    "fast_sigmoid": lambda z, slope: 1 / (1 + z.abs()) ** 2,
    "sigmoid": lambda z, slope: slope * torch.sigmoid(z) * (1 - torch.sigmoid(z)),
    "arctan": lambda z, slope: slope / 2 / (1 + (math.pi * z / 2) ** 2),
    "triangle": lambda z, slope: torch.clamp(1 - z.abs(), min=0),
    "gaussian": lambda z, slope: slope * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
}


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates_are_the_documented_derivatives_and_leave_the_forward_pass(surrogate):
    slope, v = 0.7, torch.linspace(-3, 4, 15, dtype=F64)
    out = Population("out", 15, {"v": "drive"}, spikes=Spikes("v > 0.9", surrogate=surrogate, slope=slope))
    network = net(out, Projection("stimulus", "out", w=Param(1.0), mask="one_to_one"), size=15)
    params = init_params(network, generator(0), dtype=F64)
    x = v[None, None].clone().requires_grad_()
    spikes = simulate(network, params, {"stimulus": x}).output
    assert torch.equal(spikes[0, 0].detach(), (v > 0.9).double())
    (found,) = torch.autograd.grad(spikes.sum(), x)
    torch.testing.assert_close(found[0, 0], DERIVATIVES[surrogate](slope * (v - 0.9), slope))


def test_a_spike_is_differentiated_through_delivery_reset_and_both_pathways():
    """w reaches the output only by way of spikes, so without a surrogate its derivative would be 0."""
    hidden = Population("hidden", 2, {"dv/dt": "(drive - v)/5"}, spikes=Spikes("v > 1", "v = v - 1"))
    out = Population("out", 2, {"dv/dt": "-v/5"}, spikes=Spikes("v > 1", "v = 0"))
    network = Network(
        (Population("stimulus", 3), hidden, out),
        (
            Projection("stimulus", "hidden", w=Param(Uniform(0.5, 1.5), per="synapse")),
            Projection("hidden", "out", into="v", w=Param(0.7), rule=PAIR),
        ),
        output="out.v",
    )
    params = {n: p.requires_grad_() for n, p in init_params(network, generator(0), dtype=F64).items()}
    made = simulate(network, params, {"stimulus": torch.ones(30, 1, 3, dtype=F64)})
    for target in (made.output.sum(), made.final.w["hidden__out"].sum()):
        (slope,) = torch.autograd.grad(target, params["stimulus__hidden.w"], retain_graph=True)
        assert slope.abs().min() > 0 and torch.isfinite(slope).all()


def test_the_step_is_one_full_graph_and_compiles_to_the_same_numbers():
    out = lif(refractory=2.0, held=("v",))
    network = net(out, Projection("stimulus", "out", into="v", w=Param(0.6), rule=PAIR, delay=Delays(0, 2, 1)), size=3)
    params = init_params(network, generator(0), dtype=F64)
    like = torch.ones(1, 2, 3, dtype=F64)
    arguments = prepare(network, params), start(network, params, 2, like=like), {"stimulus": like[0]}, {}
    torch.compiler.reset()
    found, _ = torch.compile(make_step(network), fullgraph=True, backend="aot_eager")(*arguments)
    wanted, _ = make_step(network)(*arguments)
    for part, other in zip(found, wanted, strict=True):
        for leaf in part:
            torch.testing.assert_close(part[leaf], other[leaf], rtol=1e-12, atol=1e-12)


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2*v - (u - v)/tau", "-(v + 3)*tau + a*(u - 2*v)", "(e - v + u*(1 - 2*tau))/3", "a"])
def test_linear_parts_add_up_to_the_formula(text):
    names = ["v", "u", "tau", "a", "e"]
    expression = parse(text)
    factors, rest = linear(expression, ["v", "u"])
    values = dict(zip(names, torch.randn(5, 7, generator=generator(0), dtype=F64).numpy(), strict=True))

    def of(formula):
        return formula.function(names)(*values.values())

    total = of(rest) + sum(of(factor) * values[name] for name, factor in factors.items())
    assert abs(total - of(expression)).max() < 1e-13


@pytest.mark.parametrize("text", ["v*v", "exp(v)", "v/u", "1/v", "v*u", "v**2", "int(v > 1)"])
def test_what_is_not_linear_is_refused(text):
    with pytest.raises(ExpressionError, match=r'is not linear in .*, which method "exact" needs; use method "euler"'):
        linear(parse(text), ["v", "u"])


def test_margins_have_the_sign_of_their_condition():
    condition = "v > 1 and not (u < v or v >= 3)"
    v, u = torch.randn(2, 500, generator=generator(0), dtype=F64).numpy() * 3
    truth = parse(f"int({condition})").function(["u", "v"])(u, v)
    distance = margin(parse(condition, condition=True)).function(["u", "v"])(u, v)
    assert ((distance > 0) == (truth > 0)).all() and truth.any()


SINK = Population("out", 1, {"dv/dt": "-v"}, spikes=Spikes("v > 1", refractory=2.0))
RATE = Population("out", 1, "tanh(drive)")
REFUSED = {
    "x has a text": (lambda: Population("p", 1, {"x": "drive"}, spikes=Spikes("x > 1")), "spikes=, which set 'x'"),
    "an input": (lambda: Population("p", 1, spikes=Spikes("x > 1")), "an input population is fed its spikes"),
    "unknown name": (lambda: Population("p", 1, {"v": "drive"}, spikes=Spikes("u > 1")), "threshold reads unknown"),
    "held": (lambda: Population("p", 1, {"v": "0"}, spikes=Spikes("v > 1", held=("u",))), "held names 'u'"),
    "reset": (lambda: Population("p", 1, {"v": "0"}, spikes=Spikes("v > 1", "u = 0")), "reset assigns 'u'"),
    "surrogate": (lambda: Spikes("v > 1", surrogate="relu"), "surrogate is 'relu'"),
    "not linear": (lambda: Population("p", 1, {"dx/dt": "x*x"}, method="exact"), "not linear in x"),
    "moving": (lambda: Population("p", 1, {"dx/dt": "-drive*x"}, method="exact"), "multiplies 'x' by 'drive'"),
    "steps": (lambda: net(SINK, dt=0.3), "no whole number of steps of 0.3 ms; the nearest is 2.1"),
    "rate target": (lambda: net(RATE, Projection("stimulus", "out", rule=PAIR)), "has on_pre or on_post"),
    "delayed current": (lambda: net(lif(), Projection("stimulus", "out", delay=1.0)), "a delay is for spikes"),
    "moving trace": (
        lambda: PlasticityRule("r", dw="u", traces={"u": Trace("-u*pre", method="exact")}),
        "trace u reads 'pre', which moves within a step",
    ),
    "no source": (
        lambda: Network(
            (Population("stimulus", 1), Population("h", 1, "drive"), SINK), (Projection("h", "out", into="v"),)
        ),
        "'h' has no spikes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises((SpecificationError, ExpressionError), match=message):
        make()
