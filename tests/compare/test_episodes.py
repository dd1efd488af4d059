"""Changed episodes: what changes, and what does not."""

import torch

import neurometa as nm
from neurometa.compare.episodes import (
    corrupted_labels,
    first_presentations,
    noisy,
    only_steps,
    reversed_half,
    shuffled_labels,
)
from neurometa.streams import generator

CLASSES = nm.tasks.GaussianClusters(n_way=4, n_query=3)
VALUES = nm.tasks.CueReward()
SEQUENCE = nm.tasks.Volatility(n_steps=40, n_skip=4)


def drawn(task, n=200):
    return task.sample(generator(0, "x"), n, "test")


def same(a, b):
    return all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs) and torch.equal(a.target, b.target)


def test_shuffled_values_are_those_of_another_episode():
    episode = drawn(VALUES)
    changed = shuffled_labels(episode)
    assert same(changed.query, episode.query)
    assert torch.equal(changed.support.inputs["target"][:, 1:], episode.support.inputs["target"][:, :-1])
    assert torch.equal(changed.support.target, changed.support.inputs["target"])  # what a gradient learner descends
    assert torch.equal(changed.support.inputs["stimulus"], episode.support.inputs["stimulus"])


def test_in_a_sequence_what_is_right_stays():
    episode = drawn(SEQUENCE)
    for changed in (shuffled_labels(episode), corrupted_labels(episode, 0.5, generator(0, "c"))):
        assert torch.equal(changed.support.target, episode.support.target)
        assert not torch.equal(changed.support.inputs["target"], episode.support.inputs["target"])


def test_so_many_labels_are_wrong():
    episode = drawn(CLASSES, 2000)
    changed = corrupted_labels(episode, 0.4, generator(0, "c")).support.inputs["target"]
    wrong = (changed != episode.support.inputs["target"]).any(-1).double()
    assert abs(float(wrong.mean()) - 0.4) < 0.02 and bool((changed.sum(-1) == 1).all())
    label, old = changed.argmax(-1), episode.support.inputs["target"].argmax(-1)
    shift = ((label - old) % 4)[wrong.bool()]
    assert {int(v) for v in shift.unique()} == {1, 2, 3}
    assert torch.equal(corrupted_labels(episode, 0.0, generator(0, "c")).support.target, episode.support.target)


def test_noise_has_its_size_and_falls_on_what_changes():
    episode = drawn(CLASSES)
    changed = noisy(episode, 0.5, generator(0, "n"))
    for part, old in ((changed.support, episode.support), (changed.query, episode.query)):
        sd = float((part.inputs["stimulus"] - old.inputs["stimulus"]).std())
        assert abs(sd / float(episode.support.inputs["stimulus"].std()) - 0.5) < 0.02
        assert torch.equal(part.target, old.target)
    episode = drawn(SEQUENCE)
    changed = noisy(episode, 0.5, generator(0, "n"))
    assert torch.equal(changed.support.inputs["stimulus"], episode.support.inputs["stimulus"])
    assert torch.equal(changed.support.target, episode.support.target)
    assert not torch.equal(changed.support.inputs["target"], episode.support.inputs["target"])


def test_reversal_shows_the_support_twice_and_asks_for_the_new():
    episode = drawn(CLASSES)
    changed = reversed_half(episode)
    n = len(episode.support.target)
    assert len(changed.support.target) == 2 * n and len(changed.support.learn) == 2 * n
    assert torch.equal(changed.support.inputs["target"][:n], episode.support.inputs["target"])
    new = changed.support.inputs["target"][n:].argmax(-1)
    assert torch.equal(new, (episode.support.inputs["target"].argmax(-1) + 1) % 4)
    assert torch.equal(changed.query.target.argmax(-1), (episode.query.target.argmax(-1) + 1) % 4)
    values = reversed_half(drawn(VALUES))
    assert torch.equal(values.support.target[10:], -values.support.target[:10])
    one = reversed_half(drawn(SEQUENCE)).support
    old = drawn(SEQUENCE).support
    assert torch.equal(one.target[20:], -old.target[20:]) and torch.equal(one.target[:20], old.target[:20])
    assert float(one.weight[:20].sum()) == 0 and torch.equal(one.weight[20:], old.weight[20:])


def test_cuts():
    episode = drawn(CLASSES)
    short = first_presentations(episode, 2)
    assert len(short.support.target) == len(short.support.learn) == 2 and same(short.query, episode.query)
    window = only_steps(drawn(SEQUENCE), 5, 9).support
    assert window.weight.sum(0).unique().tolist() == [4.0] and float(window.weight[5:9].min()) == 1.0
