"""The card of a spiking rule: closed forms of window, frequency curve and delay, and the figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurometa import rules
from neurometa.analysis.timing import Timing, change_by_spikes, spike_timing, third_factor
from neurometa.analysis.timing_figure import timing_figure
from neurometa.errors import EngineError
from neurometa.spec import Param, PlasticityRule


def test_a_window_with_soft_bounds_depends_on_the_weight():
    found = spike_timing(rules.get("stdp_soft"))
    lags, w = found.lags, found.w[:, None]
    assert np.array_equal(found.w, [0.25, 0.5, 0.75]) and found.factor == "" and np.isnan(found.late).all()
    wanted = np.where(lags > 0, 0.01 * (1 - w) * np.exp(-lags / 20), -0.0105 * w * np.exp(lags / 20))
    apart = abs(lags) > 0
    np.testing.assert_allclose(found.window[:, apart], wanted[:, apart], rtol=1e-12, atol=1e-14)


def test_frequency_curve_and_bounds_of_a_rule():
    """Pairs of bounds that are narrower than 1 are kept; 60 pairings far apart are 60 times one."""
    rule = PlasticityRule(
        "r",
        traces={"a": "-a/5"},
        on_pre="a = 1",
        on_post="w = w + eta*a",
        params={"eta": Param(1e-5)},
        bounds=(0.2, 0.3),
    )
    found = spike_timing(rule)
    np.testing.assert_allclose(found.w, [0.225, 0.25, 0.275])
    one = found.window[1, found.lags == 8][0] * (0.8**2)  # forward Euler: two more steps at +10 ms
    assert found.curve[0, 0] == pytest.approx(60 * one, rel=1e-9)
    assert found.curve[0, -1] == pytest.approx(60 * one, rel=1e-9)  # at -10 ms the trace is set anew before it is read


def test_the_delay_of_a_modulator_is_the_eligibility_trace():
    found = spike_timing(rules.get("da_stdp"))
    assert found.factor == "m"
    late = found.delays >= 100
    np.testing.assert_allclose(found.late[late] / found.late[-1], np.exp((3000 - found.delays[late]) / 1000), rtol=1e-9)


def test_which_third_factor():
    assert third_factor(rules.get("e_prop")) == "error_post"
    assert third_factor(rules.get("r_stdp")) == "m"
    assert third_factor(rules.get("stdp")) == ""


def test_each_run_has_its_own_start_and_third_factor():
    rule = PlasticityRule("r", dw="m*w", on_pre="w = w")
    third = torch.tensor([0.0, 0.1, 0.2])[None, :, None].expand(2, 3, 1)
    found = change_by_spikes(rule, [((), ())] * 3, 2, w=[1.0, 1.0, 2.0], third=third)
    np.testing.assert_allclose(found, [0.0, 1.1**2 - 1, 2 * 1.2**2 - 2], rtol=1e-6)


def test_variables_of_the_neuron_are_given_a_meaning():
    rule = PlasticityRule("r", dw="v_post + 0*v_low_post + 0*psi_post + 0*theta_post", on_pre="w = w")
    assert change_by_spikes(rule, [((), (1,))], 3).item() == pytest.approx(-70 + 30 - 70)
    with pytest.raises(EngineError, match="reads theta_pre; with imposed spikes a source has none; allowed: x_pre"):
        change_by_spikes(PlasticityRule("r", dw="theta_pre", on_pre="w = w"), [((), ())], 1)


@pytest.mark.parametrize("factor", ["", "m"])
def test_the_figure_is_written(tmp_path, factor):
    flat = np.zeros(4)
    timing = Timing(flat, np.zeros(3), np.zeros((3, 4)), flat, np.zeros((2, 4)), flat, flat, factor)
    path = timing_figure("r", timing, tmp_path / "a.png")
    assert path.read_bytes().startswith(b"\x89PNG")
