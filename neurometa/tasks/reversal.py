"""Reversal learning: two arms, one better than the other, and now and then they change places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..streams import generator
from ._bandit import Bandit

__all__ = ["Reversal", "bayes"]


@dataclass(frozen=True, kw_only=True)
class Reversal(Bandit):
    r"""Choose between an arm that is rewarded with probability :math:`p` and one with :math:`1 - p`, which swap.

    At each step after the first they change places with probability ``hazard``. Stimulus, answer and loss are those of
    every bandit: `tasks._bandit.Bandit`.

    Parameters
    ----------
    p : float
        Probability of reward of the better arm, above .5 to 1.
    hazard, n_steps, discount, value_weight, entropy
        As in every bandit.

    Notes
    -----
    A reward on one arm says as much as none on the other, so what can be learned does not depend on what is chosen, and
    the best policy takes the arm that is more probably the better one. The observer knows this probability exactly
    (`bayes`); his score is its expectation over 20,000 episodes of a fixed seed (standard error below .0005). Win-stay
    lose-shift takes the better arm with probability :math:`(1 - h) p + h (1 - p)` at every step but the first.

    References
    ----------
    Izquierdo et al. 2017, doi:10.1016/j.neuroscience.2016.03.021; Wang et al. 2018, doi:10.1038/s41593-018-0147-8.

    Examples
    --------
    >>> task = Reversal()
    >>> task.floor(), round(task.references()["win-stay lose-shift"], 4), round(task.ceiling(), 2)
    (0.5, 0.6604, 0.7)
    """

    p: float = 0.8

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if not 0.5 < self.p <= 1:
            raise SpecificationError(f"p is {self.p}; allowed: above 0.5, to 1; type p=0.8")

    def _arms(self, own: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        swaps = torch.rand(self.n_steps, n, generator=own) < self.hazard
        swaps[0] = torch.rand(n, generator=own) < 0.5
        second = swaps.cumsum(0) % 2 == 1  # whether the second arm is the better one
        probability = torch.where(torch.stack([~second, second], -1), self.p, 1 - self.p)
        return probability, (torch.rand(probability.shape, generator=own) < probability).to(probability)

    def ceiling(self) -> float:
        """Return the score of the ideal observer."""
        return _observer(self)

    def references(self) -> dict[str, float]:
        """Return the score of win-stay lose-shift, exactly."""
        right = (1 - self.hazard) * self.p + self.hazard * (1 - self.p)
        right = (0.5 + (self.n_steps - 1) * right) / self.n_steps
        return {"win-stay lose-shift": right * self.p + (1 - right) * (1 - self.p)}


def bayes(evidence: Tensor, p: float, hazard: float) -> Tensor:
    """Return the probability that the first arm is the better one, before each step.

    Parameters
    ----------
    evidence : Tensor
        ``(time, batch)``: 1 where the first arm was chosen and rewarded or the second chosen and not, else 0.
    p, hazard : float
        As in `Reversal`.

    Returns
    -------
    Tensor
        ``(time, batch)``; one half at the first step.
    """
    belief, found = torch.full_like(evidence[0], 0.5), []
    for seen in evidence:
        found.append(belief)
        likely = seen * p + (1 - seen) * (1 - p)
        right = belief * likely / (belief * likely + (1 - belief) * (1 - likely))
        belief = (1 - hazard) * right + hazard * (1 - right)
    return torch.stack(found)


@cache
def _observer(task: Reversal, n: int = 20000, seed: int = 0) -> float:
    """Return the observer's expected score."""
    # What he learns is the same whatever he chooses: let him take the first arm.
    reward = task.sample(generator(seed, "ceiling"), n, "test").support.world["reward"][..., 0]
    belief = bayes(reward, task.p, task.hazard)
    right = float(torch.maximum(belief, 1 - belief).mean())
    return right * task.p + (1 - right) * (1 - task.p)
