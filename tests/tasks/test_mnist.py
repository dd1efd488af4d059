"""MNIST: images are disjoint across splits, digits are not; idx files are read, or refused in one line."""

import gzip
import struct

import numpy as np
import pytest
import torch

from neurometa._mnist import FILES, mnist_arrays, read_idx
from neurometa.data import data_root, load_mnist
from neurometa.errors import DataError, SpecificationError
from neurometa.tasks.base import SPLITS
from neurometa.tasks.mnist import Mnist

CPU = torch.device("cpu")
needs_mnist = pytest.mark.skipif(not (data_root() / "mnist.npz").is_file(), reason="mnist.npz is not in the data root")


def idx(array):
    """Write an array of bytes as the official files do."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(content):
    """Return what gzip makes of it, the same at any time of day."""
    return gzip.compress(content, mtime=0)


def numbered(labels, first):
    """Return images that hold their digit (pixel 0) and their number (pixels 1 and 2)."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    numbers = first + np.arange(len(labels))
    images[:, 0, 0], images[:, 0, 1], images[:, 0, 2] = labels, numbers // 256, numbers % 256
    return images


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder with a small ``mnist.npz``, made from idx files; digit 3 is the rarest."""
    folder, rng = tmp_path_factory.mktemp("mnist"), np.random.default_rng(0)
    counts = np.full(10, 30)
    counts[3] = 20
    train, test = (rng.permutation(np.arange(10, dtype=np.uint8).repeat(n)) for n in (counts, counts // 3))
    contents = (numbered(train, 0), train, numbered(test, len(train)), test)
    for file, content in zip(FILES, contents, strict=True):
        (folder / file).write_bytes(zipped(idx(content)))
    np.savez_compressed(folder / "mnist.npz", **mnist_arrays(folder / file for file in FILES))
    return folder


def who(stimulus):
    """Return digit and number of each image."""
    pixels = (stimulus.flatten(0, 1) * 255).round().long()
    return pixels[:, 0].tolist(), (256 * pixels[:, 1] + pixels[:, 2]).tolist()


def test_splits_share_the_digits_and_no_image(root):
    task = Mnist(data_root=str(root), n_validation=5)
    task.assert_disjoint()
    assert [len(task.origins(split)) for split in SPLITS] == [150, 50, 60]  # as many of each digit as of the rarest
    arrays = load_mnist(root)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    for split in SPLITS:
        numbers, images = task.numbers(split), task.images(split, CPU).numpy()
        assert (labels[numbers] == np.arange(10)[:, None]).all() and task.class_ids(split).tolist() == [*range(10)]
        assert np.array_equal(images, numbered(labels, 0)[numbers])
    assert task.numbers("test").min() >= len(arrays.train_labels) > task.numbers("train").max()
    other = Mnist(data_root=str(root), n_validation=5, split_seed=1)
    assert set(other.numbers("train").ravel()) != set(task.numbers("train").ravel())


@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_shows_images_of_its_split_under_labels_of_its_own(root, split):
    task = Mnist(data_root=str(root), n_validation=5, n_way=4, n_shot=2)
    episode = task.sample(torch.Generator().manual_seed(0), 300, split, dtype=torch.float64)
    meanings = torch.zeros(10, 4)
    for part in (episode.support, episode.query):
        digits, numbers = who(part.inputs["stimulus"])
        assert set(numbers) <= set(task.origins(split).tolist())
        meanings.index_add_(0, torch.tensor(digits), part.target.flatten(0, 1).float())
    share = meanings / meanings.sum(1, keepdim=True)
    assert (share - 0.25).abs().max() < 0.12  # every digit has every label
    digit = episode.info["class"][:8].T
    assert torch.equal(digit, torch.tensor(who(episode.support.inputs["stimulus"])[0]).view(8, 300).T)


def test_an_image_on_two_sides_is_refused(root, monkeypatch):
    task = Mnist(data_root=str(root), n_validation=4)
    monkeypatch.setattr(Mnist, "numbers", lambda self, split: np.arange(20).reshape(10, 2) + 19 * SPLITS.index(split))
    with pytest.raises(DataError, match=r"Mnist: train and validation share 1 of their images \(such as 19\)"):
        task.sample(torch.Generator(), 1)


def test_idx_files_are_read_as_numpy_would_write_them(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "some.gz").write_bytes(zipped(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "some.gz", 3), array)


GOOD = idx(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    "content, match",
    [
        (GOOD, "not a readable gzip file"),  # not compressed
        (zipped(GOOD)[:-9], "not a readable gzip file"),
        (zipped(b""), "not an idx file"),
        (zipped(b"\x80\x04\x95junk"), "not an idx file"),
        (zipped(b"\0\0\x0d" + GOOD[3:]), "not an idx file"),  # floats
        (zipped(idx(np.zeros(5, np.uint8))), "with 3 axes"),
        (zipped(GOOD[:-1]), r"holds 23 values, but its header says \(2, 3, 4\), which is 24"),
        (zipped(GOOD + b"0"), "holds 25 values"),
        (zipped(GOOD[:4] + b"\xff" * 12 + GOOD[16:]), "header says"),
    ],
)
def test_other_files_are_refused(tmp_path, content, match):
    (tmp_path / "some.gz").write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        read_idx(tmp_path / "some.gz", 3)
    assert "\n" not in str(caught.value) and "some.gz" in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"MNIST lacks train-images-idx3-ubyte\.gz"):
        mnist_arrays([tmp_path / file for file in [*FILES][1:]])


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"test_images": np.zeros((60, 28, 27), np.uint8)}, "test_images is uint8"),
        ({"train_labels": np.zeros((), np.uint8)}, "train_images is uint8"),
        ({"test_labels": np.zeros(10)}, "test_images is uint8"),
        ({"train_labels": np.zeros(290, np.uint8)}, r"train_labels are \[0\], expected all of 0 to 9"),
        ({"test_labels": None}, "lacks test_labels"),
    ],
)
def test_wrong_arrays_are_refused(root, tmp_path, changes, match):
    arrays = {name: array for name, array in (load_mnist(root)._asdict() | changes).items() if array is not None}
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=match) as caught:
        load_mnist(tmp_path)
    assert "\n" not in str(caught.value) and "neurometa data fetch mnist" in str(caught.value)


def test_missing_data_say_what_to_type(tmp_path):
    task = Mnist(data_root=str(tmp_path))
    assert task.n_in == 784 and task.n_out == 5  # sizes are known without the data
    with pytest.raises(DataError, match="neurometa data fetch mnist"):
        task.sample(torch.Generator(), 1)


@pytest.mark.parametrize("settings", [{"n_way": 11}, {"n_validation": 0}, {"split_seed": -1}, {"n_shot": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SpecificationError, match="allowed"):
        Mnist(**settings)


def test_more_validation_images_than_there_are_are_refused(root):
    with pytest.raises(DataError, match="less than the 20 training images of the rarest digit"):
        Mnist(data_root=str(root)).sample(torch.Generator(), 1)


@needs_mnist
def test_facts_of_mnist():
    arrays = load_mnist()
    assert np.bincount(arrays.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert arrays.test_images.shape == (10000, 28, 28)
    assert [len(Mnist().origins(split)) // 10 for split in SPLITS] == [4921, 500, 892]
