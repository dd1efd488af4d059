"""The closed loop: the same course step by step, replayed as data, for many seeds, under evolution, and in Brian2."""

from dataclasses import replace

import pytest
import torch

import neurometa as nm
from neurometa import networks, rules
from neurometa.errors import EngineError, SpecificationError
from neurometa.learners import NoAdaptationLearner, PlasticLearner
from neurometa.learners.gradient import GradientLearner
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.learners.recurrent import RecurrentLearner
from neurometa.meta.evaluate import score_run
from neurometa.spec import ConvTrunk
from neurometa.streams import generator
from neurometa.tasks._choice import play
from neurometa.tasks.base import join, responder, tile
from neurometa.tasks.cue_reward import CueReward
from neurometa.tasks.reversal import Reversal
from neurometa.tasks.transitive_inference import TransitiveInference
from neurometa.torch_engine import simulate
from neurometa.tree import spread

F64 = torch.float64
TASKS = {
    "reversal": Reversal(n_steps=12),
    "transitive_inference": TransitiveInference(n_items=3, n_bits=2, n_train=3),
    "transitive_inference-going": TransitiveInference(n_items=3, n_bits=2, n_train=3, rest=False),
}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def network_for(task, n_hidden=5, rule="retroactive"):
    return networks.recurrent(task.n_in, task.n_out, rules.get(rule), n_hidden=n_hidden, alpha=0.3)


def learner_for(kind, task):
    if kind == "plastic":
        return PlasticLearner(network_for(task))
    if kind == "no adaptation":
        return NoAdaptationLearner(network_for(task))
    return RecurrentLearner(task.n_in, task.n_out, 5, kind)


each_kind = pytest.mark.parametrize("kind", ["plastic", "no adaptation", "gru", "lstm"])


def lively(learner, seed=0):
    stream = torch.Generator().manual_seed(seed)
    params = learner.init(stream, dtype=F64)
    return {name: leaf + 0.3 * torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in params.items()}


def draw(task, n=4, seed=0):
    return task.sample(generator(seed), n, "test", dtype=F64)


def pick(episode, i):
    part = episode.support
    inputs, world = ({k: v[:, i] for k, v in tree.items()} for tree in (part.inputs, part.world))
    chosen = part._replace(inputs=inputs, target=part.target[:, i], weight=part.weight[:, i], world=world)
    return episode._replace(support=chosen)


def close(a, b, tolerance=1e-12):
    assert a.shape == b.shape and (a - b).abs().max() <= tolerance


@each_task
def test_the_same_inputs_shown_as_data_give_the_same_output_bit_for_bit(task):
    learner, episode = learner_for("plastic", task), draw(task)
    params = lively(learner)
    output = learner.respond(params, episode, task)
    went = learner.realise(params, episode, task)
    again = simulate(
        learner.network, params, went.support.inputs, learn=went.support.learn, reset=went.support.reset
    ).output
    assert torch.equal(again, output)
    drawn = learner.run(params, episode.support).output  # without the loop the feedback is missing
    assert not torch.allclose(drawn, output)
    changed = went.support.inputs["stimulus"] != episode.support.inputs["stimulus"]
    assert changed.any() and not changed[0].any()


@each_task
@each_kind
def test_loss_and_score_find_the_choices_that_were_shown(task, kind):
    """What the learner answered gives, played once more by anybody, the same course."""
    learner, episode = learner_for(kind, task), draw(task, 6)
    params = lively(learner)
    output, part = learner.respond(params, episode, task), episode.scored
    answers = iter(output)
    assert torch.equal(play(task, part, lambda inputs: next(answers)), output)
    assert torch.equal(task.loss(output, part), learner.loss(params, episode, task))
    assert task.score(output, part).shape == (6,)


@each_task
@each_kind
def test_the_loop_is_closed_as_by_hand(task, kind):
    """A learner that is shown all inputs so far, as data, answers the last step as it did in the loop."""
    learner, episode = learner_for(kind, task), draw(task, 3)
    params, part = lively(learner), episode.support
    taught = {
        name: torch.rand(part.inputs[name].shape, generator=generator(5), dtype=F64) for name in ("target", "teach")
    }
    part = part._replace(inputs={**part.inputs, **taught})
    episode = episode._replace(support=part)

    def policy(inputs):
        n = len(inputs["stimulus"])
        shown = part._replace(
            inputs=inputs, target=part.target[:n], weight=part.weight[:n], learn=part.learn[:n], reset=part.reset[:n]
        )
        return learner.respond(params, episode._replace(support=shown), CueReward())[-1]  # a task that does not respond

    close(play(task, part, policy), learner.respond(params, episode, task), 1e-14)


@each_task
@each_kind
def test_batch_against_loop(task, kind):
    learner, episode = learner_for(kind, task), draw(task, 5)
    params = lively(learner)
    together = learner.respond(params, episode, task)
    for i in range(5):
        close(learner.respond(params, pick(episode, [i]), task), together[:, [i]])


@each_task
@each_kind
def test_tile_and_join_keep_what_is_drawn(task, kind):
    learner, episode, other = learner_for(kind, task), draw(task, 3), draw(task, 3, seed=1)
    first, second = lively(learner, 0), lively(learner, 1)
    stacked = {name: torch.stack([first[name], second[name]]) for name in first}
    each = stacked if learner.takes_groups else spread(stacked, 3)
    alone = [learner.loss(params, episode, task) for params in (first, second)]
    close(learner.loss(each, tile(episode, 2), task), torch.cat(alone))
    alone = [learner.loss(first, episode, task), learner.loss(second, other, task)]
    close(learner.loss(each, join([episode, other]), task), torch.cat(alone))


@each_task
def test_checkpoints_and_windows_keep_the_course(task):
    learner, episode = learner_for("plastic", task), draw(task)
    params = lively(learner)
    slopes = []
    for made in (learner, replace(learner, checkpoint_every=5), replace(learner, window=1000)):
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
        loss = made.loss(leaves, episode, task)
        slopes.append((loss, *torch.autograd.grad(loss.sum(), [*leaves.values()], allow_unused=True)))
        assert any(slope is not None and slope.any() for slope in slopes[-1][1:])
    for other in slopes[1:]:
        for a, b in zip(slopes[0], other, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


@each_task
def test_the_gradient_by_forward_mode(task):
    learner, episode = learner_for("plastic", task), draw(task, 2)
    params, stream = lively(learner), generator(9)
    directions = {name: torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in params.items()}
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    loss = learner.loss(leaves, episode, task).sum()
    slopes = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
    expected = sum(float((s * d).sum()) for s, d in zip(slopes, directions.values(), strict=True) if s is not None)
    with torch.autograd.forward_ad.dual_level():
        dual = {name: torch.autograd.forward_ad.make_dual(leaf, directions[name]) for name, leaf in params.items()}
        found = torch.autograd.forward_ad.unpack_dual(learner.loss(dual, episode, task).sum())
    assert abs(float(found.tangent) - expected) < 1e-10 * max(1, abs(expected)) and expected


@each_task
def test_brian2_runs_the_same_course(task):
    pytest.importorskip("brian2")
    learner, episode = learner_for("plastic", task), draw(task, 2)
    params = lively(learner)
    went = learner.realise(params, episode, task).support
    found = nm.crosscheck(learner.network, params, went.inputs, learn=went.learn, reset=went.reset)
    found.assert_agrees()
    assert found.horizon == len(went.target)


@pytest.mark.parametrize(
    "outer", [nm.Backprop(lr=1e-2), nm.outer.Evolution(population=8)], ids=["backprop", "evolution"]
)
@each_kind
def test_meta_training_and_evaluation(outer, kind):
    task = TASKS["reversal"]
    run = nm.meta_train(
        learner_for(kind, task), task, outer, n_iterations=3, n_tasks=4, validate_every=2, n_validation=5, dtype=F64
    )
    assert all(-1 <= record["loss"] <= 0 for record in run.history)  # minus the reward
    assert 0 <= run.history[-1]["validation"] <= 1
    scores = score_run(run.learner, run.params, task, n_episodes=7, batch=3, dtype=F64)
    whole = score_run(run.learner, run.params, task, n_episodes=7, batch=7, dtype=F64)
    assert scores.shape == (7,) and whole.shape == (7,)


@each_kind
def test_many_seeds_in_one_call_equal_each_alone(kind):
    task = TASKS["reversal"]
    settings = {"n_iterations": 3, "n_tasks": 4, "validate_every": 3, "n_validation": 5, "dtype": F64}
    learner = learner_for(kind, task)
    for seed, together in enumerate(nm.meta_train_seeds(learner, task, seeds=(0, 1), **settings)):
        alone = nm.meta_train(learner, task, seed=seed, **settings)
        for name, leaf in alone.params.items():
            close(leaf, together.params[name], 1e-10)


def test_a_learner_that_cannot_act_says_so():
    task, episode = TASKS["reversal"], draw(TASKS["reversal"])
    online = OnlineGradientLearner(network_for(task, rule="hebb"))
    with pytest.raises(SpecificationError, match="OnlineGradientLearner cannot act in a task that responds"):
        online.loss(online.init(torch.Generator(), dtype=F64), episode, task)
    gradient = GradientLearner(network_for(task))
    with pytest.raises(
        SpecificationError, match="GradientLearner needs a task with support and query; Reversal is one"
    ):
        gradient.loss(gradient.init(torch.Generator(), dtype=F64), episode, task)
    trunk = ConvTrunk(image_shape=(1, 4, 4), channels=(2,))
    seen = PlasticLearner(networks.recurrent(trunk.n_features, 3, rules.get("hebb"), n_hidden=3), trunk)
    black = RecurrentLearner(trunk.n_features, 3, 3, trunk=trunk)
    for learner in (seen, NoAdaptationLearner(seen.network, trunk), black):
        message = f"{type(learner).__name__}: a task that responds to the network does not pass through a trunk"
        with pytest.raises(SpecificationError, match=message):
            learner.respond(learner.init(torch.Generator(), dtype=F64), episode, task)


def test_what_responds_wrongly_is_named():
    task = TASKS["reversal"]
    learner, part = learner_for("plastic", task), draw(task).support
    params = lively(learner)
    with pytest.raises(EngineError, match=r"respond gives 'stimulus' the shape \(4, 2\); allowed: \(4, 3\)"):
        learner.run(params, part, respond=lambda t, output: {"stimulus": output[:, :2]})
    plain = learner.run(params, part)
    ignored = learner.run(params, part, respond=lambda t, output: {"nobody": output})
    assert torch.equal(plain.output, ignored.output) and plain.inputs == {}
    assert responder(CueReward(), part) is None
