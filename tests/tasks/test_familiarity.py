"""Continual familiarity: labels against a reading of the stream itself, the floor in closed form."""

from fractions import Fraction

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.familiarity import Familiarity

TASK = Familiarity()
each = pytest.mark.parametrize(
    "task", [TASK, Familiarity(lag=1, n_steps=9), Familiarity(lag=6, n_steps=50), Familiarity(lag=7, n_steps=8)]
)


def draw(task=TASK, n=2000, seed=0, split="test", dtype=torch.float64):
    return task.sample(generator(seed), n, split, dtype=dtype)


def seen_before(stimulus):
    """Return when each vector was first shown, by looking through the stream; vectors as text."""
    found = []
    for i in range(stimulus.shape[1]):
        shown = ["".join("+" if x > 0 else "-" for x in vector) for vector in stimulus[:, i]]
        found.append([shown.index(vector) for vector in shown])
    return torch.tensor(found).T  # (time, batch)


@each
def test_labels_are_what_a_reading_of_the_stream_finds(task):
    episode = draw(task, 40)
    part, time = episode.support, torch.arange(task.n_steps)[:, None]
    assert part.inputs["stimulus"].abs().eq(1).all()
    first = seen_before(part.inputs["stimulus"])
    assert torch.equal(part.target[..., 0], (first < time).double())
    assert set((time - first).unique().tolist()) == {0, task.lag}
    counts = [first[:, i].bincount().max() for i in range(40)]
    assert max(counts) == 2  # nothing is shown a third time


def test_half_of_what_can_be_repeated_is_repeated():
    repeats = draw(n=1000).support.target[..., 0].bool()  # (time, batch)
    chance = repeats[TASK.lag :][~repeats[: -TASK.lag]].double()
    assert abs(float(chance.mean()) - 0.5) < 4 * 0.5 / len(chance) ** 0.5
    assert not repeats[TASK.lag :][repeats[: -TASK.lag]].any()
    stimulus = draw(n=1000).support.inputs["stimulus"]
    assert abs(float(stimulus.mean())) < 4 * (1.5 / stimulus.numel()) ** 0.5
    assert stimulus.mean((0, 1)).abs().max() < 5 * (1.5 / stimulus[..., 0].numel()) ** 0.5


@each
def test_floor_is_exact(task):
    new, share = [Fraction(1)] * task.lag, Fraction(1)
    while len(new) < task.n_steps:  # one lag after the other
        share = 1 - share / 2
        new += [share] * task.lag
    assert task.floor() == pytest.approx(float(sum(new[: task.n_steps]) / task.n_steps), abs=1e-14)
    part = draw(task, 4000).support
    score = task.score(torch.full_like(part.target, -1), part)
    assert abs(float(score.mean()) - task.floor()) < 4 * float(score.std()) / len(score) ** 0.5
    steps = (1 - part.target[..., 0]).mean(1)  # no step at which "familiar" would be the better answer
    assert steps.min() > 0.5 - 4 * 0.5 / 4000**0.5


def test_in_the_long_run_two_of_three_are_new():
    assert abs(Familiarity(n_steps=300_000).floor() - 2 / 3) < 1e-5
    assert Familiarity(lag=199).floor() == pytest.approx(1 - 0.5 / 200)


@each
def test_who_remembers_every_vector_scores_the_ceiling(task):
    part = draw(task, 50).support
    alike = torch.einsum("tbi,sbi->bts", part.inputs["stimulus"], part.inputs["stimulus"]) == task.n_dim
    answer = alike.tril(-1).any(-1).double().T[..., None] - 0.5
    assert task.score(answer, part).eq(task.ceiling()).all()
    assert task.score(-answer, part).eq(0).all()


def test_loss_and_score_by_hand():
    part = draw(Familiarity(lag=1, n_steps=3), 1).support._replace(target=torch.tensor([0.0, 1.0, 0.0])[:, None, None])
    output = torch.tensor([-1.0, 2.0, 3.0])[:, None, None]
    wanted = sum(torch.tensor(z).exp().log1p() for z in (-1.0, -2.0, 3.0)) / 3
    torch.testing.assert_close(TASK.loss(output, part), wanted[None], check_dtype=False)
    torch.testing.assert_close(TASK.score(output, part), torch.tensor([2 / 3]), check_dtype=False)


def test_same_seed_same_episode_and_splits_differ():
    a, b, c = draw(n=3), draw(n=3), draw(n=3, split="train")
    assert torch.equal(a.support.inputs["stimulus"], b.support.inputs["stimulus"])
    assert not torch.equal(a.support.inputs["stimulus"], c.support.inputs["stimulus"])
    single = draw(n=3, dtype=torch.float32).support
    assert single.target.dtype == torch.float32 and torch.equal(single.target.double(), a.support.target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lag": 0}, "lag is 0 of n_steps 200; allowed: 1 to n_steps - 1; type lag=3"),
        ({"lag": 200}, "lag is 200 of n_steps 200"),
        ({"n_dim": 19}, "n_dim is 19; allowed: 20 or more"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SpecificationError, match=message):
        Familiarity(**settings)
