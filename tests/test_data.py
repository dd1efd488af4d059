"""Data sets: finding, reading and fetching them, and every way in which that can go wrong."""

import gzip
import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from neurometa import data
from neurometa._mnist import FILES
from neurometa._omniglot import _VALIDATION, grey28
from neurometa.errors import DataError

OMNIGLOT = data.data_root() / "omniglot.npz"
needs_omniglot = pytest.mark.skipif(not OMNIGLOT.is_file(), reason="omniglot.npz is not in the data root")
ZIPS = ("images_background.zip", "images_evaluation.zip")


class Quiet(SimpleHTTPRequestHandler):
    """Serve a folder and count the requests."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """Serve ``tmp_path/served`` on the loopback interface; yield (folder, URL)."""
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_address[1]}/"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def png(ink):
    """Encode black ink on white, one bit per pixel, as the official files do."""
    buffer = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1").save(buffer, "png")
    return buffer.getvalue()


def write_zips(folder, drawings):
    """Write the two zips from ``{(side, alphabet, character, lake_id): (20, 105, 105) ink}``; return checksums."""
    for side, name in enumerate(ZIPS):
        with zipfile.ZipFile(folder / name, "w") as file:
            file.writestr(f"{name[:-4]}/", "")
            file.writestr("__MACOSX/._images", "other things are left alone")
            for (where, alphabet, character, lake_id), ink in drawings.items():
                for drawer in range(20 * (where == side)):
                    member = f"{name[:-4]}/{alphabet}/character{character:02d}/{lake_id:04d}_{drawer + 1:02d}.png"
                    file.writestr(member, png(ink[drawer]))
    return {name: "md5:" + hashlib.md5((folder / name).read_bytes()).hexdigest() for name in ZIPS}


def scribbles():
    """Return a few characters of random ink, from both sides and every Vinyals side."""
    rng = np.random.default_rng(0)
    keys = [(0, "Greek", 1, 394), (0, "Greek", 2, 395), (0, "Hebrew", 1, 440), (1, "Gurmukhi", 41, 1200)]
    keys += [(1, "Gurmukhi", 42, 1201), (1, "Atlantean", 1, 1000), (1, "Kannada", 3, 1300)]
    return {key: rng.random((20, 105, 105)) < 0.1 for key in keys}


def fake_omniglot(**changes):
    """Return arrays of the right shape that hold nothing."""
    zeros = np.zeros(1623, np.uint8)
    arrays = {
        "images28": np.zeros((1623, 20, 28, 28), np.uint8),
        "alphabet": zeros,
        "character": zeros,
        "character_name": zeros.astype(str),
        "alphabet_names": np.array(["a"] * 50),
        "split": zeros,
        "vinyals_split": zeros,
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def test_root_is_the_argument_then_the_environment_then_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROMETA_DATA", str(tmp_path / "variable"))
    assert data.data_root() == tmp_path / "variable"
    assert data.data_root("") == tmp_path / "variable"
    assert data.data_root(tmp_path) == tmp_path
    monkeypatch.delenv("NEUROMETA_DATA")
    assert "neurometa" in str(data.data_root())
    assert "~" not in str(data.data_root("~/shelf"))


def test_info_says_what_is_there_and_how_to_get_the_rest(tmp_path):
    (tmp_path / "omniglot.npz").write_bytes(b"12345")
    rows = {row["name"]: row for row in data.info(tmp_path)}
    assert rows["omniglot"]["present"] and rows["omniglot"]["size"] == 5
    assert rows["omniglot"]["fetch"] == "neurometa data fetch omniglot"
    assert not rows["movietweetings100k"]["present"] and rows["movietweetings100k"]["size"] > 100_000
    assert "put movietweetings100k.npz" in rows["movietweetings100k"]["fetch"]
    assert all(row["licence"] and row["what"] for row in rows.values())


def test_missing_says_what_to_type(tmp_path):
    with pytest.raises(DataError, match=r"neurometa data fetch omniglot.*NEUROMETA_DATA") as caught:
        data.load_omniglot(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_good_file_loads(tmp_path):
    np.savez_compressed(tmp_path / "omniglot.npz", **fake_omniglot())
    assert data.load_omniglot(tmp_path).images28.shape == (1623, 20, 28, 28)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"split": None}, "lacks split"),
        ({"images28": np.zeros((1623, 20, 28, 27), np.uint8)}, "images28 is uint8.*expected"),
        ({"images28": np.zeros((1623, 20, 28, 28), np.uint16)}, "images28 is uint16"),
        ({"alphabet": np.zeros(1622, np.uint8)}, "alphabet is"),
        ({"alphabet": np.zeros(1623)}, "alphabet is float64"),
        ({"split": np.full(1623, 2, np.uint8)}, "split runs from 2 to 2"),
        ({"character_name": np.array([object()] * 1623)}, "not a readable"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, changes, match):
    np.savez_compressed(tmp_path / "omniglot.npz", **fake_omniglot(**changes))
    with pytest.raises(DataError, match=match) as caught:
        data.load_omniglot(tmp_path)
    assert "\n" not in str(caught.value) and "omniglot.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04\x95junk"])
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "omniglot.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable \.npz file") as caught:
        data.load_omniglot(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_single_array_is_not_an_archive(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="not a readable"):
        data.read_npz(tmp_path / "one.npy", ["images"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_truncated_and_damaged_files_never_leak_another_error(tmp_path, save):
    path, truth = tmp_path / "some.npz", np.random.default_rng(0).integers(0, 9, (20, 30))
    save(path, truth=truth)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for keep in range(0, len(whole), 7):
        path.write_bytes(whole[:keep])
        with pytest.raises(DataError):
            data.read_npz(path, ["truth"])
    n_damaged = 0
    for where in rng.integers(0, len(whole), 400):
        broken = bytearray(whole)
        broken[where] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            assert np.array_equal(data.read_npz(path, ["truth"])["truth"], truth)  # a field that nobody reads
        except DataError as error:
            n_damaged += 1
            assert "\n" not in str(error)
    assert n_damaged > 200


def test_grey28_is_pillows_box_filter():
    ink = np.random.default_rng(0).random((3, 105, 105)) < 0.3
    for one in ink:
        box = Image.fromarray(one.astype(np.uint8) * 255).resize((28, 28), Image.Resampling.BOX)
        assert np.array_equal(grey28(one), np.asarray(box))


def test_fetch_converts_the_official_layout(tmp_path, server):
    folder, url = server
    drawings = scribbles()
    checksums = write_zips(folder, drawings)
    path = data.fetch("omniglot", tmp_path / "root", url, progress=True, checksums=checksums)
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["omniglot.npz"]
    file = np.load(path, allow_pickle=False)
    names = ["Greek/character01", "Greek/character02", "Hebrew/character01", "Atlantean/character01"]
    names += ["Gurmukhi/character41", "Gurmukhi/character42", "Kannada/character03"]
    assert file["character_name"].tolist() == names
    assert file["alphabet_names"].tolist() == ["Greek", "Hebrew", "Atlantean", "Gurmukhi", "Kannada"]
    assert file["alphabet"].tolist() == [0, 0, 1, 2, 3, 3, 4] and file["split"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert file["vinyals_split"].tolist() == [0, 0, 1, 0, 0, 2, 2]
    assert file["lake_id"].tolist() == [394, 395, 440, 1000, 1200, 1201, 1300]
    ink = np.unpackbits(file["images105_packed"], axis=-1, count=105)
    assert np.array_equal(ink[4], drawings[(1, "Gurmukhi", 41, 1200)])
    assert np.array_equal(file["images28"][4], grey28(ink[4]))


@needs_omniglot
def test_fetch_reproduces_the_data_root_bit_for_bit(tmp_path, server):
    folder, url = server
    with np.load(OMNIGLOT) as file:
        truth = {name: file[name] for name in file.files if name != "images105_packed"}
        packed = file["images105_packed"]
    chosen = [0, 1, 104, 105, 964, 1203, 1204, 1205, 1622]
    names = truth["alphabet_names"][truth["alphabet"]]
    drawings = {
        (truth["split"][k], names[k], truth["character"][k], truth["lake_id"][k]): np.unpackbits(
            packed[k], axis=-1, count=105
        )
        for k in chosen
    }
    path = data.fetch("omniglot", tmp_path / "root", url, progress=False, checksums=write_zips(folder, drawings))
    made = np.load(path, allow_pickle=False)
    for name in ("images28", "character", "character_name", "lake_id", "split", "vinyals_split"):
        assert np.array_equal(made[name], truth[name][chosen]), name
        assert name == "character_name" or made[name].dtype == truth[name].dtype
    assert np.array_equal(made["images105_packed"], packed[chosen])
    assert np.array_equal(made["alphabet_names"][made["alphabet"]], names[chosen])


@needs_omniglot
def test_the_rules_for_order_and_splits_hold_for_all_characters():
    file = np.load(OMNIGLOT)
    assert np.array_equal(
        grey28(np.unpackbits(file["images105_packed"][::40], axis=-1, count=105)), file["images28"][::40]
    )
    names = file["character_name"]
    keys = list(zip(file["split"], names, strict=True))
    assert keys == sorted(keys)
    validation = [name.split("/")[0] in _VALIDATION for name in names]
    vinyals = np.where(validation, 1, np.where((file["split"] == 1) & (names > "Gurmukhi/character41"), 2, 0))
    assert np.array_equal(vinyals, file["vinyals_split"])


def test_fetch_converts_the_files_of_mnist(tmp_path, server):
    folder, url = server
    labels = np.arange(20, dtype=np.uint8) % 10
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for file, array in zip(FILES, (images, labels, images[10:], labels[10:]), strict=True):
        header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (folder / file).write_bytes(gzip.compress(header + array.tobytes()))
    checksums = {file: "md5:" + hashlib.md5((folder / file).read_bytes()).hexdigest() for file in FILES}
    assert list(data.DATA_SETS["mnist"].downloads) == list(FILES)
    data.fetch("mnist", tmp_path / "root", url, progress=False, checksums=checksums)
    arrays = data.load_mnist(tmp_path / "root")
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["mnist.npz"]
    assert np.array_equal(arrays.train_images, images) and np.array_equal(arrays.test_labels, labels[10:])
    Quiet.asked = 0
    data.fetch("mnist", tmp_path / "root", url, progress=False)  # a good file is left alone
    assert Quiet.asked == 0
    with pytest.raises(DataError, match=r"f68b3c2dcbeaaa9fbdd348bbdeb94873|ec29112dd5afa0611ce80d1b7f02629c|hash"):
        data.fetch("mnist", tmp_path / "other", url, progress=False)  # not the official files


def test_fetch_refuses_a_wrong_checksum_and_leaves_nothing(tmp_path, server):
    folder, url = server
    checksums = write_zips(folder, scribbles())
    checksums[ZIPS[1]] = "md5:" + "0" * 32
    with pytest.raises(DataError, match=r"cannot fetch .*images_evaluation\.zip") as caught:
        data.fetch("omniglot", tmp_path / "root", url, progress=False, checksums=checksums)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []


def test_fetch_uses_the_official_checksums_by_default(tmp_path, server):
    folder, url = server
    write_zips(folder, scribbles())
    with pytest.raises(DataError, match=r"68d2efa1b9178cc56df9314c21c6e718|hash"):
        data.fetch("omniglot", tmp_path / "root", url, progress=False)
    assert list((tmp_path / "root").iterdir()) == []


def test_fetch_reports_an_absent_file_and_an_absent_server(tmp_path, server):
    with pytest.raises(DataError, match="404"):
        data.fetch("omniglot", tmp_path / "root", server[1], progress=False)
    with pytest.raises(DataError, match="cannot fetch"):
        data.fetch("omniglot", tmp_path / "root", "http://127.0.0.1:9", progress=False)


@pytest.mark.parametrize("damage", ["no zip", "no drawings", "few drawers", "no image", "wrong size"])
def test_fetch_refuses_zips_that_are_something_else(tmp_path, server, damage):
    folder, url = server
    drawings = {} if damage == "no drawings" else scribbles()
    if damage == "wrong size":
        drawings = {key: ink[:, :50, :50] for key, ink in drawings.items()}
    checksums = write_zips(folder, drawings)
    target = folder / ZIPS[0]
    if damage == "no zip":
        target.write_bytes(b"not a zip")
    if damage in ("few drawers", "no image"):
        with zipfile.ZipFile(target, "w") as file:
            n = 20 if damage == "no image" else 3
            for drawer in range(n):
                content = b"not an image" if damage == "no image" else png(np.eye(105))
                file.writestr(f"images_background/Greek/character01/0394_{drawer + 1:02d}.png", content)
    checksums[ZIPS[0]] = "md5:" + hashlib.md5(target.read_bytes()).hexdigest()
    with pytest.raises(DataError):
        data.fetch("omniglot", tmp_path / "root", url, progress=False, checksums=checksums)
    assert list((tmp_path / "root").iterdir()) == []


def test_fetch_keeps_a_good_file_and_replaces_a_damaged_one(tmp_path, server):
    folder, url = server
    checksums = write_zips(folder, scribbles())
    path = tmp_path / "omniglot.npz"
    np.savez_compressed(path, **fake_omniglot())
    before, Quiet.asked = path.read_bytes(), 0
    data.fetch("omniglot", tmp_path, url, progress=False, checksums=checksums)
    assert path.read_bytes() == before and Quiet.asked == 0
    path.write_bytes(before[:1000])
    data.fetch("omniglot", tmp_path, url, progress=False, checksums=checksums)
    assert len(np.load(path)["split"]) == 7 and Quiet.asked == 2


def test_fetch_takes_a_bar_of_the_callers(tmp_path, server):
    class Bar:
        total, seen = 0, 0

        def update(self, n):
            self.seen += n

        def reset(self):
            self.seen = 0

        def close(self):
            pass

    folder, url = server
    bar = Bar()
    data.fetch("omniglot", tmp_path / "root", url, progress=bar, checksums=write_zips(folder, scribbles()))
    assert bar.seen == bar.total == (folder / ZIPS[1]).stat().st_size


def test_fetch_refuses_other_names(tmp_path):
    with pytest.raises(DataError, match="did you mean 'omniglot'"):
        data.fetch("omniglott", tmp_path)
    with pytest.raises(DataError, match=r"movietweetings100k cannot be fetched; put"):
        data.fetch("movietweetings100k", tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        data.fetch("omniglot", tmp_path / "file", "http://127.0.0.1:9", progress=False)
