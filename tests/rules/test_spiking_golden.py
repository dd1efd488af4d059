"""What spiking rules are known to do, besides what `verify` measures: windows, triplets, order of a delayed reward."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurometa import rules
from neurometa.analysis.timing import change_by_spikes
from neurometa.spec import Param, PlasticityRule
from neurometa.verify.spikes import late_reward, pairings


@pytest.mark.parametrize("name", ["stdp", "stdp_nearest", "stdp_soft"])
def test_the_window_is_the_closed_form(name):
    lags = [1, 2, 5, 10, 25, 60]
    size = {"stdp": (0.01, 0.0105), "stdp_nearest": (0.01, 0.0105), "stdp_soft": (0.005, 0.00525)}[name]
    found = change_by_spikes(rules.get(name), [((100,), (100 + lag,)) for lag in [*lags, *(-lag for lag in lags)]], 200)
    wanted = [size[0] * math.exp(-lag / 20) for lag in lags] + [-size[1] * math.exp(-lag / 20) for lag in lags]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_a_pair_five_steps_apart_decays_exactly():
    """0.7788, where forward Euler gives 0.7738."""
    rule = rules.get("stdp")
    params = {name: Param(1.0 if name.startswith("a_") else 20.0) for name in rule.params}
    plain = PlasticityRule("r", traces=rule.traces, on_pre=rule.on_pre, on_post=rule.on_post, params=params)
    assert change_by_spikes(plain, [((3,), (8,))], 10).item() == pytest.approx(0.7788, abs=5e-5)


def test_there_is_no_potentiation_by_triplets_far_apart():
    triplet = rules.get("triplet_stdp")
    assert abs(pairings(triplet, 1, 2, 1)) < 1e-12 and pairings(triplet, 5, 2, 60) > 0.5


def test_dopamine_after_a_pair_is_the_closed_form_and_euler_is_of_first_order():
    assert late_reward(2.0) / late_reward(1.0) == pytest.approx(2.0, rel=0.1)
