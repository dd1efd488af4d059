"""What spiking rules are known to do: windows, frequency curves, delayed reward, the two parts of a reward rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurometa import init_params, rules, simulate
from neurometa.analysis.timing import change_by_spikes
from neurometa.spec import Network, Param, PlasticityRule, Population, Projection
from neurometa.streams import generator

F64 = torch.float64


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


def curve(rule: PlasticityRule, period: int, lag: int, pairs: int) -> float:
    """Return the change by pairings at a period and lag in steps of 5 ms."""
    pre = [20 + period * k for k in range(pairs)]
    return change_by_spikes(rule, [(pre, [t + lag for t in pre])], pre[-1] + 20, dt=5.0).item()


#: Period in steps of 5 ms at 10, 20, 40 and 50 Hz. At .1 Hz pairings are apart: the change by one, times their number.
PERIODS = (20, 10, 5, 4)


@pytest.mark.parametrize(
    ("lag", "wanted"), [(2, (0.0, 0.119, 0.228, 0.532, 0.763)), (-2, (-0.317, -0.332, -0.342, 0.174, 0.749))]
)
def test_triplet_rule_under_sixty_consecutive_pairings(lag, wanted):
    rule = rules.get("triplet_stdp")
    found = [60 * curve(rule, 1, lag, 1), *(curve(rule, period, lag, 60) for period in PERIODS)]
    assert found == pytest.approx(wanted, abs=1.5e-3)


@pytest.mark.parametrize(
    ("lag", "wanted"), [(2, (0.0, 0.096, 0.101, 0.045, 0.031)), (-2, (-0.264, -0.412, -0.439, -0.296, -0.162))]
)
def test_triplet_rule_under_fifteen_bursts_of_five(lag, wanted):
    """Bursts are 10 s apart, after which no trace is left; at .1 Hz there are 50 pairings."""
    rule = rules.get("triplet_stdp")
    found = [50 * curve(rule, 1, lag, 1), *(15 * curve(rule, period, lag, 5) for period in PERIODS)]
    assert found == pytest.approx(wanted, abs=1.5e-3)


def test_no_additive_pair_rule_grows_with_frequency_as_the_triplet_rule_does():
    """dw(+10 ms, 40 Hz)/dw(+10 ms, .1 Hz) <= 1/(1 - exp(-25 ms/tau_plus)) for all-to-all pairs."""
    pair = rules.get("stdp")
    free = PlasticityRule("r", traces=pair.traces, on_pre=pair.on_pre, on_post=pair.on_post, params=pair.params)
    assert 0 < curve(free, 5, 2, 60) / (60 * curve(free, 1, 2, 1)) <= 1 / (1 - math.exp(-25 / 20))
    triplet = rules.get("triplet_stdp")
    assert abs(curve(triplet, 1, 2, 1)) < 1e-12 and curve(triplet, 5, 2, 60) > 0.5


GOLDEN = {500: 0.061313, 1000: 0.037188, 2000: 0.013681, 3000: 0.005033}


def test_dopamine_after_a_pair_is_the_closed_form_and_euler_is_of_first_order():
    """A e^(-D/tau) e^(-L/tc)/(1/tc + 1/td), D 10 ms, tc 1 s, td .2 s; A = 1 per s, so that w is in the same unit."""
    errors = []
    for dt in (4.0, 2.0):
        steps = int(5000 / dt)
        time = torch.arange(steps, dtype=F64)[:, None, None] * dt
        late = torch.tensor(list(GOLDEN), dtype=F64)[None, :, None] + 20
        dopamine = torch.where(time >= late, torch.exp(-(time - late) / 200), 0.0)
        pair = ((round(8 / dt),), (round(8 / dt) + round(8 / dt),))  # 8 ms, which both steps divide
        found = change_by_spikes(rules.get("da_stdp"), [pair] * 4, steps, dt=dt, w=0.0, third=dopamine) / 1000
        wanted = np.array(list(GOLDEN.values())) * math.exp(10 / 20 - 8 / 20)
        wanted = wanted * math.exp((16 - 20) / 1000)  # the pair is at 16 ms, not at 20
        errors.append(abs(found / wanted - 1))
    assert errors[1].max() < 7e-3
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(("dw", "wanted"), [("m*pre", 0.518), ("(m - 1.06)*pre", 0.200)])
def test_a_reward_rule_is_a_covariance_and_a_product_of_means(dw, wanted):
    """<dw> = Cov(R, H) + <R><H>, H ~ N(.3, 1), R = 1 + .2 H + noise; without the mean reward only Cov is left."""
    n, stream = 400_000, generator(0, "reward")
    h = 0.3 + torch.randn(1, n, 1, generator=stream, dtype=F64)
    reward = 1 + 0.2 * h + 0.1 * torch.randn(1, n, 1, generator=stream, dtype=F64)
    network = Network(
        (Population("h", 1), Population("reward", 1), Population("out", 1, "drive")),
        (Projection("h", "out", "s", rule=PlasticityRule("r", dw=dw), modulators={"m": "reward"}),),
    )
    params = init_params(network, generator(0), dtype=F64)
    w = simulate(network, params, {"h": h, "reward": reward}).final.w["s"].flatten()
    assert w.mean().item() == pytest.approx(wanted, abs=4 * w.std().item() / math.sqrt(n) + 5e-4)
    assert w.std().item() / math.sqrt(n) < 3e-3
