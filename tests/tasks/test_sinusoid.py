import math

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.streams import generator
from neurometa.tasks.sinusoid import Sinusoid


def test_floor_is_the_error_of_the_mean_over_tasks():
    task = Sinusoid(n_query=20)
    query = task.sample(generator(0), 20_000, "test", dtype=torch.double).query
    x = query.inputs["stimulus"]
    best = task.score(-(2 / math.pi) * 2.55 * torch.cos(x), query)
    assert task.floor() == pytest.approx(3.006, abs=1e-3)
    assert float(best.mean()) == pytest.approx(task.floor(), abs=4 * float(best.std()) / 20_000**0.5)
    assert float(task.score(torch.zeros_like(x), query).mean()) == pytest.approx(4.25, abs=0.1)


def test_same_seed_same_episode_and_splits_differ():
    task = Sinusoid()
    a, b, c = (task.sample(generator(3), 4, split) for split in ("train", "train", "test"))
    assert torch.equal(a.support.target, b.support.target)
    assert not torch.equal(a.support.target, c.support.target)


def test_shapes_and_what_is_shown():
    task = Sinusoid(n_shot=3, n_query=7)
    episode = task.sample(generator(0), 5)
    assert episode.support.inputs["stimulus"].shape == (3, 5, 1)
    assert episode.query.target.shape == (7, 5, 1)
    assert torch.equal(episode.support.inputs["target"], episode.support.target)
    assert not episode.query.inputs["target"].any() and not episode.query.inputs["teach"].any()
    wave = episode.info["amplitude"] * torch.sin(
        episode.query.inputs["stimulus"][..., 0].double() - episode.info["phase"]
    )
    assert torch.allclose(wave.float(), episode.query.target[..., 0], atol=1e-5)


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"n_shot": 0}, "n_shot is 0"),
        ({"amplitude": (2.0, 1.0)}, r"amplitude is \(2.0, 1.0\), allowed: \(low, high\)"),
        ({"amplitude": 1.0}, r"amplitude is 1.0, allowed: .* type amplitude=\(0.1, 5.0\)"),
        ({"amplitude": (1.0, 2.0, 3.0)}, "amplitude is"),
        ({"width": 0.0}, "width is 0.0"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(SpecificationError, match=message):
        Sinusoid(**bad)
    assert Sinusoid(amplitude=[1, 2]).amplitude == (1, 2)  # as a run folder keeps it
