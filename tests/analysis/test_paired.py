"""Statistics of comparisons: coverage, power, Holm, non-inferiority."""

import math

import numpy as np
import pytest
from scipy import stats

from neurometa.analysis.paired import holm, not_inferior, paired, probability
from neurometa.errors import SpecificationError

REPLICATIONS, TASKS = 2000, 1000
TASK_SD, RESIDUAL_SD = 3.0, 8.0  # points


def replications(n_seeds, seed_sd, effect, seed):
    """Return synthetic scores of two learners on the shared tasks of each seed, ``(replication, seed)`` each.

    What the mean over tasks needs of a task's difficulty and of each learner's residuals is drawn as that mean.
    """
    draw = np.random.default_rng(seed)
    shape = (REPLICATIONS, n_seeds)
    difficulty = draw.normal(0, TASK_SD / math.sqrt(TASKS), shape)
    first, second = draw.normal(0, RESIDUAL_SD / math.sqrt(2 * TASKS), (2, *shape))
    own = draw.normal(0, seed_sd, shape)
    return difficulty + first + own + effect, difficulty + second


@pytest.mark.parametrize("seed_sd", [0.0, 0.3, 1.0, 3.0])
def test_the_interval_covers_the_truth(seed_sd):
    a, b = replications(5, seed_sd, 1.0, seed=int(10 * seed_sd))
    found = [paired(x, y) for x, y in zip(a, b, strict=True)]
    covered = 100 * np.mean([f.low <= 1.0 <= f.high for f in found])
    assert 93.5 <= covered <= 96.5, covered


def test_pooling_tasks_would_not_cover():
    a, b = replications(5, 1.0, 0.0, seed=1)
    spread = RESIDUAL_SD / math.sqrt(5 * TASKS)  # as if all tasks of all seeds were independent
    assert np.mean(np.abs((a - b).mean(1)) < 1.96 * spread) < 0.6


def test_one_point_is_found_and_none_is_not():
    a, b = replications(10, 0.3, 1.0, seed=2)
    assert np.mean([paired(x, y).p < 0.05 for x, y in zip(a, b, strict=True)]) >= 0.8
    a, b = replications(10, 0.3, 0.0, seed=3)
    assert np.mean([paired(x, y).p < 0.05 for x, y in zip(a, b, strict=True)]) <= 0.07


def test_paired_equals_scipy():
    a, b = np.random.default_rng(0).normal(size=(2, 7))
    found, other = paired(a, b), stats.ttest_rel(a, b)
    assert found.p == pytest.approx(other.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval()))
    assert found.effect == pytest.approx((1 - 3 / 23) * (a - b).mean() / (a - b).std(ddof=1))


def test_degenerate():
    assert math.isnan(paired([1.0], [0.0]).low) and paired([1.0], [0.0]).mean == 1.0
    same = paired([1.0, 1.0], [1.0, 1.0])
    assert (same.p, same.effect) == (1.0, 0.0)
    assert paired([2.0, 2.0], [1.0, 1.0]).p == 0.0
    with pytest.raises(SpecificationError, match="same seeds"):
        paired([1.0, 2.0], [1.0])


def test_holm():
    p = [0.001, 0.02, math.nan, 0.03, 0.9]
    assert holm(p)[[0, 1, 3, 4]] == pytest.approx([0.004, 0.06, 0.06, 0.9])
    assert math.isnan(holm(p)[2])
    rejected = [min(holm(np.random.default_rng(i).uniform(size=8))) < 0.05 for i in range(2000)]
    assert 0.035 < np.mean(rejected) < 0.065  # at least one of eight true hypotheses


def test_not_inferior():
    close = paired([0.70, 0.71, 0.69, 0.70], [0.705, 0.712, 0.699, 0.704])
    assert not_inferior(close, 0.02) and not not_inferior(close, 0.001)
    assert not_inferior(close, 0.001, higher_is_better=False)
    assert not_inferior(paired([1.0], [1.0]), 0.1) is None


def test_probability():
    assert probability([0.2, 0.21, 0.19], 0.2) > 0.9
    assert probability([0.3, 0.31, 0.29], 0.2) < 0.01
    assert probability([0.1, 0.11, 0.09], 0.2, "greater") > 0.99
    assert probability([0.2, 0.2], 0.2) == 1.0 and probability([0.3, 0.3], 0.2, "less") == 1.0
