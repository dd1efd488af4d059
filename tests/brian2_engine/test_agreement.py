"""The same text in two simulators: rules, networks and every option of the description."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurometa import rules
from neurometa.brian2_engine import simulate
from neurometa.cli.typed_rule import rule_from_text
from neurometa.crosscheck import crosscheck
from neurometa.errors import EngineError
from neurometa.spec import (
    MLP,
    Network,
    Normal,
    Param,
    PerEpisode,
    PlasticityRule,
    Population,
    Projection,
    Random,
    Spikes,
    Sum,
    Trace,
    Uniform,
)
from neurometa.streams import generator
from neurometa.verify import contract_networks

pytest.importorskip("brian2")

KINDS = ("feed-forward", "recurrent", "modulated")
ETA = {"eta": Param(0.05)}
SLOW = {"eta": Param(0.05), "tau": Param(4.0, "positive", minimum=1.0)}

# --- every library rule, and one of each form that a rule may have ---------------------------------------------------


@pytest.mark.parametrize(("kind", "replay"), [("modulated", False), ("recurrent", True)])
def test_every_library_rule(agrees, library_rule, kind, replay):
    """With random parameters; `verify` has all three networks, with parameters as they are drawn."""
    rule = rules.get(library_rule)
    network = contract_networks(rule)[kind]
    if rule.brian2_refuses:
        with pytest.raises(EngineError, match="does not run in Brian2"):
            agrees(network)
        return
    if replay and library_rule == "voltage_stdp":  # it reads a membrane that a spike resets
        with pytest.raises(EngineError, match="compare the closed loop"):
            agrees(network, replay=True)
        return
    agrees(network, 100, replay=replay)


def test_brian2_refuses_three_rules_at_most():
    assert sum(bool(rules.get(name).brian2_refuses) for name in rules.names()) <= 3


TYPED = (
    "dw = eta*m*elig - decay*w; delig = -elig/tau + pre*post",
    "dw/dt = rate*(m_a - m_b)*pre*post - 0.1*w; rate = 0.05",
    "dw = 0.05*post*(post - theta_post)*pre - 0.01*w",
)
FORMS = {
    "step": dict(
        step="w = clip(w + 0.1*m*elig, -1, 1)\nelig = (1 - 0.2)*elig + 0.2*pre*post", traces={"elig": Trace()}
    ),
    "step with local names": dict(
        step="old = w\nw = 0.9*w + 0.1*post\nelig = old\nboth = old - w; w += 0.1*both*pre; w *= 0.99",
        traces={"elig": Trace(init=0.3)},
    ),
    "bare names": dict(dw="elig", traces={"elig": "w_eff", "late": "elig", "last": "post"}, bounds=(-1, 1)),
    "joint": dict(dw="eta*(elig*post - w)", traces={"elig": "-elig/tau + pre*w"}, joint=True, params=SLOW),
    "joint, bare names": dict(
        dw="elig", traces={"elig": "0.1*(pre - elig)", "next": "elig"}, joint=True, bounds=(-1, 1)
    ),
    "a step after derivatives": dict(
        step="w = 0.9*w + 0.1*elig\nlast = 0.5*last + 0.1*elig",
        traces={"elig": "0.2*(pre*post - elig)", "last": "0.1*(elig - last)"},
    ),
    "sequential": dict(dw="eta*(elig*post - w)", traces={"elig": "-elig/tau + pre*w"}, params=SLOW),
    "traces of one side": dict(
        dw="eta*(up*post - down*pre)",
        traces={"up": Trace("-up/tau + pre", 0.1), "down": Trace("-down/tau + post", -0.2), "slow": "up - slow"},
        params=SLOW,
    ),
    "sum over pre": dict(dw="eta*(pre*post - w*total)", sums={"total": Sum("w*pre", over="pre")}, params=ETA),
    "sum over post": dict(dw="eta*post*(pre - recon)", sums={"recon": Sum("w*post", over="post")}, params=ETA),
    "sum over both": dict(dw="eta*(pre*post - w*power)", sums={"power": Sum("w**2/n_pre", over="both")}, params=ETA),
    "sums of modulators, traces and efficacies": dict(
        dw="eta*(pre*post - w*(a + b + c))",
        traces={"elig": "0.2*(pre*post - elig)"},
        sums={"a": Sum("0.1*m*elig", "pre"), "b": Sum("0.1*w_eff*m_b", "post"), "c": Sum("0.01*m*abs(pre)", "both")},
        params=ETA,
    ),
    "bounds by name": dict(
        dw="pre*post", bounds=("low", "high"), params={"low": Param(-0.3), "high": Param(0.2, per="synapse")}
    ),
    "a learned function": dict(dw="eta*f(pre, post, w, m)", functions={"f": MLP(4, (5,))}, params=ETA),
    "learned functions in sums and traces": dict(
        dw="0.05*(elig - w*f(total, 1))",
        traces={"elig": "f(pre, elig) - elig"},
        sums={"total": Sum("f(w, post)/n_pre", "pre")},
        functions={"f": MLP(2, (3, 4), "tanh", "sigmoid")},
    ),
    "two modulators": dict(dw="m_a*pre*post - m_b*w"),
    "variables of the populations": dict(
        dw="0.05*(drive_post*v_pre - theta_post*w + error_post*x_pre - target_post*error_pre)",
    ),
    "the newest and the carried activity": dict(dw="0.1*(x_pre*pre - x_post*post - w)"),
    "sizes and dt": dict(dw="dt*pre*post/sqrt(n_pre) - w/(n_post + dt)"),
    "parameters per neuron": dict(
        dw="a*pre*post - b*w + c*pre - d*post",
        params={
            name: Param(Uniform(0.01, 0.1), "positive", per=per)
            for name, per in zip("abcd", ("post", "pre", "synapse", "scalar"), strict=True)
        },
    ),
    "constants": dict(dw="1/2*pre*post - 1/3*w + 2**-1*0.1*pre - 3/(4*10)*w + 5e-3*post"),
    "conditions": dict(
        dw="0.1*int(pre > 0 and not post > 0.1)*pre - 0.1*int(w >= 0.2 or post < -1)*w + 2**-int(pre > post)*0.01"
    ),
    "large conditions": dict(dw="int(pre > 0)*100000*100000*1e-12*post - 0.1*w"),
    "functions of numbers and arrays": dict(
        dw="0.1*(minimum(pre, 0.5) + maximum(0, post) - clip(w, -0.2, 1/3) + clip(0.1, w, 1) - abs(-2)*w"
        " + sign(pre)*0.1 + minimum(1, 2)*0.01*post) - 0.05*w"
    ),
    "transcendental functions": dict(
        dw="0.02*(exp(-pre*pre) + log(1 + post*post) + abs(w)**0.5 + sin(pre) + cos(post) + arctan(w) + sqrt(abs(post))"
        " + tanh(pre*post) + sigmoid(w) + softplus(pre) + relu(post) - spike(pre - post))"
        " - 0.1*w + 0.01*(1 + abs(pre))**post"
    ),
    "signs and powers": dict(dw="-w**2*0.1 - (-pre)**3*0.1 - -post*0.1 - w/2/2 - (pre - (post - w))*0.01 + 2**w*0.01"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TYPED)
def test_a_typed_rule(agrees, text, kind):
    agrees(contract_networks(rule_from_text(text))[kind], 100)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_rule(agrees, form):
    networks = contract_networks(PlasticityRule("form", **FORMS[form]), size=3)
    agrees(networks["recurrent"], 30)
    agrees(networks["recurrent"], 30, replay=True)
    agrees(networks["modulated"], 30)


# --- networks --------------------------------------------------------------------------------------------------------

HEBB = PlasticityRule("hebb", dw="eta*pre*post - 0.1*w", params=ETA)
GATED = PlasticityRule("gated", dw="eta*m*pre*w_eff - 0.1*w + 0.1*m*post", params=ETA)
STIMULUS = Population("stimulus", 3)
EACH = Param(Normal(0.0, 0.5), per="synapse")
HIDDEN = Population("hidden", 3, "tanh(drive)")
OUT = Population("out", 2, "tanh(drive)")


def net(*parts, **options):
    populations = tuple(part for part in parts if isinstance(part, Population))
    return Network(populations, tuple(part for part in parts if isinstance(part, Projection)), **options)


def plastic(pre, post, rule=HEBB, **options):
    return Projection(pre, post, **{"efficacy": "w0 + w", "params": {"w0": EACH}, "rule": rule, "w": EACH} | options)


NETWORKS = {
    "size 1": net(
        Population("stimulus", 1),
        Population("hidden", 1, "tanh(drive)"),
        plastic("stimulus", "hidden"),
        plastic("hidden", "hidden"),
    ),
    "pre declared after post": net(STIMULUS, OUT, HIDDEN, plastic("hidden", "out"), plastic("stimulus", "hidden")),
    "an input declared last": net(OUT, STIMULUS, plastic("stimulus", "out"), output="out"),
    "a loop of two": net(
        STIMULUS, HIDDEN, OUT, plastic("stimulus", "hidden"), plastic("hidden", "out"), plastic("out", "hidden")
    ),
    "two projections between the same": net(
        STIMULUS,
        HIDDEN,
        plastic("stimulus", "hidden", name="first"),
        plastic("stimulus", "hidden", GATED, name="second", modulators={"m": "hidden"}),
        Projection("stimulus", "hidden"),
    ),
    "biases": net(
        STIMULUS,
        HIDDEN,
        Projection("stimulus", "hidden"),
        plastic("one", "hidden"),
        Projection("one", "hidden", "bias"),
    ),
    "a modulator declared after its target": net(
        STIMULUS,
        HIDDEN,
        Population("late", 1, "1 + tanh(drive)"),
        plastic("stimulus", "hidden", GATED, efficacy="m*(w0 + w)", modulators={"m": "late"}),
        Projection("hidden", "late"),
    ),
    "late and early modulators of one neuron and of many": net(
        STIMULUS,
        Population("early", 3, "drive"),
        HIDDEN,
        Population("late", 3, "tanh(drive)"),
        Projection("stimulus", "early", mask="one_to_one", w=Param(1.0)),
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule(
                "r", dw="0.1*(m_late*pre*w_eff - m_early*w - 0.1*total)", sums={"total": Sum("m_late*m*w", "pre")}
            ),
            efficacy="w0 + 0.1*(m_late + m_early + m)*w",
            modulators={"late": "late", "early": "early", "m": "one"},
        ),
        Projection("hidden", "late"),
    ),
    "a population that modulates itself": net(
        STIMULUS,
        Population("hidden", 3, {"x": "tanh(m_own*0.5 + drive)", "v": "m_own"}, modulators={"own": "hidden"}),
        plastic("stimulus", "hidden", GATED, modulators={"m": "hidden"}),
    ),
    "a population with its gain modulated": net(
        STIMULUS,
        Population("gain", 3, "2*sigmoid(drive)"),
        Population(
            "hidden",
            3,
            "tanh(m_gain*drive - m*b)",
            {"b": Param(0.1, per="neuron")},
            modulators={"gain": "gain", "m": "late"},
        ),
        Population("late", 1, {"dx/dt": "(drive - x)/tau"}, {"tau": Param(3.0, minimum=1.0)}),
        Projection("stimulus", "gain"),
        Projection("hidden", "late"),
        plastic("stimulus", "hidden"),
    ),
    "efficacies that read modulators without a rule": net(
        STIMULUS,
        Population("late", 1, "tanh(drive)"),
        HIDDEN,
        Projection("stimulus", "late"),
        Projection("stimulus", "hidden", efficacy="(1 + m_late)*w*n_pre/n_post", modulators={"late": "late"}),
    ),
    "a modulator that no text reads": net(
        STIMULUS, HIDDEN, plastic("stimulus", "hidden", modulators={"m_unread": "stimulus", "other-one": "hidden"})
    ),
    "an efficacy that reads traces": net(
        STIMULUS,
        HIDDEN,
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule("r", dw="0.1*pre*post - 0.1*w", traces={"u": "0.2*(abs(pre) - u)", "d": "0.1*(post - d)"}),
            efficacy="(1 - 0.5*u)*(w0 + w) + 0.1*d",
        ),
    ),
    "a bare efficacy of a rule that reads it": net(
        STIMULUS,
        HIDDEN,
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule("r", step="w = 0.9*w + 0.1*pre; w = w + 0.1*w_eff"),
            efficacy="w",
            params={},
        ),
    ),
    "an efficacy that is a number": net(STIMULUS, HIDDEN, plastic("stimulus", "hidden", efficacy="1/3", params={})),
    "one name in projection and rule": net(
        STIMULUS,
        HIDDEN,
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule("r", dw="alpha*pre*post - 0.1*w", params={"alpha": Param(0.05)}),
            efficacy="alpha*w",
            params={"alpha": Param(2.0, per="post")},
        ),
    ),
    "names of Brian2": net(
        Population("stimulus", 3),
        Population(
            "rates",
            3,
            {"A": "tanh(drive)", "x": "A*beta", "gamma": "x"},
            {"beta": Param(0.7), "v": Param(0.1), "S": Param(0.0)},
        ),
        Population("synapses", 2, {"dge/dt": "drive - ge", "x": "tanh(ge)"}, inputs=("drive", "sum")),
        plastic(
            "stimulus",
            "rates",
            PlasticityRule(
                "thresholds",
                dw="lam*clock*pre - w*cond",
                params={"lam": Param(0.1), "cond": Param(0.1)},
                traces={"clock": "post - clock"},
            ),
        ),
        Projection("rates", "synapses", "v", into="sum"),
        Projection("rates", "synapses", "groups"),
    ),
    "masks": net(
        STIMULUS,
        HIDDEN,
        plastic("stimulus", "hidden", PlasticityRule("r", **FORMS["traces of one side"]), mask="one_to_one"),
        plastic("hidden", "hidden", PlasticityRule("r", **FORMS["sum over both"]), mask="no_self"),
    ),
    "signs": net(
        STIMULUS,
        HIDDEN,
        Projection("stimulus", "hidden", "fixed", sign="excitatory"),
        Projection("one", "hidden", sign="inhibitory"),
        plastic("stimulus", "hidden", sign="inhibitory", mask=Random(0.7, 1)),
        plastic(
            "hidden",
            "hidden",
            PlasticityRule("r", dw="0.3*m*pre*post - 0.1*w_eff", sums={"total": Sum("w_eff*pre", "pre")}),
            efficacy="m*(w0 + w)",
            sign="excitatory",
            modulators={"m": "hidden"},
        ),
    ),
    "late variables": net(
        STIMULUS,
        Population(
            "hidden",
            3,
            {
                "x": "tanh(drive + 0.3*echo)",
                "late p": "softmax(back) - 0.1*softmax(2*drive)",
                "late echo": "back*(1 - x*x) + 0.1*m_out + 0.1*noise",
                "late dslow/dt": "(echo - slow)/tau",
                "late dfast/dt": "slow - fast + p",
            },
            {"tau": Param(3.0, minimum=1.0)},
            inputs=("drive", "back", "unused"),
            modulators={"out": "out"},
        ),
        Population("out", 1, {"x": "tanh(drive)", "late seen": "back"}, inputs=("drive", "back")),
        Population("wholly", 3, {"late x": "tanh(drive) + 0.1*x"}, inputs=("drive", "unused")),
        plastic("stimulus", "hidden", PlasticityRule("r", dw="0.1*pre*echo_post + 0.01*back_post - 0.1*w*fast_post")),
        Projection("hidden", "out"),
        plastic("out", "hidden", into="back"),
        Projection("hidden", "out", "self", into="back"),
        Projection("out", "wholly"),
        Projection("wholly", "hidden", efficacy="(1 + m_out)*w", into="back", modulators={"out": "out"}),
    ),
    "bounds of the projection": net(
        STIMULUS,
        HIDDEN,
        plastic("stimulus", "hidden", PlasticityRule("r", dw="pre*post", bounds=(-5, 5)), bounds=(-0.1, 0.4)),
    ),
    "several inputs": net(
        STIMULUS,
        Population(
            "cell",
            3,
            {"open": "sigmoid(gate)", "dc/dt": "open*drive - c/tau", "dslow/dt": "c - slow", "x": "tanh(c + slow)"},
            {"tau": Param(3.0, per="neuron")},
            start={"c": 0.3, "slow": Param(0.1, per="neuron"), "x": Param(-0.2)},
            inputs=("drive", "gate", "unused"),
        ),
        plastic("stimulus", "cell"),
        plastic("cell", "cell", into="gate"),
    ),
    "derivatives advance together": net(
        STIMULUS,
        Population("cell", 3, {"dx/dt": "v", "dv/dt": "drive - x", "old": "x"}),
        plastic("stimulus", "cell", PlasticityRule("r", dw="0.05*(pre*v_post - w)")),
        dt=0.1,
    ),
    "softmax": net(
        STIMULUS,
        Population(
            "out",
            3,
            {"p": "softmax(2*(drive + b)) + 0.1*softmax(drive)", "x": "softmax(p - softmax(drive))"},
            {"b": Param(0.1)},
        ),
        plastic("stimulus", "out", PlasticityRule("r", dw="0.1*(pre*p_post - w)")),
    ),
    "softmax in a derivative": net(
        STIMULUS, Population("out", 4, {"dx/dt": "softmax(drive) - x"}), plastic("stimulus", "out")
    ),
    "noise": net(
        STIMULUS,
        Population("out", 3, {"x": "tanh(drive + 0.3*noise)", "v": "noise*noise"}),
        plastic("stimulus", "out"),
        plastic("out", "out", name="loop"),
    ),
    "per episode": net(
        STIMULUS,
        Population("hidden", 3, "tanh(drive)", start={"x": Param(PerEpisode(Normal(0.0, 1.0)), per="neuron")}),
        Projection("stimulus", "hidden", w=Param(PerEpisode(Normal(0.0, 1.0)), per="synapse"), mask="one_to_one"),
        plastic("hidden", "hidden", w=Param(PerEpisode(Uniform(0.1, 0.9)), "positive", per="synapse"), mask="no_self"),
    ),
    "nothing plastic": net(
        STIMULUS, HIDDEN, OUT, Projection("stimulus", "hidden"), Projection("hidden", "out", "readout")
    ),
    "an odd dt": net(
        STIMULUS, HIDDEN, plastic("stimulus", "hidden", PlasticityRule("r", dw="dt*pre*post - w/7")), dt=1 / 3
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_part_of_a_network(agrees, name):
    network = NETWORKS[name]
    agrees(network)
    agrees(network, reset=[t in (0, 7, 8) for t in range(20)], learn=[t % 5 < 3 for t in range(20)])
    if network.plastic:
        agrees(network, reset=[t in (0, 7, 8) for t in range(20)], learn=[t % 5 < 3 for t in range(20)], replay=True)


RANDOM = net(
    STIMULUS,
    HIDDEN,
    plastic("stimulus", "hidden", mask=Random(0.5, 3)),
    plastic("hidden", "hidden", GATED, modulators={"m": "hidden"}, mask=Random(0.3, 1)),
)


def test_random_masks(agrees):
    agrees(RANDOM)
    agrees(RANDOM, replay=True)


def test_a_mask_that_keeps_no_synapse(agrees):
    rule = PlasticityRule("r", **FORMS["sums of modulators, traces and efficacies"])
    modulators = {"m": "hidden", "m_b": "one"}
    network = net(STIMULUS, HIDDEN, plastic("stimulus", "hidden", rule, modulators=modulators, mask=Random(1e-12, 3)))
    agrees(network)
    agrees(network, replay=True)


def test_a_batch_of_one(agrees):
    agrees(NETWORKS["late and early modulators of one neuron and of many"], batch=1)
    agrees(NETWORKS["softmax"], steps=1, batch=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_leaves_with_a_batch_axis(agrees, batch):
    """Rules x seeds x tasks: every parameter of every kind differs between episodes, learned functions too."""
    network = net(
        STIMULUS,
        Population(
            "hidden", 3, "tanh(gain*drive + b)", {"gain": Param(1.0, "positive"), "b": Param(0.1, per="neuron")}
        ),
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule(
                "r", dw="f(pre, post, eta*w) - 0.1*w", functions={"f": MLP(3, (2,))}, params=ETA, bounds=(-2, 2)
            ),
            params={"w0": Param(0.3, "fraction", per="pre")},
        ),
        Projection("one", "hidden"),
    )
    stream = generator(0, "leaves")
    params = {
        name: torch.randn(batch, *leaf.shape, generator=stream, dtype=torch.double)
        for name, leaf in network.leaves.items()
    }
    agrees(network, batch=3, params=params)
    agrees(network, batch=3, params=params, replay=True)


def test_two_runs_in_one_process_do_not_share_a_learned_function():
    network = net(
        STIMULUS,
        HIDDEN,
        plastic(
            "stimulus",
            "hidden",
            PlasticityRule("r", dw="f(pre)", functions={"f": MLP(1, (2,))}),
            params={},
            efficacy="w",
            w=Param(0.0),
        ),
    )
    for scale in (1.0, -3.0):
        params = {name: torch.full(leaf.shape, scale, dtype=torch.double) for name, leaf in network.leaves.items()}
        made = simulate(network, params, {"stimulus": torch.ones(1, 1, 3)})
        hidden = 2 * scale if scale > 0 else 0.01 * 2 * scale
        expected = scale + math.tanh(2 * scale * hidden + scale)
        assert made.final.w["stimulus__hidden"] == pytest.approx(expected, rel=1e-12)


# --- random rules ----------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from(["0.5", "1/3", "2", "-1", "2**-1", "0.1"])
ONES = [
    "tanh({})",
    "sin({})",
    "abs({})",
    "sign({})",
    "sigmoid({})",
    "relu({})",
    "-{}",
    "{}**2",
    "int({} > 0.1)",
    "arctan({})",
]
TWOS = [
    "{} + {}",
    "{} - {}",
    "{}*{}",
    "{}/(2 + abs({}))",
    "minimum({}, {})",
    "maximum({}, {})",
    "int({} > 0 or {} < 0.2)",
]


def formulas(names):
    def grow(inner):
        one = st.builds(lambda form, a: f"({form.format(a)})", st.sampled_from(ONES), inner)
        two = st.builds(lambda form, a, b: f"({form.format(a, b)})", st.sampled_from(TWOS), inner, inner)
        return one | two | st.builds("clip({}, -1, {})".format, inner, inner)

    return st.recursive(st.sampled_from(sorted(names)) | NUMBERS, grow, max_leaves=6)


@st.composite
def random_rules(draw):
    params = {"eta": Param(0.1), "k": Param(Uniform(-1.0, 1.0), per="synapse")}
    readable = {"pre", "post", "w", "w_eff", *params}
    readable |= draw(st.sampled_from([set(), {"m"}, {"m", "m_b"}, {"v_post"}, {"error_post", "x_pre"}]))
    fields = {"params": params}
    if draw(st.booleans()):
        fields["sums"] = {
            "total": Sum(f"0.2*{draw(formulas(readable))}", draw(st.sampled_from(["pre", "post", "both"])))
        }
        readable |= {"total"}
    step = draw(st.booleans())
    traces = {
        "elig": Trace("" if step else f"0.3*({draw(formulas(readable))} - elig)", draw(st.sampled_from([0.0, 0.2])))
    }
    fields["traces"] = traces
    change = draw(formulas({*readable, "elig"}))
    if step:
        fields["step"] = (
            f"old = w\nw = 0.8*w + 0.1*{change}\nelig = 0.9*elig + 0.1*{draw(formulas({*readable, 'elig', 'old'}))}"
        )
    else:
        fields |= {"dw": f"0.1*{change} - 0.2*w", "joint": draw(st.booleans())}
    if draw(st.booleans()):
        fields["bounds"] = draw(st.sampled_from([(-0.5, 0.5), (0.0, 0.3), ("k", 1.0)]))
    return PlasticityRule("random", **fields)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(random_rules(), st.sampled_from(KINDS), st.booleans())
def test_random_rules(rule, kind, replay):
    network = contract_networks(rule, size=3)[kind]
    stream = generator(1, "random")
    params = {
        name: 0.3 * torch.randn(leaf.shape, generator=stream, dtype=torch.double)
        for name, leaf in network.leaves.items()
    }
    inputs = {"stimulus": torch.randn(20, 2, 3, generator=stream, dtype=torch.double)}
    crosscheck(network, params, inputs, replay=replay).assert_agrees()


# --- what is refused -------------------------------------------------------------------------------------------------

KWTA = net(STIMULUS, Population("out", 3, "kwta(drive, 1)"), plastic("stimulus", "out"))
REFUSED = {
    "kwta": (KWTA, "population 'out': kwta sorts neurons"),
    "softmax in an equation": (
        net(
            STIMULUS,
            Population("out", 3, {"dv/dt": "softmax(drive) - v"}, spikes=Spikes("v > 1")),
            plastic("stimulus", "out"),
        ),
        "population 'out': Brian2 takes no softmax",
    ),
    "two equations apart": (
        net(
            STIMULUS,
            Population("out", 3, {"dv/dt": "drive - v", "u": "v", "da/dt": "u - a"}, spikes=Spikes("v > 1")),
            plastic("stimulus", "out"),
        ),
        "population 'out': Brian2 advances all derivatives at once",
    ),
    "spikes under way": (
        net(
            STIMULUS,
            Population("out", 3, {"dv/dt": "-v"}, spikes=Spikes("v > 1")),
            Projection("stimulus", "out", into="v", delay=2.0, rule=PlasticityRule("r", dw="pre")),
        ),
        "rule 'r' reads 'pre', which in Brian2 is not known",
    ),
    "a rule's own word": (
        net(
            STIMULUS, OUT, plastic("stimulus", "out", PlasticityRule("r", dw="pre", brian2_refuses="it sorts synapses"))
        ),
        "rule 'r' does not run in Brian2: it sorts synapses",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_brian2_cannot_say_is_refused_by_name(name):
    network, message = REFUSED[name]
    params = {key: torch.ones(leaf.shape) for key, leaf in network.leaves.items()}
    with pytest.raises(EngineError, match=message):
        simulate(network, params, {"stimulus": torch.ones(2, 1, 3)})


def test_replay_runs_what_only_a_population_cannot_say(agrees):
    agrees(KWTA, replay=True)
