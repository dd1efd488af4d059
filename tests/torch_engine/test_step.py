"""One step of a network, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from neurometa import Save, init_params, make_step, simulate, start
from neurometa.errors import EngineError
from neurometa.spec import Network, Param, PlasticityRule, Population, Projection, Random
from neurometa.torch_engine import prepare

F64 = torch.float64
STIMULUS = Population("stimulus", 1)
HEBB = PlasticityRule("hebb", dw="pre*post")


def column(*values: float) -> torch.Tensor:
    """Return values as a sequence of one neuron, ``(time, 1, 1)``."""
    return torch.tensor(values, dtype=F64)[:, None, None]


def run(network: Network, *stimulus: float, params=None, **options):
    """Run over a stimulus and keep everything; parameters at their start but for those given."""
    found = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    found |= {name: torch.tensor(value, dtype=F64) for name, value in (params or {}).items()}
    return simulate(network, found, {"stimulus": column(*stimulus)}, save=Save(), **options)


def test_a_forward_chain_settles_within_the_step():
    network = Network(
        (STIMULUS, Population("a", 1, "2*drive"), Population("b", 1, "drive + 1")),
        (Projection("stimulus", "a", w=Param(3.0)), Projection("a", "b", w=Param(-1.0))),
    )
    made = run(network, 1.0, 2.0)
    assert made["x.a"].flatten().tolist() == [6.0, 12.0]
    assert made.output.flatten().tolist() == [-5.0, -11.0]


def test_populations_read_the_newest_of_those_before_and_the_previous_of_those_after():
    fixed = {"w0": Param(1.0)}
    network = Network(
        (STIMULUS, Population("a", 1, "drive"), Population("b", 1, "2*drive")),
        (
            Projection("stimulus", "a", w=Param(1.0)),
            Projection("a", "b", efficacy="w0", params=fixed, rule=HEBB),
            Projection("b", "a", efficacy="w0", params=fixed, rule=HEBB),
        ),
    )
    made = run(network, 1.0, 1.0, 1.0)
    assert made["x.a"].flatten().tolist() == [1.0, 3.0, 7.0]
    assert made["x.b"].flatten().tolist() == [2.0, 6.0, 14.0]
    # forward: pre and post of the same step; backward: pre is the activity of the step before
    assert made["w.a__b"].flatten().tolist() == [2.0, 2.0 + 18.0, 20.0 + 98.0]
    assert made["w.b__a"].flatten().tolist() == [0.0, 2.0 * 3.0, 6.0 + 6.0 * 7.0]


def test_a_recurrent_synapse_reads_the_previous_activity_as_pre():
    network = Network(
        (STIMULUS, Population("h", 2, "drive")),
        (Projection("stimulus", "h"), Projection("h", "h", rule=HEBB)),
    )
    made = run(network, 1.0, 1.0, 1.0, params={"stimulus__h.w": [[1.0], [2.0]]})
    assert made["x.h"][:, 0].tolist() == [[1.0, 2.0], [1.0, 2.0], [6.0, 12.0]]
    assert made["w.h__h"][:, 0].tolist() == [  # (post, pre)
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[7.0, 14.0], [14.0, 28.0]],
    ]


def test_a_later_variable_of_the_same_update_reads_the_newest_and_its_own_old_value():
    update = {"u": "u + drive", "x": "10*u + x", "z": "z + x"}
    network = Network((STIMULUS, Population("a", 1, update)), (Projection("stimulus", "a", w=Param(1.0)),))
    made = run(network, 1.0, 2.0)
    assert made["u.a"].flatten().tolist() == [1.0, 3.0]
    assert made["x.a"].flatten().tolist() == [10.0, 40.0]
    assert made["z.a"].flatten().tolist() == [10.0, 50.0]


def test_derivatives_are_forward_euler_and_neighbours_advance_from_old_values():
    update = {"du/dt": "drive - v", "dv/dt": "u", "x": "u + v"}
    network = Network((STIMULUS, Population("a", 1, update)), (Projection("stimulus", "a", w=Param(1.0)),), dt=0.5)
    made = run(network, 4.0, 4.0, 4.0)
    assert made["u.a"].flatten().tolist() == [2.0, 4.0, 5.5]
    assert made["v.a"].flatten().tolist() == [0.0, 1.0, 3.0]
    assert made.output.flatten().tolist() == [2.0, 5.0, 8.5]


def test_dt_may_be_read():
    network = Network((STIMULUS, Population("a", 1, "drive/dt")), (Projection("stimulus", "a", w=Param(1.0)),), dt=0.25)
    assert run(network, 3.0).output.item() == 12.0


def test_several_inputs_make_gates_and_several_projections_add_up():
    lstm = Population("cell", 1, {"c": "sigmoid(f)*c + put*g", "x": "c"}, inputs=("put", "f", "g"))
    network = Network(
        (STIMULUS, lstm),
        (
            Projection("stimulus", "cell", "in1", into="put", w=Param(2.0)),
            Projection("stimulus", "cell", "in2", into="put", w=Param(1.0)),
            Projection("one", "cell", into="g", w=Param(5.0)),
        ),  # nothing projects to f: its current is 0
    )
    made = run(network, 1.0, -1.0)
    assert made.output.flatten().tolist() == [15.0, 7.5 - 15.0]
    assert made["put.cell"].flatten().tolist() == [3.0, -3.0]
    assert made["f.cell"].flatten().tolist() == [0.0, 0.0]


def test_a_start_is_learned_or_a_number():
    population = Population("a", 2, {"x": "x + drive", "v": "v"}, start={"x": Param(per="neuron"), "v": 7.0})
    network = Network((STIMULUS, population), (Projection("stimulus", "a", w=Param(1.0)),))
    made = run(network, 1.0, 1.0, params={"a.start_x": [10.0, 20.0]})
    assert made["x.a"][:, 0].tolist() == [[11.0, 21.0], [12.0, 22.0]]
    assert made["v.a"][-1, 0].tolist() == [7.0, 7.0]


@pytest.mark.parametrize("size", [1, 2])
def test_a_modulator_scales_gain_efficacy_and_plasticity(size):
    """Global (one neuron) or one neuron per target; twice the stimulus, plus 0 and 1."""
    modulator = Population("ne", size, "drive + b", params={"b": Param(per="neuron")})
    rule = PlasticityRule("gated", dw="m_ne*pre*post")
    network = Network(
        (STIMULUS, modulator, Population("h", 2, "m_ne*drive", modulators={"ne": "ne"}), Population("out", 2, "drive")),
        (
            Projection("stimulus", "ne", w=Param(2.0)),
            Projection("stimulus", "h", w=Param(1.0)),
            Projection(
                "stimulus",
                "out",
                efficacy="m_ne*(w0 + w)",
                params={"w0": Param(1.0)},
                rule=rule,
                modulators={"ne": "ne"},
            ),
        ),
    )
    b = [0.0, 1.0][:size]
    made = run(network, 1.0, 1.0, params={"ne.b": b})
    m = torch.tensor([2.0 + v for v in b], dtype=F64).expand(2)
    assert made["x.h"][0, 0].tolist() == m.tolist()
    assert torch.equal(made.output[0, 0], m)
    w = m * 1.0 * m  # dw = m*pre*post
    assert torch.equal(made["w.stimulus__out"][0, 0, :, 0], w)
    assert torch.equal(made.output[1, 0], m * (1 + w))


def test_late_variables_follow_all_populations_and_precede_the_rules():
    """Worked out by hand: a first population hears, in the same step, what the last one made of it."""
    first = Population(
        "first",
        1,
        {"x": "drive + echo", "late echo": "10*back", "late dsum/dt": "echo + drive"},
        inputs=("drive", "back"),
    )
    network = Network(
        (STIMULUS, first, Population("last", 1, "drive + 1")),
        (
            Projection("stimulus", "first", w=Param(1.0), rule=PlasticityRule("r", dw="pre*echo_post")),
            Projection("first", "last", w=Param(2.0)),
            Projection("last", "first", into="back", w=Param(1.0)),
        ),
        dt=0.5,
        output="first",
    )
    made = run(network, 1.0, 2.0)
    # step 1: x 1 + 0, last 2*1 + 1 = 3, echo 30, sum .5*(30 + 1), w 1 + .5*1*30 = 16
    # step 2: x 16*2 + 30 = 62 (the echo of the step before), last 125, echo 1250, sum 15.5 + .5*(1250 + 32)
    assert made["x.first"].flatten().tolist() == [1.0, 62.0]
    assert made["x.last"].flatten().tolist() == [3.0, 125.0]
    assert made["back.first"].flatten().tolist() == [3.0, 125.0]
    assert made["echo.first"].flatten().tolist() == [30.0, 1250.0]
    assert made["sum.first"].flatten().tolist() == [15.5, 656.5]
    assert made["w.stimulus__first"].flatten().tolist() == [16.0, 16.0 + 0.5 * 2.0 * 1250.0]


def test_late_texts_run_in_declared_order_and_an_input_that_both_read_is_early():
    a = Population("a", 1, {"x": "drive", "late back": "b"}, inputs=("drive", "b"))
    b = Population("b", 1, {"x": "a", "late seen": "a", "late more": "seen + 1"}, inputs=("a",))
    network = Network(
        (STIMULUS, a, b),
        (
            Projection("stimulus", "a", w=Param(1.0)),
            Projection("a", "b", into="a", w=Param(3.0)),
            Projection("b", "a", into="b", w=Param(1.0)),
        ),
    )
    made = run(network, 1.0, 2.0)
    assert made["back.a"].flatten().tolist() == [3.0, 6.0]
    assert made["more.b"].flatten().tolist() == [4.0, 7.0]


@pytest.mark.parametrize("sign", ["excitatory", "inhibitory"])
@pytest.mark.parametrize("source", ["stimulus", "one"])
def test_a_sign_cuts_strengths_off_at_zero_with_the_gradient_of_what_is_left(sign, source):
    direction = 1.0 if sign == "excitatory" else -1.0
    rule = PlasticityRule("r", dw="-0.25*pre", traces={"used": "w_eff"})
    signed = Projection(source, "h", name="p", sign=sign, w=Param(per="post"), rule=rule)
    network = Network((STIMULUS, Population("h", 3, "drive")), (signed,))
    w = torch.tensor([[-2.0], [0.0], [0.5]], dtype=F64, requires_grad=True)
    made = simulate(network, {"p.w": w}, {"stimulus": column(1.0, 1.0, 1.0, 1.0)}, save=Save())
    assert (direction * made["drive.h"][:, 0]).tolist() == [[0, 0, 0.5], [0, 0, 0.25], [0, 0, 0], [0, 0, 0]]
    assert made["w.p"][:, 0, 2, 0].tolist() == [0.25, 0.0, -0.25, -0.5]  # w itself goes on as the rule says
    assert made["traces.p.used"][-1, 0, :, 0].tolist() == [0.0, 0.0, 0.75 * direction]  # w_eff has the sign
    (slope,) = torch.autograd.grad(made.output[0].sum(), w)
    assert slope.flatten().tolist() == [0.0, 0.0, direction]


def test_noise_is_given_or_drawn_from_its_stream():
    network = Network(
        (STIMULUS, Population("a", 3, "drive + 2*noise"), Population("b", 3, "drive")),
        (Projection("stimulus", "a", w=Param(1.0)), Projection("a", "b", mask="one_to_one", w=Param(1.0))),
    )
    given = torch.randn(2, 1, 3, dtype=F64)
    assert torch.equal(
        run(network, 0.0, 1.0, noise={"a": given}).output, torch.tensor([0.0, 1.0])[:, None, None] + 2 * given
    )
    draws = [run(network, 0.0, 0.0, stream=torch.Generator().manual_seed(seed)).output for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert len(draws[0].unique()) == 6
    with pytest.raises(EngineError, match="population 'a' reads noise; pass noise= or stream="):
        run(network, 0.0)


def test_softmax_and_kwta_compete_within_a_population():
    network = Network(
        (STIMULUS, Population("soft", 2, "softmax(drive)"), Population("win", 2, "kwta(drive, 1)")),
        (Projection("stimulus", "soft"), Projection("stimulus", "win", w=Param(per="post"))),
        output="soft",
    )
    made = run(network, 1.0, params={"stimulus__soft.w": [[0.0], [3.0]], "stimulus__win.w": [[2.0], [1.0]]})
    torch.testing.assert_close(made.output[0, 0], torch.softmax(torch.tensor([0.0, 3.0], dtype=F64), 0))
    assert made["x.win"].flatten().tolist() == [2.0, 0.0]


def test_masked_synapses_do_not_exist():
    ring = Population("h", 3, "drive")
    network = Network(
        (STIMULUS, ring),
        (Projection("stimulus", "h", w=Param(1.0)), Projection("h", "h", mask="no_self", w=Param(1.0), rule=HEBB)),
    )
    made = run(network, 1.0, 1.0)
    assert made.output[:, 0].tolist() == [[1.0] * 3, [3.0] * 3]
    diagonal = torch.eye(3) > 0
    assert (made["w.h__h"][:, 0, diagonal] == 0).all()
    assert (made["w.h__h"][1, 0, ~diagonal] == 1 + 3.0).all()

    network = Network((STIMULUS, ring), (Projection("one", "h", "bias"), Projection("h", "h", mask="one_to_one")))
    made = run(network, 0.0, 0.0, params={"bias.w": [[1.0], [2.0], [3.0]], "h__h.w": [[2.0] * 3] * 3})
    assert made.output[1, 0].tolist() == [3.0, 6.0, 9.0]


@pytest.mark.parametrize("rule", [None, HEBB])
def test_a_random_mask_keeps_the_same_synapses_everywhere(rule):
    wide, many = Population("stimulus", 40), Population("h", 50, "drive")
    projection = Projection("stimulus", "h", mask=Random(0.3, seed=4), w=Param(1.0), rule=rule)
    network = Network((wide, many), (projection,))
    params = init_params(network, torch.Generator(), dtype=F64)
    inputs = {"stimulus": torch.eye(40, dtype=F64)[:, None]}
    kept = simulate(network, params, inputs, learn=False).output[:, 0].T  # (post, pre)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert 0.25 < kept.mean() < 0.35
    again = simulate(network, params, inputs, learn=False).output[:, 0].T
    assert torch.equal(kept, again)
    narrow = {name: leaf.float() for name, leaf in params.items()}
    single = simulate(network, narrow, {"stimulus": torch.eye(40)[:, None]}, learn=False).output[:, 0].T
    assert torch.equal(kept, single.double())
    other = Network((wide, many), (Projection("stimulus", "h", mask=Random(0.3, seed=5), w=Param(1.0)),))
    assert not torch.equal(kept, simulate(other, params, inputs, learn=False).output[:, 0].T)
    if rule:
        made = simulate(network, params, {"stimulus": torch.ones(3, 2, 40, dtype=F64)})
        assert (made.final.w["stimulus__h"][:, kept == 0] == 0).all()
        assert (made.final.w["stimulus__h"][:, kept == 1] > 1).all()


def test_a_step_changes_nothing_in_place_and_returns_its_currents():
    network = Network(
        (STIMULUS, Population("a", 1, "tanh(drive)")), (Projection("stimulus", "a", rule=HEBB, w=Param(2.0)),)
    )
    params = init_params(network, torch.Generator(), dtype=F64)
    values, state = prepare(network, params), start(network, params, 3)
    before = {name: leaf.clone() for part in state for name, leaf in part.items()}
    new, currents = make_step(network)(values, state, {"stimulus": torch.ones(3, 1, dtype=F64)}, {})
    assert torch.equal(currents["a.drive"], torch.full((3, 1), 2.0, dtype=F64))
    assert all(torch.equal(leaf, before[name]) for part in state for name, leaf in part.items())
    assert new.w["stimulus__a"].unique().item() == pytest.approx(2 + torch.tanh(torch.tensor(2.0, dtype=F64)).item())
    still, _ = make_step(network, False)(values, state, {"stimulus": torch.ones(3, 1, dtype=F64)}, {})
    assert torch.equal(still.w["stimulus__a"], state.w["stimulus__a"])


def test_the_step_is_one_full_graph(library, lively, sequences):
    network = library("gated_hebb", "modulated")
    params, inputs = lively(network), sequences(network, 1, 2)
    values, state = prepare(network, params), start(network, params, 2)
    now = {name: sequence[0] for name, sequence in inputs.items()}
    step = make_step(network)
    torch.compiler.reset()
    found, _ = torch.compile(step, fullgraph=True, backend="aot_eager")(values, state, now, {})
    wanted, _ = step(values, state, now, {})
    for a, b in zip(found, wanted, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-12)
