"""The cross-check itself: a wrong engine is caught, the horizon is measured, and what is printed is what was found."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa import brian2_engine, rules
from neurometa.brian2_engine.build import Model
from neurometa.crosscheck import compare, crosscheck, difference, precision, replay_network
from neurometa.errors import EngineError
from neurometa.spec import Network, Normal, Param, PlasticityRule, Population, Projection
from neurometa.streams import generator
from neurometa.trajectory import State, Trajectory
from neurometa.verify import contract_networks

pytest.importorskip("brian2")

# --- wrong engines ---------------------------------------------------------------------------------------------------

RULE = replace(rules.get("gated_hebb"), bounds=(-0.1, 0.1))


def flip_the_sign_of_dw(monkeypatch):
    text = Model.rule_text

    def flipped(self, expression, projection, now=None):
        found = text(self, expression, projection, now)
        return f"-({found})" if expression is projection.rule.dw_expression else found

    monkeypatch.setattr(Model, "rule_text", flipped)


def read_the_new_pre(monkeypatch):
    """Take what the source population has become for what the projection carried."""
    text = Model.rule_text
    monkeypatch.setattr(Model, "rule_text", lambda *arguments: re.sub(r"\bc\d+_pre\b", "v_x_pre", text(*arguments)))


def skip_the_bounds(monkeypatch):
    assign = Model.assign

    def unbounded(self, target, texts, before=()):
        assign(self, target, texts, [re.sub(r"= clip\((\w+), .*\)$", r"= \1", line) for line in before])

    monkeypatch.setattr(Model, "assign", unbounded)


def read_the_modulator_of_the_step_before(monkeypatch):
    rule, look = Model._rule, Model._look

    def late(self, projection):
        monkeypatch.setattr(Model, "_look", lambda *_: None)
        rule(self, projection)
        monkeypatch.setattr(Model, "_look", look)
        self._look(projection, projection.rule.reads)

    monkeypatch.setattr(Model, "_rule", late)


MUTATIONS = (flip_the_sign_of_dw, read_the_new_pre, skip_the_bounds, read_the_modulator_of_the_step_before)


def case(network, steps=20, batch=2, dtype=torch.double):
    stream = generator(0, "case")
    params = {name: leaf.to(dtype) for name, leaf in nm.init_params(network, stream, dtype=torch.double).items()}
    sizes = network.inputs.items()
    return network, params, {n: torch.randn(steps, batch, size, generator=stream, dtype=dtype) for n, size in sizes}


@pytest.mark.parametrize("replay", [False, True], ids=["closed", "replay"])
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_wrong_engine_is_caught(monkeypatch, mutate, replay):
    checked = case(contract_networks(RULE)["recurrent"])
    right = crosscheck(*checked, replay=replay)
    right.assert_agrees()
    assert right.agrees and all(row.first is None for row in right.rows)
    mutate(monkeypatch)
    wrong = crosscheck(*checked, replay=replay)
    worst = max(wrong.rows, key=lambda row: row.largest)
    assert not wrong.agrees and worst.largest == wrong.largest > 1e-3
    message = f"{'replay' if replay else 'closed loop'}: {worst.name} differs by .* first at step {worst.first} of 20"
    with pytest.raises(EngineError, match=message):
        wrong.assert_agrees()
    if replay:
        assert {row.name for row in wrong.rows if not row.agrees} <= {"w.plastic", "traces.plastic.elig"}


def test_a_wrong_mask_is_caught(monkeypatch):
    """Synapses that only one engine has are a difference, though the other engine has no number for them."""
    network = contract_networks(RULE)["recurrent"]
    *others, plastic = network.projections
    masked = replace(network, projections=(*others, replace(plastic, mask="no_self")))
    _, params, inputs = case(network)
    ours = nm.simulate(network, params, inputs, save=nm.Save(("w.*",)))
    theirs = brian2_engine.simulate(masked, params, inputs, save=nm.Save(("w.*",)))
    (row,) = (row for row in compare(masked, ours, theirs, 1e-10, 20) if row.name == "w.plastic")
    assert not row.agrees


# --- one variable ----------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("ours", "theirs", "largest", "first"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, None),
        ([1.0, 4.0], [1.0, 4.0 + 1e-9], 2.5e-10, 1),  # relative to the largest
        ([0.0, 1e-9], [0.0, 0.0], 1e-6, 1),  # or to a thousandth, where all are smaller
        ([1.0, NAN], [1.0, NAN], INF, 1),  # not a number agrees with nothing
        ([NAN, NAN], [NAN, NAN], INF, 0),
        ([1.0, 2.0], [NAN, NAN], INF, 0),
        ([1.0, INF], [1.0, INF], 0.0, None),
        ([1.0, INF], [1.0, -INF], INF, 1),
        ([1.0, 1.0], [INF, 1.0], INF, 0),
    ],
)
def test_difference(ours, theirs, largest, first):
    found = difference("x", np.array(ours)[:, None], np.array(theirs)[:, None], 1e-10, 2)
    assert found.largest == pytest.approx(largest, rel=1e-6) and found.first == first
    assert found.agrees is (first is None)


def test_only_steps_within_the_horizon_are_judged():
    ours, theirs = np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 5.0])[:, None]
    found = difference("x", ours, theirs, 1e-10, 3)
    assert found.agrees and found.first == 3 and found.largest == 0.0
    found = difference("x", theirs, ours, 1e-10, 0)  # the first step always is
    assert found.agrees and not difference("x", theirs[::-1], ours, 1e-10, 0).agrees


def test_a_population_that_is_not_a_number_from_the_first_step_does_not_agree():
    """NaN marks synapses that do not exist, and nothing else."""
    network = Network(
        (Population("stimulus", 1), Population("out", 1, "softmax(drive)")), (Projection("stimulus", "out"),)
    )
    params, inputs = {"stimulus__out.w": torch.ones(1, 1)}, {"stimulus": torch.full((3, 1, 1), 1000.0)}
    found = crosscheck(network, params, inputs)  # exp(1000) overflows in Brian2's softmax
    assert {row.name: row.agrees for row in found.rows} == {"x.stimulus": True, "x.out": False, "drive.out": True}
    assert not found.agrees and found.rows[1].largest == INF


# --- horizon, replay, precision --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chaos():
    """Return a network in which rounding errors grow about threefold every four steps."""
    strong = Param(Normal(0.0, "3/sqrt(n_pre)"), per="synapse")
    network = Network(
        (Population("stimulus", 2), Population("hidden", 40, "tanh(drive)")),
        (
            Projection("stimulus", "hidden", w=Param(Normal(0.0, 0.1), per="synapse")),
            Projection(
                "hidden", "hidden", "loop", efficacy="w0 + 0.01*w", params={"w0": strong}, rule=rules.get("hebb")
            ),
        ),
    )
    return case(network, steps=120)


def test_in_chaos_the_horizon_is_measured_and_replay_has_none(chaos):
    closed = crosscheck(*chaos)
    assert 10 < closed.horizon < 100 and closed.agrees and closed.n_steps == 120
    firsts = [row.first for row in closed.rows if row.first is not None]
    assert firsts and min(firsts) >= closed.horizon - 5  # the engines part where the perturbation says that they must
    replayed = crosscheck(*chaos, replay=True)
    assert replayed.horizon == 120 and replayed.agrees and replayed.largest < 1e-12


def test_a_horizon_says_how_long_a_perturbation_stays_small(chaos):
    network, params, inputs = chaos
    (wide, narrow) = (crosscheck(network, params, inputs, tolerance=tolerance).horizon for tolerance in (1e-6, 1e-12))
    assert narrow < crosscheck(network, params, inputs).horizon < wide


def test_replay_imposes_what_a_rule_reads_and_nothing_else():
    network = contract_networks(PlasticityRule("r", dw="m*theta_post*pre"))["modulated"]
    small, feeds = replay_network(network)
    assert [p.label for p in small.plastic] == ["plastic"] and not {"stimulus"} & {p.name for p in small.populations}
    assert sorted(feeds.values()) == [("from_m", "x"), ("gain", "x"), ("sink", "theta"), ("sink", "x"), ("source", "x")]
    with pytest.raises(EngineError, match="network 'still' has no plastic projection, so there is nothing to replay"):
        replay_network(Network((Population("stimulus", 1),), name="still"))


def test_several_projections_are_replayed_at_once():
    network = nm.networks.recurrent(3, 2, n_hidden=3)
    more = replace(
        network, projections=(*network.projections, Projection("stimulus", "out", "also", rule=rules.get("oja")))
    )
    found = crosscheck(*case(more), replay=True)
    assert [row.name for row in found.rows] == ["w.hidden__hidden", "w.also"] and found.agrees


def test_a_float32_run_is_computed_again_in_float64():
    checked = case(contract_networks(RULE)["recurrent"], dtype=torch.float)
    assert crosscheck(*checked).largest < 1e-13
    found = precision(*checked)
    assert found.mode == "float32" and found.agrees and 1e-9 < found.largest < 1e-5
    assert not precision(*checked, tolerance=1e-9).agrees
    assert precision(*case(contract_networks(RULE)["recurrent"])).largest == 0.0


def test_noise_and_starts_are_drawn_once_for_both():
    rule = PlasticityRule("r", dw="0.1*pre*post - 0.1*w")
    start = Param(nm.PerEpisode(Normal()), per="neuron")
    network = Network(
        (Population("stimulus", 2), Population("out", 2, "tanh(drive + noise)", start={"x": start})),
        (
            Projection("stimulus", "out", w=Param(nm.PerEpisode(Normal()), per="synapse")),
            Projection("out", "out", "loop", rule=rule),
        ),
    )
    checked = case(network)
    reset = [t % 5 == 0 for t in range(20)]
    for options in ({}, {"seed": 3}, {"noise": {"out": torch.zeros(20, 2, 2)}}, {"reset": reset}, {"replay": True}):
        crosscheck(*checked, **options).assert_agrees()
    assert precision(*case(network, dtype=torch.float), reset=reset).agrees


def test_what_is_written_as_json_comes_back():
    found = crosscheck(*case(contract_networks(RULE)["feed-forward"]))
    back = json.loads(json.dumps(found.as_dict()))
    assert back["agrees"] is True and back["mode"] == "closed loop" and back["horizon"] == back["n_steps"] == 20
    assert back["n_episodes"] == 2 and back["rows"][0]["name"] == found.rows[0].name
    assert set(back["rows"][0]) == {"name", "largest", "allowed", "first", "agrees"}


def test_inputs_that_do_not_fit_are_refused():
    network, params, _ = case(nm.networks.associative(2, 2))
    with pytest.raises(EngineError, match="no input fits network 'associative', which reads stimulus, target, teach"):
        crosscheck(network, params, {"picture": torch.ones(1, 1, 1)})
    with pytest.raises(EngineError, match="input 'target' is missing"):
        crosscheck(network, params, {"stimulus": torch.ones(1, 1, 2)})


def test_the_package_has_it():
    assert nm.crosscheck(*case(contract_networks(RULE)["feed-forward"], steps=2)).agrees


def test_library_networks_agree_with_parameters_of_their_own_per_episode(library_network, library, lively, sequences):
    found = (library(rule, library_network) for rule in rules.names())
    network = next((network for network in found if not isinstance(network, str)), None)
    network = network or nm.networks.get(library_network)(n_in=3, n_out=2)
    crosscheck(network, lively(network, 3), sequences(network, 20, 3)).assert_agrees()


def test_a_trajectory_of_another_network_is_no_comparison():
    ours = Trajectory(None, State({}, {}, {}), {"x.a": np.zeros((1, 1, 1))}, (0,))
    theirs = replace(ours, saved={"x.b": np.zeros((1, 1, 1))})
    with pytest.raises(EngineError, match=r"'x\.b' was not kept"):
        compare(nm.networks.tracker(1, 1), ours, theirs, 1e-10, 1)
