"""Glyphs: the same drawings for everybody, as hard for pixels as real characters, and learnable."""

import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.tasks.glyphs import Glyphs, draw


def learn(n_iterations):
    """Train a small prototypical network; return its accuracy on 1,000 5-way 1-shot test episodes."""
    layers = [torch.nn.Conv2d(1, 32, 5, 2, 2), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3, 2, 1), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers, torch.nn.Conv2d(32, 32, 3, 2, 1), torch.nn.Flatten())
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=stream) * (0.1 if p.ndim < 2 else p[0].numel() ** -0.5))
    train, test = Glyphs(n_way=20, n_query=20), Glyphs()
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_iterations)

    def output(task, episode):
        support, query = (part.inputs["stimulus"] for part in (episode.support, episode.query))
        code = (
            net(torch.cat([support, query]).reshape(-1, 1, 28, 28)).reshape(-1, support.shape[1], 512).transpose(0, 1)
        )
        prototype = torch.einsum("tbk,btd->bkd", episode.support.target, code[:, : len(support)]) / task.n_shot
        return -torch.cdist(code[:, len(support) :], prototype).square().transpose(0, 1)

    for _ in range(n_iterations):
        episode = train.sample(stream, 10)
        loss = train.loss(output(train, episode), episode.query).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        episode = test.sample(torch.Generator().manual_seed(1), 1000, "test")
        return float(test.score(output(test, episode), episode.query).mean())


def test_drawings_depend_on_the_seed_and_on_nothing_else():
    first = draw(0, 12)
    assert first.shape == (12, 20, 28, 28) and first.dtype.name == "uint8"
    assert (first == draw(0, 12)).all() and (first == draw(0, 15)[:12]).all()
    assert (first != draw(1, 12)).any(axis=(1, 2, 3)).all()
    assert 0.05 < first.mean() / 255 < 0.12 and first.max() == 255
    assert len({image.tobytes() for image in first.reshape(-1, 784)}) == 240


def test_jitter_is_what_tells_instances_apart():
    still = draw(0, 5, jitter=0)
    assert (still == still[:, :1]).all()
    assert draw(0, 2, n_instances=3, size=40).shape == (2, 3, 40, 40)


def test_sides_are_disjoint_and_of_the_stated_sizes():
    task = Glyphs()
    assert [len(task.class_ids(split)) for split in ("train", "validation", "test")] == [1800, 200, 400]
    task.assert_disjoint()
    images = task.images("validation", torch.device("cpu"))
    assert images.shape == (200, 20, 28, 28) and images.dtype == torch.uint8


def test_tasks_over_the_same_drawings_share_them():
    one, other = Glyphs(n_way=5), Glyphs(n_way=20, n_shot=2, n_held_out=300)
    cpu = torch.device("cpu")
    assert one.images("train", cpu).data_ptr() == other.images("train", cpu).data_ptr()


def test_pixels_find_it_as_hard_as_real_characters():
    assert 0.4 < Glyphs().references()["pixel nearest neighbour"] < 0.6
    control = Glyphs(shuffle_labels=True).references()["pixel nearest neighbour"]
    assert control == pytest.approx(0.2, abs=0.01)


def test_a_small_network_learns_a_metric_that_transfers_to_new_classes():
    assert learn(100) > Glyphs().references()["pixel nearest neighbour"] + 0.1


@pytest.mark.slow
def test_a_small_network_exceeds_ninety_per_cent_in_a_minute():
    assert learn(2000) > 0.9


@pytest.mark.parametrize(
    "settings",
    [{"n_classes": 600}, {"seed": -1}, {"n_instances": 1}, {"jitter": -1.0}, {"size": 4}, {"n_validation": 0}],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SpecificationError, match="allowed"):
        Glyphs(**settings)
