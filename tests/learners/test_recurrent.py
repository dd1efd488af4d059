"""The recurrent learner: torch's own cells, exact meta-gradients, what a query and a step may know, many at once."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from neurometa import ConvTrunk, learners, meta_train, networks
from neurometa.errors import SpecificationError
from neurometa.learners.recurrent import RecurrentLearner, n_hidden_for
from neurometa.outer import Backprop, Problem
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.streams import generator
from neurometa.tasks.base import Episode, tile
from neurometa.tasks.tracking import Tracking
from neurometa.tasks.volatility import Volatility
from neurometa.tree import spread, stack

F64 = torch.float64
MODULES = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
CELL = pytest.mark.parametrize("cell", MODULES)
TRUNK = ConvTrunk((1, 4, 4), (2,), "tanh", "support", "unit")


def make(cell="gru", n_in=3, n_out=2, n_hidden=4, trunk=None):
    return RecurrentLearner(n_in, n_out, n_hidden, cell, trunk)


def lively(learner, seed=1):
    """Return parameters away from 0, so that everything acts."""
    stream = generator(seed)
    params = learner.init(stream, dtype=F64)
    return {name: leaf + 0.3 * torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in params.items()}


def images(episode):
    """Return the episode with stimuli of 16 pixels."""
    parts = []
    for i, part in enumerate((episode.support, episode.query)):
        pixels = torch.randn(*part.target.shape[:2], 16, generator=generator(i), dtype=F64)
        parts.append(part._replace(inputs={**part.inputs, "stimulus": pixels}))
    return Episode(*parts)


def choose(part, index):
    """Return the part with other tasks in its batch."""
    inputs = {name: sequence[:, index] for name, sequence in part.inputs.items()}
    return part._replace(inputs=inputs, target=part.target[:, index], weight=part.weight[:, index])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def torch_cell(learner, params):
    """Return torch's module and readout with the parameters of a learner."""
    kind = MODULES[learner.cell]
    module = kind(learner.n_in + learner.n_out + 1, learner.n_hidden, dtype=F64)
    module.load_state_dict({n.removeprefix("cell."): leaf for n, leaf in params.items() if n.startswith("cell.")})
    return module, lambda hidden: hidden @ params["readout.w"].T + params["readout.b"]


def side_by_side(part):
    return torch.cat([part.inputs[name] for name in ("stimulus", "target", "teach")], -1)


@CELL
@pytest.mark.parametrize("one_sequence", [False, True])
def test_the_meta_gradient_equals_central_differences(task, episode, slopes, differences, relative, cell, one_sequence):
    learner = make(cell)
    params = lively(learner)
    shown = Episode(episode.support) if one_sequence else episode

    def loss(p):
        return learner.loss(p, shown, task).mean()

    exact = slopes(loss, params)
    assert relative(exact, differences(loss, params)) < 1e-6
    assert all(leaf.abs().max() > 1e-4 for leaf in exact.values())


def test_the_meta_gradient_through_a_trunk_equals_central_differences(task, episode, slopes, differences, relative):
    learner = make(n_in=TRUNK.n_features, trunk=TRUNK)
    params, shown = lively(learner), images(episode)
    assert set(learner.adapt(params, shown.support, task)) == {"memory.hidden", "trunk.0.mean", "trunk.0.variance"}

    def loss(p):
        return learner.loss(p, shown, task).mean()

    exact = slopes(loss, params)
    assert relative(exact, differences(loss, params)) < 1e-6
    assert all(exact[f"trunk.0.{name}"].abs().max() > 1e-4 for name in ("w", "scale", "shift"))


def test_queries_are_normalised_by_the_support_and_do_not_see_each_other(task, episode):
    learner = make(n_in=TRUNK.n_features, trunk=TRUNK)
    params, shown = lively(learner), images(episode)
    answers = learner.respond(params, shown, task)
    pixels = shown.query.inputs["stimulus"].clone()
    pixels[1] += 3.0
    other = shown.query._replace(inputs={**shown.query.inputs, "stimulus": pixels})
    changed = (learner.respond(params, shown._replace(query=other), task) - answers).abs().amax((1, 2))
    assert (changed > 1e-3).tolist() == (changed > 1e-12).tolist() == [False, True, False]


@CELL
def test_it_is_torch_s_own_module_run_by_hand(task, episode, cell):
    learner = make(cell)
    params = lively(learner)
    module, readout = torch_cell(learner, params)
    with torch.no_grad():
        _, state = module(side_by_side(episode.support))
        fast = learner.adapt(params, episode.support, task)
        hidden, *inner = state if cell == "lstm" else (state,)
        close(fast["memory.hidden"], hidden[0])
        assert fast["memory.hidden"].shape == (5, 4)  # batch first
        if inner:
            close(fast["memory.cell"], inner[0][0])
        wanted = torch.cat([readout(module(x[None], state)[0]) for x in side_by_side(episode.query)])
        close(learner.respond(params, episode, task), wanted)
        late = side_by_side(episode.support).clone()
        late[1:, :, 3:], late[0, :, 3:] = side_by_side(episode.support)[:-1, :, 3:], 0
        close(learner.respond(params, Episode(episode.support), task), readout(module(late)[0]))


@CELL
def test_queries_are_independent(task, episode, cell):
    learner = make(cell)
    params = lively(learner)
    fast = learner.adapt(params, episode.support, task)
    answers = learner.predict(params, fast, episode.query)
    assert answers.shape == (3, 5, 2)
    turned = episode.query._replace(inputs={name: s.flip(0) for name, s in episode.query.inputs.items()})
    close(learner.predict(params, fast, turned), answers.flip(0))


@CELL
@pytest.mark.parametrize("resets", [(1, 0, 0, 1, 0, 0), (0, 0, 1, 0, 1, 0), (1, 0, 1, 1, 0, 0), (0, 0, 0, 0, 0, 0)])
@pytest.mark.parametrize("batched", [False, True])
def test_a_query_of_several_steps_goes_on_until_its_reset(task, episode, cell, resets, batched):
    learner = make(cell)
    params = lively(learner)
    module, readout = torch_cell(learner, params)
    query = task.part(generator(3), 5, 6, False)._replace(reset=torch.tensor(resets, dtype=torch.bool))
    start = module(side_by_side(episode.support))[1]
    state, wanted = start, []
    for x, flag in zip(side_by_side(query), resets, strict=True):
        hidden, state = module(x[None], start if flag else state)
        wanted.append(readout(hidden))
    if batched:
        params = spread({name: leaf[None] for name, leaf in params.items()}, 5)
    close(learner.respond(params, episode._replace(query=query), task), torch.cat(wanted))


@CELL
@pytest.mark.parametrize("task", [Volatility(n_steps=12, n_skip=2), Tracking(n_steps=12, n_skip=2)])
def test_an_answer_never_knows_its_own_or_a_later_target(cell, task):
    learner = make(cell, 1, 1)
    params, episode = lively(learner), task.sample(generator(0), 3, dtype=F64)
    output = learner.respond(params, episode, task)
    for t in range(12):
        changed = {name: sequence.clone() for name, sequence in episode.support.inputs.items()}
        changed["target"][t] += 1.0
        changed["teach"][t] = 0.0
        other = learner.respond(params, Episode(episode.support._replace(inputs=changed)), task)
        assert torch.equal(other[: t + 1], output[: t + 1])
        assert t == 11 or (other[t + 1] != output[t + 1]).all()


@CELL
@pytest.mark.parametrize("one_sequence", [False, True])
def test_parameters_with_a_batch_axis_equal_one_network_at_a_time(task, episode, slopes, cell, one_sequence):
    learner = make(cell)
    shown = Episode(episode.support) if one_sequence else episode
    each = [lively(learner, seed) for seed in range(3)]
    together = learner.loss(spread(stack(each), 5), tile(shown, 3), task).reshape(3, 5)
    close(together, torch.stack([learner.loss(params, shown, task) for params in each]))
    found = slopes(lambda p: learner.loss(spread(p, 5), tile(shown, 3), task).sum(), stack(each))
    for i, params in enumerate(each):
        wanted = slopes(lambda p: learner.loss(p, shown, task).sum(), params)
        for name in wanted:
            close(found[name][i], wanted[name])


@CELL
def test_some_leaves_with_a_batch_axis_and_some_without(task, episode, cell):
    """As when one group is learned by evolution and the rest is fixed."""
    learner = make(cell, TRUNK.n_features, trunk=TRUNK)
    shown, fixed = images(episode), lively(learner)
    for mine in ("trunk.0.w", "cell.weight_ih_l0", "cell.bias_hh_l0", "readout.w", "readout.b"):
        each = [{mine: fixed[mine] + i} for i in range(2)]
        together = learner.loss({**fixed, **spread(stack(each), 5)}, tile(shown, 2), task).reshape(2, 5)
        close(together, torch.stack([learner.loss({**fixed, **own}, shown, task) for own in each]))
        assert (together[0] - together[1]).abs().min() > 1e-6


@CELL
def test_tasks_can_be_taken_in_any_order(task, episode, cell):
    learner, order = make(cell), torch.tensor([3, 0, 4, 1, 2])
    params, turned = lively(learner), Episode(*(choose(part, order) for part in episode[:2]))
    close(learner.respond(params, turned, task), learner.respond(params, episode, task)[:, order])
    sequence = Episode(turned.support)
    close(learner.loss(params, sequence, task), learner.loss(params, Episode(episode.support), task)[order])
    for i in range(5):
        alone = Episode(*(choose(part, torch.tensor([i])) for part in episode[:2]))
        close(learner.loss(params, alone, task), learner.loss(params, episode, task)[i : i + 1])


@CELL
def test_the_memory_ignores_resets_of_the_support_and_is_new_in_every_episode(task, episode, cell):
    learner = make(cell)
    params = lively(learner)
    fast = learner.adapt(params, episode.support, task)
    still = episode.support._replace(reset=torch.zeros(4, dtype=torch.bool))
    again = learner.adapt(params, still, task)
    assert all(torch.equal(fast[name], again[name]) for name in fast)
    learner.loss(params, episode, task)
    assert torch.equal(learner.adapt(params, episode.support, task)["memory.hidden"], fast["memory.hidden"])


@CELL
def test_parameters_start_as_torch_s_own_do_and_come_from_the_stream_alone(cell):
    learner = make(cell, n_hidden=40)
    before = torch.random.get_rng_state()
    params = learner.init(generator(0), dtype=F64)
    assert torch.equal(torch.random.get_rng_state(), before)
    module, readout = MODULES[cell](6, 40), nn.Linear(40, 2)
    usual = {f"cell.{name}": leaf for name, leaf in module.named_parameters()}
    usual |= {"readout.w": readout.weight, "readout.b": readout.bias}
    assert {name: leaf.shape for name, leaf in params.items()} == {name: leaf.shape for name, leaf in usual.items()}
    bound = 1 / math.sqrt(40)
    for name, leaf in params.items():
        assert leaf.dtype == F64
        for found in (leaf, usual[name]):  # both are uniform within the bound
            assert found.abs().max() <= bound
            assert found.numel() < 500 or found.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert all(torch.equal(leaf, params[name]) for name, leaf in learner.init(generator(0), dtype=F64).items())
    assert not torch.equal(learner.init(generator(1), dtype=F64)["readout.w"], params["readout.w"])
    assert learner.init(generator(0))["readout.w"].dtype == torch.get_default_dtype()


@CELL
def test_sizes_are_counted_and_matched(cell):
    for n_in, n_out, n_hidden in ((1, 1, 1), (3, 2, 4), (64, 5, 17)):
        learner = make(cell, n_in, n_out, n_hidden)
        total = sum(leaf.numel() for leaf in learner.init(generator(0)).values())
        assert learner.n_parameters == total
        assert n_hidden_for(total, n_in, n_out, cell) == n_hidden
        assert n_hidden == 1 or n_hidden_for(total - 1, n_in, n_out, cell) == n_hidden - 1
        assert n_hidden_for(make(cell, n_in, n_out, n_hidden + 1).n_parameters - 1, n_in, n_out, cell) == n_hidden
    assert make(cell).n_memory == {"gru": 4, "lstm": 8, "rnn": 4}[cell]
    with_trunk = make(cell, TRUNK.n_features, trunk=TRUNK)
    assert with_trunk.n_parameters == make(cell, TRUNK.n_features).n_parameters  # the trunk is not counted
    least = make(cell, 1, 1, 1).n_parameters
    message = f"n_hidden_for: n_parameters is {least - 1}; it must be a whole number, {least} or more"
    with pytest.raises(SpecificationError, match=message):
        n_hidden_for(least - 1, 1, 1, cell)


def test_forward_mode_finds_the_same_gradient():
    task = Tracking(n_steps=6, n_skip=1)
    learner = make("gru", 1, 1, 1)
    params, episode = lively(learner), task.sample(generator(0), 4, dtype=F64)
    assert learner.n_parameters == 20  # as many as forward mode takes

    def losses(p, copies=1):
        return learner.loss(p if copies == 1 else spread(p, 4), tile(episode, copies), task)

    problem = Problem(losses, 0, 1)
    (a, forward), (b, reverse) = (outer.gradient(params, problem) for outer in (Forward(), Backprop()))
    close(a, b)
    for x, y in zip(forward, reverse, strict=True):
        close(x, y)


@CELL
def test_it_learns_to_track(cell):
    """No fixed rate is better than the Kalman gain; repeating the last observation has the error q + r."""
    task = Tracking(n_steps=20, n_skip=5)
    run = meta_train(make(cell, 1, 1, 8), task, Backprop(0.02, "cosine"), n_iterations=200, n_tasks=64, seed=0)
    episode = task.sample(generator(5), 2000, "test")
    score = float(task.score(run.learner.respond(run.params, episode, task), episode.support).mean())
    assert task.ceiling() * 0.95 < score < 1.25 * task.ceiling()
    assert task.ceiling() * 1.25 < 0.6 * (task.q + task.r)


def test_evolution_runs_the_population_at_once(monkeypatch):
    sizes = []
    loss = RecurrentLearner.loss

    def counted(self, params, episode, *rest):
        sizes.append(params["cell.weight_ih_l0"].shape)
        return loss(self, params, episode, *rest)

    monkeypatch.setattr(RecurrentLearner, "loss", counted)
    task, outer = Tracking(n_steps=5, n_skip=1), Evolution(population=6)
    meta_train(make("lstm", 1, 1), task, outer, n_iterations=2, n_tasks=3, seed=0)
    assert sizes == [(18, 16, 3)] * 2


def test_groups_settings_and_errors(task, episode):
    assert learners.get("recurrent") is RecurrentLearner
    assert "recurrent" in learners.names()
    assert set(make().groups()) == set(make().init(generator(0)))
    assert set(make().groups().values()) == {"w0"}
    for norm in ("none", "image", "support", "transductive"):
        learner = make(n_in=8, trunk=replace(TRUNK, norm=norm))
        groups, params = learner.groups(), learner.init(generator(0))
        assert set(groups) == set(params)
        assert all(groups[name] == ("trunk" if name.startswith("trunk.") else "w0") for name in params)
    with pytest.raises(SpecificationError, match=r"cell is 'elman'; allowed: 'gru', 'lstm', 'rnn'"):
        make("elman")
    with pytest.raises(SpecificationError, match=r"n_hidden is 0; it must be a whole number, 1 or more"):
        make(n_hidden=0)
    with pytest.raises(SpecificationError, match=r"n_in is a Network; it must be a whole number, 1 or more"):
        RecurrentLearner(networks.tracker(1, 1), None)
    with pytest.raises(SpecificationError, match=r"the trunk makes 8 features, but RecurrentLearner reads 3; build it"):
        make(trunk=TRUNK)
    message = (
        "RecurrentLearner reads a stimulus of 5 and a target of 2, the task shows 3 and 2; build it with n_in=task"
    )
    with pytest.raises(SpecificationError, match=re.escape(message)):
        make(n_in=5).loss(lively(make(n_in=5)), episode, task)
    with pytest.raises(SpecificationError, match=r"a stimulus of 3 and a target of 1, the task shows 3 and 2"):
        make(n_out=1).adapt(lively(make(n_out=1)), episode.support, task)
    with pytest.raises(SpecificationError, match=r"a stimulus of 16 and a target of 2, the task shows 3 and 2"):
        make(n_in=8, trunk=TRUNK).adapt({}, episode.support, task)
