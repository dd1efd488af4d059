"""Weights, representations, events and spikes: numbers that are known without a computer."""

import numpy as np
import pytest

from neurometa.analysis.aligned import align, mean_interval
from neurometa.analysis.similarity import cka, procrustes, rsa
from neurometa.analysis.spike_trains import correlation, cv, fano, lv, rate
from neurometa.analysis.weights import drift, effective_rank, sorted_by_change
from neurometa.errors import SpecificationError
from neurometa.meta.evaluate import interval

RNG = np.random.default_rng(0)


def rotation(n):
    return np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))[0]


def test_representations_that_are_turned_are_the_same_and_independent_ones_are_not():
    x = RNG.normal(size=(500, 8))
    assert cka(x, 5 * x @ rotation(8) + 3) == pytest.approx(1.0, abs=1e-12)
    assert procrustes(x, 5 * x @ rotation(8) + 3) == pytest.approx(0.0, abs=1e-6)
    assert procrustes(x, np.hstack([x @ rotation(8), np.zeros((500, 4))])) == pytest.approx(0.0, abs=1e-6)
    other = RNG.normal(size=(500, 8))
    assert cka(x, other) < 0.1 and procrustes(x, other) > 1.0 and abs(rsa(x, other)) < 0.05
    assert rsa(x, 2 * x + 7) == 1.0
    # of two orthogonal signals of equal size, one shared: cka 1/sqrt(2)
    one, two = np.eye(4) - 0.25, np.array([1.0, -1, 0, 0])[:, None]
    a, b = np.hstack([two, np.array([0, 0, 1.0, -1])[:, None]]), two
    assert cka(a, b) == pytest.approx(1 / np.sqrt(2))
    assert procrustes(a, b) == pytest.approx(np.pi / 4) and one.shape == (4, 4)
    with pytest.raises(SpecificationError, match=r"must be \(stimuli, neurons\)"):
        cka(x, other[:10])


def test_weights():
    w = np.zeros((3, 2, 4, 4))
    w[:] = np.diag([1.0, 1, 0, 0])
    w[2, 1] = np.diag([1.0, 1, 1, 1])
    assert effective_rank(w).tolist() == [[2, 2], [2, 2], [2, pytest.approx(4)]]
    assert effective_rank(np.zeros((2, 3))) == 0
    # singular values in the ratio 3:1 have the entropy of (3/4, 1/4)
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert np.allclose(drift(w), [[0, 0], [0, 0], [0, 1]])
    assert drift(np.array([[[0.0]], [[2.0]]])).tolist() == [0.0, 2.0]
    order, rows = sorted_by_change(w[:, 1])
    assert sorted(order) == list(range(16)) and (np.diff(rows[:, -1]) <= 0).all() and rows[:2, -1].tolist() == [1, 1]


def test_events():
    signal = RNG.normal(size=(100, 30))
    events = RNG.random((100, 30)) < 0.05
    found = align(signal, events, 3, 5)
    cuts = [signal[t - 3 : t + 6, e] for t, e in zip(*events.nonzero(), strict=True) if 3 <= t < 95]
    assert found.n == len(cuts) and np.allclose(found.mean, np.mean(cuts, 0))
    mean, low, high = mean_interval(np.array(cuts))
    assert np.allclose(found.low, low) and np.allclose(found.high, high)
    assert np.allclose([mean[0], low[0], high[0]], interval([cut[0] for cut in cuts]))
    weights = align(RNG.normal(size=(100, 30, 4, 5)), events, 2, 2)
    assert weights.mean.shape == (5, 4, 5)
    with pytest.raises(SpecificationError, match="no event is 60 steps after the start and 60 before the end"):
        align(signal, events, 60, 60)
    with pytest.raises(SpecificationError, match="must agree"):
        align(signal, events[:3], 1, 1)


def test_spike_trains():
    poisson = np.cumsum(RNG.exponential(20.0, size=20_000))
    assert rate(poisson, poisson[-1]) == pytest.approx(50, rel=0.03)
    assert cv(poisson) == pytest.approx(1, abs=0.03) and lv(poisson) == pytest.approx(1, abs=0.03)
    clock = np.arange(0, 1000, 10.0)
    assert cv(clock) == 0 and lv(clock) == 0 and np.isnan(cv(clock[:2])) and np.isnan(lv(clock[:2]))
    slow = np.cumsum(np.linspace(1, 50, 500))  # a clock that slows down: irregular to cv, regular to lv
    assert cv(slow) > 0.5 and lv(slow) < 1e-3
    assert fano(RNG.poisson(7.0, 50_000)) == pytest.approx(1, abs=0.03) and fano(np.full(5, 3)) == 0
    a = RNG.choice(5000, 800, replace=False).astype(float)
    found = correlation([a, a, 5000 - 1e-9 - a, np.array([])], 5000.0, 10.0)
    assert found[0, 1] == pytest.approx(1) and abs(found[0, 2]) < 0.2 and np.isnan(found[0, 3])
