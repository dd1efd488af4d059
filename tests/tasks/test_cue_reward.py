"""Cue-reward: who ignores the support scores the floor, who remembers it scores the ceiling."""

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.cue_reward import CueReward

TASK = CueReward()
SEQUENCE = CueReward(sequence=True)


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


def test_the_sequence_shows_the_same_and_scores_its_second_half():
    episode, points = draw(task=SEQUENCE), draw()
    part = episode.support
    stimulus = part.inputs["stimulus"]
    assert episode.query is None and SEQUENCE.n_in == 16 and stimulus.shape == (20, 4000, 16)
    assert torch.equal(stimulus[..., :14], torch.cat([p.inputs["stimulus"] for p in (points.support, points.query)]))
    assert torch.equal(stimulus[:10, :, 14:15], points.support.target) and not stimulus[10:, :, 14:].any()
    assert stimulus[:10, :, 15].all() and part.learn.all()
    assert not part.inputs["target"].any() and not part.inputs["teach"].any()
    assert torch.equal(part.target, torch.cat([points.support.target, points.query.target]))
    answer = torch.cat([points.support.target, nearest(points)])
    score, loss = SEQUENCE.score(answer, part), SEQUENCE.loss(answer, part)
    torch.testing.assert_close(score, 2 * loss)  # what is shown is repeated without error
    assert abs(float(score.mean()) - SEQUENCE.ceiling()) < 0.006
    torch.testing.assert_close(SEQUENCE.loss(0 * answer, part).mean(), torch.tensor(1 / 3).double(), atol=0.006, rtol=0)


@pytest.mark.parametrize("task", [SEQUENCE, CueReward(n_cues=3, n_steps=8)])
def test_the_best_multiple_of_the_mean_shown_reward(task):
    episode = CueReward(n_cues=task.n_cues, n_steps=task.n_steps).sample(generator(1), 100_000, "test")
    mean, target = episode.support.target.mean(0), episode.query.target[0]
    slope = (mean * target).mean() / mean.square().mean()
    (reference,) = task.references().values()
    assert float((slope * mean - target).square().mean()) == pytest.approx(reference, abs=0.003)


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
