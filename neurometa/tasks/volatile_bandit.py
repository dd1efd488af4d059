"""The volatile bandit: one of two arms is rewarded at each step, the first with a probability that jumps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..streams import generator
from ._bandit import Bandit

__all__ = ["VolatileBandit", "bayes"]


@dataclass(frozen=True, kw_only=True)
class VolatileBandit(Bandit):
    r"""Choose between two arms of which exactly one is rewarded at each step: the first with probability :math:`r`.

    :math:`r` is uniform between 0 and 1, and drawn anew at each step after the first with probability ``hazard``.
    Stimulus, answer and loss are those of every bandit: `tasks._bandit.Bandit`.

    Parameters
    ----------
    hazard, n_steps, discount, value_weight, entropy
        As in every bandit.

    Notes
    -----
    One arm's reward is the other's miss, so what can be learned does not depend on what is chosen, and the best policy
    takes the arm that is more probably rewarded. The observer knows this probability exactly: he weighs every time of
    the last jump, and after it a uniform prior with :math:`a` rewards of the first arm among :math:`n` expects
    :math:`(1 + a)/(2 + n)` (`bayes`). His score is the expectation over 10,000 episodes of a fixed seed (standard error
    below .001). Win-stay lose-shift scores :math:`\tfrac23 (1 - h) + \tfrac12 h` at every step but the first, and who
    knows :math:`r` 3/4.

    References
    ----------
    Behrens et al. 2007, doi:10.1038/nn1954.

    Examples
    --------
    >>> task = VolatileBandit()
    >>> task.floor(), round(task.references()["win-stay lose-shift"], 4), round(task.ceiling(), 2)
    (0.5, 0.6567, 0.69)
    """

    def _arms(self, own: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        fresh = torch.rand(self.n_steps, n, generator=own)
        jumps = torch.rand(self.n_steps, n, generator=own) < self.hazard
        jumps[0] = True
        last = torch.where(jumps, torch.arange(self.n_steps)[:, None], 0).cummax(0).values  # time of the last jump
        first = fresh.gather(0, last)
        rewarded = (torch.rand(self.n_steps, n, generator=own) < first).to(first)
        return torch.stack([first, 1 - first], -1), torch.stack([rewarded, 1 - rewarded], -1)

    def ceiling(self) -> float:
        """Return the score of the ideal observer."""
        return _observer(self)

    def references(self) -> dict[str, float]:
        """Return the score of win-stay lose-shift, which repeats the arm rewarded last, and of who knows ``r``."""
        later = 2 / 3 * (1 - self.hazard) + self.hazard / 2
        return {
            "win-stay lose-shift": (0.5 + (self.n_steps - 1) * later) / self.n_steps,
            "who knows the probabilities": 0.75,
        }


def bayes(rewarded: Tensor, hazard: float) -> Tensor:
    """Return the probability that the first arm is rewarded, before each step, exactly.

    Parameters
    ----------
    rewarded : Tensor
        ``(time, batch)``: 1 where the first arm was rewarded, 0 where the second was.
    hazard : float
        As in `VolatileBandit`.

    Returns
    -------
    Tensor
        ``(time, batch)``; one half at the first step.
    """
    n_steps = len(rewarded)
    count = torch.zeros_like(rewarded)  # (last jump, batch): rewards of the first arm since
    weight = torch.zeros_like(rewarded)  # (last jump, batch): probability that it was then
    found = []
    for t, seen in enumerate(rewarded):
        weight = weight * (1 - hazard if t else 1.0)
        weight = torch.cat([weight[:t], torch.full_like(weight[:1], hazard if t else 1.0), weight[t + 1 :]])
        since = torch.arange(t, t - n_steps, -1, device=rewarded.device).clamp_min(0)[:, None]  # steps since a jump
        expected = (1 + count) / (2 + since)
        found.append((weight * expected).sum(0))
        likely = weight * (seen * expected + (1 - seen) * (1 - expected))
        weight = likely / likely.sum(0)
        count = count + torch.where(torch.arange(n_steps, device=rewarded.device)[:, None] <= t, seen, 0.0)
    return torch.stack(found)


@cache
def _observer(task: VolatileBandit, n: int = 10000, seed: int = 0) -> float:
    """Return the observer's expected score."""
    rewarded = task.sample(generator(seed, "ceiling"), n, "test").support.world["reward"][..., 0]
    chance = bayes(rewarded, task.hazard)
    return float(torch.maximum(chance, 1 - chance).mean())
