"""What the tests of meta-training share: equality of runs, bit for bit."""

from __future__ import annotations

import json

import pytest
import torch


def same(a, b):
    """Whether two nested states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def timeless(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


def checkpoint(path):
    record = torch.load(path, weights_only=True)
    return {k: v for k, v in record.items() if k != "seconds"}


def assert_same_runs(run, other):
    assert same(run.params, other.params)
    assert run.iteration == other.iteration
    assert timeless(run.history) == timeless(other.history)
    assert same(checkpoint(run.path / "last.pt"), checkpoint(other.path / "last.pt"))
    if (run.path / "best.pt").exists() or (other.path / "best.pt").exists():
        assert same(checkpoint(run.path / "best.pt"), checkpoint(other.path / "best.pt"))
    lines = [json.loads(line) for line in (other.path / "metrics.jsonl").read_text().splitlines()]
    assert timeless(lines) == timeless(run.history)  # neither a duplicate nor a gap


@pytest.fixture(name="same")
def same_states():
    return same


@pytest.fixture(name="timeless")
def history_without_times():
    return timeless


@pytest.fixture(name="checkpoint")
def checkpoint_without_times():
    return checkpoint


@pytest.fixture(name="assert_same_runs")
def equality_of_runs():
    return assert_same_runs
