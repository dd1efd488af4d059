"""Few-shot sampling, on images that say who they are: pixel 0 is the class, pixel 1 the instance."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurometa.errors import DataError, SpecificationError
from neurometa.tasks._fewshot import FewShot, distinct, permutation

SIDES = {"train": range(0, 9), "validation": range(9, 16), "test": range(16, 24)}


@dataclass(frozen=True, kw_only=True)
class Labelled(FewShot):
    """Images that hold their class and their instance."""

    n_instances: int = 6
    leak: bool = False

    @property
    def image_shape(self):
        return (1, 2, 3)

    def class_ids(self, split):
        return torch.tensor([0 if self.leak and k == 20 else k for k in SIDES[split]])

    def images(self, split, device):
        images = torch.zeros(len(SIDES[split]), self.n_instances, 6, dtype=torch.uint8, device=device)
        images[..., 0] = self.class_ids(split)[:, None]
        images[..., 1] = torch.arange(self.n_instances)
        images[..., 2] = 255
        return images.reshape(*images.shape[:2], 2, 3)


def draw(seed=0, n=50, split="train", dtype=None, **settings):
    task = Labelled(**settings)
    return task, task.sample(torch.Generator().manual_seed(seed), n, split, dtype=dtype)


def who(part):
    """Return class and instance of each image, ``(time, batch)``."""
    pixels = (part.inputs["stimulus"] * 255).round().long()
    return pixels[..., 0], pixels[..., 1]


@settings(max_examples=40, deadline=None)
@given(
    n_way=st.integers(2, 7), n_shot=st.integers(1, 5), n_query=st.integers(1, 6), split=st.sampled_from(list(SIDES)),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_an_episode_is_what_it_says(n_way, n_shot, n_query, split, seed):
    task, episode = draw(seed, 20, split, n_way=n_way, n_shot=n_shot, n_query=n_query)
    support, query = episode.support, episode.query
    assert support.inputs["stimulus"].shape == (n_way * n_shot, 20, task.n_in) and task.n_in == 6
    assert query.target.shape == (n_query, 20, task.n_out) and task.n_out == n_way
    (s_class, s_instance), (q_class, q_instance) = who(support), who(query)
    assert torch.equal(episode.info["class"], torch.cat([s_class, q_class]))
    assert torch.equal(episode.info["instance"], torch.cat([s_instance, q_instance]))
    for b in range(20):
        assert set(s_class[:, b].tolist()) <= set(SIDES[split])
        meaning = dict(zip(s_class[:, b].tolist(), support.target[:, b].argmax(-1).tolist(), strict=True))
        assert sorted(meaning.values()) == list(range(n_way))  # distinct classes, all labels
        shown = list(zip(s_class[:, b].tolist(), s_instance[:, b].tolist(), strict=True))
        asked = list(zip(q_class[:, b].tolist(), q_instance[:, b].tolist(), strict=True))
        assert len(set(shown)) == n_way * n_shot  # distinct instances
        assert not set(shown) & set(asked)  # queries are new
        assert [meaning[k] for k in q_class[:, b].tolist()] == query.target[:, b].argmax(-1).tolist()


def test_parts_are_laid_out_by_the_contract():
    _, episode = draw(n_shot=2)
    support, query = episode.support, episode.query
    assert torch.equal(support.inputs["target"], support.target) and support.inputs["teach"].eq(1).all()
    assert query.inputs["target"].eq(0).all() and query.inputs["teach"].eq(0).all()
    assert query.inputs["target"].shape == query.target.shape and query.target.sum(-1).eq(1).all()
    for part in (support, query):
        assert part.inputs["teach"].shape == (*part.weight.shape, 1) and part.weight.eq(1).all()
        assert part.reset.dtype == part.learn.dtype == torch.bool and part.reset.shape == part.weight.shape[:1]
        assert part.reset.all() and part.inputs["stimulus"][..., 2].eq(1).all()  # 255 is ink 1
    assert support.learn.all() and not query.learn.any()


def test_the_same_seed_gives_the_same_episode_in_any_precision():
    first, second, other = draw(3)[1], draw(3)[1], draw(4)[1]
    single, double = draw(3, dtype=torch.float32)[1], draw(3, dtype=torch.float64)[1]
    assert torch.equal(first.support.inputs["stimulus"], second.support.inputs["stimulus"])
    assert torch.equal(first.query.target, second.query.target)
    assert not torch.equal(first.info["class"], other.info["class"])
    assert double.query.weight.dtype == double.query.inputs["stimulus"].dtype == torch.float64
    assert torch.equal(single.info["class"], double.info["class"])
    old = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(draw(3)[1].info["class"], first.info["class"])
        assert draw(3)[1].query.target.dtype == torch.float64
    finally:
        torch.set_default_dtype(old)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_seed_gives_the_same_episode_on_a_gpu():
    task = Labelled()
    here, there = (task.sample(torch.Generator().manual_seed(0), 9, device=device) for device in ("cpu", "cuda"))
    assert there.support.inputs["stimulus"].is_cuda and there.query.reset.is_cuda
    assert torch.equal(here.support.inputs["stimulus"], there.support.inputs["stimulus"].cpu())
    assert torch.equal(here.query.target, there.query.target.cpu())


def test_everything_that_can_be_drawn_is_drawn_equally_often():
    _, episode = draw(0, 20_000, n_way=3, n_shot=2, n_query=4)
    for part, n in ((episode.support, 120_000), (episode.query, 80_000)):
        (classes, instances), labels = who(part), part.target.argmax(-1)
        for values, n_values in ((classes, 9), (instances, 6), (labels, 3), (classes * 6 + instances, 54)):
            share = torch.bincount(values.flatten(), minlength=n_values) / n
            assert torch.allclose(share, torch.full_like(share, 1 / n_values), rtol=0.1)
        first = labels[0] * 9 + classes[0]  # label and class are independent, at every position
        assert torch.allclose(torch.bincount(first) / 20_000, torch.tensor(1 / 27), atol=0.006)


def test_shuffled_labels_keep_the_images_and_destroy_the_information():
    task, control = draw(0, 20_000, n_way=4, n_shot=2, shuffle_labels=True)
    _, plain = draw(0, 20_000, n_way=4, n_shot=2)
    assert torch.equal(control.support.inputs["stimulus"], plain.support.inputs["stimulus"])
    assert torch.equal(control.query.target, plain.query.target)
    assert torch.equal(control.support.inputs["target"], control.support.target)
    right, shown = plain.support.target.argmax(-1), control.support.target.argmax(-1)
    pairs = torch.zeros(20_000, 4, 4).index_put_((torch.arange(20_000), right, shown), torch.tensor(1.0))
    assert pairs.sum(1).eq(1).all() and pairs.sum(2).eq(1).all()  # one permutation per episode
    code = (pairs.argmax(-1) * torch.tensor([64, 16, 4, 1])).sum(-1)
    counts = torch.unique(code, return_counts=True)[1]
    assert len(counts) == 24 and (counts / 20_000 - 1 / 24).abs().max() < 0.006  # uniform, the identity among them
    known, asked = who(control.support)[0], who(control.query)[0]
    found = (known[None] == asked[:, None]).float().argmax(1)  # (query time, batch): an all-knowing reader
    answer = control.support.target.gather(0, found[..., None].expand(-1, -1, 4))
    assert abs(float(task.score(answer, control.query).mean()) - task.floor()) < 0.006


def test_permuted_pixels_are_the_same_pixels_in_one_order_for_each_episode():
    (_, plain), (_, moved) = (draw(0, 400, n_shot=2, permute_pixels=permute) for permute in (False, True))
    found = []
    for episode in (plain, moved):
        found.append(torch.cat([part.inputs["stimulus"] for part in (episode.support, episode.query)]))
    before, after = found
    assert torch.equal(before.sort(-1).values, after.sort(-1).values)
    assert torch.equal(plain.query.target, moved.query.target)
    ink = (after == 1).float().argmax(-1)  # where pixel 2 went, (time, batch)
    assert (ink == ink[0]).all() and torch.unique(ink[0], return_counts=True)[1].min() > 40  # anywhere of six places


def test_loss_and_score_are_weighted_means():
    task, episode = draw(0, 3, n_way=4, n_query=2)
    query = episode.query._replace(weight=torch.tensor([[1.0, 1.0, 0.0], [1.0, 3.0, 2.0]]))
    flat = torch.zeros(2, 3, 4)
    assert torch.allclose(task.loss(flat, query), torch.full((3,), 4.0).log())
    right_then_wrong = torch.stack([query.target[0], query.target[1].roll(1, -1)])
    assert torch.allclose(task.score(right_then_wrong, query), torch.tensor([0.5, 0.25, 0.0]))
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    entropy = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), query.target.argmax(-1).flatten(), reduction="none"
    )
    expected = (entropy.reshape(2, 3) * query.weight).sum(0) / query.weight.sum(0)
    assert torch.allclose(task.loss(logits, query), expected)
    assert task.floor() == 0.25 and task.ceiling() is None


def test_the_nearest_neighbour_reference_is_right_where_it_can_be_known():
    assert Labelled(n_way=2).references()["pixel nearest neighbour"] > 0.55
    assert Labelled(n_way=2, shuffle_labels=True).references()["pixel nearest neighbour"] == pytest.approx(
        0.5, abs=0.02
    )
    with pytest.raises(SpecificationError, match=r"unknown split 'tests'.*allowed"):
        draw(split="tests")


def test_a_class_on_two_sides_is_refused_before_anything_is_sampled():
    with pytest.raises(DataError, match=r"train and test share 1 of their classes \(such as 0\)"):
        draw(leak=True)


@pytest.mark.parametrize("settings", [{"n_way": 8, "split": "validation"}, {"n_shot": 6}])
def test_too_few_classes_or_instances_are_refused(settings):
    with pytest.raises(DataError, match=r"has \d classes of 6 instances; .* needs"):
        draw(**settings)


@pytest.mark.parametrize("settings", [{"n_way": 1}, {"n_shot": 0}, {"n_query": 0}])
def test_numbers_out_of_range_are_refused(settings):
    with pytest.raises(SpecificationError, match=r"allowed: \d or more"):
        Labelled(**settings)


def test_distinct_draws_every_subset_equally_often():
    rows = distinct(torch.Generator().manual_seed(0), 30_000, 3, 5).sort(-1).values
    subsets, counts = torch.unique(rows, dim=0, return_counts=True)
    assert len(subsets) == 10 and (counts / 30_000 - 0.1).abs().max() < 0.007
    assert (rows.diff(dim=-1) > 0).all()


def test_permutations_are_fixed_for_good():
    assert permutation(0, 10).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert sorted(permutation(7, 100)) == list(range(100))
