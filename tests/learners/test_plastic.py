"""The plastic learner: meta-gradients, what is carried from support to query, and what is not."""

from __future__ import annotations

import pytest
import torch

from neurometa import PlasticLearner, Save, learners, simulate
from neurometa.errors import SpecificationError
from neurometa.spec import Network, Normal, Param, PerEpisode, PlasticityRule, Population, Projection
from neurometa.tasks.base import Episode

F64 = torch.float64


@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_the_meta_gradient_equals_central_differences(
    rate_rule, any_network, lively, task, episode, slopes, differences, relative, checkpoint_every
):
    learner = PlasticLearner(any_network(rate_rule), checkpoint_every=checkpoint_every)
    params = lively(learner.network)

    def loss(p):
        return learner.loss(p, episode, task).mean()

    exact = slopes(loss, params)
    assert relative(exact, differences(loss, params)) < 1e-6
    label = learner.network.plastic[0].label
    assert all(exact[name].abs().max() > 0 for name in params if name.startswith(f"{label}.rule."))


def test_queries_are_independent_and_change_nothing(library_pair, library, lively, task, episode):
    learner = PlasticLearner(library(*library_pair))
    size = learner.network.inputs["stimulus"]
    support, query = (
        part._replace(inputs={**part.inputs, "stimulus": part.inputs["stimulus"][..., :size]})
        for part in (episode.support, episode.query)
    )
    episode = episode._replace(support=support, query=query)
    params = lively(learner.network)
    fast = learner.adapt(params, episode.support, task)
    answers = learner.predict(params, fast, episode.query)
    turned = episode.query._replace(inputs={name: s.flip(0) for name, s in episode.query.inputs.items()})
    torch.testing.assert_close(learner.predict(params, fast, turned), answers.flip(0), rtol=1e-12, atol=1e-12)
    looped = learner.run(params, episode.query, state=learner.run(params, episode.support).final, save=Save())
    torch.testing.assert_close(looped.output, answers, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("constraint", ["free", "positive", "fraction"])
def test_adapted_synapses_are_values_and_pass_no_constraint_again(constraint, task, episode):
    """The start of w is stored through its constraint; what it becomes is not, and may leave the range."""
    rule = PlasticityRule("r", dw="-0.5*w + pre*post")
    network = Network(
        (Population("stimulus", 3), Population("out", 2, "drive")),
        (Projection("stimulus", "out", rule=rule, w=Param(0.7, constraint)),),
    )
    learner = PlasticLearner(network)
    params = learner.init(torch.Generator(), dtype=F64)
    fast = learner.adapt(params, episode.support, task)
    assert fast["stimulus__out.w"].min() < 0
    wanted = torch.einsum("bij,tbj->tbi", fast["stimulus__out.w"], episode.query.inputs["stimulus"])
    torch.testing.assert_close(learner.predict(params, fast, episode.query), wanted, rtol=1e-12, atol=1e-12)


def test_what_adaptation_returns(library, lively, task, episode):
    network = library("gated_hebb", "associative")
    learner = PlasticLearner(network)
    params = lively(network)
    final = simulate(network, params, episode.support.inputs, reset=True).final
    fast = learner.adapt(params, episode.support, task)
    assert {name: tuple(leaf.shape) for name, leaf in fast.items()} == {
        "head.w": (5, 2, 3),
        "head.elig.trace": (5, 2, 3),
    }
    assert torch.equal(fast["head.w"], final.w["head"])
    assert torch.equal(fast["head.elig.trace"], final.traces["head.elig"])


def test_traces_that_the_efficacy_reads_are_carried_to_the_query(task, episode):
    rule = PlasticityRule("r", dw="0*w", traces={"fast": "pre*post - fast/4"})
    network = Network(
        (
            Population("stimulus", 3),
            Population("target", 2),
            Population("out", 2, "drive + target", inputs=("drive", "target")),
        ),
        (
            Projection("stimulus", "out", name="p", efficacy="fast", rule=rule),
            Projection("target", "out", into="target", mask="one_to_one", w=Param(1.0, learned=False)),
        ),
    )
    learner = PlasticLearner(network)
    params = learner.init(torch.Generator(), dtype=F64)
    fast = learner.adapt(params, episode.support, task)
    wanted = torch.einsum("bij,tbj->tbi", fast["p.fast.trace"], episode.query.inputs["stimulus"])
    torch.testing.assert_close(learner.predict(params, fast, episode.query), wanted, rtol=1e-12, atol=1e-12)
    assert wanted.abs().max() > 0.1


def test_weights_drawn_per_episode_are_those_of_the_support(task, episode):
    """A projection that never learns keeps the weights of its episode for the queries."""
    network = Network(
        (Population("stimulus", 3), Population("out", 2, "drive")),
        (Projection("stimulus", "out", w=Param(PerEpisode(Normal(0, 1)), per="synapse")),),
    )
    learner = PlasticLearner(network)
    fast = learner.adapt({}, episode.support, task, torch.Generator().manual_seed(0))
    wanted = torch.einsum("bij,tbj->tbi", fast["stimulus__out.w"], episode.query.inputs["stimulus"])
    torch.testing.assert_close(learner.predict({}, fast, episode.query), wanted, rtol=1e-12, atol=1e-12)


def test_without_a_query_the_sequence_is_answered_as_it_is_learned(library, lively, task, episode):
    network = library("delta", "associative")
    learner = PlasticLearner(network)
    params = lively(network)
    found = learner.respond(params, Episode(episode.support), task)
    assert torch.equal(found, simulate(network, params, episode.support.inputs, reset=True).output)
    assert learner.loss(params, Episode(episode.support), task).shape == (5,)


def test_groups_name_what_each_may_learn(library):
    learner = PlasticLearner(library("gated_hebb", "modulated"))
    groups = learner.groups()
    assert {groups[name] for name in groups} == {"w0", "rule", "modulator"}
    assert {name for name, group in groups.items() if group == "rule"} == {
        "plastic.alpha",
        *(f"plastic.rule.{name}" for name in ("eta", "decay", "tau")),
    }
    assert all(name.endswith("dopamine.w") or name == "dopamine.gain" for name, g in groups.items() if g == "modulator")
    assert set(groups) < set(learner.init(torch.Generator()))  # the start of w and the label clamp are fixed
    assert learners.get("plastic") is PlasticLearner
    assert learners.names() == ["gradient", "plastic"] or {"gradient", "plastic"} < set(learners.names())


def by_hand(part, steps: int):
    """Return the inputs of a part, every step repeated, and where activity is reset."""
    long = {name: torch.cat([x for value in xs for x in [value[None]] * steps]) for name, xs in part.inputs.items()}
    return long, [bool(on) and not i for on in part.reset for i in range(steps)]


def test_a_held_step_is_so_many_equal_steps_and_the_last_answers(library, lively, task, episode):
    network = library("gated_hebb", "recurrent")  # its activity goes on from step to step
    params = lively(network)
    learner = PlasticLearner(network, hold=3)
    inputs, resets = by_hand(episode.support, 3)
    through = simulate(network, params, inputs, reset=torch.tensor(resets))
    fast = learner.adapt(params, episode.support, task)
    (label,) = (projection.label for projection in network.plastic)
    torch.testing.assert_close(fast[f"{label}.w"], through.final.w[label], rtol=1e-12, atol=1e-12)
    assert torch.equal(learner.run(params, episode.support).output, through.output[2::3])
    answers = learner.predict(params, fast, episode.query)
    assert answers.shape == episode.query.target.shape
    again = learner.run(params, episode.query, state=through.final).output
    torch.testing.assert_close(answers, again, rtol=1e-12, atol=1e-12)
    other = PlasticLearner(network).predict(params, fast, episode.query)
    assert (answers - other).abs().max() > 1e-3


def test_an_episode_as_it_went_has_the_held_steps(library, lively, task, episode):
    network = library("gated_hebb", "recurrent")
    params = lively(network)
    learner = PlasticLearner(network, hold=3)
    went = learner.realise(params, episode, task)
    plain = PlasticLearner(network)
    assert len(went.support.learn) == 12 and len(went.query.learn) == 9
    assert went.support.reset.tolist() == [True, False, False] * 4
    fast, wanted = plain.adapt(params, went.support, task), learner.adapt(params, episode.support, task)
    assert all(torch.equal(fast[name], wanted[name]) for name in wanted)
    loss = task.loss(plain.run(params, went.support).output, went.support)
    torch.testing.assert_close(loss, task.loss(learner.run(params, episode.support).output, episode.support))
    assert PlasticLearner(network).realise(params, episode, task).support is episode.support


def test_holding_is_refused_where_it_has_no_meaning(library, episode):
    network = library("gated_hebb", "recurrent")
    with pytest.raises(SpecificationError, match=r"hold is 0; it must be 1 or more$"):
        PlasticLearner(network, hold=0)
    with pytest.raises(SpecificationError, match="hold is 2; a task that responds to each step allows 1"):
        PlasticLearner(network, hold=2).run({}, episode.support, respond=lambda *_: {})
