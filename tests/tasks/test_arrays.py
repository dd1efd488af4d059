"""Arrays: one's own images, from a file or from folders."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from neurometa.errors import DataError, SpecificationError
from neurometa.tasks.arrays import Arrays, read_classes

CPU = torch.device("cpu")


def some_images(n_classes=30, n_instances=6, size=28):
    return np.random.default_rng(0).integers(0, 256, (n_classes, n_instances, size, size), np.uint8)


def save_folder(folder, images, suffix=".png"):
    """Write one sub-folder per class."""
    for k, instances in enumerate(images):
        (folder / f"class{k:02d}").mkdir(parents=True)
        for i, image in enumerate(instances):
            Image.fromarray(image).save(folder / f"class{k:02d}" / f"{i}{suffix}")
    return str(folder)


def test_a_file_a_folder_of_images_and_a_folder_of_arrays_are_the_same_task(tmp_path):
    images = some_images()
    np.savez(tmp_path / "all.npz", images=images)
    (tmp_path / "npy").mkdir()
    for k, instances in enumerate(images):
        np.save(tmp_path / "npy" / f"class{k:02d}.npy", instances)
    paths = [str(tmp_path / "all.npz"), save_folder(tmp_path / "png", images), str(tmp_path / "npy")]
    tasks = [Arrays(path=path, n_way=3, n_query=4) for path in paths]
    episodes = [task.sample(torch.Generator().manual_seed(0), 5, "test") for task in tasks]
    for path, episode in zip(paths, episodes, strict=True):
        assert np.array_equal(read_classes(path), images)
        assert torch.equal(episode.query.inputs["stimulus"], episodes[0].query.inputs["stimulus"])
    shown = (episodes[0].support.inputs["stimulus"][1, 2] * 255).round().reshape(28, 28).numpy()
    assert np.array_equal(shown, images[episodes[0].info["class"][1, 2], episodes[0].info["instance"][1, 2]])


def test_sides_are_shares_of_the_classes_by_seed(tmp_path):
    np.savez(tmp_path / "a.npz", images=some_images())
    task = Arrays(path=str(tmp_path / "a.npz"), validation=0.2, test=0.3)
    sides = [task.class_ids(split).tolist() for split in ("train", "validation", "test")]
    assert [len(side) for side in sides] == [15, 6, 9] and sorted(k for side in sides for k in side) == list(range(30))
    task.assert_disjoint()
    other = Arrays(path=task.path, validation=0.2, test=0.3, split_seed=1)
    assert other.class_ids("test").tolist() != sides[2]
    small = Arrays(path=task.path)  # 3 validation classes
    with pytest.raises(DataError, match="validation has 3 classes of 6 instances; 5-way 1-shot needs 5 of 2"):
        small.sample(torch.Generator(), 1, "validation")


def test_images_are_made_grey_resized_and_inverted(tmp_path):
    big = np.repeat(np.repeat(some_images(2, 2, 4), 7, 2), 7, 3)
    np.savez(tmp_path / "a.npz", images=big)
    path = str(tmp_path / "a.npz")
    assert np.array_equal(read_classes(path, 4), some_images(2, 2, 4))
    assert Arrays(path=path, size=4).n_in == 16
    plain, inverted = (Arrays(path=path, size=4, invert=flag, test=0.4)._plain() for flag in (False, True))
    assert torch.equal(255 - plain.images("train", CPU), inverted.images("train", CPU))
    colour = np.zeros((2, 3, 20, 40, 3), np.uint8)
    colour[..., 1] = 255
    folder = save_folder(tmp_path / "colour", colour, ".JPG")
    assert read_classes(folder, 28).shape == (2, 3, 28, 28) and 140 < read_classes(folder, 28).mean() < 160


def test_classes_of_other_sizes_are_cut_to_the_smallest_with_a_warning(tmp_path, caplog):
    folder = save_folder(tmp_path / "png", some_images(4, 5))
    (tmp_path / "png" / "class02" / "4.png").unlink()
    (tmp_path / "png" / "notes.txt").write_text("left alone")
    (tmp_path / "png" / ".hidden").mkdir()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_classes(folder), some_images(4, 5)[:, :4])
    assert "keeps 4 images, as many as 'class02' has" in caplog.text


def test_what_is_not_there_or_not_images_is_refused(tmp_path):
    def refused(path, match):
        with pytest.raises(DataError, match=match) as caught:
            Arrays(path=str(path)).sample(torch.Generator(), 1)
        assert "\n" not in str(caught.value)

    refused("", "arrays needs path: an .npz file with 'images'")
    refused(tmp_path / "nowhere", "there is nothing at")
    refused(tmp_path, "holds no class")
    for name, content, match in (
        ("a", {"pictures": some_images(1)}, "lacks images; it holds pictures"),
        ("b", {"images": some_images(1).astype(float)}, "float64.*allowed: uint8"),
        ("c", {"images": some_images(1)[0]}, r"\(6, 28, 28\), allowed: uint8 \(classes, instances, h, w\)"),
        ("d", {"images": np.array([object()])}, "not a readable"),
        ("e", {"images": some_images(0)}, "not empty"),
    ):
        np.savez(tmp_path / f"{name}.npz", **content)
        refused(tmp_path / f"{name}.npz", match)
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "not a readable")


@pytest.mark.parametrize(
    "name, content, match",
    [
        ("a.npy", b"hello", "not a readable .npy"),
        ("a.npy", b"", "not a readable .npy"),
        ("a/1.png", b"hello", "1.png is not a readable image"),
        ("a/1.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not a readable image"),
        ("a/readme.txt", b"hello", "holds no image, allowed: .png, .jpg"),
    ],
)
def test_damaged_members_of_a_folder_are_named(tmp_path, name, content, match):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_classes(str(tmp_path))


def test_arrays_of_classes_must_be_piles_of_images(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"a.npy: images are float64\(3, 4\), allowed: uint8 \(instances, h, w\)"):
        read_classes(str(tmp_path))
    with open(tmp_path / "a.npy", "wb") as file:
        np.savez(file, x=np.zeros(3))
    with pytest.raises(DataError, match="npz archive"):
        read_classes(str(tmp_path))


@pytest.mark.parametrize("settings", [{"size": 1}, {"split_seed": -1}, {"validation": 0.0}, {"test": 0.95}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SpecificationError, match="allowed"):
        Arrays(path="x", **settings)
