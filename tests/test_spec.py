"""Descriptions: what they refuse and how they say it, what they work out, and their way through JSON."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from neurometa import networks, rules
from neurometa.errors import ExpressionError, NeurometaError, SpecificationError
from neurometa.spec import (
    MLP,
    ONE,
    ConvTrunk,
    Delays,
    Description,
    Network,
    Normal,
    Orthogonal,
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
from neurometa.spec.surgery import impose

STIMULUS = Population("stimulus", 3)
DOPAMINE = Population("da", 1, "drive")
OUT = Population("out", 2, {"x": "tanh(drive)", "error": "drive - x"}, inputs=("drive", "target"))
HEBB = PlasticityRule("hebb", dw="eta*pre*post", params={"eta": Param(0.1, "positive")})
GATED = PlasticityRule("gated", dw="m*pre*post")


def net(*projections: Projection, populations=(STIMULUS, OUT, DOPAMINE), **options) -> Network:
    return Network(populations, projections, **options)


REFUSED = {
    # parameters
    "constraint": (
        lambda: Param(0.1, "negative"),
        "Param: constraint is 'negative'; allowed: 'free', 'positive', 'fraction'",
    ),
    "per": (lambda: Param(0.1, per="column"), "Param: per is 'column'; allowed: 'scalar', 'post', 'pre', 'synapse'"),
    "init": (
        lambda: Param("0.1"),
        "Param: init is '0.1'; allowed: a number, Normal, Uniform, Orthogonal or PerEpisode",
    ),
    "negative": (lambda: Param(-0.1, "positive"), "Param: init -0.1 must lie above 0.0"),
    "zero": (lambda: Param(0.0, "positive"), "Param: init 0.0 must lie above 0.0"),
    "fraction above 1": (lambda: Param(1.0, "fraction"), "Param: init 1.0 of a fraction must lie below 1"),
    "fraction 0": (lambda: Param(0, "fraction"), "Param: init 0 must lie above 0.0"),
    "below minimum": (lambda: Param(0.5, minimum=1.0), "Param: init 0.5 must lie above 1.0"),
    "fraction with minimum": (lambda: Param(0.5, "fraction", minimum=0.1), "Param: a fraction takes no minimum"),
    "normal positive": (
        lambda: Param(Normal(1.0, 0.1), "positive"),
        "Param: a Normal start may leave the range above 0.0; use a number or a Uniform",
    ),
    "per episode below": (lambda: Param(PerEpisode(Uniform(-1, 1)), "positive"), "must lie above 0.0"),
    "normal reads": (
        lambda: Normal(0, "1/sqrt(n_in)"),
        "Normal: sd reads unknown name 'n_in'; it may read n_pre, n_post",
    ),
    # rules
    "rule name": (lambda: PlasticityRule("my rule", dw="pre"), "rule 'my rule': the name must be letters, digits"),
    "unknown name": (
        lambda: replace(HEBB, dw="eta*pree*post"),
        "rule 'hebb': dw reads unknown name 'pree' at column 5 of \"eta*pree*post\"; a rule may read pre, post, w, "
        "w_eff, m, dt, n_pre, n_post, eta, m_<modulator>, <variable>_pre and <variable>_post",
    ),
    "unknown in trace": (
        lambda: replace(HEBB, traces={"elig": "-elig/tau"}),
        "rule 'hebb': trace elig reads unknown name 'tau' at column 7",
    ),
    "unknown in sum": (
        lambda: replace(HEBB, sums={"total": Sum("w*wmax", "post")}),
        "rule 'hebb': sum total reads unknown name 'wmax'",
    ),
    "sum of sums": (
        lambda: replace(HEBB, sums={"a": Sum("w", "post"), "b": Sum("w/a", "pre")}),
        "rule 'hebb': sum b reads unknown name 'a' at column 3 of \"w/a\"; a rule may read pre, post, w, w_eff, m, dt, "
        "n_pre, n_post, eta, m_<modulator>",
    ),
    "unknown in step": (
        lambda: PlasticityRule("r", step="w = late + pre; late = 1"),
        "rule 'r': step reads unknown name 'late' at column 1",
    ),
    "dw and step": (
        lambda: PlasticityRule("r", dw="pre", step="w = pre"),
        "rule 'r' has both dw and step; a rule has one",
    ),
    "nothing": (lambda: PlasticityRule("r"), "rule 'r' changes nothing; write dw=\"eta*pre*post\" or a step"),
    "event assigns": (
        lambda: PlasticityRule("r", on_pre="v = 1"),
        "rule 'r': on_pre assigns 'v'; allowed: w",
    ),
    "step assigns a parameter": (
        lambda: PlasticityRule("r", step="eta = 1", params={"eta": Param()}),
        "rule 'r': step assigns 'eta'; allowed: w or a new local name",
    ),
    "step assigns pre": (
        lambda: PlasticityRule("r", step="pre = 1", traces={"a": ""}),
        "rule 'r': step assigns 'pre'; allowed: w, a or a new local name",
    ),
    "local modulator": (
        lambda: PlasticityRule("r", step="m_a = 1"),
        "rule 'r': step assigns 'm_a'; allowed: w or a new",
    ),
    "local _post": (lambda: PlasticityRule("r", step="v_post = 1"), "'v_post' may not end in _pre or _post"),
    "local unit": (lambda: PlasticityRule("r", step="ms = 1"), "the name 'ms' is reserved; choose another"),
    "twice": (
        lambda: replace(HEBB, traces={"eta": "pre"}),
        "rule 'hebb', params: the name 'eta' is used twice; choose another",
    ),
    "a modulator's name": (
        lambda: replace(HEBB, traces={"m_x": "pre"}),
        "rule 'hebb': 'm_x' is the name of a neuromodulator; choose another",
    ),
    "per neuron": (
        lambda: replace(HEBB, params={"eta": Param(per="neuron")}),
        "rule 'hebb': parameter 'eta' must be a Param per scalar, post, pre or synapse",
    ),
    "not a Param": (lambda: replace(HEBB, params={"eta": 0.1}), "parameter 'eta' must be a Param"),
    "per episode": (lambda: replace(HEBB, params={"eta": Param(PerEpisode(1.0))}), "parameter 'eta' must be a Param"),
    "bounds order": (lambda: replace(HEBB, bounds=(1, -1)), "bounds (1, -1) must be (low, high) with low < high"),
    "bounds name": (
        lambda: replace(HEBB, bounds=(0, "wmax")),
        "rule 'hebb': bounds is (0, 'wmax'); allowed: two numbers or parameter names",
    ),
    "one bound": (lambda: replace(HEBB, bounds=(0,)), "rule 'hebb': bounds is (0,); allowed: two numbers"),
    "coincidence": (lambda: replace(HEBB, coincidence="nest"), "rule 'hebb': coincidence is 'nest'; allowed: 'brian'"),
    "mapping": (lambda: replace(HEBB, traces=[("e", "pre")]), "PlasticityRule.traces must be a mapping"),
    "sum over": (lambda: Sum("w", "all"), "Sum: over is 'all'; allowed: 'post', 'pre', 'both'"),
    "trace method": (lambda: Trace("pre", method="rk4"), "Trace: method is 'rk4'; allowed: 'euler', 'exact'"),
    "mlp activation": (lambda: MLP(2, activation="gelu"), "MLP: activation is 'gelu'; allowed: 'leaky_relu'"),
    "mlp out": (lambda: MLP(2, out="softmax"), "MLP: out is 'softmax'; allowed: 'linear'"),
    "mlp sizes": (lambda: MLP(0), "MLP: inputs 0, hidden (10,): whole numbers above 0"),
    "mlp arity": (
        lambda: PlasticityRule("r", dw="f(pre)", functions={"f": MLP(2)}),
        "rule 'r': dw, column 1 of \"f(pre)\": f takes 2 argument(s), found 1",
    ),
    # populations
    "population size": (lambda: Population("a", 0), "population 'a': size is 0; it must be a whole number above 0"),
    "population size text": (lambda: Population("a", "3"), "population 'a': size is '3'; it must be a whole number"),
    "population name": (lambda: Population("2a", 1), "population: '2a' is not a name; use letters, digits"),
    "no x": (lambda: Population("a", 1, {"v": "drive"}), "no text updates 'x', the activity that projections carry"),
    "population reads": (
        lambda: Population("a", 1, "tanh(drives)"),
        "population 'a': x reads unknown name 'drives'; it may read x, drive, noise, dt",
    ),
    "late text reads": (
        lambda: Population("a", 1, {"x": "drive", "late error": "feed"}),
        "population 'a': late error reads unknown name 'feed'; it may read x, error, drive, noise, dt",
    ),
    "late twice": (
        lambda: Population("a", 1, {"x": "drive", "late x": "drive"}),
        "population 'a', variable: the name 'x' is used twice; choose another",
    ),
    "late nothing": (lambda: Population("a", 1, {"x": "drive", "late ": "drive"}), "population 'a', variable: ''"),
    "start of nothing": (
        lambda: Population("a", 1, "drive", start={"v": 1.0}),
        "population 'a': start names 'v'; its variables are x",
    ),
    "population per": (
        lambda: Population("a", 1, "b*drive", params={"b": Param(per="synapse")}),
        "population 'a': parameter 'b' must be a Param per scalar or neuron",
    ),
    "population per episode": (
        lambda: Population("a", 1, "b*drive", params={"b": Param(PerEpisode(1.0))}),
        "population 'a': parameter 'b' cannot be drawn per episode; only a start can",
    ),
    "population parameter": (lambda: Population("a", 1, "b*drive", params={"b": 2}), "parameter 'b' must be a Param"),
    "population twice": (
        lambda: Population("a", 1, "drive*x", params={"drive": Param()}),
        "population 'a', parameter: the name 'drive' is used twice",
    ),
    "modulator hidden": (
        lambda: Population("a", 1, "m_ne*drive", params={"m_ne": Param()}, modulators={"ne": "ne"}),
        "population 'a', parameter: the name 'm_ne' is used twice",
    ),
    "method": (lambda: Population("a", 1, method="rk4"), "population 'a': method is 'rk4'; allowed: 'euler', 'exact'"),
    "modulator twice": (
        lambda: Population("a", 1, "m_ne*drive", modulators={"ne": "b", "m_ne": "c"}),
        "population 'a': a modulator is named twice",
    ),
    "threshold": (lambda: Spikes("v - 1"), 'Spikes: threshold, column 1 of "v - 1": this is not a condition'),
    # projections
    "projection name": (lambda: Projection("a", "b", name="a-b"), "projection 'a-b': the name must be letters, digits"),
    "projection reserved": (lambda: Projection("a", "b", name="trunk"), "projection 'trunk': the name is reserved"),
    "efficacy reads": (
        lambda: Projection("a", "b", efficacy="w0 + alpha*w", params={"w0": Param()}),
        "projection 'a__b': efficacy reads unknown name 'alpha'; it may read w, w0, dt, n_pre, n_post",
    ),
    "signed efficacy": (
        lambda: Projection("a", "b", efficacy="w +* 2", sign="inhibitory"),
        "projection 'a__b': efficacy, column 4 of \"w +* 2\": this is not a formula",
    ),
    "projection per": (
        lambda: Projection("a", "b", params={"g": Param(per="neuron")}),
        "projection 'a__b': parameter 'g' must be a Param per scalar, post, pre or synapse",
    ),
    "weight per": (
        lambda: Projection("a", "b", w=Param(per="neuron")),
        "parameter 'w' must be a Param per scalar, post",
    ),
    "projection parameter": (lambda: Projection("a", "b", params={"g": 1.0}), "parameter 'g' must be a Param"),
    "projection per episode": (
        lambda: Projection("a", "b", params={"w0": Param(PerEpisode(1.0))}),
        "projection 'a__b': parameter 'w0' cannot be drawn per episode; only w can",
    ),
    "trace hidden": (
        lambda: Projection("a", "b", params={"a": Param()}, rule=PlasticityRule("r", dw="a", traces={"a": "pre"})),
        "projection 'a__b', parameter: the name 'a' is used twice",
    ),
    "no modulator": (
        lambda: Projection("a", "b", rule=GATED),
        "projection 'a__b': rule 'gated' reads the modulator 'm'; name its population, such as "
        'modulators={"m": "dopamine"}',
    ),
    "mask": (lambda: Projection("a", "b", mask="self"), "mask is 'self'; allowed: None, 'no_self', 'one_to_one'"),
    "sign": (lambda: Projection("a", "b", sign="plus"), "sign is 'plus'; allowed: None, 'excitatory', 'inhibitory'"),
    "projection bounds": (
        lambda: Projection("a", "b", bounds=(1, 0)),
        "projection 'a__b': bounds is (1, 0); allowed: two numbers (low, high) with low < high",
    ),
    "projection bounds named": (
        lambda: Projection("a", "b", bounds=(0, "wmax")),
        "bounds is (0, 'wmax'); allowed: two numbers",
    ),
    "random": (lambda: Random(1.5), "Random: p is 1.5; it must lie in (0, 1]"),
    # networks
    "no population": (lambda: Network(()), "network 'network' has no population"),
    "named one": (lambda: Network((ONE, OUT)), "two populations are named 'one'"),
    "two populations": (lambda: Network((STIMULUS, STIMULUS)), "two populations are named 'stimulus'"),
    "clash": (
        lambda: net(Projection("stimulus", "out"), Projection("stimulus", "out")),
        "network 'network': the name 'stimulus__out' is used twice; pass name=",
    ),
    "clash with a population": (
        lambda: net(Projection("stimulus", "out", name="da")),
        "the name 'da' is used twice; pass name=",
    ),
    "unknown population": (
        lambda: net(Projection("stimulous", "out")),
        "network 'network': projection 'stimulous__out': unknown population 'stimulous' (did you mean 'stimulus'?); "
        "allowed: da, one, out, stimulus",
    ),
    "into": (
        lambda: net(Projection("stimulus", "out", into="gate")),
        "projection 'stimulus__out': into='gate' is not an input of 'out'; allowed: drive, target",
    ),
    "into an input": (
        lambda: net(Projection("out", "stimulus")),
        "into='drive' is not an input of 'stimulus'; allowed: none (it is an input population)",
    ),
    "no_self size": (
        lambda: net(Projection("stimulus", "out", mask="no_self")),
        "mask 'no_self' needs equal sizes, found 3 and 2",
    ),
    "one_to_one size": (
        lambda: net(Projection("stimulus", "out", mask="one_to_one")),
        "mask 'one_to_one' needs equal sizes, found 3 and 2",
    ),
    "modulator size": (
        lambda: net(Projection("stimulus", "out", rule=GATED, modulators={"m": "stimulus"})),
        "projection 'stimulus__out': modulator 'stimulus' has size 3; allowed: 1 or 2, the size of 'out'",
    ),
    "unknown modulator": (
        lambda: net(Projection("stimulus", "out", rule=GATED, modulators={"m": "dopamine"})),
        "projection 'stimulus__out', modulator 'm': unknown population 'dopamine'",
    ),
    "rule's variable": (
        lambda: net(Projection("stimulus", "out", rule=PlasticityRule("r", dw="err_post"))),
        "rule 'r' reads 'err_post', but population 'out' has the variables x, error, drive, target",
    ),
    "rule's variable of pre": (
        lambda: net(Projection("stimulus", "out", rule=PlasticityRule("r", dw="error_pre"))),
        "rule 'r' reads 'error_pre', but population 'stimulus' has the variables x",
    ),
    "output": (lambda: net(output="out.y"), "output is 'out.y'; allowed variables: x, error, drive, target"),
    "output population": (lambda: net(output="in"), "network 'network': output: unknown population 'in'"),
    "dt": (lambda: net(dt=0), "network 'network': dt is 0; it must be above 0 (ms)"),
    "trunk": (lambda: ConvTrunk(channels=()), "ConvTrunk: image_shape (1, 28, 28), channels (): sizes above 0"),
    "trunk out": (lambda: ConvTrunk(out="softmax"), "ConvTrunk: out is 'softmax'; allowed: 'linear', 'tanh', 'unit'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_what_was_found_and_what_is_allowed(case):
    make, message = REFUSED[case]
    with pytest.raises((SpecificationError, ExpressionError)) as found:
        make()
    assert message in str(found.value)
    assert isinstance(found.value, NeurometaError)


@pytest.mark.parametrize(
    "name",
    "e pi inf t dt i j N xi xi_1 ms mV second gram pre post w w_eff n_pre n_post noise exp clip softmax int rand "
    "tan lambda in kind delay refractory _a a__b v_pre v_post 1a".split(),
)
def test_reserved_names_cannot_be_declared_anywhere(name):
    for declare in (
        lambda: PlasticityRule("r", dw="pre", params={name: Param()}),
        lambda: PlasticityRule("r", dw="pre", traces={name: "pre"}),
        lambda: Population("a", 1, "drive", params={name: Param()}),
        lambda: Population("a", 1, {"x": "drive", name: "drive"}),
        lambda: Population("a", 1, "1", inputs=(name,)),
        lambda: Projection("a", "b", params={name: Param()}),
        lambda: Population(name, 2, "drive"),
    ):
        with pytest.raises(SpecificationError, match=r"is reserved|is not a name|may not end in"):
            declare()


@pytest.mark.parametrize("name", "A B C D m_ w0 beta gamma rate x1 theta E I lam".split())
def test_names_that_brian2_accepts_can_be_declared(name):
    if name != "m_":
        PlasticityRule("r", dw=f"{name}*pre", params={name: Param()})
        Population("a", 1, f"{name}*drive", params={name: Param()})


# --- equality, JSON --------------------------------------------------------------------------------------------------


def everything() -> list[Description]:
    rule = PlasticityRule(
        "all",
        step="d = f(pre, post)*total - eta*w\nw += m_da*elig*d",
        traces={"elig": Trace("-elig + pre*v_post", init=0.5), "slow": "post"},
        params={"eta": Param(Uniform(0.1, 0.2), "positive", "post", minimum=0.01, unit="1/ms"), "top": Param(1.0)},
        functions={"f": MLP(2, (3, 4), "tanh", "linear")},
        sums={"total": Sum("w*post", over="post")},
        bounds=(float("-inf"), 1.0),
        reference="nobody, doi:10.0/0",
    )
    hidden = Population(
        "hidden",
        4,
        {"dv/dt": "(drive + g_in*noise - v)/tau", "x": "tanh(m_ne*v)"},
        params={"tau": Param(5.0, "positive", "neuron", minimum=1.0)},
        start={"v": Param(PerEpisode(Normal(0, 1)), per="neuron"), "x": 0.25},
        inputs=("drive", "g_in"),
        modulators={"ne": "da"},
    )
    network = Network(
        (STIMULUS, Population("da", 1, "sigmoid(drive)"), hidden),
        (
            Projection(
                "stimulus",
                "hidden",
                "plastic",
                efficacy="w0 + alpha*w*m_da + elig",
                params={
                    "w0": Param(Normal(0, "1/sqrt(n_pre)"), per="synapse"),
                    "alpha": Param(0.1, per="post"),
                },
                w=Param(PerEpisode(Normal(0, 0.1)), per="synapse"),
                rule=rule,
                modulators={"m_da": "da"},
                mask=Random(0.5, 3),
                bounds=(-2, 2),
            ),
            Projection("hidden", "hidden", into="g_in", w=Param(Orthogonal(0.9), per="synapse"), mask="no_self"),
            Projection("one", "hidden", w=Param(0.0, learned=False), sign="excitatory"),
            Projection("stimulus", "hidden", "late", into="v", delay=Delays(1, 2, 3), sign="inhibitory"),
        ),
        output="hidden.v",
        dt=0.5,
        name="every_thing",
    )
    spikes = Spikes("v > 1", "v = 0", 2.0, ("v",), "arctan", 0.5)
    spiking = Population("lif", 2, {"dv/dt": "-v"}, spikes=spikes, method="exact")
    return [rule, hidden, network, spiking, ConvTrunk((3, 8, 8), (4,), "tanh", "none", "unit"), ONE]


@pytest.mark.parametrize("made", everything(), ids=lambda made: type(made).__name__)
def test_json_round_trip_keeps_every_field(made):
    text = made.to_json()
    again = type(made).from_json(text)
    assert again == made
    assert hash(again) == hash(made)
    assert again.digest == made.digest
    assert again.to_json() == text
    assert json.loads(made.to_json(indent=2)) == json.loads(text)
    assert vars(again).keys() >= set(made.__dataclass_fields__)
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert copied == made
        assert hash(copied) == hash(made)
    assert made != replace(made, name="other") if hasattr(made, "name") and made is not ONE else True


def test_json_round_trip_over_the_library(library_rule, library_network, library):
    rule = rules.get(library_rule)
    assert PlasticityRule.from_json(rule.to_json()) == rule
    network = networks.get(library_network)(n_in=2, n_out=2)
    assert Network.from_json(network.to_json()) == network
    both = library(library_rule, library_network)
    if isinstance(both, str):  # the two do not fit, and the message says why
        why = (f"rule '{rule.name}' reads", f"rule '{rule.name}' has on_pre or on_post", "has no plastic projection")
        assert any(reason in both for reason in why)
    else:
        again = Network.from_json(both.to_json())
        assert again == both
        assert list(again.leaves) == list(both.leaves)
        assert again.leaves == both.leaves


#: Rules that need a variable which no library network has, and why.
HOMELESS = {
    "node_perturbation": "a population with noise of its own",
    "voltage_stdp": "slow versions of the postsynaptic voltage",
}


def test_every_library_rule_fits_some_network_and_has_its_file_s_name(library_rule, library):
    assert rules.get(library_rule).name == library_rule
    assert getattr(rules, library_rule) == rules.get(library_rule)
    fits = any(isinstance(library(library_rule, name), Network) for name in networks.names())
    assert fits or library_rule in HOMELESS
    assert rules.get(library_rule).reference


def test_the_digest_is_the_same_in_every_process():
    code = "from neurometa import rules, networks as n; print(rules.get('oja').digest, n.get('modulated')(3, 2).digest)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [rules.get("oja").digest, networks.get("modulated")(3, 2).digest]
    fixed = PlasticityRule("r", dw="eta*pre", params={"eta": Param(0.5)})
    assert len(fixed.digest) == 64
    assert fixed.digest != replace(fixed, dw="eta*post").digest


def test_equality_is_of_content():
    assert Param(0.1) == Param(0.1)
    assert Param(0.1) != Param(0.2)
    assert hash(Param(0.1)) == hash(Param(0.1))
    assert Param(0.1) != 0.1
    assert Normal(0.0, 1.0) != Uniform(0.0, 1.0)
    assert PlasticityRule("r", dw="pre", traces={"a": "pre"}) == PlasticityRule(
        "r", dw="pre", traces={"a": Trace("pre")}
    )
    assert len({Param(0.1), Param(0.1), Param(0.2)}) == 2


def test_descriptions_cannot_be_changed():
    rule = rules.get("hebb")
    with pytest.raises(AttributeError):
        rule.dw = "pre"
    with pytest.raises(TypeError):
        rule.params["eta"] = Param(3.0)
    given = {"eta": Param(0.1)}
    made = PlasticityRule("r", dw="eta*pre", params=given)
    given["eta"] = Param(9.0)
    assert made.params["eta"] == Param(0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "found a int where a Network was expected"),
        ('{"kind": "Param"}', "found a Param where a Network was expected"),
        ('{"kind": "System"}', "unknown kind of description 'System'"),
        ('{"kind": ["Param"]}', "unknown kind of description"),
        ('{"kind": "Param", "size": 3}', "Param: .*unexpected keyword argument 'size'"),
        ('{"kind": "Network"}', "Network: .*missing 1 required"),
        ('{"kind": "Network", "populations": ["a"]}', "Network: "),
    ],
)
def test_json_that_is_not_the_description_is_refused(text, message):
    with pytest.raises(SpecificationError, match=message):
        Network.from_json(text)


def test_the_json_text_is_made_once():
    """Engines look programs up by network, at every call."""
    network = networks.get("modulated")(3, 2)
    assert network.to_json() is network.to_json()


# --- what descriptions work out --------------------------------------------------------------------------------------

PRE, POST, BOTH = frozenset({"pre"}), frozenset({"post"}), frozenset({"pre", "post"})


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({"traces": {"a": "-a + pre", "b": "-b + post", "c": "-c + pre*post"}}, {"a": PRE, "b": POST, "c": BOTH}),
        ({"traces": {"a": "-a + v_pre", "b": "error_post"}}, {"a": PRE, "b": POST}),
        ({"traces": {"a": "b", "b": "c", "c": "pre"}}, {"a": PRE, "b": PRE, "c": PRE}),
        ({"traces": {"a": "-a + w", "b": "w_eff - b"}}, {"a": BOTH, "b": BOTH}),
        ({"traces": {"a": "-a + m", "b": "m_da*pre"}}, {"a": POST, "b": BOTH}),
        ({"traces": {"a": "-a"}}, {"a": BOTH}),
        ({"traces": {"a": "-a", "b": "a*pre"}}, {"a": BOTH, "b": BOTH}),
        (
            {"traces": {"a": "k*pre", "b": "k - b"}, "params": {"k": Param(1.0, per="post")}},
            {"a": BOTH, "b": POST},
        ),
        (
            {
                "traces": {"a": "s", "b": "v", "c": "u*post"},
                "sums": {"s": Sum("w", "post"), "v": Sum("w", "pre"), "u": Sum("w", "both")},
            },
            {"a": PRE, "b": POST, "c": POST},
        ),
        ({"traces": {"a": "", "b": ""}, "step": "d = pre\na = d\nb = d*post + b\nw = a"}, {"a": PRE, "b": BOTH}),
        (
            {"traces": {"x": "-x", "y": "-y"}, "on_pre": "x += 1; w -= y", "on_post": "y += 1; w += x"},
            {"x": PRE, "y": POST},
        ),
        ({"traces": {"c": "-c"}, "on_pre": "c += 1", "on_post": "c += 1"}, {"c": BOTH}),
        (
            {"traces": {"x": "-x", "y": "-y", "c": "-c"}, "on_pre": "x += 1; c -= y", "on_post": "y += 1; c += x"},
            {"x": PRE, "y": POST, "c": BOTH},
        ),
    ],
)
def test_a_trace_is_as_large_as_what_it_reads_or_is_assigned_from(options, axes):
    text = {} if {"step", "on_pre"} & set(options) else {"dw": "pre*post"}
    assert PlasticityRule("r", **text, **options).trace_axes == axes


@pytest.mark.parametrize(
    ("options", "locality"),
    [
        ({"dw": "pre*post - w"}, "two-factor"),
        ({"dw": "m*pre*post"}, "three-factor, neuromodulator"),
        ({"dw": "elig", "traces": {"elig": "m_da*pre"}}, "three-factor, neuromodulator"),
        ({"dw": "pre*error_post"}, "three-factor, per-neuron error"),
        ({"dw": "m*pre*error_post"}, "three-factor, per-neuron error"),
        ({"dw": "v_post*pre"}, "two-factor"),
        ({"dw": "pre - s", "sums": {"s": Sum("w", "pre")}}, "normalising (reads a sum), two-factor"),
        ({"dw": "m*s", "sums": {"s": Sum("w", "both")}}, "normalising (reads a sum), three-factor, neuromodulator"),
    ],
)
def test_locality(options, locality):
    assert PlasticityRule("r", **options).locality == locality


def test_library_localities():
    classes = {name: rules.get(name).locality for name in ("hebb", "oja", "delta", "gated_hebb")}
    assert classes == {
        "hebb": "two-factor",
        "oja": "two-factor",
        "delta": "three-factor, per-neuron error",
        "gated_hebb": "three-factor, neuromodulator",
    }


def test_modulators_are_read_as_m_underscore_name():
    rule = PlasticityRule("r", dw="m_ach*pre + m_da*post")
    assert rule.modulators == ("m_ach", "m_da")
    projection = Projection("stimulus", "out", rule=rule, modulators={"ach": "basal", "m_da": "vta"})
    assert projection.modulators == {"m_ach": "basal", "m_da": "vta"}
    assert Projection("a", "b", rule=GATED, modulators={"m": "vta"}).modulators == {"m": "vta"}
    population = Population("a", 1, "m_ne*drive", modulators={"ne": "lc"})
    assert population.modulators == {"m_ne": "lc"}


def test_default_names_and_outputs():
    network = net(Projection("stimulus", "out"), Projection("stimulus", "out", name="second"))
    assert [p.label for p in network.projections] == ["stimulus__out", "second"]
    assert network.output == "da.x"
    assert net(output="out").output == "out.x"
    assert net(output="out.drive").output == "out.drive"
    assert network["one"] is ONE
    assert network.inputs == {"stimulus": 3}


def test_default_weights():
    assert Projection("a", "b").weight == Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")
    assert Projection("a", "b", rule=HEBB).weight == Param(0.0, learned=False)
    assert Projection("a", "b", rule=HEBB, w=Param(0.5)).weight == Param(0.5)


def test_bounds_in_force():
    bounded = replace(HEBB, bounds=(0, 1))
    assert Projection("a", "b", rule=bounded).limits == (0, 1)
    assert Projection("a", "b", rule=bounded, bounds=(-2, 2)).limits == (-2, 2)
    assert Projection("a", "b", rule=HEBB).limits is None


def test_which_efficacies_never_change_within_an_episode():
    elig = PlasticityRule("r", dw="elig", traces={"elig": "pre"})
    assert Projection("a", "b").static
    assert Projection("a", "b", rule=HEBB, efficacy="w0", params={"w0": Param()}).static
    assert not Projection("a", "b", rule=HEBB).static
    assert not Projection("a", "b", efficacy="w*m_ach", modulators={"ach": "c"}).static
    assert not Projection("a", "b", rule=elig, efficacy="w0*elig", params={"w0": Param()}).static


def test_leaves_have_names_shapes_and_groups():
    rule = PlasticityRule(
        "r",
        dw="m*f(pre, post) - eta*w",
        params={"eta": Param(0.1, per="pre")},
        functions={"f": MLP(2, hidden=(5,))},
    )
    modulator = Population("da", 1, "gain*sigmoid(drive)", params={"gain": Param(1.0)})
    side = Population("side", 2, "tanh(drive)")
    out = Population(
        "out",
        2,
        "gain_ne*drive + b",
        params={"gain_ne": Param(1.0), "b": Param(per="neuron")},
        start={"x": Param(0.1, per="neuron")},
    )
    plastic = Projection(
        "stimulus",
        "out",
        name="plastic",
        efficacy="w0 + alpha*w",
        params={"w0": Param(per="synapse"), "alpha": Param(per="post")},
        rule=rule,
        modulators={"m": "da"},
    )
    network = Network(
        (STIMULUS, side, modulator, out),
        (
            plastic,
            Projection("stimulus", "side"),
            Projection("side", "da"),
            Projection("stimulus", "da"),
            Projection("one", "out", w=Param(0.0, learned=False)),
        ),
    )
    leaves = network.leaves
    assert {name: (leaf.shape, leaf.group) for name, leaf in leaves.items()} == {
        "da.gain": ((1,), "modulator"),
        "out.gain_ne": ((1,), "modulator"),
        "out.b": ((2,), "w0"),
        "out.start_x": ((2,), "w0"),
        "plastic.w": ((1, 1), "w0"),
        "plastic.w0": ((2, 3), "w0"),
        "plastic.alpha": ((2, 1), "rule"),
        "plastic.rule.eta": ((1, 3), "rule"),
        "plastic.rule.f.0.w": ((5, 2), "rule"),
        "plastic.rule.f.0.b": ((5,), "rule"),
        "plastic.rule.f.1.w": ((1, 5), "rule"),
        "plastic.rule.f.1.b": ((1,), "rule"),
        "stimulus__side.w": ((2, 3), "modulator"),  # drives nothing but a modulator
        "side__da.w": ((1, 2), "modulator"),
        "stimulus__da.w": ((1, 3), "modulator"),
        "one__out.w": ((1, 1), "w0"),
    }
    assert [name for name, leaf in leaves.items() if not leaf.param.learned] == ["plastic.w", "one__out.w"]
    assert network.modulators == {"da"}
    assert network.modulatory == {"da", "side"}
    assert [p.label for p in network.plastic] == ["plastic"]


def test_a_population_that_also_drives_others_is_not_modulatory():
    network = net(
        Projection("stimulus", "hidden"),
        Projection("hidden", "da"),
        Projection("hidden", "out", rule=GATED, modulators={"m": "da"}),
        populations=(STIMULUS, Population("hidden", 2, "drive"), Population("da", 1, "drive"), OUT),
    )
    assert network.modulatory == {"da"}
    assert network.leaves["stimulus__hidden.w"].group == "w0"


def test_the_neighbours_of_a_derivative_advance_together():
    population = Population("a", 1, {"du/dt": "v", "dv/dt": "u", "x": "v", "dz/dt": "x"})
    assert [(derivative, list(texts)) for derivative, texts in population.stages] == [
        (True, ["u", "v"]),
        (False, ["x"]),
        (True, ["z"]),
    ]
    assert population.state == ("u", "v", "x", "z")


def test_late_texts_and_the_inputs_that_only_they_read_have_a_phase_of_their_own():
    update = {"x": "a + old", "late old": "x", "late du/dt": "a + b", "late dv/dt": "u"}
    population = Population("a", 1, update, inputs=("a", "b", "c"))
    (inputs, stages), (late_inputs, late_stages) = population.phases
    assert inputs == ("a", "c") and late_inputs == ("b",)  # a is read by both, c by neither
    assert [(derivative, list(texts)) for derivative, texts in stages] == [(False, ["x"])]
    assert [(derivative, list(texts)) for derivative, texts in late_stages] == [(False, ["old"]), (True, ["u", "v"])]
    assert population.stages == stages
    assert population.state == ("x", "old", "u", "v") and population.variables == ("x", "old", "u", "v", "a", "b", "c")
    assert Population("a", 1, start={"old": 2.0}, update=update, inputs=("a", "b")).start["old"] == 2.0
    assert Population("stimulus", 1).phases == (((), []), ((), []))
    again = Population.from_json(population.to_json())
    assert list(again.update) == list(update) and again.phases == population.phases


def test_a_sign_is_part_of_the_efficacy():
    texts = {None: "w0 + w", "excitatory": "relu(w0 + w)", "inhibitory": "-relu(w0 + w)"}
    for sign, text in texts.items():
        made = Projection("a", "b", efficacy="w0 + w", params={"w0": Param()}, sign=sign)
        assert made.efficacy_expression.text == text and made.efficacy == "w0 + w"
        assert made.static and Projection.from_json(made.to_json()) == made


def test_imposing_a_population_makes_it_an_input():
    network = networks.get("modulated")(3, 2, n_hidden=4)
    imposed = impose(network, "dopamine")
    assert imposed.inputs["dopamine"] == 1
    assert not [p for p in imposed.projections if p.post == "dopamine"]
    assert set(imposed.leaves) < set(network.leaves)


def test_trunk_features():
    assert ConvTrunk().n_features == 64 * 2 * 2
    assert ConvTrunk((1, 31, 31), (64, 64, 64, 64)).n_features == 64 * 2 * 2
    assert ConvTrunk((3, 5, 4), (2,)).n_features == 2 * 3 * 2
