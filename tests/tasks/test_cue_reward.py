"""Cue-reward: who ignores the support scores the floor, who remembers it scores the ceiling."""

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.cue_reward import CueReward

TASK = CueReward()


def draw(n=4000, seed=0, split="test", task=TASK):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def nearest(episode):
    """Answer with the mean reward of the support cues that are near, and 0 if none is."""
    shown, asked = episode.support.inputs["stimulus"], episode.query.inputs["stimulus"]
    distance = torch.cdist(asked.transpose(0, 1), shown.transpose(0, 1))  # (batch, query, support)
    near = (distance < 0.8).double()
    value = near @ episode.support.inputs["target"].transpose(0, 1) / near.sum(-1, keepdim=True).clamp_min(1)
    return value.transpose(0, 1)


def test_shapes_and_what_is_shown():
    episode = draw(7)
    support, query = episode.support, episode.query
    for part in (support, query):
        assert {name: tuple(x.shape) for name, x in part.inputs.items()} == {
            "stimulus": (10, 7, 14),
            "target": (10, 7, 1),
            "teach": (10, 7, 1),
        }
    assert torch.equal(support.inputs["target"], support.target) and support.learn.all() and support.reset.all()
    assert not query.inputs["target"].any() and not query.inputs["teach"].any() and not query.learn.any()
    cue = torch.cat([support.target, query.target])[..., 0]
    assert torch.equal(cue.float(), episode.info["reward"][torch.arange(7), episode.info["cue"]])


def test_floor_and_ceiling_are_reached_and_not_beaten():
    episode = draw()
    zero = TASK.score(torch.zeros_like(episode.query.target), episode.query)
    assert abs(float(zero.mean()) - TASK.floor()) < 4 * float(zero.std()) / len(zero) ** 0.5
    best = TASK.score(nearest(episode), episode.query)
    error = float(best.std()) / len(best) ** 0.5
    assert abs(float(best.mean()) - TASK.ceiling()) < 4 * error and error < 0.00155


def test_it_cannot_be_solved_without_its_support_or_with_that_of_another():
    episode = draw()
    support = episode.support
    wrong = support._replace(inputs={**support.inputs, "target": support.target.roll(1, 1)})
    assert float(TASK.score(nearest(episode._replace(support=wrong)), episode.query).mean()) > TASK.floor()


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = draw(5), draw(5), draw(5, split="train")
    assert torch.equal(a.query.inputs["stimulus"], b.query.inputs["stimulus"])
    assert not torch.equal(a.query.inputs["stimulus"], c.query.inputs["stimulus"])


@pytest.mark.parametrize(("settings", "message"), [({"n_steps": 7}, "even"), ({"n_cues": 0}, "n_cues is 0")])
def test_bad_settings(settings, message):
    with pytest.raises(SpecificationError, match=message):
        CueReward(**settings)
