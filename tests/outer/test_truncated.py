"""Truncated back-propagation: exact where it reaches far enough, biased by what it reports elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

import neurometa as nm
from neurometa import outer
from neurometa.errors import SpecificationError
from neurometa.learners.base import GROUPS
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.meta import meta_train
from neurometa.meta.loop import Loop, Plan
from neurometa.outer import Backprop, Problem
from neurometa.outer.truncated import Truncated, TruncatedState
from neurometa.streams import generator
from neurometa.tasks.glyphs import Glyphs
from neurometa.tasks.linear_gaussian import LinearGaussian
from neurometa.tasks.tracking import Tracking

F64 = torch.float64
STEPS = 24
TASK = Tracking(n_steps=STEPS, n_skip=2)


def delta(**options):
    return nm.PlasticLearner(nm.networks.tracker(1, 1, rule=nm.rules.get("delta")), **options)


def tracker(**options):
    return nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=3), **options)


def recurrent(**options):
    """A network that answers through fixed synapses too, and so has a gradient within a single step."""
    return nm.PlasticLearner(nm.networks.recurrent(1, 1, n_hidden=3, transfer="tanh"), **options)


LEARNERS = pytest.mark.parametrize("make", [delta, tracker, recurrent])


def problem(learner, task=TASK, n_tasks=4):
    """Return the learned leaves, what an outer algorithm sees of one iteration, the episode and the other leaves."""
    loop = Loop(Plan(learner, task, Backprop(), 9, n_tasks, 0, GROUPS, 0, 1, None, F64), None)
    stream = generator(0, "shaken")
    loop.learned = {n: v + 0.1 * torch.randn(v.shape, generator=stream, dtype=F64) for n, v in loop.learned.items()}
    episode = loop.sample()
    return loop.learned, loop.problem(episode), episode, loop.fixed


def flat(slopes):
    return torch.cat([slope.flatten() for slope in slopes])


def in_pieces(learner, params, fixed, episode, window):
    """Return the gradient by a loop over pieces of an episode, each from the last state of the one before, detached."""
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    part, state, outputs = episode.support, None, []
    for begin in range(0, STEPS, window):
        at = slice(begin, begin + window)
        piece = part._replace(
            inputs={name: x[at] for name, x in part.inputs.items()}, learn=part.learn[at], reset=part.reset[at]
        )
        trajectory = learner.run({**fixed, **leaves}, piece, state=state)
        state = nm.State(*({name: value.detach() for name, value in tree.items()} for tree in trajectory.final))
        outputs.append(trajectory.output)
    loss = TASK.loss(torch.cat(outputs), part).mean() + 0 * flat(leaves.values()).sum()  # it depends on something
    found = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), found, strict=True)]


@LEARNERS
@pytest.mark.parametrize("window", [STEPS, STEPS + 1, 1000])
def test_a_window_as_long_as_the_episode_gives_the_exact_gradient(make, window):
    learned, given, *_ = problem(make())
    (loss, found), (other, exact) = (each.gradient(learned, given) for each in (Truncated(window=window), Backprop()))
    assert torch.equal(loss, other)
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))
    metrics = Truncated(window=window).step(learned, Truncated().init(learned), given)[2]
    assert metrics["cosine"] == pytest.approx(1, rel=1e-12) and metrics["bias"] == 0


@LEARNERS
@pytest.mark.parametrize("window", [1, 2, 5, 7, 12, STEPS - 1])
def test_the_gradient_is_that_of_pieces_cut_by_hand(make, window):
    learner = make()
    learned, given, episode, fixed = problem(learner)
    found = Truncated(window=window).gradient(learned, given)[1]
    wanted = in_pieces(learner, learned, fixed, episode, window)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)
    exact = flat(Backprop().gradient(learned, given)[1])
    assert (flat(found) - exact).norm() / exact.norm() > 1e-6


@LEARNERS
@pytest.mark.parametrize("window", [1, 2, 8])
def test_cosine_and_bias_are_those_of_the_two_gradients(make, window):
    learned, given, *_ = problem(make())
    made = Truncated(window=window)
    found, exact = (flat(each.gradient(learned, given)[1]) for each in (made, Backprop()))
    metrics = made.step(learned, made.init(learned), given)[2]
    product, sizes = float(found @ exact), float(found.norm() * exact.norm())
    assert metrics["cosine"] == pytest.approx(product / sizes if sizes else 0, rel=1e-9)
    assert metrics["bias"] == pytest.approx(float((found - exact).norm() / exact.norm()), rel=1e-9)
    assert metrics["bias"] > 1e-4
    assert metrics["gradient_norm"] == pytest.approx(float(found.norm()), rel=1e-12)


def test_a_window_of_one_step_sees_nothing_of_a_rule_whose_effect_comes_a_step_later():
    learned, given, *_ = problem(delta())
    made = Truncated(window=1)
    new, _, metrics = made.step(learned, made.init(learned), given)
    assert (metrics["gradient_norm"], metrics["cosine"], metrics["bias"]) == (0, 0, 1)
    assert all(torch.equal(new[name], learned[name]) for name in learned)


def test_an_episode_in_which_nothing_learned_acts_has_the_gradient_zero_in_every_mode():
    task = Tracking(n_steps=1, n_skip=0)  # the answer comes before anything is learned from it
    for made in (Backprop(), Truncated(window=5), outer.get("forward")()):
        run = meta_train(delta(), task, made, n_iterations=2, n_tasks=3)
        assert [record["gradient_norm"] for record in run.history] == [0, 0]
        assert run.rule_values()["cue.rule.eta"] == pytest.approx(0.1)


def test_a_window_of_two_steps_by_hand():
    """Every other answer is one update away from a state that is taken as a constant: its slope is one error."""
    learned, given, episode, _ = problem(delta())
    rate = torch.nn.functional.softplus(learned["cue.rule.eta"]).squeeze()
    y, x = episode.info["observation"], episode.info["mean"]  # (time, batch)
    w, slope = torch.zeros(4, dtype=F64), torch.zeros(4, dtype=F64)
    previous = None
    for t in range(STEPS):
        if t:
            w = w + rate * (y[t - 1] - w)
        if t >= TASK.n_skip and t % 2:
            slope += 2 * (w - x[t]) * (y[t - 1] - previous) / (STEPS - TASK.n_skip)
        previous = w
    wanted = slope.mean() * torch.sigmoid(learned["cue.rule.eta"])  # through softplus
    (found,) = Truncated(window=2).gradient(learned, given)[1]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


@LEARNERS
def test_values_do_not_depend_on_the_window(make):
    whole = make()
    learned, given, episode, fixed = problem(whole)
    losses = given.losses(learned)
    for window in (1, 3, 10, STEPS):
        assert torch.equal(given.truncated(learned, window), losses)
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in learned.items()}
        a, b = (each.run({**fixed, **leaves}, episode.support) for each in (make(window=window), whole))
        assert torch.equal(a.output, b.output)
        for tree, other in zip(a.final, b.final, strict=True):
            assert all(torch.equal(tree[name], other[name]) for name in tree)


@pytest.mark.parametrize("window", [3, 8])
def test_recomputing_activity_does_not_move_the_cuts(window):
    learned, given, *_ = problem(tracker())
    wanted = Truncated(window=window).gradient(learned, given)[1]
    _, given, *_ = problem(tracker(checkpoint_every=5))
    for a, b in zip(Truncated(window=window).gradient(learned, given)[1], wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_a_longer_window_has_less_bias():
    learned, given, *_ = problem(delta(), n_tasks=64)
    bias = [Truncated(window=n).step(learned, Truncated().init(learned), given)[2]["bias"] for n in (2, 4, 8, 16)]
    assert bias == sorted(bias, reverse=True) and bias[0] > 2 * bias[-1]


def test_it_works_where_support_and_query_are_apart():
    task = Glyphs(n_classes=30, n_held_out=8, n_validation=8, size=8)
    learner = nm.PlasticLearner(nm.networks.associative(task.n_in, task.n_out))
    learned, given, episode, _ = problem(learner, task, 3)
    n_steps = len(episode.support.target)
    exact = flat(Backprop().gradient(learned, given)[1])
    assert torch.equal(flat(Truncated(window=n_steps).gradient(learned, given)[1]), exact)
    assert not torch.equal(flat(Truncated(window=2).gradient(learned, given)[1]), exact)


def test_the_bias_is_measured_now_and_then_and_kept_in_between():
    options = {"n_iterations": 7, "n_tasks": 4, "report_every": 1}
    run = meta_train(delta(), TASK, Truncated(lr=0.05, window=3, measure_every=3), **options)
    bias = [record["bias"] for record in run.history]
    assert bias[0] == bias[1] == bias[2] != bias[3] == bias[4] == bias[5] != bias[6]
    assert all(0 < each < 1 for each in bias) and all(record["cosine"] == pytest.approx(1) for record in run.history)
    seldom = meta_train(delta(), TASK, Truncated(lr=0.05, window=3, measure_every=100), **options)
    assert torch.equal(seldom.params["cue.rule.eta"], run.params["cue.rule.eta"])  # measuring changes nothing


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_resumed_through_a_run_folder_equals_undisturbed_bit_for_bit(tmp_path, cut):
    class PowerCut(Exception):
        pass

    def at(progress):
        if progress.iteration == cut:
            raise PowerCut

    made = Truncated(lr=0.05, schedule="cosine", window=3, measure_every=5)
    options = {"n_iterations": 8, "n_tasks": 4, "seed": 3, "report_every": 1, "checkpoint_every": 2}
    whole = meta_train(tracker(), TASK, made, run_dir=tmp_path / "whole", **options)
    with pytest.raises(PowerCut):
        meta_train(tracker(), TASK, made, run_dir=tmp_path / "cut", on_progress=at, **options)
    resumed = meta_train(tracker(), TASK, made, run_dir=tmp_path / "cut", resume=True, **options)
    assert all(torch.equal(whole.params[name], resumed.params[name]) for name in whole.params)
    (moments, *rest), (wanted, *others) = (
        torch.load(run.path / "last.pt", weights_only=True)["state"] for run in (whole, resumed)
    )
    assert rest == others and 0 < rest[1] < math.inf and moments[2] == wanted[2] == 8
    for tree, other in zip(moments[:2], wanted[:2], strict=True):
        assert all(torch.equal(tree[name], other[name]) for name in tree)
    untimed = [[{k: v for k, v in r.items() if k != "seconds"} for r in run.history] for run in (whole, resumed)]
    assert untimed[0] == untimed[1] and len(untimed[0]) == 8


@pytest.mark.parametrize(
    ("learner", "task"),
    [
        (nm.GradientLearner(nm.networks.mlp(4, 1, hidden=(3,))), LinearGaussian()),
        (OnlineGradientLearner(nm.networks.tracker(1, 1, rule=nm.rules.get("delta"))), TASK),
    ],
)
def test_learners_that_cannot_be_truncated_are_refused(learner, task):
    with pytest.raises(SpecificationError, match=f"{type(learner).__name__} cannot be truncated; use PlasticLearner"):
        meta_train(learner, task, Truncated(), n_iterations=1, n_tasks=2)


def test_settings_are_checked_and_the_folder_registers_it():
    assert outer.get("truncated") is Truncated and "truncated" in outer.names()
    state = Truncated().init({"p": torch.zeros(2)})
    assert isinstance(state, TruncatedState) and (state.cosine, state.bias, state.adam.n_steps) == (0, 0, 0)
    for options in ({"window": 0}, {"measure_every": 0}, {"window": -3}):
        with pytest.raises(SpecificationError, match=r"Truncated: window -?\d+ and measure_every \d+ must be 1 or mo"):
            Truncated(**options)
    with pytest.raises(SpecificationError, match="Truncated: schedule is 'linear'"):
        Truncated(schedule="linear")
    with pytest.raises(SpecificationError, match=r"Truncated needs losses that can be truncated; pass Problem"):
        Truncated().step({"p": torch.zeros(2)}, state, Problem(lambda p: p["p"], 0, 1))
    with pytest.raises(SpecificationError, match="PlasticLearner: window is 0; it must be 1 or more, or None"):
        delta(window=0)
