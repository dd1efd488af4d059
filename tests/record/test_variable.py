"""Slices of an array over several files are those of numpy."""

from __future__ import annotations

import random

import numpy as np
import pytest

from neurometa.errors import RecordingError
from neurometa.record.variable import Variable
from neurometa.recording import Array, Content, Source, write


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("variable"), np.random.default_rng(0)
    whole = rng.normal(size=(5, 9, 4)).astype(np.float32)
    sources, lengths, start = [], [], 0
    for k, n in enumerate((2, 4, 3)):
        part = whole[:, start : start + n]
        dims = {"time": np.arange(5.0), "episode": np.arange(start, start + n), "n": np.arange(4)}
        arrays = {"x/p": Array(("time", "episode", "n"), part)}
        write(folder / f"{k}.h5", Content(dims, arrays, {"kind": "neurometa recording"}))
        sources.append(Source(folder / f"{k}.h5"))
        lengths.append({"episode": n})
        start += n
    yield Variable("x/p", [lambda s=s: s for s in sources], lengths), whole
    for source in sources:
        source.close()


def any_index(chance, size, lists):
    kind = chance.randrange(4 if lists else 3)
    if kind == 0:
        return chance.randrange(-size, size)
    if kind == 3:
        return [chance.randrange(-size, size) for _ in range(chance.randrange(0, 5))]
    ends = [chance.choice((None, *range(-size - 1, size + 2))) for _ in range(2)]
    return slice(*ends, chance.choice((None, 1, 2, -1, -3)))


def test_every_index_is_that_of_numpy(joined):
    variable, whole = joined
    assert variable.shape == whole.shape and variable.nbytes == whole.nbytes and len(variable) == 5
    assert np.array_equal(np.asarray(variable), whole)
    chance = random.Random(0)
    for _ in range(400):
        key = tuple(any_index(chance, size, axis == 1) for axis, size in enumerate(whole.shape))
        key = key[: chance.randrange(0, 4)]
        if len(key) > 1 and isinstance(key[1], list):  # numpy moves axes if an integer stands beside a list
            key = tuple(each if k == 1 or isinstance(each, slice) else slice(None) for k, each in enumerate(key))
            key = (key[0], np.array(key[1], dtype=int), *key[2:])
        found = variable[key]
        assert found.shape == whole[key].shape and np.array_equal(found, whole[key]), key
    assert np.array_equal(variable[..., 1], whole[..., 1]) and np.array_equal(variable[-1], whole[-1])
    assert repr(variable) == "<x/p (time 5, episode 9, n 4) float32>"


@pytest.mark.parametrize("key", [(0, 9), 5, (0, 0, 0, 0), "x", (0, 0, [1, 2]), (0, 1.5)])
def test_other_indices_are_one_line(joined, key):
    with pytest.raises(RecordingError) as caught:
        joined[0][key]
    assert "\n" not in str(caught.value)
