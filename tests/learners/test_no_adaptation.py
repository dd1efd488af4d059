"""The control that learns nothing within a task: blind to the support set, so no better than the floor."""

from __future__ import annotations

import math

import pytest
import torch

from neurometa import ConvTrunk, learners, networks, simulate
from neurometa.errors import SpecificationError
from neurometa.learners.no_adaptation import NoAdaptationLearner
from neurometa.spec import Network, Param, Population, Projection
from neurometa.tasks.base import Episode
from neurometa.tasks.sinusoid import Sinusoid

F64 = torch.float64
NETWORKS = pytest.mark.parametrize("name", ["mlp", "associative", "recurrent", "modulated"])


def small(name: str) -> Network:
    options = {"mlp": {"hidden": (3,), "transfer": "tanh"}, "associative": {}}.get(name, {"n_hidden": 3})
    return networks.get(name)(3, 2, **options)


def images(episode: Episode, n_pixels: int = 16) -> Episode:
    """Return the episode with images as stimuli."""
    parts = []
    for i, part in enumerate(episode[:2]):
        stream = torch.Generator().manual_seed(i)
        pixels = torch.randn(*part.target.shape[:2], n_pixels, generator=stream, dtype=F64)
        parts.append(part._replace(inputs={**part.inputs, "stimulus": pixels}))
    return Episode(*parts)


@NETWORKS
def test_the_support_set_changes_nothing(name, task, episode, shaken):
    learner = NoAdaptationLearner(small(name))
    params = shaken(learner, size=0.3)
    answers = learner.respond(params, episode, task)
    assert learner.adapt(params, episode.support, task) == {}
    other = episode._replace(support=task.part(torch.Generator().manual_seed(9), 5, 4, True))
    assert torch.equal(learner.respond(params, other, task), answers)
    wanted = simulate(learner.network, params, episode.query.inputs, learn=False, reset=True).output
    assert torch.equal(answers, wanted)


@NETWORKS
def test_no_parameter_of_a_rule_is_learned(name, shaken, task, episode, slopes):
    learner = NoAdaptationLearner(small(name))
    groups = learner.groups()
    assert "rule" not in groups.values()
    assert not any(".rule." in leaf or leaf.endswith("alpha") for leaf in groups)
    if name == "associative":  # nothing but the plastic head
        assert groups == {}
        return
    slope = slopes(lambda p: learner.loss(p, episode, task).mean(), shaken(learner))
    assert not any(slope[leaf].any() for leaf in slope if ".rule." in leaf)


@NETWORKS
def test_every_task_is_alone_and_the_gradient_exact(name, task, episode, per_task, shaken, exact):
    learner = NoAdaptationLearner(small(name))
    if name != "associative":  # which answers 0
        per_task(learner, task, episode)
        exact(learner, shaken(learner), task, episode)
        few = [leaf for leaf in learner.groups() if leaf.endswith("out.w")] or ["stimulus__hidden.w"]
        exact(learner, shaken(learner), task, episode, few)


def test_a_sequence_is_answered_as_it_is_shown_with_the_rules_off(task, episode, shaken):
    learner = NoAdaptationLearner(small("recurrent"))
    params, support = shaken(learner), episode.support._replace(reset=torch.arange(4) == 0)
    found = learner.respond(params, Episode(support), task)
    wanted = simulate(learner.network, params, support.inputs, learn=False).output
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-13)


def cosine() -> Network:
    """Answers ``a*cos(x) + b*sin(x) + c*x``."""
    params = {"a": Param(0.0), "b": Param(0.0), "c": Param(0.0)}
    return Network(
        (Population("stimulus", 1), Population("out", 1, "a*cos(drive) + b*sin(drive) + c*drive", params=params)),
        (Projection("stimulus", "out", w=Param(1.0, learned=False)),),
    )


def test_the_best_it_can_reach_is_the_floor():
    """The best weights are known; any others, the support set being what it may, score worse."""
    task, learner, n = Sinusoid(), NoAdaptationLearner(cosine()), 20_000
    episode = task.sample(torch.Generator().manual_seed(0), n, "test", dtype=F64)
    start = learner.init(torch.Generator(), dtype=F64)

    def score(**changed):
        params = {**start, **{f"out.{k}": torch.tensor([v], dtype=F64) for k, v in changed.items()}}
        return task.score(learner.respond(params, episode, task), episode.query)

    best = score(a=-2 / math.pi * 2.55)
    error = float(best.std()) / math.sqrt(n)
    assert abs(float(best.mean()) - task.floor()) < 4 * error
    for changed in ({}, {"a": 1.0}, {"a": -1.2}, {"a": -2.1}, {"a": -1.62, "b": 0.3}, {"a": -1.62, "c": 0.1}):
        assert score(**changed).mean() > best.mean()


@pytest.mark.parametrize("norm", ["none", "image", "support", "transductive"])
def test_a_trunk_normalised_by_the_support_sees_its_images_and_nothing_else(norm, task, episode, shaken):
    trunk = ConvTrunk((1, 4, 4), (2,), "tanh", norm)
    learner = NoAdaptationLearner(networks.get("mlp")(trunk.n_features, 2, ()), trunk)
    params, shown = shaken(learner), images(episode)
    fast = learner.adapt(params, shown.support, task)
    assert set(fast) == ({"trunk.0.mean", "trunk.0.variance"} if norm == "support" else set())
    answers = learner.respond(params, shown, task)
    support = shown.support
    blank = support._replace(inputs={**support.inputs, "target": 5 * support.inputs["target"]})
    assert torch.equal(learner.respond(params, shown._replace(support=blank), task), answers)
    turned = support._replace(inputs={**support.inputs, "stimulus": 3 * support.inputs["stimulus"]})
    moved = (learner.respond(params, shown._replace(support=turned), task) - answers).abs().max()
    assert (moved > 1e-3) == (norm == "support")


def test_settings(settings):
    learner = NoAdaptationLearner(small("mlp"))
    settings(learner, network=small("recurrent"))
    assert learners.get("no_adaptation") is NoAdaptationLearner
    with pytest.raises(SpecificationError, match="the trunk makes 8 features, but network 'mlp' reads 3; build it"):
        NoAdaptationLearner(small("mlp"), ConvTrunk((1, 4, 4), (2,)))
