"""What spiking rules, and rules that read a reward, are known to do: closed forms and published curves."""

from __future__ import annotations

import math

import numpy as np
import torch

from .. import rules
from ..analysis.timing import change_by_spikes
from ..spec import Network, PlasticityRule, Population, Projection
from ..streams import generator
from ..torch_engine import init_params, simulate

__all__ = ["PROTOCOLS", "growth_of_pairs", "late_reward", "reward_and_covariance", "triplet_curve", "window"]

#: Bursts and pairings in each of them.
PROTOCOLS = {"60 consecutive": (1, 60), "15 bursts of 5": (15, 5)}
#: Lag -> change by the triplet rule with the parameters of visual cortex (Pfister & Gerstner 2006,
#: doi:10.1523/JNEUROSCI.1425-06.2006) at .1, 10, 20, 40 and 50 Hz. Sjostrom et al. 2001 gave bursts.
TRIPLETS = {
    "60 consecutive": {10: (0.0, 0.119, 0.228, 0.532, 0.763), -10: (-0.317, -0.332, -0.342, 0.174, 0.749)},
    "15 bursts of 5": {10: (0.0, 0.096, 0.101, 0.045, 0.031), -10: (-0.264, -0.412, -0.439, -0.296, -0.162)},
}
#: Steps of 5 ms between pairings at 10, 20, 40 and 50 Hz. At .1 Hz pairings are apart: one, times their number.
PERIODS = (20, 10, 5, 4)


def window() -> float:
    """Compare pair STDP at twelve lags with ``a*exp(-lag/tau)``; return the largest difference."""
    lags = np.array([1, 2, 5, 10, 25, 60])
    pairs = [((100,), (100 + lag,)) for lag in [*lags.tolist(), *(-lags).tolist()]]
    wanted = np.concatenate([0.01 * np.exp(-lags / 20), -0.0105 * np.exp(-lags / 20)])
    return float(abs(change_by_spikes(rules.get("stdp"), pairs, 200) - wanted).max())


def pairings(rule: PlasticityRule, period: int, lag: int, pairs: int) -> float:
    """Return the change by pairings at a period and lag in steps of 5 ms."""
    pre = [20 + period * k for k in range(pairs)]
    return change_by_spikes(rule, [(pre, [t + lag for t in pre])], pre[-1] + 20, dt=5.0).item()


def triplet_curve(protocol: str) -> float:
    """Compare the triplet rule with its published frequency curve; bursts are 10 s apart, 50 pairings at .1 Hz."""
    rule, (bursts, pairs) = rules.get("triplet_stdp"), PROTOCOLS[protocol]
    apart = 60 if bursts == 1 else 50
    worst = 0.0
    for lag, wanted in TRIPLETS[protocol].items():
        steps = lag // 5
        found = [apart * pairings(rule, 1, steps, 1)]
        found += [bursts * pairings(rule, period, steps, pairs) for period in PERIODS]
        worst = max(worst, float(np.abs(np.subtract(found, wanted)).max()))
    return worst


def growth_of_pairs() -> float:
    """Return the growth of potentiation from .1 to 40 Hz, over the most that all-to-all pairs allow.

    That is ``1/(1 - exp(-25 ms/tau_plus))`` at +10 ms for every additive pair rule; the triplet rule has no
    potentiation at .1 Hz.
    """
    pair = rules.get("stdp")
    free = PlasticityRule("pairs", traces=pair.traces, on_pre=pair.on_pre, on_post=pair.on_post, params=pair.params)
    return pairings(free, 5, 2, 60) / (60 * pairings(free, 1, 2, 1)) * (1 - math.exp(-25 / 20))


def late_reward(dt: float) -> float:
    """Give a pair, and dopamine .5, 1, 2 or 3 s after its second spike, which decays within 200 ms.

    Compare with ``a*exp(-D/tau)*exp(-L/tc)/(1/tc + 1/td)``, D 10 ms, L the delay, tc 1 s, td .2 s (Izhikevich 2007,
    doi:10.1093/cercor/bhl152); return the largest relative difference.
    """
    delays, first, lag = np.array([500, 1000, 2000, 3000]), 10, 10
    steps = round(5000 / dt)
    time = torch.arange(steps, dtype=torch.double)[:, None, None] * dt - first - lag - torch.from_numpy(delays)[:, None]
    dopamine = torch.where(time > -dt / 2, torch.exp(-time / 200), 0.0)  # (time, delay, 1)
    pair = ((round(first / dt),), (round((first + lag) / dt),))
    found = change_by_spikes(rules.get("da_stdp"), [pair] * len(delays), steps, dt=dt, w=0.0, third=dopamine)
    wanted = math.exp(-lag / 20) * np.exp(-delays / 1000) / (1 / 1000 + 1 / 200)
    return float(abs(found / wanted - 1).max())


def reward_and_covariance(n: int = 400_000) -> tuple[float, float]:
    """Learn by ``R*H`` and by ``(R - 1.06)*H``, H ~ N(.3, 1), R = 1 + .2 H + noise; return the distances in the mean.

    A reward rule is a covariance and a product of means (Fremaux, Sprekeler & Gerstner 2010,
    doi:10.1523/JNEUROSCI.6249-09.2010): <dw> = Cov(R, H) + <R><H> = .2 + .318, and without the mean reward .2.
    """
    stream = generator(0, "reward")
    h = 0.3 + torch.randn(1, n, 1, generator=stream, dtype=torch.double)
    reward = 1 + 0.2 * h + 0.1 * torch.randn(1, n, 1, generator=stream, dtype=torch.double)
    found = []
    for dw, wanted in (("m*pre", 0.518), ("(m - 1.06)*pre", 0.2)):
        network = Network(
            (Population("h", 1), Population("reward", 1), Population("out", 1, "drive")),
            (Projection("h", "out", "s", rule=PlasticityRule("r", dw=dw), modulators={"m": "reward"}),),
        )
        params = init_params(network, generator(0), dtype=torch.double)
        with torch.no_grad():
            w = simulate(network, params, {"h": h, "reward": reward}).final.w["s"]
        found.append(abs(float(w.mean()) - wanted))
    return found[0], found[1]
