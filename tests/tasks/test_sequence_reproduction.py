"""Sequence reproduction: the answers against a reading of the stimulus; floor, ceiling and reference by simulation."""

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.sequence_reproduction import SequenceReproduction

STANDARD = SequenceReproduction()
TASKS = {
    "standard": STANDARD,
    "delayed": SequenceReproduction(delay=3),
    "single": SequenceReproduction(n_symbols=2, length=1),
}
each = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def draw(task, n=4000, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=torch.float64)


def read(stimulus):
    """Return the symbols before the cue (the last input), and the steps after it, step by step."""
    symbols, heard = [], None
    for t, now in enumerate(stimulus.tolist()):
        assert sum(now) in (0, 1) and {*now} <= {0.0, 1.0}
        if now[-1]:
            assert heard is None
            heard = t
        elif sum(now):
            assert heard is None, "a symbol after the cue"
            symbols.append(now.index(1))
    return symbols, range(heard + 1, len(stimulus))


@each
def test_the_answers_are_what_a_reader_of_the_sequence_finds(task):
    part = draw(task, 100).support
    stimulus = part.inputs["stimulus"]
    n_steps = 2 * task.length + task.delay + 1
    assert stimulus.shape == (n_steps, 100, task.n_symbols + 1)
    assert not part.inputs["target"].any() and not part.inputs["teach"].any()
    assert part.learn.all() and part.reset.tolist() == [True] + [False] * (n_steps - 1)
    output = torch.zeros_like(part.target)
    for i in range(100):
        symbols, after = read(stimulus[:, i])
        assert len(symbols) == len(after) == task.length
        assert part.weight[:, i].tolist() == [float(t in after) for t in range(n_steps)]
        for t, symbol in zip(after, symbols, strict=True):
            assert part.target[t, i].tolist() == [float(k == symbol) for k in range(task.n_symbols)]
            output[t, i, symbol] = 300.0
    assert task.score(output, part).mean() == task.ceiling() == 1
    assert not task.loss(output, part).any()


def test_every_step_counts_equally():
    part = draw(STANDARD, 50).support
    output = part.target.clone()
    output[-2] = output[-2].roll(1, -1)  # one wrong answer of five
    assert torch.allclose(STANDARD.score(output, part), torch.full((50,), 0.8, dtype=torch.float64))


@each
def test_floor_and_reference_by_simulation(task):
    episode = draw(task, 20000)
    part, symbols = episode.support, episode.info["symbols"]
    nothing = task.score(torch.zeros_like(part.target), part)
    counts = torch.nn.functional.one_hot(symbols, task.n_symbols).sum(0).double()  # (batch, n_symbols)
    orderless = task.score(counts.expand_as(part.target), part)
    for score, known in ((nothing, task.floor()), (orderless, task.references()["best without order"])):
        assert abs(float(score.mean()) - known) < 4 * 0.5 / len(score) ** 0.5


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = draw(STANDARD, 5), draw(STANDARD, 5), draw(STANDARD, 5, split="train")
    assert torch.equal(a.support.inputs["stimulus"], b.support.inputs["stimulus"])
    assert not torch.equal(a.support.inputs["stimulus"], c.support.inputs["stimulus"])
    single = STANDARD.sample(generator(0), 5, "test", dtype=torch.float32).support
    assert single.target.dtype == torch.float32 and torch.equal(single.target.double(), a.support.target)


@pytest.mark.parametrize("settings", [{"n_symbols": 1}, {"length": 0}, {"delay": -1}])
def test_bad_settings(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(SpecificationError, match=f"{name} is {value}; allowed: .* or more; type {name}="):
        SequenceReproduction(**settings)
