"""Transitive inference: trials read step by step, an observer who sees inputs only, floor and ceiling by simulation."""

from itertools import combinations, permutations, product
from math import comb

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks._choice import play
from neurometa.tasks.transitive_inference import STEPS, TransitiveInference

F64 = torch.float64
TASK = TransitiveInference()
SHORT = TransitiveInference(n_items=4, n_train=4)  # a pair of neighbours is often missed


def draw(task=TASK, n=300, seed=0):
    return task.sample(generator(seed), n, "test", dtype=F64)


def test_trials():
    episode = draw()
    part, shown = episode.support, episode.info["shown"]  # (trial, batch, 2)
    stimulus = part.inputs["stimulus"].unflatten(0, (30, STEPS))  # (trial, step, batch, n)
    left, right, go, rest = stimulus.split([15, 15, 1, 2], -1)
    assert stimulus.shape == (30, 3, 300, 33) and not rest.any()
    assert go[:, 1].eq(1).all() and not go[:, [0, 2]].any() and not left[:, 1:].any() and not right[:, 1:].any()
    assert left[:, 0].abs().eq(1).all() and right[:, 0].abs().eq(1).all()
    distance = shown.diff(dim=-1)[..., 0].abs()
    assert distance[:20].eq(1).all()
    for i in range(300):
        patterns = {}
        for k in range(30):
            for side, place in zip((left, right), shown[k, i].tolist(), strict=True):
                patterns.setdefault(place, set()).add(tuple(side[k, 0, i].tolist()))
        assert all(len(found) == 1 for found in patterns.values()) and len(patterns) == 5
        assert sorted(map(sorted, shown[20:, i].tolist())) == [[*pair] for pair in combinations(range(5), 2)]
    higher = shown.argmin(-1)
    assert torch.equal(
        part.target.unflatten(0, (30, 3)),
        torch.nn.functional.one_hot(higher, 2).double()[:, None].expand(-1, 3, -1, -1),
    )
    assert abs(float(higher.double().mean()) - 0.5) < 5 * 0.5 / 9000**0.5
    weight = part.weight.unflatten(0, (30, 3))
    assert torch.equal(weight[20:, 1], (distance[20:] > 1).double()) and weight.sum(0)[1].eq(6).all()
    assert not weight[:20].any() and not weight[:, [0, 2]].any()
    assert part.reset.tolist() == [True, False, False] * 30 and part.learn.all()
    going = TransitiveInference(rest=False).sample(generator(0), 5).support
    assert going.reset.tolist() == [True] + [False] * 89
    links = shown[:20].min(-1).values.flatten().bincount() / (20 * 300)
    assert (links - 0.25).abs().max() < 5 * (0.25 / 6000) ** 0.5


def test_outcomes_are_told_in_training_only():
    part = draw(n=40).support
    output = torch.randn(90, 40, 2, generator=generator(4), dtype=F64)
    for t in range(89):
        new = TASK.respond(part, t, output[t])
        assert set(new) == ({"stimulus"} if t < 60 and t % 3 == 1 else set())
        if new:
            choice = (output[t] + part.world["gumbel"][t]).argmax(-1)
            told, right = new["stimulus"], choice == part.target[t].argmax(-1)
            assert not told[:, :31].any()
            assert torch.equal(told[range(40), 31 + choice], 2 * right.double() - 1)
            assert not told[range(40), 32 - choice].any()


def reason(task):
    """Return a policy that sees inputs only: it follows what it was told; else who never lost beats who never won."""

    def policy(inputs):
        x = inputs["stimulus"]
        n, batch, n_bits = len(x), x.shape[1], task.n_bits
        output = torch.zeros(batch, 2, dtype=x.dtype)
        if not x[-1, :, 2 * n_bits].any():
            return output
        trials = x[: n - n % STEPS].unflatten(0, (-1, STEPS))
        told = trials[: task.n_train]
        for i in range(batch):
            above, won, lost = {}, set(), set()
            for trial in told[:, :, i]:
                a, b = (tuple(side.tolist()) for side in trial[0, : 2 * n_bits].split(n_bits))
                first = bool(trial[2, -2] > trial[2, -1])
                winner, loser = (a, b) if first else (b, a)
                above.setdefault(winner, set()).add(loser)
                won.add(winner)
                lost.add(loser)
            pair = [tuple(side.tolist()) for side in x[n - 2, i, : 2 * n_bits].split(n_bits)]
            for side in range(2):
                reached, new = set(), {pair[side]}
                while new:
                    reached |= new
                    new = set().union(*(above.get(item, set()) for item in new)) - reached
                hint = pair[side] not in lost and pair[1 - side] not in won
                output[i, side] = 100.0 * (pair[1 - side] in reached) + 50.0 * hint
        return output

    return policy


@pytest.mark.parametrize("task", [TASK, SHORT], ids=["standard", "short"])
def test_who_reasons_scores_the_ceiling(task):
    n = 150 if task is TASK else 600
    part = draw(task, n).support
    output = play(task, part, reason(task))
    score = task.score(output, part)
    assert abs(float(score.mean()) - task.ceiling()) < 4 * max(float(score.std()), 0.05) / n**0.5
    assert task.score(100 * part.target, part).eq(1).all()


def permutations_of(chains):
    return [[item for chain in order for item in chain] for order in permutations(chains)]


@pytest.mark.parametrize(("n_items", "n_train"), [(4, 3), (4, 6), (5, 3), (3, 1)])
def test_no_answer_to_what_was_told_scores_more_than_the_ceiling(n_items, n_train):
    """Every sequence of training trials, every order that fits it, and for each pair the answer that scores best."""
    task, total, n_far = TransitiveInference(n_items=n_items, n_train=n_train), 0.0, comb(n_items - 1, 2)
    for shown in product(range(n_items - 1), repeat=n_train):
        chains = [[0]]
        for i in range(n_items - 1):
            chains = [*chains[:-1], [*chains[-1], i + 1]] if i in shown else [*chains, [i + 1]]
        orders = permutations_of(chains)
        for a, b in combinations(range(n_items), 2):
            places = [(order.index(a), order.index(b)) for order in orders]
            first = sum(y - x > 1 for x, y in places)
            second = sum(x - y > 1 for x, y in places)
            total += max(first, second) / len(orders) / n_far
    assert abs(total / (n_items - 1) ** n_train - task.ceiling()) < 1e-12


def test_what_is_known_of_each_pair():
    part = draw(SHORT, 4000).support
    shown = draw(SHORT, 4000).info["shown"][SHORT.n_train :]
    right = SHORT.right(play(SHORT, part, reason(SHORT)), part)[SHORT.n_train :]
    for pair, known in SHORT.ideal().items():
        found = right[(shown.sort(-1).values == torch.tensor(pair)).all(-1)]
        assert len(found) == 4000 and abs(float(found.mean()) - known) < 4 * 0.5 / 4000**0.5
    assert 0.5 == SHORT.floor() < SHORT.ceiling() < TASK.ceiling() < 1


def test_floor_loss_and_score():
    part = draw(n=4000).support
    zeros = torch.zeros_like(part.target)
    score = TASK.score(zeros, part)
    assert abs(float(score.mean()) - TASK.floor()) < 4 * float(score.std()) / 4000**0.5
    assert torch.allclose(TASK.loss(zeros, part), torch.full((4000,), 0.6931471805599453, dtype=F64))
    output = torch.randn(zeros.shape, generator=generator(1), dtype=F64)
    change = torch.ones(90, 1, 1, dtype=torch.bool)
    change[1::3] = False  # only the steps of choice count
    other = torch.where(change, output.flip(-1), output)
    assert torch.equal(TASK.loss(other, part), TASK.loss(output, part))
    assert torch.equal(TASK.score(other, part), TASK.score(output, part))
    assert TASK.right(output, part).shape == (30, 4000)


def test_same_seed_same_episode_and_splits_differ():
    a, b = draw(), draw()
    other = TASK.sample(generator(0), 300, "train", dtype=F64)
    for name in ("stimulus",):
        assert torch.equal(a.support.inputs[name], b.support.inputs[name])
        assert not torch.equal(a.support.inputs[name], other.support.inputs[name])
    assert torch.equal(a.support.world["gumbel"], b.support.world["gumbel"])


def test_bad_settings():
    with pytest.raises(SpecificationError, match="n_items is 2; allowed: 3 to 12; type n_items=5"):
        TransitiveInference(n_items=2)
    with pytest.raises(SpecificationError, match="n_bits is 15 and n_train 0; allowed: 1 or more"):
        TransitiveInference(n_train=0)
