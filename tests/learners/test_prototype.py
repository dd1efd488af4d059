"""Prototypes: ProtoNet's distances and NIL's cosines, written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from neurometa import ConvTrunk, learners, networks, simulate
from neurometa.errors import SpecificationError
from neurometa.learners.prototype import SCALE, PrototypeLearner
from neurometa.spec import Network
from neurometa.tasks.base import Episode
from neurometa.tasks.glyphs import Glyphs
from neurometa.torch_engine.trunk import apply_trunk, trunk_statistics
from neurometa.trajectory import Save

F64 = torch.float64
TASK = Glyphs(n_way=3, n_shot=2, n_query=4, n_classes=24, n_instances=6, n_held_out=8, n_validation=8, size=8)
DISTANCE = pytest.mark.parametrize("distance", ["euclidean", "cosine"])


def trunk(norm: str = "image", size: int = 8) -> ConvTrunk:
    return ConvTrunk((1, size, size), (2, 2), "tanh", norm)


def network(n_in: int = 8) -> Network:
    return networks.get("mlp")(n_in, 3, (4,), "tanh")


@pytest.fixture
def glyphs() -> Episode:
    return TASK.sample(torch.Generator().manual_seed(0), 5, dtype=F64)


def by_hand(known, label, asked, scale, distance):
    """Return logits of one task: features ``(items, n)``, labels ``(items,)``, features of the queries."""
    logits = torch.zeros(len(asked), 3, dtype=F64)
    for k in range(3):
        own = known[label == k]
        for q, x in enumerate(asked):
            if distance == "euclidean":
                logits[q, k] = -scale * (x - own.mean(0)).square().sum()
            else:
                logits[q, k] = scale * torch.stack([F.cosine_similarity(x, y, dim=0) for y in own]).mean()
    return logits


def logits_of(features, glyphs, scale, distance):
    """Return the logits of all tasks by hand, from features of the two parts ``(time, batch, n)``."""
    label = glyphs.support.target.argmax(-1)
    each = [by_hand(features[0][:, i], label[:, i], features[1][:, i], scale, distance) for i in range(5)]
    return torch.stack(each, 1)


@DISTANCE
def test_it_is_protonet_and_nil_on_the_stimulus_itself(distance, glyphs):
    learner = PrototypeLearner(networks.get("mlp")(64, 3, ()), distance=distance, scale=0.7)
    params = learner.init(torch.Generator().manual_seed(0), dtype=F64)
    shown = [part.inputs["stimulus"] for part in glyphs[:2]]
    found = learner.respond(params, glyphs, TASK)
    torch.testing.assert_close(found, logits_of(shown, glyphs, 0.7, distance), rtol=1e-11, atol=1e-11)
    assert learner.groups() == {SCALE: "rule"}
    assert found.argmax(-1).unique().numel() == 3


@DISTANCE
@pytest.mark.parametrize("norm", ["none", "image", "support"])
def test_it_compares_what_the_trunk_makes(distance, norm, glyphs, shaken):
    front = trunk(norm)
    learner = PrototypeLearner(network(), front, distance=distance, scale=3.0)
    params = shaken(learner)
    fast = learner.adapt(params, glyphs.support, TASK)
    assert fast["prototypes"].shape == (5, 3, 8)
    assert (len(fast) > 1) == (norm == "support")
    shown = [part.inputs["stimulus"] for part in glyphs[:2]]
    own = {**params, **trunk_statistics(front, params, shown[0])}
    made = [apply_trunk(front, own, pixels) for pixels in shown]
    wanted = logits_of(made, glyphs, F.softplus(params[SCALE]), distance)
    torch.testing.assert_close(learner.respond(params, glyphs, TASK), wanted, rtol=1e-11, atol=1e-11)
    assert set(learner.groups()) == {SCALE, *(name for name in params if name.startswith("trunk."))}


@DISTANCE
def test_it_compares_a_population(distance, glyphs, shaken):
    learner = PrototypeLearner(network(64), features="layer0", distance=distance)
    params = shaken(learner, size=0.3)
    made = [
        simulate(learner.network, params, part.inputs, learn=False, reset=True, save=Save(("x.layer0",)))["x.layer0"]
        for part in glyphs[:2]
    ]
    wanted = logits_of(made, glyphs, F.softplus(params[SCALE]), distance)
    torch.testing.assert_close(learner.respond(params, glyphs, TASK), wanted, rtol=1e-11, atol=1e-11)
    assert {"stimulus__layer0.w", SCALE} < set(learner.groups())
    assert (wanted - wanted[..., :1]).abs().max() > 1e-3


@DISTANCE
@pytest.mark.parametrize("features", ["", "layer0"])
def test_the_meta_gradient_is_exact(distance, features, glyphs, shaken, exact):
    learner = PrototypeLearner(network(), trunk("support"), features, distance)
    params = shaken(learner)
    used = [name for name in learner.groups() if "out" not in name]
    found = exact(learner, params, TASK, glyphs, used)
    assert all(found[name].abs().max() > 1e-6 for name in used if name not in ("trunk.0.b", "trunk.1.b"))
    # A normalised channel does not feel its bias.
    assert found["trunk.0.b"].abs().max() < 1e-12
    exact(learner, params, TASK, glyphs, [SCALE, "trunk.0.shift", "trunk.1.scale", "trunk.1.shift"])


@DISTANCE
def test_every_task_is_alone(distance, glyphs, per_task):
    for features in ("", "layer0"):
        per_task(PrototypeLearner(network(), trunk("support"), features, distance), TASK, glyphs, 1e-11)


@DISTANCE
@pytest.mark.parametrize("n_shot", [1, 2])
def test_the_order_of_the_support_does_not_matter(distance, n_shot, shaken):
    glyphs = replace(TASK, n_shot=n_shot).sample(torch.Generator().manual_seed(0), 5, dtype=F64)
    learner = PrototypeLearner(network(), trunk("support"), "layer0", distance)
    params = shaken(learner)
    order = torch.randperm(3 * n_shot, generator=torch.Generator().manual_seed(1))
    support = glyphs.support
    inputs = {name: sequence[order] for name, sequence in support.inputs.items()}
    turned = glyphs._replace(support=support._replace(inputs=inputs, target=support.target[order]))
    wanted = learner.respond(params, glyphs, TASK)
    torch.testing.assert_close(learner.respond(params, turned, TASK), wanted, rtol=1e-12, atol=1e-12)
    labels = {**support.inputs, "target": support.inputs["target"].roll(1, -1)}  # other names for the classes
    renamed = learner.respond(params, glyphs._replace(support=support._replace(inputs=labels)), TASK)
    torch.testing.assert_close(renamed, wanted.roll(1, -1), rtol=1e-12, atol=1e-12)


def test_with_one_shot_and_no_training_it_is_the_nearest_neighbour():
    """On pixels, by cosine: the reference that the task measures itself."""
    task = replace(TASK, n_shot=1)
    learner = PrototypeLearner(networks.get("mlp")(64, 3, ()), distance="cosine")
    episode = task.sample(torch.Generator().manual_seed(3), 3000, "test", dtype=F64)
    found = task.score(learner.respond(learner.init(torch.Generator(), dtype=F64), episode, task), episode.query)
    assert float(found.mean()) == pytest.approx(task.references()["pixel nearest neighbour"], abs=0.02)
    assert found.mean() > task.floor() + 0.1


def test_queries_do_not_see_each_other(glyphs, shaken):
    learner = PrototypeLearner(network(), trunk("support"))
    params = shaken(learner)
    answers = learner.respond(params, glyphs, TASK)
    pixels = glyphs.query.inputs["stimulus"].clone()
    pixels[1] += 3.0
    other = glyphs.query._replace(inputs={**glyphs.query.inputs, "stimulus": pixels})
    changed = (learner.respond(params, glyphs._replace(query=other), TASK) - answers).abs().amax((1, 2))
    assert (changed > 1e-3).tolist() == (changed > 1e-12).tolist() == [False, True, False, False]


def test_the_scale_and_an_image_without_ink():
    """The features of a blank image are 0; its cosines are too."""
    learner = PrototypeLearner(networks.get("mlp")(64, 3, ()), distance="cosine", scale=10.0)
    params = learner.init(torch.Generator(), dtype=F64)
    assert float(F.softplus(params[SCALE])) == pytest.approx(10.0, rel=1e-12)
    glyphs = TASK.sample(torch.Generator().manual_seed(0), 2, dtype=F64)
    blank = {**glyphs.query.inputs, "stimulus": torch.zeros_like(glyphs.query.inputs["stimulus"])}
    found = learner.respond(params, glyphs._replace(query=glyphs.query._replace(inputs=blank)), TASK)
    assert torch.equal(found, torch.zeros_like(found))


def test_settings_and_errors(settings, task, episode):
    learner = PrototypeLearner(network(), trunk(), scale=2.0)
    settings(learner, distance="cosine")
    assert learners.get("prototype") is PrototypeLearner
    plain = PrototypeLearner(networks.get("mlp")(3, 2, ()))
    with pytest.raises(SpecificationError, match="PrototypeLearner needs a task with classes; Regression has none"):
        plain.loss(plain.init(torch.Generator(), dtype=F64), episode, task)
    for options, message in (
        ({"distance": "manhattan"}, "PrototypeLearner: distance is 'manhattan'; allowed: 'euclidean', 'cosine'"),
        ({"scale": 0.0}, "PrototypeLearner: scale is 0.0; it must be above 0"),
        ({"features": "layer1"}, r"unknown population 'layer1' \(did you mean 'layer0'\?\)"),
        ({"trunk": trunk(size=16)}, "the trunk makes 32 features, but network 'mlp' reads 8; build it with n_in=32"),
    ):
        with pytest.raises(SpecificationError, match=message):
            PrototypeLearner(network(), **options)
