"""Associative retrieval: the answer against a reading of the sequence, symbol by symbol; floor and references."""

from itertools import product

import pytest
import torch

from neurometa import networks, simulate
from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks._classification import most_frequent
from neurometa.tasks.associative_retrieval import AssociativeRetrieval

STANDARD = AssociativeRetrieval()
TASKS = {
    "standard": STANDARD,
    "together": AssociativeRetrieval(together=True),
    "published": AssociativeRetrieval(n_asked=1),
    "small": AssociativeRetrieval(n_pairs=3, n_keys=3, n_values=2),
}
each = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def draw(task, n=4000, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def text(task, stimulus, i):
    """Write one episode as steps of symbols, in the simplest way: ``["a", "9", ..., "?", "?", "a"]``."""
    letters = "abcdefghijklmnopqrstuvwxyz"[: task.n_keys]
    symbols = letters + "0123456789"[: task.n_values] + "?"
    return ["".join(symbols[k] for k in range(task.n_in) if stimulus[t, i, k] == 1) for t in range(len(stimulus))]


def read(task, steps):
    """Return the pairs as a dictionary, and the key that is asked for."""
    shown, asked = steps[: -2 - task.n_asked], steps[-task.n_asked :]
    assert steps[-2 - task.n_asked : -task.n_asked] == ["?", "?"] and len({*asked}) == 1
    pairs = shown if task.together else ["".join(pair) for pair in zip(shown[::2], shown[1::2], strict=True)]
    assert all(len(pair) == 2 and pair[0].isalpha() and pair[1].isdigit() for pair in pairs)
    return {pair[0]: int(pair[1]) for pair in pairs}, asked[0]


@each
def test_the_answer_is_what_a_reader_of_the_sequence_finds(task):
    part = draw(task, 200).support
    stimulus = part.inputs["stimulus"]
    n_steps = task.n_pairs * (1 if task.together else 2) + 2 + task.n_asked
    assert stimulus.shape == (n_steps, 200, task.n_in) and part.target.shape == (n_steps, 200, task.n_values)
    assert not part.inputs["target"].any() and not part.inputs["teach"].any()
    assert part.learn.all() and part.reset.tolist() == [True] + [False] * (n_steps - 1)
    assert part.weight[-1].eq(1).all() and not part.weight[:-1].any() and not part.target[:-1].any()
    answers = []
    for i in range(200):
        pairs, asked = read(task, text(task, stimulus, i))
        assert len(pairs) == task.n_pairs  # no key twice
        answers.append(pairs[asked])
        assert part.target[-1, i].tolist() == [float(value == pairs[asked]) for value in range(task.n_values)]
    right = torch.zeros_like(part.target)
    right[-1, torch.arange(200), torch.tensor(answers)] = 5.0
    assert task.score(right, part).mean() == task.ceiling() == 1
    assert torch.allclose(task.loss(100 * right, part), torch.zeros(200, dtype=torch.float64))


def test_keys_values_and_what_is_asked_are_uniform():
    info = draw(STANDARD, 20000).info
    for found, kinds in ((info["keys"], 26), (info["values"], 10), (info["asked"], 4)):
        share = found.flatten().bincount(minlength=kinds) / found.numel()
        assert (share - 1 / kinds).abs().max() < 5 * (1 / kinds / found.numel() * 4) ** 0.5
    pair = (info["values"][:, 0] * 10 + info["values"][:, 1]).bincount(minlength=100) / 20000
    assert (pair - 0.01).abs().max() < 5 * (0.01 / 20000) ** 0.5


@each
def test_floor_and_references_by_simulation(task):
    episode = draw(task, 20000)
    part, values = episode.support, episode.info["values"]
    counts = torch.nn.functional.one_hot(values, task.n_values).sum(1)  # (batch, n_values)
    scores = {"floor": torch.nn.functional.one_hot(torch.zeros_like(values[:, 0]), task.n_values)}
    scores["best without binding"] = counts
    scores["a shown value at random"] = torch.nn.functional.one_hot(values[:, 0], task.n_values)
    known = {"floor": task.floor(), **task.references()}
    assert scores.keys() == known.keys()
    for name, answer in scores.items():
        score = task.score(answer.double().expand_as(part.target), part)
        assert abs(float(score.mean()) - known[name]) < 4 * 0.5 / len(score) ** 0.5
    assert known["floor"] < known["a shown value at random"] <= known["best without binding"] < 1


@pytest.mark.parametrize(("n", "kinds"), [(1, 4), (2, 3), (4, 3), (5, 2), (3, 10)])
def test_the_share_of_the_most_frequent_against_every_case(n, kinds):
    shares = [max(map(case.count, case)) / n for case in product(range(kinds), repeat=n)]
    assert abs(most_frequent(n, kinds) - sum(shares) / len(shares)) < 1e-14


@pytest.mark.parametrize("together", [False, True])
def test_a_feed_forward_plastic_network_can_bind_only_what_is_shown_together(together, lively):
    """In sequence its answer does not depend on the digits at all, whatever its parameters: it stays at the floor."""
    task = AssociativeRetrieval(together=together)
    part = draw(task, 20).support
    network = networks.hebb_ff(task.n_in, task.n_out, n_hidden=6)
    params, stimulus = lively(network), part.inputs["stimulus"]
    digits = slice(task.n_keys, task.n_keys + task.n_values)
    others = stimulus.clone()
    others[..., digits] = stimulus[..., digits].roll(1, -1)
    answers = [simulate(network, params, {**part.inputs, "stimulus": each}).output[-1] for each in (stimulus, others)]
    assert torch.allclose(*answers, rtol=0, atol=1e-12) is not together


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = draw(STANDARD, 5), draw(STANDARD, 5), draw(STANDARD, 5, split="train")
    assert torch.equal(a.support.inputs["stimulus"], b.support.inputs["stimulus"])
    assert not torch.equal(a.support.inputs["stimulus"], c.support.inputs["stimulus"])
    single = STANDARD.sample(generator(0), 5, "test", dtype=torch.float32).support
    assert single.target.dtype == torch.float32 and torch.equal(single.target.double(), a.support.target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_pairs": 0}, "n_pairs is 0; allowed: 1 or more; type n_pairs=4"),
        ({"n_values": 1}, "n_values is 1; allowed: 2 or more"),
        ({"n_asked": 0}, "n_asked is 0"),
        ({"n_pairs": 5, "n_keys": 4}, "n_pairs is 5 of n_keys 4; allowed: n_keys or fewer"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SpecificationError, match=message):
        AssociativeRetrieval(**settings)
