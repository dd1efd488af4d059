"""Files: whole or refused, whatever happened to them, and never a silent wrong value."""

from __future__ import annotations

import os
import random

import h5py
import numpy as np
import pytest

import neurometa as nm
from neurometa.errors import RecordingError
from neurometa.record import validate
from neurometa.record.recorder import forecast
from neurometa.recording import Array, Content, Source, Writer, chunk_shape, image, stored_bytes, write

TIME = {"time": np.arange(200.0), "episode": np.arange(64), "post": np.arange(40), "pre": np.arange(30)}


def content(n=64, **attributes):
    data = np.random.default_rng(0).normal(size=(200, n, 40, 30)).astype(np.float32)
    small = np.arange(n, dtype=np.float64)
    dims = {**TIME, "episode": np.arange(n)}
    arrays = {"w/p": Array(("time", "episode", "post", "pre"), data), "loss": Array(("episode",), small)}
    return Content(dims, arrays, {"kind": "neurometa recording", **attributes}, {"settings": "{}"})


def refused(path, message):
    with pytest.raises(RecordingError, match=message):
        nm.open_recording(path)
    (problem,) = validate(path)
    assert "\n" not in problem


def test_chunks_are_an_episode_clipped_to_a_quarter_and_four_megabytes():
    rng = random.Random(0)
    for _ in range(300):
        shape = [rng.choice((1, 3, 10, 200, 5000)), rng.choice((1, 4, 64, 1000)), rng.choice((1, 7, 100)), 30]
        chunk = chunk_shape(("time", "episode", "post", "pre"), shape, 4)
        assert all(1 <= part <= size for part, size in zip(chunk, shape, strict=True))
        size = 4 * np.prod(chunk)
        assert size <= 2**22 and (size >= 2**18 / 2 or list(chunk) == shape)
        if size > 2**19:
            assert chunk[1] == 1 or 4 * np.prod(shape) // shape[1] <= 2**18


def test_forecast_and_file_agree():
    for n in (2, 7, 64):
        real = len(image(content(n)))
        assert forecast(content(2), n) == pytest.approx(real, rel=0.01)
        assert forecast(content(n), n) == real
    assert stored_bytes(("time", "episode"), (10, 4), 4) == 160


def test_layout_of_a_file(tmp_path):
    write(tmp_path / "a.h5", content())
    with h5py.File(tmp_path / "a.h5") as file:
        w = file["w/p"]
        assert w.chunks == (200, 1, 40, 30) and w.fletcher32 and w.compression is None
        assert [axis[0].name for axis in w.dims] == ["/time", "/episode", "/post", "/pre"]
        assert file.attrs["schema"] == 1 and file["loss"].chunks is None
    write(tmp_path / "b.h5", content(), compress=True)
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["w/p"].compression == "gzip" and file["w/p"].shuffle
        assert np.array_equal(file["w/p"][()], content().arrays["w/p"].data)


def test_a_long_text_is_a_dataset(tmp_path):
    text = '{"x": "' + "ä" * 40_000 + '"}'
    made = content(2)
    write(tmp_path / "a.h5", Content(made.dims, made.arrays, made.attributes, {"network": text, "settings": "{}"}))
    source = Source(tmp_path / "a.h5")
    assert source.texts == {"network": text, "settings": "{}"} and "network" not in source.names
    source.close()


def test_truncated(recordings, tmp_path):
    whole, path = recordings["modulated"].read_bytes(), tmp_path / "a.h5"
    for length in (0, 4, 300, len(whole) // 2, len(whole) - 83, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, "is not a recording" if length < 8 else "was cut short or changed after it was written")


def test_foreign(tmp_path):
    (tmp_path / "a.h5").write_text("no HDF5 at all")
    refused(tmp_path / "a.h5", "is not a recording")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 3
    refused(tmp_path / "b.h5", "or is no recording: its seal is missing")
    write(tmp_path / "c.h5", Content({}, {}, {"kind": "another"}))
    refused(tmp_path / "c.h5", "is an HDF5 file, but no recording of neurometa")
    (tmp_path / "d.h5").mkdir()
    with pytest.raises(RecordingError, match=r"d.h5 holds no recording"):
        nm.open_recording(tmp_path / "d.h5")


def test_a_newer_layout(tmp_path):
    write(tmp_path / "a.h5", content(2, schema=7, neurometa="3.0"))
    refused(
        tmp_path / "a.h5", r"was written by neurometa 3.0 in layout 7; this one reads up to layout 1: install a newer"
    )


def test_every_flipped_byte_is_found(recordings, tmp_path):
    path, chance = tmp_path / "a.h5", random.Random(1)
    for kind in ("modulated", "spiking"):
        whole = recordings[kind].read_bytes()
        for _ in range(100):
            place = chance.randrange(len(whole))
            changed = bytearray(whole)
            changed[place] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            assert validate(path), place
            with pytest.raises(RecordingError, match=r"damaged|not a recording|seal is missing"):
                nm.open_recording(path)


def test_a_full_disk_leaves_earlier_files_intact(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    writer = Writer()
    writer.put(tmp_path / "0.h5", content(2))
    os.symlink("/dev/full", tmp_path / "1.h5.part")
    writer.put(tmp_path / "1.h5", content(2))
    with pytest.raises(RecordingError, match=r"cannot write .*1.h5: No space left on device"):
        for k in range(2, 50):
            writer.put(tmp_path / f"{k}.h5", content(1))
    with pytest.raises(RecordingError, match=r"No space left on device"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["0.h5"] and not validate(tmp_path / "0.h5")


def test_a_file_cannot_be_put_where_there_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"cannot make the folder .*file"):
        write(tmp_path / "file" / "a.h5", content(1))
