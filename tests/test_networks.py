"""The library's networks: both simulators, batches, gradients, and what each is known to do in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neurometa import Save, init_params, make_step, networks, rules, simulate, start
from neurometa.crosscheck import crosscheck
from neurometa.errors import SpecificationError
from neurometa.spec import Network, Param, PlasticityRule
from neurometa.torch_engine import constrain, prepare
from neurometa.torch_engine.step import efficacy_function

F64 = torch.float64
GATED, BOUNDED = rules.get("gated_hebb"), rules.get("modulated_hebb")
MODULATORS = {"da": ["plasticity"], "ne": ["gain", "plasticity"], "ach": ["efficacy", "gain"]}
TWO = PlasticityRule("two", dw="(m_da - 0.3*m_ne)*pre*post - 0.1*w")
EVERY = ("excitatory__excitatory", "excitatory__inhibitory", "inhibitory__excitatory", "inhibitory__inhibitory")

#: Every network of the library at its defaults but small, and the options of those that have some.
CASES: dict[str, Network] = {
    "associative": networks.associative(3, 2),
    "autoassociative": networks.autoassociative(2, 2),
    "autoassociative, gated": networks.autoassociative(2, 2, GATED),
    "recurrent": networks.recurrent(3, 2, n_hidden=3),
    "tracker": networks.tracker(3, 2, n_hidden=3),
    "mlp": networks.mlp(3, 2, hidden=(4, 3)),
    "modulated": networks.modulated(3, 2, n_hidden=4),
    "modulated, many": networks.modulated(3, 2, TWO, n_hidden=4, modulators=MODULATORS, tau=3.0),
    "modulated, fanned": networks.modulated(3, 2, n_hidden=4, fan_out="per_neuron"),
    "modulated, many fanned": networks.modulated(3, 2, TWO, 4, MODULATORS, fan_out="per_neuron"),
    "multilayer": networks.multilayer(3, 2, hidden=(4, 3)),
    "multilayer, gated": networks.multilayer(3, 2, GATED, hidden=(4,), transfer="linear"),
    "multilayer, one layer": networks.multilayer(3, 2, GATED, hidden=()),
    "error_broadcast": networks.error_broadcast(3, 2, hidden=(4,)),
    "error_broadcast, deep": networks.error_broadcast(
        3, 2, hidden=(5, 4, 3), transfer="linear", hidden_transfer="relu"
    ),
    "error_broadcast, relay": networks.error_broadcast(3, 2, rules.get("random_feedback"), hidden=(4, 3)),
    "error_broadcast, gated": networks.error_broadcast(3, 2, GATED, hidden=(4,), hidden_transfer="sigmoid"),
    "dale": networks.dale(3, 2, n_hidden=5),
    "dale, all plastic": networks.dale(3, 2, BOUNDED, 6, plastic=EVERY, share=0.5),
    "dale, none plastic": networks.dale(3, 2, n_hidden=5, plastic=(), hidden_transfer="relu", transfer="linear"),
    "short_term": networks.short_term(3, 2, n_hidden=4),
    "short_term, depressing": networks.short_term(3, 2, None, 4, use=0.5, tau_f=50.0, tau_d=800.0),
    "short_term, hebb": networks.short_term(3, 2, rules.get("hebb"), n_hidden=4),
    "short_term, step": networks.short_term(3, 2, rules.get("temporal_hebb"), n_hidden=4),
    "hebb_ff": networks.hebb_ff(3, 2, n_hidden=4),
    "hebb_ff, gated": networks.hebb_ff(3, 2, GATED, n_hidden=3, transfer="linear"),
    "stpn": networks.stpn(3, 2, n_hidden=4),
    "stpn, gated": networks.stpn(3, 2, GATED, n_hidden=3, transfer="linear"),
    "spiking": networks.spiking(3, 2, n_hidden=4),
    "spiking, stdp": networks.spiking(3, 2, rules.get("stdp"), n_hidden=4),
    "spiking, dopamine": networks.spiking(3, 2, rules.get("da_stdp"), n_hidden=4),
    "self_paced": networks.self_paced(3, 2, n_hidden=4),
    "self_paced, hebb": networks.self_paced(3, 2, rules.get("hebb"), n_hidden=3, transfer="softmax"),
    "plastic_lstm": networks.plastic_lstm(3, 2, n_hidden=4),
    "plastic_lstm, global": networks.plastic_lstm(3, 2, GATED, n_hidden=4, fan_out="global"),
    "plastic_lstm, hebb": networks.plastic_lstm(3, 2, rules.get("hebb"), n_hidden=4, transfer="linear"),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_every_network_of_the_library_is_here():
    assert {name.split(",")[0] for name in CASES} == set(networks.names())
    assert all(network.name == name.split(",")[0] for name, network in CASES.items())


# --- two simulators --------------------------------------------------------------------------------------------------


def agreement(network, params, inputs, **options):
    found = crosscheck(network, params, inputs, **options)
    found.assert_agrees()
    names = {row.name for row in found.rows}
    assert {f"w.{p.label}" for p in network.plastic} <= names
    assert found.largest <= 1e-10
    return found


def test_torch_and_brian2_agree_over_100_steps(case, lively, sequences):
    pytest.importorskip("brian2")
    params, inputs = lively(case), sequences(case, 100, 2)
    learn, reset = [t % 7 < 5 for t in range(100)], [t % 10 == 0 for t in range(100)]
    found = agreement(case, params, inputs, learn=learn, reset=reset)
    assert found.horizon == 100
    if case.plastic:
        agreement(case, params, inputs, learn=learn, reset=reset, replay=True)


def test_both_simulators_cut_off_at_zero(lively, sequences):
    """Parameters so large that many strengths are negative before they are cut off."""
    pytest.importorskip("brian2")
    network = CASES["dale, all plastic"]
    params, inputs = extreme(network, lively, 3.0), sequences(network, 60, 2)
    found = agreement(network, params, inputs)
    assert found.horizon == 60
    run = simulate(network, params, inputs, save=Save())
    strengths = torch.cat([s.flatten() for s in strength(network, params, run)])
    assert 0.1 < (strengths < 0).double().mean() < 0.9, "nothing was cut off, so nothing was tested"


# --- shapes, batches, text -------------------------------------------------------------------------------------------


def test_shapes(case, lively, sequences):
    run = simulate(case, lively(case), sequences(case, 4, 5))
    assert run.output.shape == (4, 5, 2)
    for population in case.populations:
        for variable in population.state:
            assert run.final.x[f"{population.name}.{variable}"].shape == (5, population.size)
    for projection in case.plastic:
        size = (case[projection.post].size, case[projection.pre].size)
        assert run.final.w[projection.label].shape == (5, *size)
    assert all(torch.isfinite(leaf).all() for part in run.final for leaf in part.values())


def test_a_batch_equals_one_at_a_time_and_permutes(case, lively, sequences):
    params, inputs = lively(case, batch=4), sequences(case, 6, 4)
    together = simulate(case, params, inputs)
    for i in range(4):
        own = {name: leaf[i : i + 1] for name, leaf in params.items()}
        alone = simulate(case, own, {name: sequence[:, i : i + 1] for name, sequence in inputs.items()})
        close(together.output[:, i : i + 1], alone.output)
        for part, other in zip(together.final, alone.final, strict=True):
            for name, leaf in part.items():
                close(leaf[i : i + 1], other[name])
    order = torch.tensor([2, 0, 3, 1])
    mixed = simulate(
        case,
        {name: leaf[order] for name, leaf in params.items()},
        {name: sequence[:, order] for name, sequence in inputs.items()},
    )
    close(mixed.output, together.output[:, order])
    for part, other in zip(mixed.final, together.final, strict=True):
        for name, leaf in part.items():
            close(leaf, other[name][order])


@pytest.mark.parametrize("name", ["error_broadcast, relay", "dale, all plastic"])
def test_late_texts_and_signs_are_part_of_one_full_graph(name, lively, sequences):
    network = CASES[name]
    params, inputs = lively(network), sequences(network, 1, 2)
    arguments = prepare(network, params), start(network, params, 2), {n: s[0] for n, s in inputs.items()}, {}
    torch.compiler.reset()
    found, _ = torch.compile(make_step(network), fullgraph=True, backend="aot_eager")(*arguments)
    wanted, _ = make_step(network)(*arguments)
    for part, other in zip(found, wanted, strict=True):
        for leaf in part:
            close(part[leaf], other[leaf])


def test_every_learned_leaf_has_a_gradient(case, lively, sequences):
    params = {name: leaf.requires_grad_() for name, leaf in lively(case).items()}
    output = simulate(case, params, sequences(case, 200 if case.name == "spiking" else 8, 4)).output
    slopes = torch.autograd.grad(output.square().sum(), [*params.values()], allow_unused=True)
    learned = {name for name, leaf in case.leaves.items() if leaf.param.learned}
    assert not {n for n, s in zip(params, slopes, strict=True) if n in learned and (s is None or not s.abs().max() > 0)}
    assert all(s is None or torch.isfinite(s).all() for s in slopes)


def test_the_way_through_json(case):
    again = Network.from_json(case.to_json())
    assert again == case and again.leaves == case.leaves and again.digest == case.digest
    for population, other in zip(case.populations, again.populations, strict=True):
        assert list(population.update) == list(other.update) and population.phases == other.phases


def test_every_layer_learns_from_single_presentations(case, lively, sequences):
    """As in the few-shot tasks: a presentation lasts one step, and activity begins from rest at each."""
    if not case.plastic or any(p.pre == p.post or p.sign for p in case.plastic):
        pytest.skip("nothing is plastic, or synapses of a loop: from rest, nothing has come round it")
    if case.name == "spiking":
        pytest.skip("one step is too short for a spike to arrive and to count")
    params = lively(case)
    learned = simulate(case, params, sequences(case, 3, 4), reset=True).final.w
    rest = start(case, params, 4).w
    for name, w in learned.items():
        assert (w - rest[name]).abs().amax((1, 2)).min() > 1e-6, f"{name} has not learned"


# --- modulated: fan-out ----------------------------------------------------------------------------------------------


def test_fan_out_starts_as_the_global_modulator_bit_for_bit(sequences):
    for options in ({}, {"rule": TWO, "modulators": MODULATORS, "tau": 3.0}):
        plain, fanned = (networks.modulated(3, 2, n_hidden=4, fan_out=f, **options) for f in ("global", "per_neuron"))
        params = init_params(fanned, torch.Generator().manual_seed(0), dtype=F64)
        inputs = sequences(plain, 10, 3)
        shared = {name: params[name] for name in plain.leaves}
        assert torch.equal(simulate(plain, shared, inputs).output, simulate(fanned, params, inputs).output)
        assert {fanned.leaves[n].group for n in fanned.leaves if n not in plain.leaves} == {"modulator"}


def test_the_default_of_modulated_is_as_it_was():
    made = networks.modulated(3, 2)
    assert made == networks.modulated(3, 2, fan_out="global")
    assert [p.name for p in made.populations] == ["stimulus", "target", "teach", "dopamine", "hidden", "out"]
    assert made.modulators == {"dopamine"} and len(made.projections) == 8


def test_fan_out_gives_every_neuron_a_plasticity_of_its_own(lively, sequences):
    rule = PlasticityRule("r", dw="m*pre")
    network = networks.modulated(3, 2, rule, n_hidden=4, fan_out="per_neuron")
    params, inputs = lively(network), sequences(network, 1, 3)
    params["dopamine__dopamine_out.w"] = torch.tensor([[2.0], [-0.5]], dtype=F64)
    params["one__dopamine_out.w"] = torch.tensor([[0.0], [0.25]], dtype=F64)
    run = simulate(network, params, inputs, save=Save())
    m, hidden = run["x.dopamine"][0], run["x.hidden"][0]  # (batch, 1), (batch, 4)
    wanted = torch.cat([2.0 * m, 0.25 - 0.5 * m], 1)[:, :, None] * hidden[:, None, :]
    close(run.final.w["plastic"] - start(network, params, 3).w["plastic"], wanted)
    with pytest.raises(SpecificationError, match="modulated: fan_out is 'local'; allowed: 'global', 'per_neuron'"):
        networks.modulated(3, 2, fan_out="local")


def test_one_fan_for_each_target_population():
    network = CASES["modulated, many fanned"]
    sizes = {p.name: p.size for p in network.populations if "_" in p.name}
    assert sizes == {"da_out": 2, "ne_out": 2, "ach_out": 2, "ne_hidden": 4, "ach_hidden": 4}
    assert all(
        network.leaves[f"{s}__{n}.w"].shape == (k, 1) for n, k in sizes.items() for s in (n[: n.index("_")], "one")
    )
    assert network["hidden"].modulators == {"m_ne": "ne_hidden", "m_ach": "ach_hidden"}
    plastic = network.plastic[0]
    assert plastic.modulators == {"m_da": "da_out", "m_ne": "ne_out", "m_ach": "ach_out"}


# --- multilayer ------------------------------------------------------------------------------------------------------


def test_every_layer_follows_the_rule_with_its_own_pre_and_post(lively, sequences):
    network = networks.multilayer(3, 2, PlasticityRule("r", dw="pre*post"), hidden=(4, 3))
    params, inputs = lively(network), sequences(network, 1, 2)
    run = simulate(network, params, inputs, save=Save())
    x = {p.name: run[f"x.{p.name}"][0] for p in network.populations}
    for pre, post in (("stimulus", "layer0"), ("layer0", "layer1"), ("layer1", "out")):
        begin = start(network, params, 2).w[f"{pre}__{post}"]
        close(run.final.w[f"{pre}__{post}"] - begin, x[post][:, :, None] * x[pre][:, None, :])


# --- error broadcast -------------------------------------------------------------------------------------------------

LOSSES = {
    "softmax": lambda drive, target: -(target * drive.log_softmax(-1)).sum(),
    "linear": lambda drive, target: 0.5 * (target - drive).square().sum(),
    "sigmoid": lambda drive, target: torch.nn.functional.binary_cross_entropy_with_logits(
        drive, target, reduction="sum"
    ),
}
HIDDEN = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "softplus": torch.nn.functional.softplus,
}


def alive(network, lively):
    """Return random parameters, but leave copies of activity what they are: synapses of weight 1."""
    fixed = {p.label for p in network.projections if p.mask == "one_to_one"}
    return {n: torch.ones_like(v) if n.split(".")[0] in fixed else v for n, v in lively(network).items()}


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("transfer", LOSSES)
def test_the_true_feedback_makes_it_backpropagation(transfer, hidden, lively, sequences):
    """One hidden layer, feedback = transposed output weights: a step's change is -eta times the gradient, at once."""
    network = networks.error_broadcast(3, 2, hidden=(4,), transfer=transfer, hidden_transfer=hidden)
    params, inputs = alive(network, lively), sequences(network, 5, 1)
    inputs["target"] = torch.softmax(inputs["target"], -1)
    inputs["teach"] = torch.ones(5, 1, 1, dtype=F64)
    labels = ("stimulus__layer0", "layer0__out")
    eta = {label: constrain(network, params)[f"{label}.rule.eta"] for label in labels}
    state = start(network, params, 1)
    w = {label: state.w[label][0] for label in labels}
    for t in range(5):  # online: the weights move, and the feedback follows them
        params["error__layer0.w"] = w["layer0__out"].T.contiguous()
        now = {name: sequence[t : t + 1] for name, sequence in inputs.items()}
        leaves = {label: value.clone().requires_grad_() for label, value in w.items()}
        h = HIDDEN[hidden](leaves["stimulus__layer0"] @ now["stimulus"][0, 0] + params["one__layer0.w"][:, 0])
        loss = LOSSES[transfer](leaves["layer0__out"] @ h + params["one__out.w"][:, 0], now["target"][0, 0])
        slopes = dict(zip(labels, torch.autograd.grad(loss, [*leaves.values()]), strict=True))
        state = simulate(network, params, now, state=state, reset=True).final
        for label in labels:
            assert slopes[label].abs().max() > 1e-4
            close(state.w[label][0], w[label] - eta[label] * slopes[label])
        w = {label: state.w[label][0] for label in labels}


def test_errors_of_all_layers_belong_to_the_step(lively, sequences):
    network = CASES["error_broadcast, relay"]
    params, inputs = alive(network, lively), sequences(network, 6, 3)
    run = simulate(network, params, inputs, reset=True, save=Save())
    error = inputs["teach"] * (inputs["target"] - run["x.out"])
    close(run["error.out"], error)
    close(run["x.error"], error)
    for name, slope in (("relay", 1.0), ("layer0", None), ("layer1", None)):
        x = run[f"x.{name}"]
        back = error @ params[f"error__{name}.w"].T
        close(run[f"error.{name}"], back * (1 - x * x if slope is None else slope))
    close(run["x.relay"], inputs["stimulus"])
    assert run["error.layer0"][2].abs().max() == 0 and inputs["teach"][2].max() == 0  # not taught
    assert run["error.layer0"][:2].abs().min() > 0


def test_a_relay_is_there_only_for_rules_that_need_it():
    assert "relay" in [p.name for p in CASES["error_broadcast, relay"].populations]
    assert "relay" not in [p.name for p in CASES["error_broadcast"].populations]
    fixed = {n for n, leaf in CASES["error_broadcast, relay"].leaves.items() if n.startswith("error__")}
    assert fixed == {"error__relay.w", "error__layer0.w", "error__layer1.w"}
    assert not any(CASES["error_broadcast, relay"].leaves[name].param.learned for name in fixed)


def test_random_feedback_teaches_the_hidden_layer_and_weights_align():
    """A linear teacher through a bottleneck, which output weights alone cannot follow (Lillicrap et al. 2016)."""
    network = networks.error_broadcast(6, 3, hidden=(3,), transfer="linear")
    stream = torch.Generator().manual_seed(0)
    params = init_params(network, stream, dtype=F64)
    x = 0.5 * torch.randn(3000, 8, 6, generator=stream, dtype=F64)  # eight tasks: eight sets of random feedback
    feedback = torch.randn(8, 3, 3, generator=stream, dtype=F64)
    teacher = 0.5 * torch.randn(3, 6, generator=stream, dtype=F64)
    inputs = {"stimulus": x, "target": x @ teacher.T, "teach": torch.ones(3000, 8, 1, dtype=F64)}

    def run(feedback):
        with torch.no_grad():
            made = simulate(network, {**params, "error__layer0.w": feedback}, inputs, reset=True, save=Save(("x.*",)))
        return made["x.error"][-300:].square().mean((0, 2)), made.final.w["layer0__out"]

    taught, w = run(feedback)
    untaught, _ = run(torch.zeros_like(feedback))
    before = torch.cosine_similarity(params["layer0__out.w"].T.flatten(), feedback.flatten(1), -1)
    after = torch.cosine_similarity(w.mT.flatten(1), feedback.flatten(1), -1)
    assert (taught < 0.3 * untaught).all()
    assert after.mean() > before.mean() + 0.2 and after.min() > 0


# --- Dale's principle ------------------------------------------------------------------------------------------------


def extreme(network, lively, scale):
    stream = torch.Generator().manual_seed(3)
    return {n: scale * torch.randn(v.shape, generator=stream, dtype=F64) for n, v in lively(network).items()}


def strength(network, params, run):
    """Return, for every plastic signed projection, what its text is before it is cut off, at every step."""
    values = prepare(network, params)
    for p in network.plastic:
        if p.sign:
            yield values[f"{p.label}.w0"] + values[f"{p.label}.alpha"] * run[f"w.{p.label}"]


@pytest.mark.parametrize("name", ["dale, all plastic", "dale, none plastic"])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_signs_are_kept_whatever_the_parameters(name, scale, lively, sequences):
    network = CASES[name]
    params, inputs = extreme(network, lively, scale), sequences(network, 30, 2)
    values, run = prepare(network, params), simulate(network, params, inputs, save=Save())
    signed = [p for p in network.projections if p.sign]
    assert len(signed) == 4 and all(p.sign == p.pre for p in signed)
    for p in signed:
        plain = replace(p, sign=None)
        w = run[f"w.{p.label}"] if p.rule else values[f"{p.label}.w"]
        efficacy = efficacy_function(network, p)(values, w, {}, {})
        direction = 1 if p.sign == "excitatory" else -1
        assert (direction * efficacy >= 0).all()
        text = efficacy_function(network, plain)(values, w, {}, {})
        assert torch.equal(efficacy, direction * text.clamp(min=0))
        assert p.rule is None or (text < 0).any() or scale < 30


def test_populations_of_dale():
    network = networks.dale(3, 2)
    assert (network["excitatory"].size, network["inhibitory"].size) == (51, 13)
    assert [p.label for p in network.plastic] == ["excitatory__excitatory"]
    assert {p.pre for p in network.projections if p.post == "out"} == {"excitatory", "one", "target"}
    params = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    values = constrain(network, params)
    totals = {  # mean summed strength onto an excitatory neuron
        "excitatory": values["excitatory__excitatory.w0"].sum(1).mean(),
        "inhibitory": values["inhibitory__excitatory.w"].sum(1).mean(),
    }
    assert 0.9 < totals["excitatory"] / totals["inhibitory"] < 1.1
    small = networks.dale(3, 2, n_hidden=2, share=0.99)
    assert (small["excitatory"].size, small["inhibitory"].size) == (1, 1)


def test_what_dale_refuses():
    with pytest.raises(SpecificationError, match="dale: plastic: unknown pathway 'excitatory__out'"):
        networks.dale(3, 2, plastic=("excitatory__out",))
    with pytest.raises(SpecificationError, match="dale: hidden_transfer is 'tanh'; allowed: 'sigmoid', 'relu'"):
        networks.dale(3, 2, hidden_transfer="tanh")
    for options in ({"n_hidden": 1}, {"share": 1.0}):
        with pytest.raises(SpecificationError, match="allowed: 2 or more, and within 0 to 1"):
            networks.dale(3, 2, **options)


# --- short-term plasticity -------------------------------------------------------------------------------------------

REGIMES = {"facilitating": (0.2, 1500.0, 200.0), "depressing": (0.5, 50.0, 800.0)}


def steady(regime: str, dt: float = 10.0, steps: int = 3000):
    """Hold four neurons at four rates; return utilisation, resources and rate per ms at the end, ``(4,)`` each."""
    use, tau_f, tau_d = REGIMES[regime]
    network = replace(networks.short_term(1, 1, n_hidden=4, use=use, tau_f=tau_f, tau_d=tau_d), dt=dt)
    params = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    params = {n: leaf if ".rule." in n else torch.zeros_like(leaf) for n, leaf in params.items()}
    params["one__hidden.w"] = torch.tensor([[-6.0], [-2.0], [0.0], [2.0]], dtype=F64)
    inputs = {name: torch.zeros(steps, 1, size, dtype=F64) for name, size in network.inputs.items()}
    with torch.no_grad():
        run = simulate(network, params, inputs, save=Save())
    u, r = (run[f"traces.hidden__hidden.{name}"][:, 0, 0] for name in "ur")
    assert u.shape == (steps, 4)  # one value per presynaptic neuron
    assert (u > 0).all() and (u < 1).all() and (r > 0).all() and (r <= 1).all()
    return u[-1], r[-1], 0.05 * run["x.hidden"][-1, 0]


@pytest.mark.parametrize("regime", REGIMES)
def test_short_term_plasticity_settles_at_its_closed_form(regime):
    use, tau_f, tau_d = REGIMES[regime]
    u, r, rate = steady(regime)
    wanted = use * (1 + tau_f * rate) / (1 + use * tau_f * rate)
    close(u, wanted, 1e-9)
    close(r, 1 / (1 + wanted * tau_d * rate), 1e-9)
    gain = u * r / use  # against a first spike after a pause
    if regime == "facilitating":
        assert gain[1] > 1.5 and gain[1] > gain[3], "facilitates at low rates, depresses at high ones"
    else:
        assert (gain.diff() < 0).all() and gain[0] < 1 and gain[3] < 0.1


def test_short_term_efficacy_is_that_of_the_traces_before_the_step(lively, sequences):
    network = CASES["short_term, hebb"]
    params, inputs = lively(network), sequences(network, 5, 2)
    run = simulate(network, params, inputs, save=Save())
    values = constrain(network, params)
    u, r, w = (run[name] for name in ("traces.hidden__hidden.u", "traces.hidden__hidden.r", "w.hidden__hidden"))
    assert u.shape == (5, 2, 1, 4)
    total = values["hidden__hidden.w0"] + values["hidden__hidden.alpha"] * w
    recurrent = ((total * u * r)[:-1] @ run["x.hidden"][:-1, :, :, None]).squeeze(-1)
    others = sum(inputs[name][1:] @ params[f"{name}__hidden.w"].T for name in ("stimulus", "target", "teach"))
    close(run["drive.hidden"][1:], recurrent + others + params["one__hidden.w"][:, 0])
    first = simulate(network, params, {name: sequence[:1] for name, sequence in inputs.items()}, learn=False).final
    assert (first.traces["hidden__hidden.u"] == 0.2).all() and (first.traces["hidden__hidden.r"] == 1).all()


def test_without_a_rule_w_stands_still(lively, sequences):
    network = CASES["short_term"]
    run = simulate(network, lively(network), sequences(network, 6, 2), save=Save())
    assert (run["w.hidden__hidden"] == run["w.hidden__hidden"][0]).all()
    assert run["traces.hidden__hidden.u"].diff(dim=0).abs().min() > 0


def test_short_term_keeps_the_rule_and_refuses_one_with_its_names():
    own = rules.get("covariance")
    made = networks.short_term(3, 2, own, n_hidden=3).plastic[0].rule
    assert made.dw == own.dw and made.name == own.name and made.bounds == own.bounds
    assert {*own.traces, "u", "r"} == set(made.traces) and {*own.params} < set(made.params)
    clash = PlasticityRule("mine", dw="rate*u*pre", traces={"u": "pre - u"}, params={"rate": Param(0.1)})
    with pytest.raises(SpecificationError, match=r"rule 'mine' reads names of its own .* needs: rate, u; rename"):
        networks.short_term(3, 2, clash)


# --- plastic LSTM ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [None, rules.get("hebb")])
def test_without_plastic_strength_it_is_an_lstm(rule, lively, sequences):
    network = networks.plastic_lstm(3, 2, n_hidden=4, **({"rule": rule} if rule else {}))
    params, inputs = lively(network), sequences(network, 12, 3)
    params["cell__cell.alpha"] = torch.zeros(4, 1, dtype=F64)
    cell = torch.nn.LSTMCell(6, 4, dtype=F64)
    order = ("enter", "forget", "drive", "leave")  # torch: input, forget, cell, output
    own = {name: f"cell__{name}.w" for name in order} | {"drive": "cell__cell.w0"}
    with torch.no_grad():
        sources = ("stimulus", "target", "teach")
        cell.weight_ih.copy_(torch.cat([torch.cat([params[f"{s}__{g}.w"] for s in sources], 1) for g in order]))
        cell.weight_hh.copy_(torch.cat([params[own[g]] for g in order]))
        cell.bias_ih.copy_(torch.cat([params[f"one__{g}.w"][:, 0] for g in order]))
        cell.bias_hh.zero_()
        run = simulate(network, params, inputs, save=Save())
        shown = torch.cat([inputs[s] for s in sources], -1)
        state = (torch.zeros(3, 4, dtype=F64), torch.zeros(3, 4, dtype=F64))
        for t in range(12):
            state = cell(shown[t], state)
            close(run["x.cell"][t], state[0])
            close(run["c.cell"][t], state[1])
        answer = run["x.cell"] @ params["cell__out.w"].T + params["one__out.w"][:, 0]
    close(run.output, answer)
    assert run["w.cell__cell"].abs().max() > 0  # w moves, and acts on nothing


def test_the_plastic_lstm_learns_by_the_published_rule(lively, sequences):
    """Its own loop: w += M(t)*candidate(t)*h(t-1) within -2 and 2, M fanned out over the cells."""
    network = networks.plastic_lstm(3, 2, n_hidden=4)
    params, inputs = lively(network), sequences(network, 10, 3)
    run = simulate(network, params, inputs, save=Save())
    h, candidate = run["x.cell"], run["candidate.cell"]
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    m = torch.tanh(h @ params["cell__dopamine.w"].T + params["one__dopamine.w"][:, 0])
    m = m * params["dopamine__dopamine_cell.w"][:, 0] + params["one__dopamine_cell.w"][:, 0]
    w = start(network, params, 3).w["cell__cell"]
    for t in range(10):
        w = (w + m[t, :, :, None] * candidate[t, :, :, None] * before[t, :, None, :]).clamp(-2, 2)
        close(run["w.cell__cell"][t], w)
    values = constrain(network, params)
    total = values["cell__cell.w0"] + values["cell__cell.alpha"] * run["w.cell__cell"][:-1]
    drive = (total @ h[:-1, :, :, None]).squeeze(-1)
    drive = drive + sum(inputs[s][1:] @ params[f"{s}__drive.w"].T for s in ("stimulus", "target", "teach"))
    close(candidate[1:], torch.tanh(drive + params["one__drive.w"][:, 0]))


def test_the_forget_bias_starts_at_one():
    params = init_params(CASES["plastic_lstm"], torch.Generator(), dtype=F64)
    biases = {name: params[f"one__{name}.w"].unique().tolist() for name in ("drive", "enter", "forget", "leave")}
    assert biases == {"drive": [0.0], "enter": [0.0], "forget": [1.0], "leave": [0.0]}
    with pytest.raises(SpecificationError, match="plastic_lstm: fan_out is 'none'"):
        networks.plastic_lstm(3, 2, fan_out="none")


# --- autoassociative -------------------------------------------------------------------------------------------------


def test_autoassociative_follows_the_published_recursion_and_brian2_too(lively):
    """By hand: y(t) = tanh(y(t-1)*(w0 + alpha*hebb) + b), or what is shown; hebb = (1 - eta)*hebb + eta*y(t-1)*y(t)."""
    network = networks.autoassociative(4, 4)
    params = alive(network, lively)
    shown = torch.randint(2, (30, 3, 4), generator=torch.Generator().manual_seed(3)).to(F64) * 2 - 1
    shown[10:20], shown[20:, :, ::2] = 0, 0  # nothing, then half
    inputs = {"stimulus": shown, **{n: torch.zeros(30, 3, s, dtype=F64) for n, s in (("target", 4), ("teach", 1))}}
    run = simulate(network, params, inputs, save=Save())
    w0, alpha, eta, bias = (params[n] for n in ("out__out.w0", "out__out.alpha", "out__out.rule.eta", "one__out.w"))
    y, hebb = torch.zeros(3, 4, dtype=F64), params["out__out.w"].expand(3, 4, 4)
    for t in range(30):
        drive = torch.einsum("bij,bj->bi", w0 + alpha * hebb, y) + bias[:, 0]
        new = torch.where(shown[t] == 0, drive.tanh(), shown[t])
        hebb = (1 - eta) * hebb + eta * new[:, :, None] * y[:, None, :]
        y = new
        close(run.output[t], drive)
        close(run["x.out"][t], y)
    close(run.final.w["out__out"], hebb)
    pytest.importorskip("brian2")
    agreement(network, params, inputs)


def test_autoassociative_has_one_neuron_for_each_element():
    with pytest.raises(SpecificationError, match=r"n_in is 3 and n_out 2; every neuron .*; type n_in=2"):
        networks.autoassociative(3, 2)
