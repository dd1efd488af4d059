"""Tracking: predict a random walk; the optimum is known exactly, so it is a contract for outer algorithms.

The best learner is a delta rule ``dw = eta*(y - w)`` whose rate is the Kalman gain. An outer loop that is right must
find that number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import SpecificationError
from ..streams import generator
from ._regression import Regression
from .base import Episode, Part, check_split

__all__ = ["Tracking", "kalman_error", "kalman_gain"]


@dataclass(frozen=True)
class Tracking(Regression):
    r"""Predict a random walk from noisy observations: :math:`x_{t+1} = x_t + N(0, q)`, :math:`y_t = x_t + N(0, r)`.

    The network is shown ``y`` (population ``target``) and a constant cue (``stimulus``). Its answer at step t is made
    before it learns from ``y[t]``, and is scored by its squared error from the latent ``x[t]``, which it never sees. A
    learner that descends a support loss must use ``inputs["target"]``, not `Part.target`.

    The walk starts at ``N(0, P)`` with P the steady-state error of the Kalman filter. A learner that starts at 0 is
    therefore in the steady state from the first step: the best rate is the Kalman gain, and the least error P, at
    every step and for any length.

    Parameters
    ----------
    q : float
        Variance of the walk's step.
    r : float
        Variance of the observation noise.
    n_steps : int
        Length of an episode.
    n_skip : int
        First steps that do not count in loss and score (they hold the transient of rates that are not the best).

    Raises
    ------
    SpecificationError
        If a setting is outside its range.

    References
    ----------
    Kalman 1960, doi:10.1115/1.3662552; Behrens et al. 2007, doi:10.1038/nn1954 (why learning rates should follow it);
    Nassar et al. 2010, doi:10.1523/JNEUROSCI.0822-10.2010.

    Examples
    --------
    >>> task = Tracking(q=0.04, r=0.25)
    >>> round(kalman_gain(task.q, task.r), 4), round(task.ceiling(), 4)
    (0.3279, 0.122)
    """

    q: float = 0.04
    r: float = 0.25
    n_steps: int = 200
    n_skip: int = 50

    def __post_init__(self):
        _check(self.q, self.r)
        if not 0 <= self.n_skip < self.n_steps:
            raise SpecificationError(
                f"tracking: n_skip is {self.n_skip} of n_steps {self.n_steps}; allowed: 0 to n_steps - 1; "
                "type n_steps=200, n_skip=50"
            )

    @property
    def n_in(self) -> int:
        """Size of the ``stimulus`` population: one constant cue."""
        return 1

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw `n` episodes (see `Task.sample`); `info` holds ``mean`` (the latent) and ``observation``."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        shape = (self.n_steps, n)
        steps = torch.arange(self.n_steps)
        size = torch.where(steps == 0, math.sqrt(kalman_error(self.q, self.r)), math.sqrt(self.q))[:, None]
        mean = (size * torch.randn(shape, generator=own)).cumsum(0)  # (time, batch)
        observation = mean + math.sqrt(self.r) * torch.randn(shape, generator=own)
        mean, observation = (each.to(device=device, dtype=dtype) for each in (mean, observation))
        steps = steps.to(device=device)
        ones = torch.ones_like(mean)[:, :, None]  # (time, batch, 1)
        part = Part(
            inputs={"stimulus": ones, "target": observation[:, :, None], "teach": ones},
            target=mean[:, :, None],
            weight=(steps >= self.n_skip)[:, None].to(mean).expand(shape),
            learn=steps >= 0,
            reset=steps == 0,
        )
        return Episode(part, info={"mean": mean, "observation": observation})

    def floor(self) -> float:
        """Return the error of always predicting 0: the variance ``P + q*t`` of the latent, averaged over scored t."""
        return kalman_error(self.q, self.r) + self.q * (self.n_skip + self.n_steps - 1) / 2

    def ceiling(self) -> float:
        """Return the error of the Kalman filter, exact at every step."""
        return kalman_error(self.q, self.r)

    def references(self) -> dict[str, float]:
        """Return the error of repeating the last observation, a delta rule of rate 1."""
        return {"last observation": self.fixed_rate_error(1.0)}

    def fixed_rate_error(self, rate: float) -> float:
        r"""Return the expected error of the delta rule ``w <- w + rate*(y - w)`` from 0, exact for this length.

        With a the rate, the error tends to :math:`e = (q + a^2 r) / (a (2 - a))`, and is
        :math:`e + (P - e)(1 - a)^{2t}` at step t.

        Parameters
        ----------
        rate : float
            Learning rate, between 0 and 2, both excluded.

        Raises
        ------
        SpecificationError
            If the rule does not settle at this rate.
        """
        if not 0 < rate < 2:
            raise SpecificationError(f"tracking: rate is {rate}; allowed: between 0 and 2; type rate=0.33")
        limit = (self.q + rate**2 * self.r) / (rate * (2 - rate))
        start = kalman_error(self.q, self.r) - limit
        scored = range(self.n_skip, self.n_steps)
        return limit + start * sum((1 - rate) ** (2 * t) for t in scored) / len(scored)


def kalman_error(q: float, r: float) -> float:
    r"""Return the steady-state error of the Kalman filter before each observation, against the latent.

    It solves :math:`P = P r / (P + r) + q`, so :math:`P = (q + \sqrt{q^2 + 4 q r}) / 2`.

    Parameters
    ----------
    q : float
        Variance of the walk's step.
    r : float
        Variance of the observation noise.

    Returns
    -------
    float
        P; after the observation it is ``P - q``.

    Examples
    --------
    >>> round(kalman_error(0.04, 0.25), 4), round(kalman_error(1.0, 1.0) - 1.0, 4)
    (0.122, 0.618)
    """
    _check(q, r)
    return (q + math.sqrt(q * (q + 4 * r))) / 2


def kalman_gain(q: float, r: float) -> float:
    """Return the steady-state Kalman gain ``P / (P + r)``: the best rate of a delta rule.

    Parameters
    ----------
    q : float
        Variance of the walk's step.
    r : float
        Variance of the observation noise.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> [round(kalman_gain(q, r), 4) for q, r in ((0.04, 0.25), (0.01, 1.0), (1.0, 1.0))]
    [0.3279, 0.0951, 0.618]
    """
    error = kalman_error(q, r)
    return error / (error + r)


def _check(q: float, r: float) -> None:
    """Refuse variances for which there is no steady state."""
    for name, value, usual in (("q", q, 0.04), ("r", r, 0.25)):
        if not 0 < value < math.inf:
            raise SpecificationError(f"tracking: {name} is {value}; allowed: above 0; type {name}={usual}")
