"""Omniglot: facts of the data, and splits that do not leak."""

import numpy as np
import pytest
import torch

from neurometa.data import data_root, load_omniglot
from neurometa.errors import DataError, SpecificationError
from neurometa.tasks.base import SPLITS
from neurometa.tasks.omniglot import SCHEMES, Omniglot

CPU = torch.device("cpu")
needs_omniglot = pytest.mark.skipif(
    not (data_root() / "omniglot.npz").is_file(), reason="omniglot.npz is not in the data root"
)


@needs_omniglot
def test_one_drawing_is_there_twice():
    arrays = load_omniglot()
    images = arrays.images28.reshape(32460, 784)
    _, first, counts = np.unique(images, axis=0, return_index=True, return_counts=True)
    assert counts.max() == 2 and (counts == 2).sum() == 1
    twice = np.flatnonzero((images == images[first[counts == 2]]).all(1))
    assert arrays.character_name[twice // 20].tolist() == ["Braille/character01"] * 2
    assert (twice % 20 + 1).tolist() == [3, 19]


@needs_omniglot
def test_the_vinyals_split_has_gurmukhi_on_both_sides():
    arrays = load_omniglot()
    shared = set(arrays.alphabet[arrays.vinyals_split < 2]) & set(arrays.alphabet[arrays.vinyals_split == 2])
    assert [arrays.alphabet_names[k] for k in shared] == ["Gurmukhi"]


@needs_omniglot
def test_the_pixel_floor_of_the_vinyals_test_characters():
    floor = Omniglot(split_scheme="vinyals", rotations=False).references()["pixel nearest neighbour"]
    assert floor == pytest.approx(0.469, abs=0.015)
    control = Omniglot(split_scheme="vinyals", shuffle_labels=True).references()["pixel nearest neighbour"]
    assert control == pytest.approx(0.2, abs=0.01)


@needs_omniglot
@pytest.mark.parametrize(
    "scheme, sizes", [("miconi", [1423, 100, 100]), ("vinyals", [1028, 172, 423]), ("background", [864, 100, 659])]
)
def test_sides_are_disjoint_and_of_the_stated_sizes(scheme, sizes):
    task = Omniglot(split_scheme=scheme)
    task.assert_disjoint()
    characters = [task.characters(split) for split in SPLITS]
    assert [len(side) for side in characters] == sizes
    assert sorted(np.concatenate(characters)) == list(range(1623))
    for split, side in zip(SPLITS, characters, strict=True):
        ids = task.class_ids(split)  # four classes per character, all on its side
        assert len(ids.unique()) == len(ids) == 4 * len(side)
        assert torch.equal(task.origins(split).unique(), torch.from_numpy(side))
        assert torch.equal((ids % 4).bincount(), torch.full((4,), len(side)))


@needs_omniglot
def test_a_split_is_fixed_for_good_and_depends_on_its_seed():
    assert Omniglot().characters("test")[:8].tolist() == [2, 3, 11, 13, 20, 53, 59, 92]
    assert Omniglot().characters("test").tolist() != Omniglot(split_seed=1).characters("test").tolist()
    background = Omniglot(split_scheme="background")
    assert (load_omniglot().split[background.characters("validation")] == 0).all()
    assert (load_omniglot().split[background.characters("test")] == 1).all()


@needs_omniglot
def test_rotations_are_the_turned_images_of_their_character():
    task, upright = Omniglot(), load_omniglot().images28
    images, ids = task.images("test", CPU), task.class_ids("test")
    assert images.shape == (400, 20, 28, 28) and images.dtype == torch.uint8
    for row in (0, 1, 2, 3, 397):
        character, turns = divmod(int(ids[row]), 4)
        assert np.array_equal(images[row].numpy(), np.rot90(upright[character], turns, (1, 2)))
    plain = Omniglot(rotations=False)
    assert torch.equal(plain.images("test", CPU), images[::4]) and (plain.class_ids("test") % 4 == 0).all()


@needs_omniglot
def test_an_episode_shows_the_images_that_its_info_names():
    task, upright = Omniglot(n_way=20, n_query=7), load_omniglot().images28
    episode = task.sample(torch.Generator().manual_seed(0), 3, "validation")
    again = task.sample(torch.Generator().manual_seed(0), 3, "validation")
    stimulus = torch.cat([episode.support.inputs["stimulus"], episode.query.inputs["stimulus"]])
    assert torch.equal(stimulus[:20], again.support.inputs["stimulus"]) and stimulus.shape == (27, 3, 784)
    for time, batch in ((0, 0), (19, 2), (26, 1)):
        character, turns = divmod(int(episode.info["class"][time, batch]), 4)
        image = np.rot90(upright[character, episode.info["instance"][time, batch]], turns)
        assert np.array_equal((stimulus[time, batch] * 255).round().numpy().reshape(28, 28), image)
        assert character in task.characters("validation")


@needs_omniglot
def test_a_leaking_split_is_refused(monkeypatch):
    task = Omniglot(split_seed=99)
    monkeypatch.setattr(Omniglot, "characters", lambda self, split: np.arange(3) + 2 * SPLITS.index(split))
    with pytest.raises(DataError, match=r"train and validation share 1 of their classes \(such as 2\)"):
        task.assert_disjoint()


def test_missing_data_say_what_to_type(tmp_path):
    task = Omniglot(data_root=str(tmp_path))
    assert task.n_in == 784 and task.n_out == 5  # sizes are known without the data
    with pytest.raises(DataError, match="neurometa data fetch omniglot"):
        task.sample(torch.Generator(), 1)


@pytest.mark.parametrize(
    "settings", [{"split_scheme": "lake"}, {"split_seed": -1}, {"n_held_out": 0}, {"n_validation": 900}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SpecificationError, match="allowed") as caught:
        Omniglot(**settings)
    assert "split_scheme" not in settings or all(scheme in str(caught.value) for scheme in SCHEMES)
