"""Pattern completion: what is shown when, floors and ceilings by simulation, the Hopfield matrix, splits of images."""

import numpy as np
import pytest
import torch

from neurometa import networks, tasks
from neurometa.data import data_root
from neurometa.errors import SpecificationError
from neurometa.learners import PlasticLearner
from neurometa.streams import generator
from neurometa.tasks.base import SPLITS
from neurometa.tasks.pattern_completion import PatternCompletion, hopfield
from neurometa.tasks.pattern_images import PatternImages

F64 = torch.float64
LARGE = PatternCompletion(n_bits=9, n_patterns=5, n_presentations=2, n_show=6, n_gap=4, n_probe=6)
IMAGES = PatternImages(size=8)


def draw(task, n=2000, seed=0, split="test"):
    return task.sample(generator(seed), n, split, dtype=F64)


def mean(task, answer, episode):
    """Return the mean score of answers ``(batch, n)`` at the last step, and its standard error."""
    scores = task.score(answer.expand_as(episode.support.target), episode.support)
    return float(scores.mean()), float(scores.std()) / len(scores) ** 0.5


@pytest.mark.parametrize("task", [PatternCompletion(), LARGE, IMAGES, PatternImages(size=8, n_gap=0, n_patterns=3)])
def test_patterns_are_shown_in_cycles_and_then_half_of_one(task):
    episode = draw(task, 50)
    part, info = episode.support, episode.info
    stimulus, patterns = part.inputs["stimulus"], info["patterns"]
    assert stimulus.shape == (task.n_steps, 50, task.n_in) and patterns.shape == (50, task.n_patterns, task.n_in)
    assert (patterns != 0).all()
    step = 0
    for cycle in range(task.n_presentations):
        assert info["order"][cycle].sort(-1).values.equal(torch.arange(task.n_patterns).expand(50, -1))
        for slot in range(task.n_patterns):
            wanted = patterns[torch.arange(50), info["order"][cycle, :, slot]]
            assert (stimulus[step : step + task.n_show] == wanted).all()
            step += task.n_show
            assert not stimulus[step : step + task.n_gap].any()
            step += task.n_gap
    asked = patterns[torch.arange(50), info["asked"]]
    probe = stimulus[step:]
    assert len(probe) == task.n_probe
    assert (probe == asked * ~info["erased"]).all() and (info["erased"].sum(-1) == task.n_in // 2).all()
    assert torch.equal(part.target[-1], asked) and not part.target[:-1].any()
    assert part.weight[-1].eq(1).all() and not part.weight[:-1].any()
    assert part.reset.tolist() == [True] + [False] * (task.n_steps - 1) and part.learn.all()
    for name, n in (("asked", task.n_patterns), ("order", task.n_patterns)):  # every pattern, in every place
        assert info[name].unique().tolist() == list(range(n))
    assert len(info["order"][0].unique(dim=0)) > 1


def test_the_published_sizes():
    assert PatternCompletion().n_steps == 11
    large = PatternCompletion(n_bits=1000, n_patterns=5, n_presentations=2, n_show=6, n_gap=4, n_probe=6)
    assert large.n_steps == 106 and large.n_in == large.n_out == 1000


def test_bits_are_fair_and_the_erased_half_is_random():
    episode = draw(PatternCompletion(n_bits=8), 20_000)
    assert episode.info["patterns"].mean((0, 1)).abs().max() < 0.025  # 5 standard errors
    assert (episode.info["erased"].to(F64).mean(0) - 0.5).abs().max() < 0.018
    together = episode.info["erased"].to(F64).T @ episode.info["erased"].to(F64) / 20_000
    assert float(together[0, 1]) == pytest.approx(0.5 * 3 / 7, abs=0.018)


@pytest.mark.parametrize("n_bits", [10, 9])
def test_only_the_erased_bits_are_judged(n_bits):
    task = PatternCompletion(n_bits=n_bits)
    episode = draw(task, 300)
    part, erased, asked = episode.support, episode.info["erased"], episode.support.target[-1]
    for answer, error in (
        (asked, 0.0),
        (torch.where(erased, asked, -asked), 0.0),  # what is shown is taken as answered
        (torch.where(erased, -asked, asked), task.n_erased / n_bits),
        (0 * asked, task.floor()),
    ):
        assert mean(task, answer, episode) == (pytest.approx(error), pytest.approx(0, abs=1e-9))
    first = erased.to(F64).argmax(-1)
    one = asked.clone()
    one[torch.arange(300), first] *= -0.1
    assert mean(task, one, episode)[0] == pytest.approx(1 / n_bits)
    loss = task.loss((one + erased).expand_as(part.target), part)
    wrong = (((one + erased - asked) ** 2) * erased).sum(-1) / task.n_erased
    torch.testing.assert_close(loss, wrong)


def test_guessing_scores_the_floor_and_the_last_pattern_its_reference():
    task = PatternCompletion(n_bits=12, n_patterns=3)
    episode = draw(task, 4000)
    guess = torch.randn(4000, 12, generator=generator(1), dtype=F64)
    score, error = mean(task, guess, episode)
    assert abs(score - task.floor()) < 4 * error
    last = episode.info["patterns"][torch.arange(4000), episode.info["order"][0, :, -1]]
    agrees = ((last == episode.support.target[-1]) | episode.info["erased"]).all(-1, keepdim=True)
    score, error = mean(task, torch.where(agrees, last, guess), episode)
    assert abs(score - task.references()["last pattern only"]) < 4 * error


@pytest.mark.parametrize(("n_bits", "n_patterns"), [(2, 2), (4, 2), (5, 3), (6, 8), (3, 1)])
def test_the_ideal_observer_scores_the_ceiling(n_bits, n_patterns):
    task = PatternCompletion(n_bits=n_bits, n_patterns=n_patterns)
    episode = draw(task, 40_000)
    patterns, probe = episode.info["patterns"], episode.support.inputs["stimulus"][-1]
    agrees = ((patterns == probe[:, None]) | (probe == 0)[:, None]).all(-1, keepdim=True)
    score, error = mean(task, (agrees * patterns).sum(1), episode)
    assert abs(score - task.ceiling()) < 4 * error + 1e-9
    assert task.ceiling() < task.floor()


def test_the_hopfield_matrix_by_hand_and_at_its_limits():
    patterns = draw(PatternCompletion(n_bits=12, n_patterns=4), 200).info["patterns"]
    probe = patterns[:, 0] * (torch.arange(12) < 6)
    found = hopfield(patterns, probe)
    for own, start, end in zip(patterns, probe, found, strict=True):
        w = own.T @ own
        w.fill_diagonal_(0)
        state = start
        for _ in range(100):
            drive = w @ state
            new = torch.where((start != 0) | (drive == 0), state, drive.sign())
            if (new == state).all():
                break
            state = new
        assert torch.equal(end, state)
    assert PatternCompletion().references()["Hopfield matrix"] < 1e-4
    crowded = PatternCompletion(n_bits=20, n_patterns=20)
    assert 0.05 < crowded.references()["Hopfield matrix"] < crowded.floor()


@pytest.mark.parametrize("half", ["top", "bottom", "random"])
def test_which_half_of_an_image_is_erased(half):
    erased = draw(PatternImages(size=8, half=half), 200).info["erased"].unflatten(1, (8, 8))
    top, bottom = erased[:, :4].all((1, 2)), erased[:, 4:].all((1, 2))
    assert (top != bottom).all() and (erased.sum((1, 2)) == 32).all()
    share = float(top.to(F64).mean())
    assert share == {"top": 1, "bottom": 0}.get(half, pytest.approx(0.5, abs=0.15))


def test_images_are_of_the_split_s_classes_each_of_another():
    source = tasks.get("glyphs")(size=8)
    for split in SPLITS:
        episode = draw(IMAGES, 300, split=split)
        ids, instance = episode.info["class"], episode.info["instance"]
        assert torch.isin(ids, source.class_ids(split)).all()
        assert (ids[:, 0] != ids[:, 1]).all()
        images = source.images(split, torch.device("cpu"))
        first = source.class_ids(split)[0]
        wanted = images[ids - first, instance].flatten(2).to(F64) / 127.5 - 1
        torch.testing.assert_close(episode.info["patterns"], wanted)
    assert draw(IMAGES, 500).info["patterns"].abs().max() == 1


@pytest.mark.parametrize("half", ["top", "bottom", "random"])
def test_the_floor_of_images_is_a_fit_to_the_training_half(half):
    """By numpy, from all images of the splits; and the mean image scores its reference on episodes."""
    task = PatternImages(size=8, half=half)
    source, errors, means = tasks.get("glyphs")(size=8), [], []
    train, test = (
        source.images(split, torch.device("cpu")).flatten(2).flatten(0, 1).numpy() / 127.5 - 1
        for split in ("train", "test")
    )
    for up in {"top": [True], "bottom": [False]}.get(half, [True, False]):
        gone, seen = (slice(0, 32), slice(32, 64))[:: 1 if up else -1]
        x = np.column_stack([train[:, seen] - train[:, seen].mean(0), np.ones(len(train))])
        w = np.linalg.solve(x.T @ x + 1e-3 * len(x) * np.diag([1.0] * 32 + [0]), x.T @ train[:, gone])
        answer = np.column_stack([test[:, seen] - train[:, seen].mean(0), np.ones(len(test))]) @ w
        errors.append(np.square(test[:, gone] - answer).mean())
        means.append(np.square(test[:, gone] - train[:, gone].mean(0)).mean())
    assert task.floor() == pytest.approx(np.mean(errors), rel=1e-4)
    assert task.references()["mean image"] == pytest.approx(np.mean(means), rel=1e-4)
    assert task.ceiling() == 0 < task.floor() < task.references()["mean image"]
    episode = draw(task, 4000)
    score, error = mean(task, torch.from_numpy(train.mean(0)), episode)
    assert abs(score - task.references()["mean image"]) < 4 * error


def test_omniglot_is_a_source_too():
    task = PatternImages(source="omniglot")
    assert task.n_in == 784 and task.image_shape == (1, 28, 28)
    if not (data_root() / "omniglot.npz").is_file():
        pytest.skip("no Omniglot here")
    episode = draw(task, 4)
    assert torch.isin(episode.info["class"], tasks.get("omniglot")().class_ids("test")).all()


def test_a_plastic_network_learns_it_and_needs_its_plasticity():
    from neurometa import Backprop, meta_train
    from neurometa.meta.evaluate import score_run

    task = PatternCompletion(n_bits=20)
    learner = PlasticLearner(networks.autoassociative(20, 20))
    run = meta_train(learner, task, Backprop(lr=1e-2), n_iterations=150, n_tasks=20, seed=0)
    scores = [score_run(learner, run.params, task, n_episodes=300, plastic=plastic).mean() for plastic in (True, False)]
    assert scores[0] < 0.08 < 0.2 < scores[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatternCompletion(n_bits=1), "PatternCompletion: n_bits is 1; allowed: 2 or more; type n_bits=50"),
        (lambda: PatternCompletion(n_probe=0), "n_probe is 0; allowed: 1 or more; type n_probe=3"),
        (lambda: PatternImages(n_gap=-1), "PatternImages: n_gap is -1; allowed: 0 or more; type n_gap=1"),
        (lambda: PatternImages(source="mnist"), "unknown source 'mnist'.*allowed: glyphs, omniglot"),
        (lambda: PatternImages(half="left"), "unknown half 'left'.*allowed: bottom, random, top"),
        (lambda: PatternImages(source="omniglot", size=14), "size is 14; omniglot has 28"),
        (lambda: PatternImages(size=9), "size is 9; allowed: an even number, 8 or more"),
        (lambda: draw(PatternImages(size=8, n_patterns=401), 1), "n_patterns is 401, but test has 400 classes"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()
