"""Running over a sequence: batching, what is kept, checkpoints, folding, states, formats, and what is refused."""

from __future__ import annotations

import pytest
import torch

from neurometa import Save, init_params, simulate, start
from neurometa.errors import EngineError
from neurometa.spec import (
    Network,
    Normal,
    Orthogonal,
    Param,
    PerEpisode,
    PlasticityRule,
    Population,
    Projection,
    Uniform,
)
from neurometa.torch_engine import constrain, unconstrain
from neurometa.torch_engine.compiled import compiled
from neurometa.torch_engine.program import Program
from neurometa.tree import spread, stack

F64 = torch.float64
STIMULUS = Population("stimulus", 3)


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def close_runs(a, b):
    close(a.output, b.output)
    for part, other in zip(a.final, b.final, strict=True):
        assert part.keys() == other.keys()
        for name in part:
            close(part[name], other[name])


def entry(sequences: dict, i: int) -> dict:
    return {name: sequence[:, i : i + 1] for name, sequence in sequences.items()}


def narrowed(state, i: int):
    return type(state)(*({name: leaf[i : i + 1] for name, leaf in part.items()} for part in state))


def slopes(params, loss):
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    found = torch.autograd.grad(loss(leaves), [*leaves.values()], allow_unused=True)
    zero = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    return {name: zero[name] if g is None else g for name, g in zip(leaves, found, strict=True)}


# --- batching: over every library rule in every network that it fits -------------------------------------------------


def test_a_batch_of_eight_equals_eight_of_one(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 30 if library_pair[1] == "spiking" else 5, 8)
    together = simulate(network, params, inputs)
    for i in range(8):
        alone = simulate(network, params, entry(inputs, i))
        close(together.output[:, i : i + 1], alone.output)
        for part, other in zip(narrowed(together.final, i), alone.final, strict=True):
            for name in part:
                close(part[name], other[name])
    changed = together.final.w[network.plastic[0].label] - start(network, params, 8).w[network.plastic[0].label]
    assert changed.abs().amax((1, 2)).median() > 1e-7, "nothing learned, so nothing was tested"


def test_many_rules_in_one_call_equal_one_at_a_time(library_pair, library, lively, sequences):
    network = library(*library_pair)
    each = [lively(network, seed=seed) for seed in range(3)]
    inputs = sequences(network, 5, 2)
    repeated = {name: torch.cat([sequence] * 3, 1) for name, sequence in inputs.items()}  # rules x tasks
    together = simulate(network, spread(stack(each), 2), repeated)
    answers = simulate(network, spread(stack(each), 2), repeated, learn=False, reset=True)
    for i, params in enumerate(each):
        alone = simulate(network, params, inputs)
        close(together.output[:, 2 * i : 2 * i + 2], alone.output)
        for name, w in alone.final.w.items():
            close(together.final.w[name][2 * i : 2 * i + 2], w)
        close(answers.output[:, 2 * i : 2 * i + 2], simulate(network, params, inputs, learn=False, reset=True).output)


def test_permuting_the_tasks_permutes_the_answers(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 4, 6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    plain = simulate(network, params, inputs)
    mixed = simulate(network, params, {name: sequence[:, order] for name, sequence in inputs.items()})
    close(mixed.output, plain.output[:, order])
    for name, w in plain.final.w.items():
        close(mixed.final.w[name], w[order])


def test_the_gradient_of_a_task_does_not_depend_on_its_neighbours(library_pair, library, lively, sequences):
    """The gradient of the sum over tasks, slice by slice, is that of each: nothing is averaged over the batch."""
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 4, 3)
    batched = {name: leaf.expand(3, *leaf.shape) for name, leaf in params.items()}
    together = slopes(batched, lambda p: simulate(network, p, inputs).output.square().sum())
    for i in range(3):
        alone = slopes(params, lambda p, i=i: simulate(network, p, entry(inputs, i)).output.square().sum())
        for name, slope in alone.items():
            close(together[name][i], slope, 1e-11)


def test_a_batch_axis_on_some_leaves_only(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 4, 3)
    whole = simulate(network, params, inputs)
    for name, leaf in params.items():
        some = {**params, name: leaf.expand(3, *leaf.shape)}
        close(simulate(network, some, inputs).output, whole.output)
        one = {**params, name: leaf[None]}  # a batch of one fits any number of tasks
        close(simulate(network, one, inputs).output, whole.output)


# --- answering independent items at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("period", [1, 3])
def test_folding_independent_items_equals_the_loop(library_pair, library, lively, sequences, period, batched):
    network = library(*library_pair)
    params = lively(network, batch=4 if batched else None)
    inputs = sequences(network, 6, 4)
    learned = simulate(network, params, inputs).final  # so that weights and traces are not at their start
    reset = [t % period == 0 for t in range(6)]
    folded = simulate(network, params, inputs, learn=False, reset=reset, state=learned)
    looped = simulate(network, params, inputs, learn=False, reset=reset, state=learned, save=Save())
    close_runs(folded, looped)
    fresh = simulate(network, params, inputs, learn=False, reset=reset)
    close_runs(fresh, simulate(network, params, inputs, learn=False, reset=reset, save=Save(("w.*",))))


def test_items_are_folded_where_they_are_independent_and_only_there(library, lively, sequences, monkeypatch):
    network = library("oja", "associative")
    params, inputs = lively(network), sequences(network, 6, 2)
    calls = []
    real = Program.step
    monkeypatch.setattr(
        Program, "step", lambda self, *a: (lambda f: lambda *b: calls.append(1) or f(*b))(real(self, *a))
    )

    def n_steps(**options):
        calls.clear()
        simulate(network, params, inputs, **options)
        return len(calls)

    assert n_steps(learn=False, reset=True) == 1
    assert n_steps(learn=False, reset=[True, False, False] * 2) == 3
    assert n_steps(learn=False, reset=[True, False, True, True, False, True]) == 6  # unequal distances
    assert n_steps(learn=False, reset=[False, False, False, True, False, False]) == 6  # the first item goes on
    assert n_steps(learn=False, reset=False) == 6
    assert n_steps(learn=[True] + [False] * 5, reset=True) == 6


def test_folding_with_noise_and_modulated_efficacies_equals_the_loop(lively, sequences):
    ne = Population("ne", 1, "sigmoid(drive + noise)")
    hidden = Population(
        "hidden", 2, {"x": "m_ne*drive + b*x"}, params={"b": Param(per="neuron")}, modulators={"ne": "ne"}
    )
    for efficacy in ("w", "m_ne*w"):
        projection = Projection("stimulus", "hidden", efficacy=efficacy, modulators={"ne": "ne"})
        network = Network((STIMULUS, ne, hidden), (Projection("stimulus", "ne"), projection))
        params, inputs = lively(network, batch=2), sequences(network, 4, 2)
        options = {"learn": False, "reset": [True, False] * 2, "noise": {"ne": torch.randn(4, 2, 1, dtype=F64)}}
        close_runs(
            simulate(network, params, inputs, **options), simulate(network, params, inputs, save=Save(), **options)
        )


# --- checkpoints, compilation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 7, 100])
def test_checkpoints_change_neither_loss_nor_gradient(library_rule, any_network, lively, sequences, every):
    network = any_network(library_rule)
    params, inputs = lively(network), sequences(network, 7, 2)

    def loss(checkpoint_every):
        def of(p):
            made = simulate(network, p, inputs, checkpoint_every=checkpoint_every, save=Save(("w.*",), every=2))
            return made.output.square().sum() + sum(kept.square().sum() for kept in made.saved.values())

        return of

    close(loss(every)(params), loss(None)(params))
    plain, checkpointed = slopes(params, loss(None)), slopes(params, loss(every))
    for name in plain:
        close(checkpointed[name], plain[name])
    assert sum(float(slope.abs().sum()) for slope in plain.values()) > 0


def test_compiled_equals_eager(library, lively, sequences):
    network = library("gated_hebb", "associative")
    params, inputs = lively(network), sequences(network, 4, 2)
    torch.compiler.reset()
    runs = []

    def loss(p, compile):
        runs.append(simulate(network, p, inputs, compile=compile))
        return runs[-1].output.square().sum()

    fast, plain = (slopes(params, lambda p, c=compile: loss(p, c)) for compile in (True, False))
    close_runs(*runs)
    for name in plain:
        close(fast[name], plain[name])
    both = slopes(
        params, lambda p: simulate(network, p, inputs, compile=True, checkpoint_every=2).output.square().sum()
    )
    for name in plain:
        close(both[name], plain[name])


def test_every_function_has_its_own_budget_of_compilations():
    """Functions made by one factory share their code; torch stops compiling after eight versions of one code."""
    graphs = []

    def backend(graph, examples):
        graphs.append(graph)
        return graph.forward

    def factory(k):
        def step(x):
            return x * k + 1

        return step

    torch.compiler.reset()
    x = torch.ones(3)
    for k in range(12):
        assert torch.equal(compiled(factory(k), fullgraph=True, backend=backend)(x), x * k + 1)
    assert len(graphs) == 12

    class Owner:
        def __init__(self, k):
            self.k = k

        def method(self, x, *, more=2):
            return x * self.k + more

    assert torch.equal(compiled(Owner(5).method, backend=backend)(x), x * 5 + 2)
    assert len(graphs) == 13


# --- number formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_number_format_of_parameters_and_inputs_is_kept(library_pair, library, lively, sequences, dtype):
    network = library(*library_pair)
    params, inputs = lively(network, dtype=dtype), sequences(network, 3, 2, dtype=dtype)
    assert {leaf.dtype for leaf in init_params(network, torch.Generator(), dtype=dtype).values()} == {dtype}
    made = simulate(network, params, inputs, save=Save())
    answers = simulate(network, params, inputs, learn=False, reset=True)
    kept = [made.output, answers.output, *made.saved.values(), *(leaf for part in made.final for leaf in part.values())]
    assert {leaf.dtype for leaf in kept} == {dtype}


def test_single_precision_is_near_double(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 3, 2)
    double = simulate(network, params, inputs).output
    single = simulate(network, *({k: v.float() for k, v in tree.items()} for tree in (params, inputs))).output
    close(single.double(), double, 1e-3)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_plan_keeps_what_its_patterns_match(library, lively, sequences):
    network = library("gated_hebb", "modulated")
    params, inputs = lively(network), sequences(network, 6, 2)
    names = set(simulate(network, params, inputs, save=Save()).saved)
    assert names == {
        *(f"x.{name}" for name in ("stimulus", "target", "teach", "dopamine", "hidden", "out")),
        *("prediction.out", "error.out", "drive.dopamine", "drive.hidden", "drive.out", "target.out"),
        *("w.plastic", "traces.plastic.elig"),
    }
    for patterns, kept in {
        ("w.*",): {"w.plastic"},
        ("x.hidden", "traces.*"): {"x.hidden", "traces.plastic.elig"},
        ("*.out",): {"x.out", "prediction.out", "error.out", "drive.out", "target.out"},
    }.items():
        assert set(simulate(network, params, inputs, save=Save(patterns)).saved) == kept
    assert simulate(network, params, inputs).saved == {}


@pytest.mark.parametrize(("every", "steps"), [(1, (0, 1, 2, 3, 4, 5, 6)), (2, (0, 2, 4, 6)), (5, (0, 5)), (99, (0,))])
def test_a_plan_keeps_every_so_many_steps_after_they_ran(library, lively, sequences, every, steps):
    network = library("gated_hebb", "modulated")
    params, inputs = lively(network), sequences(network, 7, 2)
    made = simulate(network, params, inputs, save=Save(("*",), every=every))
    assert made.steps == steps
    assert torch.equal(made["drive.out"], made.output[list(steps)])
    assert torch.equal(made["x.stimulus"], inputs["stimulus"][list(steps)])
    for row, t in enumerate(steps):  # what stands after t + 1 steps
        until = simulate(network, params, {name: sequence[: t + 1] for name, sequence in inputs.items()})
        close(made["w.plastic"][row], until.final.w["plastic"])
        close(made["traces.plastic.elig"][row], until.final.traces["plastic.elig"])
        close(made["x.hidden"][row], until.final.x["hidden.x"])


def test_keeping_changes_no_bit_of_the_output(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 4, 2)
    assert torch.equal(simulate(network, params, inputs, save=Save()).output, simulate(network, params, inputs).output)


def test_a_pattern_that_matches_nothing_is_an_error(library, lively, sequences):
    network = library("oja", "associative")
    params, inputs = lively(network), sequences(network, 2, 2)
    with pytest.raises(EngineError, match=r"Save: 'w.hid' matches nothing; there are .*x.out.*w.head"):
        simulate(network, params, inputs, save=Save(("x.out", "w.hid")))
    with pytest.raises(EngineError, match="Save: every is 0; it must be a whole number above 0"):
        Save(every=0)
    with pytest.raises(EngineError, match=r"'w.head' was not kept; kept: nothing \(pass save=\)"):
        simulate(network, params, inputs)["w.head"]
    with pytest.raises(EngineError, match=r"'w.head' was not kept; kept: x.out"):
        simulate(network, params, inputs, save=Save(("x.out",)))["w.head"]


# --- states and flags ------------------------------------------------------------------------------------------------


def test_continuing_from_a_state_equals_one_run(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network), sequences(network, 6, 2)
    first, second = ({k: v[part] for k, v in inputs.items()} for part in (slice(4), slice(4, None)))
    whole = simulate(network, params, inputs)
    begin = simulate(network, params, first)
    rest = simulate(network, params, second, state=begin.final)
    assert torch.equal(torch.cat([begin.output, rest.output]), whole.output)
    close_runs(rest, simulate(network, params, second, state=begin.final))


def test_learning_and_reset_flags(library, lively, sequences):
    network = library("gated_hebb", "recurrent")
    params, inputs = lively(network), sequences(network, 4, 2)
    label = network.plastic[0].label
    made = simulate(network, params, inputs, learn=[True, False, False, True], save=Save())
    w, elig = made[f"w.{label}"], made[f"traces.{label}.elig"]
    assert torch.equal(w[0], w[1]) and torch.equal(w[1], w[2]) and not torch.equal(w[2], w[3])
    assert torch.equal(elig[0], elig[2]) and not torch.equal(elig[2], elig[3])
    # A reset takes activity back to its start and keeps weights: the step equals a first step from those weights.
    made = simulate(network, params, inputs, reset=torch.tensor([False, False, True, False]), save=Save())
    before = simulate(network, params, {name: sequence[:2] for name, sequence in inputs.items()}).final
    fresh = start(network, params, 2)._replace(w=before.w, traces=before.traces)
    again = simulate(network, params, {name: sequence[2:] for name, sequence in inputs.items()}, state=fresh)
    assert torch.equal(made.output[2:], again.output)
    assert not torch.equal(made.output, simulate(network, params, inputs).output)


# --- starts that are drawn per episode -------------------------------------------------------------------------------


def drawn() -> Network:
    out = Population("out", 2, "x + drive", start={"x": Param(PerEpisode(Uniform(5, 6)), per="neuron")})
    return Network(
        (STIMULUS, Population("h", 3, "drive"), out),
        (
            Projection("stimulus", "h", w=Param(PerEpisode(Normal(0, 1)), per="synapse"), mask="no_self"),
            Projection(
                "h", "out", rule=PlasticityRule("r", dw="pre*post"), w=Param(PerEpisode(Normal(3, 0.1)), per="post")
            ),
        ),
    )


def test_starts_per_episode_are_drawn_anew_for_every_task_from_the_stream():
    network = drawn()
    assert init_params(network, torch.Generator()) == {}
    zero = {"stimulus": torch.zeros(2, 4, 3, dtype=F64)}

    def run(seed):
        return simulate(network, {}, zero, stream=torch.Generator().manual_seed(seed), save=Save())

    made = run(0)
    w = made["w.stimulus__h"][0]  # (batch, post, pre)
    assert w.shape == (4, 3, 3)
    assert w.dtype == F64
    assert len(w.unique()) == 4 * 6 + 1  # and 0 on the diagonal
    assert (w[:, torch.eye(3) > 0] == 0).all()
    assert torch.equal(made["w.stimulus__h"][1], w)
    assert ((made.output > 5) & (made.output < 6)).all() and len(made.output[0].unique()) == 8
    plastic = start(network, {}, 4, torch.Generator().manual_seed(0), like=w).w["h__out"]
    assert plastic.shape == (4, 2, 3) and torch.equal(plastic[..., 0], plastic[..., 1]) and len(plastic.unique()) == 8
    assert torch.equal(run(0).output, made.output)
    assert not torch.equal(run(1).output, made.output)
    with pytest.raises(EngineError, match=r"parameter 'stimulus__h.w' is drawn per episode; pass the init stream"):
        simulate(network, {}, zero)


def test_continuing_draws_nothing():
    network = drawn()
    inputs = {"stimulus": torch.randn(3, 2, 3, dtype=F64)}
    first = simulate(network, {}, inputs, stream=torch.Generator().manual_seed(0)).final
    made = simulate(network, {}, inputs, state=first)
    assert torch.equal(made.final.w["stimulus__h"], first.w["stimulus__h"])
    folded = simulate(
        network, {}, inputs, state=first, learn=False, reset=True, stream=torch.Generator().manual_seed(7)
    )
    looped = simulate(
        network, {}, inputs, state=first, learn=False, reset=True, stream=torch.Generator().manual_seed(7), save=Save()
    )
    close_runs(folded, looped)


def test_a_drawn_start_lies_where_its_constraint_says():
    population = Population("a", 50, "x", start={"x": Param(PerEpisode(Uniform(0.2, 0.4)), "fraction", per="neuron")})
    network = Network((STIMULUS, population))
    state = start(network, {}, 2, torch.Generator().manual_seed(0), like=torch.zeros(1))
    assert 0.2 <= state.x["a.x"].min() < 0.22 and 0.38 < state.x["a.x"].max() <= 0.4


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "smallest", "largest"),
    [
        (Param(0.3), float("-inf"), float("inf")),
        (Param(0.3, "positive"), 0.0, float("inf")),
        (Param(0.3, "fraction"), 0.0, 1.0),
        (Param(2.5, minimum=2.0), 2.0, float("inf")),
        (Param(2.5, "positive", minimum=2.0), 2.0, float("inf")),
        (Param(Uniform(0.1, 0.9), "positive"), 0.0, float("inf")),
    ],
)
def test_stored_leaves_are_free_and_what_they_mean_is_constrained(param, smallest, largest):
    network = Network((STIMULUS, Population("a", 1, "k*drive", params={"k": param})))
    stored = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    means = constrain(network, stored)["a.k"]
    if isinstance(param.init, float):
        close(means, torch.tensor([param.init], dtype=F64))
    else:
        assert 0.1 <= means.item() <= 0.9
    close(unconstrain(param, means), stored["a.k"])
    for value in (-1000.0, -5.0, 0.0, 5.0, 700.0):
        means = constrain(network, {"a.k": torch.tensor([value], dtype=F64)})["a.k"].item()
        assert smallest <= means <= largest


def test_initial_values_have_the_distribution_that_was_asked_for():
    wide = Population("h", 100, "drive")
    network = Network(
        (Population("stimulus", 400), wide),
        (
            Projection("stimulus", "h"),
            Projection("h", "h", w=Param(Orthogonal(0.5), per="synapse")),
            Projection("stimulus", "h", "uniform", w=Param(Uniform(-2, -1), per="synapse")),
            Projection("stimulus", "h", "tall", w=Param(Orthogonal(), per="synapse")),
        ),
    )
    params = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    normal = params["stimulus__h.w"]
    assert abs(normal.mean()) < 0.001 and abs(normal.std() * 20 - 1) < 0.02
    close(params["h__h.w"] @ params["h__h.w"].T, 0.25 * torch.eye(100, dtype=F64))
    close(params["tall.w"] @ params["tall.w"].T, torch.eye(100, dtype=F64))
    assert -2 <= params["uniform.w"].min() < -1.99 and -1.01 < params["uniform.w"].max() <= -1
    again = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    assert all(torch.equal(params[name], again[name]) for name in params)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"stimulus": None}, {}, "input 'stimulus' is missing; network 'associative' reads stimulus, target, teach"),
        (
            {"stimulus": torch.zeros(4, 2, 5)},
            {},
            r"input 'stimulus' has shape \(4, 2, 5\); allowed: \(time, batch, 3\)",
        ),
        ({"stimulus": torch.zeros(4, 3)}, {}, r"input 'stimulus' has shape \(4, 3\)"),
        ({"stimulus": torch.zeros(5, 2, 3)}, {}, r"inputs differ in \(time, batch\): \[\(4, 2\), \(5, 2\)\]"),
        ({}, {"learn": [True] * 3}, "learn has 3 steps, the inputs have 4"),
        ({}, {"reset": torch.tensor([True])}, "reset has 1 steps, the inputs have 4"),
    ],
)
def test_inputs_that_do_not_fit(library, lively, sequences, change, options, message):
    network = library("oja", "associative")
    inputs = sequences(network, 4, 2, dtype=torch.float32) | change
    inputs = {name: sequence for name, sequence in inputs.items() if sequence is not None}
    with pytest.raises(EngineError, match=message):
        simulate(network, lively(network, dtype=torch.float32), inputs, **options)


def test_inputs_that_the_network_does_not_have_are_left_out(library, lively, sequences):
    network = library("oja", "associative")
    params, inputs = lively(network), sequences(network, 4, 2)
    more = {**inputs, "reward": torch.zeros(9, 1, 1)}
    assert torch.equal(simulate(network, params, more).output, simulate(network, params, inputs).output)


def test_parameters_that_do_not_fit(library, lively, sequences):
    network = library("oja", "associative")
    params, inputs = lively(network), sequences(network, 4, 2)
    without = {name: leaf for name, leaf in params.items() if name != "head.alpha"}
    with pytest.raises(EngineError, match=r"network 'associative': parameter 'head.alpha' is missing; found .*head.w"):
        simulate(network, without, inputs)
    with pytest.raises(
        EngineError, match=r"'head.alpha' has shape \(3, 3\); allowed: \(1, 1\), or one batch axis more"
    ):
        simulate(network, {**params, "head.alpha": torch.zeros(3, 3, dtype=F64)}, inputs)
    with pytest.raises(EngineError, match="has no input population; give one an empty update"):
        simulate(Network((Population("a", 1, "drive"),)), {}, {})


# --- trees -----------------------------------------------------------------------------------------------------------


def test_spread_repeats_in_a_row_and_does_not_copy_a_batch_of_one():
    many = spread({"a": torch.arange(6.0).reshape(3, 2)}, 2)["a"]
    assert many.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
    one = torch.arange(2.0)[None]
    assert spread({"a": one}, 4)["a"].shape == (4, 2)
    assert spread({"a": one}, 4)["a"].data_ptr() == one.data_ptr()
    with pytest.raises(ValueError, match="stack needs at least one tree, and the same names in all of them"):
        stack([{"a": one}, {"b": one}])
