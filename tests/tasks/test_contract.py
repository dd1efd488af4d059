"""What every task promises, judged for all tasks that the folder holds.

A task is in `CASES` with settings that make it quick, and in `READERS` with somebody who reads its support set. Whoever
adds a task adds these two entries; a task that lacks one fails `test_every_task_is_judged`.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neurometa import tasks
from neurometa.data import data_root
from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks import reversal, volatile_bandit
from neurometa.tasks.base import SPLITS, Interactive, Part
from neurometa.tasks.harmonic import posterior
from neurometa.tasks.teacher import kernel
from neurometa.tasks.transitive_inference import STEPS
from neurometa.tasks.volatility import bayes

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FEW = {"n_way": 3, "n_shot": 2}
GLYPHS = {"n_classes": 60, "n_held_out": 20, "n_validation": 20, "size": 14}
#: Task -> settings under which it is judged. Further settings of a task follow after a hyphen.
CASES: dict[str, dict] = {
    "arrays": FEW,
    "associative_retrieval": {"n_pairs": 3, "n_keys": 6, "n_values": 4},
    "cue_reward": {},
    "cue_reward-sequence": {"sequence": True},
    "familiarity": {"lag": 2, "n_dim": 40, "n_steps": 15},
    "gaussian_clusters": {"n_way": 4, "n_dim": 6, "spread": 1.5, "n_distractor": 2},
    "glyphs": FEW | GLYPHS,
    "glyphs-permuted": FEW | GLYPHS | {"permute_pixels": True},
    "harmonic": {},
    "linear_gaussian": {"n_shot": 6},
    "mnist": FEW | {"n_validation": 5},
    "omniglot": FEW,
    "pattern_completion": {"n_bits": 10, "n_patterns": 3},
    "pattern_images": {"size": 14, "half": "bottom"},
    "reversal": {"n_steps": 30},
    "sequence_reproduction": {"length": 3, "n_symbols": 4},
    "sinusoid": {},
    "teacher": {},
    "tracking": {"n_steps": 40, "n_skip": 10},
    "transitive_inference": {"n_items": 4, "n_train": 6},
    "volatile_bandit": {"n_steps": 30},
    "volatility": {"n_steps": 60, "n_skip": 10},
}


# ---------------------------------------------------------------------------------------------------------------------
# Those who read the support: (task, what is shown, what is asked) -> answers over the scored part, from inputs alone;
# in an interactive task (task, stimuli so far) -> the next answer.


def look_up(task, shown, asked):
    """Return the target of the support items that look most like each query, the mean of the labels that are near."""
    known, new = (inputs["stimulus"].transpose(0, 1) for inputs in (shown, asked))  # (batch, time, n_in)
    likeness = F.normalize(new, dim=-1) @ F.normalize(known, dim=-1).mT
    return torch.softmax(50 * likeness, -1) @ shown["target"].transpose(0, 1)


def first(task, shown, asked):
    return look_up(task, shown, asked).transpose(0, 1)


def remember_cues(task, shown, asked):
    """Answer with the mean reward of the cues that are near, and 0 where none is."""
    if asked is None:
        half = task.n_steps // 2
        cue, reward = shown["stimulus"][..., : task.n_dim], shown["stimulus"][:half, :, task.n_dim : task.n_dim + 1]
        late = remember_cues(task, {"stimulus": cue[:half], "target": reward}, {"stimulus": cue[half:]})
        return torch.cat([reward, late])
    near = torch.cdist(asked["stimulus"].transpose(0, 1), shown["stimulus"].transpose(0, 1)) < 0.8
    value = near.to(shown["target"]) @ shown["target"].transpose(0, 1) / near.sum(-1, keepdim=True).clamp_min(1)
    return value.transpose(0, 1)


def remember_pairs(task, shown, asked):
    """Find the asked key among the pairs that were shown."""
    symbols = shown["stimulus"].argmax(-1)  # (time, batch)
    keys, values = symbols[: 2 * task.n_pairs : 2], symbols[1 : 2 * task.n_pairs : 2] - task.n_keys
    answer = values.gather(0, (keys == symbols[-1]).to(values).argmax(0, keepdim=True))
    return F.one_hot(answer.expand(len(symbols), -1), task.n_out)


def complete(task, shown, asked):
    """Answer with the mean of the patterns that agree with what the probe shows."""
    probe, patterns = shown["stimulus"][-1], shown["stimulus"][: -task.n_probe : task.n_show + task.n_gap]
    alike = ((patterns == probe) | (probe == 0)).all(-1, keepdim=True).to(probe)  # (pattern, batch, 1)
    answer = (alike * patterns).sum(0) / alike.sum(0)
    return answer.expand(len(shown["stimulus"]), -1, -1)


def look_back(task, shown, asked):
    """Compare each stimulus with that of `lag` steps before; the answer is a logit."""
    seen = shown["stimulus"]
    same = (seen[task.lag :] == seen[: -task.lag]).all(-1, keepdim=True)
    return F.pad(same.to(seen), (0, 0, 0, 0, task.lag, 0)) - 0.5


def repeat(task, shown, asked):
    """Give the first symbols back at the end."""
    shown = shown["stimulus"][: task.length, :, : task.n_symbols]
    return F.pad(shown, (0, 0, 0, 0, task.delay + 1 + task.length, 0))


def nearest_mean(task, shown, asked):
    """Choose the cluster whose posterior mean is nearest."""
    known, new = (inputs["stimulus"][..., : task.n_dim] for inputs in (shown, asked))
    total = torch.einsum("tbk,tbf->bkf", shown["target"], known)
    mean = total / (task.n_shot + task.noise**2 / task.spread**2)
    return -torch.cdist(new.transpose(0, 1), mean).transpose(0, 1)


def ridge(task, shown, asked):
    """Predict by the posterior mean of the weights."""
    x, y = (shown[name].transpose(0, 1) for name in ("stimulus", "target"))  # (batch, time, n)
    start = x.new_tensor(task.prior_mean())[:, None]
    precision = x.mT @ x + task.noise**2 / task.spread**2 * torch.eye(task.n_dim, dtype=x.dtype)
    w = start + torch.linalg.solve(precision, x.mT @ (y - x @ start))  # (batch, n_in, 1)
    return (asked["stimulus"].transpose(0, 1) @ w).transpose(0, 1)


def fit_sine(task, shown, asked):
    """Solve for amplitude and phase: a sine is linear in sin x and cos x."""

    def basis(x):
        return torch.cat([x.sin(), x.cos()], -1).transpose(0, 1)

    found = torch.linalg.lstsq(basis(shown["stimulus"]), shown["target"].transpose(0, 1)).solution
    return (basis(asked["stimulus"]) @ found).transpose(0, 1)


def columns(shown, asked):
    """Return support x and y and the queries, ``(batch, time, n)``, as arrays."""
    three = (shown["stimulus"], shown["target"], asked["stimulus"])
    return tuple(value.transpose(0, 1).numpy() for value in three)


def fit_harmonics(task, shown, asked):
    """Integrate over the frequency."""
    x, y, new = (value[..., 0] for value in columns(shown, asked))
    each = [posterior(task, x[i : i + 200], y[i : i + 200], new[i : i + 200])[0] for i in range(0, len(x), 200)]
    return torch.from_numpy(np.concatenate(each)).T[..., None]


def gaussian_process(task, shown, asked):
    """Predict by the covariance of the answers of one teacher."""
    x, y, new = columns(shown, asked)
    among = kernel(task, x, x) + task.noise**2 * np.eye(task.n_shot)
    return torch.from_numpy(kernel(task, new, x) @ np.linalg.solve(among, y)).transpose(0, 1)


def kalman(task, shown, asked):
    """Track by the Kalman gain."""
    rate = task.ceiling() / (task.ceiling() + task.r)
    belief, answers = torch.zeros_like(shown["target"][0]), []
    for y in shown["target"]:
        answers.append(belief)
        belief = belief + rate * (y - belief)
    return torch.stack(answers)


def run_lengths(task, shown, asked):
    """Weigh every time of the last jump."""
    return bayes(shown["target"][..., 0], task.hazard, task.mean_sd, task.observation_sd).prediction[..., None]


def likelier(seen, believe):
    """Choose the arm that is more probably rewarded, by what the choices so far told of the first arm."""
    told = (seen[1:, :, 0] - seen[1:, :, 1]) * seen[1:, :, 2]  # 1: rewarded, or the second arm was not
    first = believe(torch.cat([(1 + told) / 2, torch.zeros_like(seen[:1, :, 0])]))[-1]  # before what is still to come
    return torch.stack([first, 1 - first, torch.zeros_like(first)], -1)


def follow_reversals(task, seen):
    return likelier(seen, lambda evidence: reversal.bayes(evidence, task.p, task.hazard))


def follow_odds(task, seen):
    return likelier(seen, lambda rewarded: volatile_bandit.bayes(rewarded, task.hazard))


def infer(task, seen):
    """Follow the outcomes from item to item; where they do not lead, who never lost is above who never won."""
    if len(seen) % STEPS != 2 or len(seen) < STEPS * task.n_train:
        return seen.new_zeros(seen.shape[1], 2)
    steps = seen[: STEPS * task.n_train].unflatten(0, (-1, STEPS))  # (trial, step, batch, n_in)
    value = 2.0 ** torch.arange(task.n_bits, dtype=seen.dtype)

    def names(pairs):
        return pairs[..., : 2 * task.n_bits].unflatten(-1, (2, -1)) @ value  # (..., batch, 2)

    shown, asked = names(steps[:, 0]), names(seen[-2])
    left, right = steps[:, 2, :, -2:].unbind(-1)  # 1: right, -1: wrong, 0: not chosen
    right = (right > left).long()[..., None]
    won, lost = (shown.gather(-1, side)[..., 0].T for side in (right, 1 - right))  # (batch, trial)
    follows = (won[:, :, None] == lost[:, None, :]).to(seen)
    found = []
    for here, there in (asked.unbind(-1), asked.flip(-1).unbind(-1)):
        reached = (won == here[:, None]).to(seen)
        for _ in range(task.n_items):
            reached = torch.maximum(reached, (follows @ reached[..., None])[..., 0].clamp_max(1))
        known = (reached * (lost == there[:, None])).amax(-1)
        hint = ~(lost == here[:, None]).any(-1) & ~(won == there[:, None]).any(-1)
        found.append(torch.maximum(known, 0.5 * hint))
    return torch.stack(found, -1)


#: Task -> who reads its support; where the task has a ceiling, the reader is its ideal observer.
READERS = {
    "arrays": first,
    "associative_retrieval": remember_pairs,
    "cue_reward": remember_cues,
    "familiarity": look_back,
    "gaussian_clusters": nearest_mean,
    "glyphs": first,
    "harmonic": fit_harmonics,
    "linear_gaussian": ridge,
    "mnist": first,
    "omniglot": first,
    "pattern_completion": complete,
    "pattern_images": complete,
    "reversal": follow_reversals,
    "sequence_reproduction": repeat,
    "sinusoid": fit_sine,
    "teacher": gaussian_process,
    "tracking": kalman,
    "transitive_inference": infer,
    "volatile_bandit": follow_odds,
    "volatility": run_lengths,
}

#: Sequences of trials, in which activity may start from rest at each -> steps of a trial.
TRIAL = {"transitive_inference": STEPS}
#: Tasks whose observer takes long -> episodes.
SLOW = {"harmonic": 3000, "volatile_bandit": 4000}
#: Ceilings that are averaged over drawn support sets -> their standard error, as a share of them.
SAMPLED = {"harmonic": 0.007, "linear_gaussian": 0.0007, "volatility": 0.004}
SAMPLED |= {"reversal": 0.001, "volatile_bandit": 0.001}

# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Return a folder with small data for the tasks that need some: squares and their corners, in noise."""
    folder, rng = tmp_path_factory.mktemp("contract"), np.random.default_rng(0)
    classes = rng.random((40, 1, 7, 7)) < 0.4
    noisy = np.where(rng.random((40, 12, 28, 28)) < 0.05, 1, 0) ^ classes.repeat(4, -2).repeat(4, -1)
    np.savez_compressed(folder / "images.npz", images=(255 * noisy).astype(np.uint8))
    digits = (255 * noisy[:10]).astype(np.uint8).reshape(120, 28, 28)
    labels, arrays = np.arange(10, dtype=np.uint8).repeat(12), {}
    for side in ("train", "test"):
        order = rng.permutation(120)
        arrays |= {f"{side}_images": digits[order], f"{side}_labels": labels[order]}
    np.savez_compressed(folder / "mnist.npz", **arrays)
    return folder


@pytest.fixture
def make(data):
    """Return ``make(case, **settings)``, which builds a task; data that are not here skip the test."""

    def build(case: str, **settings):
        name = case.split("-")[0]
        own = {"arrays": {"path": str(data / "images.npz")}, "mnist": {"data_root": str(data)}}.get(name, {})
        if name == "omniglot" and not (data_root() / "omniglot.npz").is_file():
            pytest.skip("omniglot.npz is not in the data root")
        return tasks.get(name)(**CASES[case], **own, **settings)

    return build


def draw(task, n=2000, seed=0, split="test", device=None, dtype=torch.float64):
    return task.sample(generator(seed), n, split, device=device, dtype=dtype)


def many(task) -> int:
    """Return a number of episodes that fits into a little memory."""
    n_steps = sum(len(part.target) for part in parts(draw(task, 1)))
    return min(12_000, 15_000_000 // (n_steps * max(100, task.n_in)))


def parts(episode) -> list[Part]:
    return [part for part in episode[:2] if part is not None]


def tensors(episode) -> list[torch.Tensor]:
    return [x for part in parts(episode) for x in (*part.inputs.values(), *part[1:5], *part.world.values())]


def read(case, task, episode):
    """Return the answers of the task's reader."""
    reader, support = READERS[case.split("-")[0]], episode.support
    if isinstance(task, Interactive):
        return play(task, support, reader)
    asked = None if episode.query is None else episode.query.inputs
    return reader(task, support.inputs, asked).to(episode.scored.target)


def play(task, part, policy):
    """Return the answers ``(time, batch, n_out)`` of a policy, which sees the stimuli so far and chooses by them."""
    seen, answers = [part.inputs["stimulus"][0]], []
    for t in range(len(part.target)):
        answers.append(1e3 * policy(task, torch.stack(seen)))
        if t + 1 < len(part.target):
            seen.append({"stimulus": part.inputs["stimulus"][t + 1], **task.respond(part, t, answers[-1])}["stimulus"])
    return torch.stack(answers)


def certain(task, part):
    """Return the right answers, as logits where answers are choices."""
    if task.score_name == "accuracy" and task.n_out == 1:
        return 2 * part.target - 1
    return part.target * (1e3 if isinstance(task, Interactive) else 1)


def gain(task, scores, value) -> float:
    """Return by how many standard errors scores are better than a value (1e-9 is no difference)."""
    difference = float(scores.mean()) - value
    error = max(float(scores.std()) / len(scores) ** 0.5, 1e-9)
    return (difference if task.higher_is_better else -difference) / error


every_case = pytest.mark.parametrize("case", CASES)


def shuffles(name: str) -> bool:
    return "shuffle_labels" in inspect.signature(tasks.get(name)).parameters


def test_every_task_is_judged():
    judged = {case.split("-")[0] for case in CASES}
    assert judged == set(tasks.names()), "give a new task its entry in CASES"
    assert judged == set(READERS), "give a new task its entry in READERS"


def test_one_number_where_a_pair_belongs_is_no_crash():
    for name in tasks.names():
        for field in fields(tasks.get(name)):
            if isinstance(field.default, tuple):
                with pytest.raises(SpecificationError, match=f"{field.name} is 1.0"):
                    tasks.get(name)(**{field.name: 1.0})


@every_case
@pytest.mark.parametrize("device", DEVICES)
def test_shapes_and_dtypes(make, case, device):
    task = make(case)
    for dtype in (torch.float32, torch.float64):
        episode = draw(task, 5, device=device, dtype=dtype)
        for part in parts(episode):
            time = len(part.target)
            shapes = {"stimulus": task.n_in, "target": task.n_out, "teach": 1}
            assert {name: tuple(x.shape) for name, x in part.inputs.items()} == {
                name: (time, 5, size) for name, size in shapes.items()
            }
            assert part.target.shape == (time, 5, task.n_out) and part.weight.shape == (time, 5)
            floats = (*part.inputs.values(), part.target, part.weight, *part.world.values())
            assert {each.dtype for each in floats} == {dtype} and all(each.isfinite().all() for each in floats)
            assert part.learn.shape == part.reset.shape == (time,)
            assert part.learn.dtype == part.reset.dtype == torch.bool
            assert {each.device.type for each in (*floats, part.learn, part.reset)} == {torch.device(device).type}
            assert (part.inputs["target"] * (1 - part.inputs["teach"])).eq(0).all()  # nothing is told without teach
        scored = episode.scored
        assert (scored.weight >= 0).all() and (scored.weight.sum(0) > 0).all()
        if episode.query is None:
            trial = TRIAL.get(case, len(scored.reset))
            assert scored.learn.all() and not scored.reset.unflatten(0, (-1, trial))[:, 1:].any()
        else:
            assert not scored.learn.any() and not scored.inputs["teach"].any()  # an answer is never shown
        output = torch.randn_like(scored.target, requires_grad=True)
        loss, score = task.loss(output, scored), task.score(output, scored)
        assert loss.shape == score.shape == (5,) and loss.dtype == score.dtype == dtype
        (slope,) = torch.autograd.grad(loss[2], output)
        assert slope[:, 2].any() and not slope[:, [0, 1, 3, 4]].any()  # a task's loss is its own
        if isinstance(task, Interactive):
            answers = task.respond(scored, 0, output[0])
            assert {x: (y.shape, y.dtype) for x, y in answers.items()} == {
                x: (scored.inputs[x].shape[1:], dtype) for x in answers
            }
        assert task.score(torch.where(scored.weight[..., None] > 0, output, -output), scored).equal(score)


@every_case
@pytest.mark.parametrize("device", DEVICES)
def test_same_seed_same_episode(make, case, device):
    task, before = make(case), torch.get_rng_state()
    once, again = draw(task, 6), draw(task, 6, device=device)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(tensors(once), tensors(again), strict=True))
    single = draw(task, 6, dtype=torch.float32, device=device)
    for a, b in zip(tensors(once), tensors(single), strict=True):
        torch.testing.assert_close(a.float(), b.cpu().float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's random numbers are used
    stream = generator(0)
    pair = [task.sample(stream, 6, "test", dtype=torch.float64) for _ in range(2)]
    assert torch.equal(pair[0].scored.target, once.scored.target)
    others = [pair[1], draw(task, 6, seed=1), *(draw(task, 6, split=split) for split in SPLITS[:2])]
    for other in others:  # the next draw, another seed, the other splits
        assert not all(torch.equal(a, b) for a, b in zip(tensors(once), tensors(other), strict=True))


@every_case
def test_bounds_are_in_order(make, case):
    task = make(case)
    part = draw(task, 500).scored
    sign = 1 if task.higher_is_better else -1
    right = task.score(certain(task, part), part)
    best = task.floor() if task.ceiling() is None else task.ceiling()
    assert sign * task.floor() <= sign * best and sign * best <= sign * float(right.mean()) + 1e-12
    assert gain(task, right, task.floor()) > 10 and np.isfinite([*task.references().values()]).all()
    with pytest.raises(SpecificationError, match="allowed: test, train, validation"):
        draw(task, 1, split="tset")


@cache
def directions(n_in: int, n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    stream = generator(0, "directions")
    w = torch.randn(n_in, n, generator=stream, dtype=torch.float64) / n_in**0.5
    return w, torch.randn(n, generator=stream, dtype=torch.float64)


def features(part: Part, trial: int = 1) -> torch.Tensor:
    """Return what a scored step (or its trial) alone shows: the stimulus, random mixtures of it, and the time."""
    x = part.inputs["stimulus"].unflatten(0, (-1, trial)).movedim(1, -2).flatten(-2).repeat_interleave(trial, 0)
    x = x[(part.weight > 0).any(1)]  # (scored time, batch, n)
    w, b = directions(x.shape[-1])
    clock = torch.eye(len(x), dtype=x.dtype)[:, None].expand(-1, x.shape[1], -1)
    raw = (x,) if x.shape[-1] <= 200 else ()
    return torch.cat([*raw, torch.tanh(2 * x @ w + b), clock], -1)


@every_case
def test_who_does_not_see_the_support_scores_the_floor(make, case):
    """The best answer to the present stimulus alone, by least squares on training episodes."""
    task, trial = make(case), TRIAL.get(case, 1)
    n = many(task)
    train, test = draw(task, n, split="train").scored, draw(task, n, seed=1).scored
    times = (train.weight > 0).any(1)
    rows = train.weight[times].flatten() > 0
    seen = features(train, trial).flatten(0, 1)[rows]
    gram = seen.mT @ seen + 1e-6 * len(seen) * torch.eye(seen.shape[1], dtype=seen.dtype)
    found = torch.linalg.solve(gram, seen.mT @ certain(task, train)[times].flatten(0, 1)[rows])
    answer = torch.zeros_like(test.target)
    answer[times] = features(test, trial) @ found
    scores = task.score(answer, test)
    assert gain(task, scores, task.floor()) < 4
    slack = 0.02 * abs(task.floor() - float(task.score(certain(task, test), test).mean()))  # of what there is to gain
    assert gain(task, scores, task.floor() - (slack if task.higher_is_better else -slack)) > -4


@every_case
def test_who_reads_the_support_solves_the_task_and_who_reads_that_of_another_does_not(make, case):
    task = make(case)
    episode = draw(task)
    answer, part = read(case, task, episode), episode.scored
    assert gain(task, task.score(answer, part), task.floor()) > 10
    if episode.query is None:
        wrong = answer.roll(1, 1)
    else:
        support = episode.support
        foreign = {name: value.roll(1, 1) for name, value in support.inputs.items()}
        wrong = read(case, task, episode._replace(support=support._replace(inputs=foreign)))
    assert gain(task, task.score(wrong, part), task.floor()) < 4


@every_case
def test_the_ideal_observer_scores_the_ceiling(make, case):
    task = make(case)
    if task.ceiling() is None:
        pytest.skip("no ideal observer is known")
    episode = draw(task, min(many(task), SLOW.get(case, 12_000)))
    scores, ceiling = task.score(read(case, task, episode), episode.scored), task.ceiling()
    error = np.hypot(float(scores.std()) / len(scores) ** 0.5, SAMPLED.get(case, 0) * ceiling)
    assert abs(float(scores.mean()) - ceiling) < 4 * max(error, 1e-9)


@pytest.mark.parametrize("case", [case for case in CASES if shuffles(case.split("-")[0])])
def test_labels_that_are_shuffled_independently_leave_chance(make, case):
    plain, control = make(case), make(case, shuffle_labels=True)
    assert control.floor() == plain.floor() == 1 / plain.n_way
    scores = []
    for task in (plain, control):
        episode = draw(task)
        scores.append(task.score(read(case, task, episode), episode.query))
    assert gain(plain, scores[0], plain.floor()) > 20 and abs(gain(control, scores[1], control.floor())) < 4
    same = zip(tensors(draw(plain, 20)), tensors(draw(control, 20)), strict=True)
    assert sum(not torch.equal(a, b) for a, b in same) <= 2  # nothing but what is told differs
