"""Volatility: predict a mean that jumps at unforeseeable moments (Behrens 2007, Nassar 2010).

A good observer learns fast after a jump and slowly otherwise, so no fixed learning rate is good; the exact Bayesian
observer, which weighs every possible time of the last jump, is the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DataError, SpecificationError
from ..streams import generator
from ._regression import Regression
from .base import Episode, Part, check_split

__all__ = ["Belief", "Volatility", "bayes", "best_fixed_rate", "fixed_rate"]


class Belief(NamedTuple):
    """What the Bayesian observer believes; every field is ``(time, batch)``, in units of the observation.

    Attributes
    ----------
    prediction : Tensor
        Expected mean at each step, before that step's observation.
    rate : Tensor
        Effective learning rate: change of the prediction divided by the prediction error that caused it. Unbounded
        where the error is nearly 0, so correlate it with weights ``error**2``, or use `gain`; `gain` stands in for it
        where the error is exactly 0.
    gain : Tensor
        Kalman gain expected over run lengths, after the observation; always between 0 and 1, dimensionless.
    variance : Tensor
        Variance of the mean at each step, before that step's observation: the squared error the observer expects.
    """

    prediction: Tensor
    rate: Tensor
    gain: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Volatility(Regression):
    """Predict the mean of noisy observations; with probability `hazard` per step the mean is drawn anew.

    The network is shown observation ``y`` (population ``target``) and a constant cue (``stimulus``). Its answer at
    step t is made before it learns from ``y[t]``, and is scored by its squared error from the latent mean, which it
    never sees. A learner that descends a support loss must use ``inputs["target"]``, not `Part.target`.

    Parameters
    ----------
    hazard : float
        Probability of a jump at each step after the first, 0 to 1.
    mean_sd : float
        Means are drawn from ``N(0, mean_sd**2)``.
    observation_sd : float
        Observations are the mean plus ``N(0, observation_sd**2)``.
    n_steps : int
        Length of an episode.
    n_skip : int
        First steps that do not count in loss and score.

    Raises
    ------
    SpecificationError
        If a setting is outside its range.

    References
    ----------
    Behrens et al. 2007, doi:10.1038/nn1954; Nassar et al. 2010, doi:10.1523/JNEUROSCI.0822-10.2010.

    Examples
    --------
    >>> task = Volatility(n_steps=50)
    >>> episode = task.sample(torch.Generator().manual_seed(0), 8)
    >>> episode.support.inputs["target"].shape, task.floor()
    (torch.Size([50, 8, 1]), 1.0)
    """

    hazard: float = 0.02
    mean_sd: float = 1.0
    observation_sd: float = 0.5
    n_steps: int = 200
    n_skip: int = 20

    def __post_init__(self):
        _check(self.hazard, self.mean_sd, self.observation_sd)
        if not 0 <= self.n_skip < self.n_steps:
            raise SpecificationError(
                f"volatility: n_skip is {self.n_skip} of n_steps {self.n_steps}; allowed: 0 to n_steps - 1; "
                "type n_steps=200, n_skip=20"
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
        """Draw `n` episodes (see `Task.sample`); `info` holds ``mean``, ``observation`` and ``jump``, (time, batch)."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        shape = (self.n_steps, n)
        steps = torch.arange(self.n_steps)
        jump = (torch.rand(shape, generator=own) < self.hazard) | (steps == 0)[:, None]  # (time, batch)
        start = torch.where(jump, steps[:, None], 0).cummax(0).values  # step at which the present mean was drawn
        mean = self.mean_sd * torch.randn(shape, generator=own).gather(0, start)
        observation = mean + self.observation_sd * torch.randn(shape, generator=own)
        mean, observation = (each.to(device=device, dtype=dtype) for each in (mean, observation))
        steps, jump = steps.to(device=device), jump.to(device=device)
        ones = torch.ones_like(mean)[:, :, None]  # (time, batch, 1)
        part = Part(
            inputs={"stimulus": ones, "target": observation[:, :, None], "teach": ones},
            target=mean[:, :, None],
            weight=(steps >= self.n_skip)[:, None].to(mean).expand(shape),
            learn=steps >= 0,
            reset=steps == 0,
        )
        return Episode(part, info={"mean": mean, "observation": observation, "jump": jump})

    def floor(self) -> float:
        """Return the error of always predicting 0, ``mean_sd**2``."""
        return float(self.mean_sd**2)

    def ceiling(self) -> float:
        """Return the error of the exact Bayesian observer, over fixed episodes (standard error .4 %)."""
        return _observer_error(self)

    def references(self) -> dict[str, float]:
        """Return the error of the best fixed learning rate, chosen on train episodes and scored on test ones."""
        return {"best fixed rate": best_fixed_rate(self)[1]}


def bayes(observations: Tensor, hazard: float = 0.02, mean_sd: float = 1.0, observation_sd: float = 0.5) -> Belief:
    r"""Run the exact Bayesian observer: message passing over the time since the last jump.

    Given that the mean was last drawn at step s, it has a Gaussian posterior :math:`N(m_s, v_s)`, updated with gain
    :math:`k_s = v_s / (v_s + \sigma^2)`. Hypothesis s has probability :math:`p_s`. At each step

    .. math:: p_t \leftarrow h, \quad p_s \leftarrow (1 - h)\,p_s, \quad \hat\mu_t = \sum_s p_s m_s, \quad
              p_s \propto p_s\,N(y_t;\, m_s,\, v_s + \sigma^2), \quad m_s \leftarrow m_s + k_s (y_t - m_s)

    Nothing is pruned: time grows with the square of the number of steps.

    Parameters
    ----------
    observations : Tensor
        ``(time, batch)``, at least one step.
    hazard, mean_sd, observation_sd : float
        The truth about the task, as in `Volatility`.

    Returns
    -------
    Belief
        Prediction, effective learning rate, expected gain and variance, ``(time, batch)`` each.

    Raises
    ------
    DataError
        If `observations` are not ``(time, batch)``.

    References
    ----------
    Adams & MacKay 2007, doi:10.48550/arXiv.0710.3742; Nassar et al. 2010, doi:10.1523/JNEUROSCI.0822-10.2010.

    Examples
    --------
    >>> belief = bayes(torch.tensor([[0.0], [0.0], [0.0], [3.0], [3.0]]))
    >>> [round(value, 2) for value in belief.gain[:, 0].tolist()]  # surprise raises the learning rate
    [0.8, 0.45, 0.31, 0.8, 0.44]
    """
    _check(hazard, mean_sd, observation_sd)
    if observations.ndim != 2 or not len(observations):
        raise DataError(
            f"bayes: observations have shape {tuple(observations.shape)}; allowed: (time, batch) with time >= 1; "
            'type bayes(episode.info["observation"])'
        )
    noise, none = observation_sd**2, torch.zeros_like(observations[:1])
    log_new, log_old = observations.new_tensor([hazard, 1 - hazard]).log()
    runs = torch.arange(len(observations)).to(observations)[:, None]  # observations since the jump
    variances = 1 / (1 / mean_sd**2 + runs / noise)  # (run, 1), newest hypothesis first
    m, log_p = none, none
    predictions, spreads, gains = [], [], []
    for t, y in enumerate(observations):
        if t:
            m, log_p = torch.cat((none, m)), torch.cat((none + log_new, log_p + log_old))  # (t + 1, batch)
        p, v = log_p.exp(), variances[: t + 1]
        predictions.append((p * m).sum(0))
        spreads.append((p * (v + (m - predictions[-1]).square())).sum(0))
        log_p = log_p - 0.5 * ((y - m).square() / (v + noise) + (v + noise).log())
        log_p = log_p - log_p.logsumexp(0)
        k = v / (v + noise)
        m = m + k * (y - m)
        gains.append((log_p.exp() * k).sum(0))
    predictions.append((1 - hazard) * (log_p.exp() * m).sum(0))  # for the step after the last
    prediction, gain = torch.stack(predictions), torch.stack(gains)
    error = observations - prediction[:-1]
    rate = torch.where(error == 0, gain, prediction.diff(dim=0) / error)
    return Belief(prediction[:-1], rate, gain, torch.stack(spreads))


def fixed_rate(observations: Tensor, rates: Tensor) -> Tensor:
    """Return the predictions of delta rules ``w <- w + rate*(y - w)`` from ``w = 0``, made before each observation.

    Parameters
    ----------
    observations : Tensor
        ``(time, batch)``.
    rates : Tensor
        Learning rates ``(rates,)``, all run at once.

    Returns
    -------
    Tensor
        ``(time, batch, rates)``.
    """
    w = torch.zeros_like(observations[0])[:, None] * rates  # (batch, rates)
    predictions = []
    for y in observations:
        predictions.append(w)
        w = w + rates * (y[:, None] - w)
    return torch.stack(predictions)


@cache
def best_fixed_rate(task: Volatility, n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Return the rate in .02, .04, ... 1 that is best on `n` train episodes, and its error on `4*n` test episodes."""
    train, test = (task.sample(generator(seed, split), m, split) for split, m in (("train", n), ("test", 4 * n)))
    rates = torch.arange(1, 51) / 50
    predictions = fixed_rate(train.info["observation"], rates).permute(2, 0, 1)  # (rates, time, batch)
    errors = torch.stack([task.loss(each[:, :, None], train.support).mean() for each in predictions])
    rate = rates[errors.argmin()]
    return float(rate), float(task.loss(fixed_rate(test.info["observation"], rate[None]), test.support).mean())


@cache
def _observer_error(task: Volatility, n: int = 4000, seed: int = 0) -> float:
    """Return the observer's expected error; its own variance scatters a third as much as its squared errors do."""
    episode = task.sample(generator(seed, "ceiling"), n, "test")
    belief = bayes(episode.info["observation"], task.hazard, task.mean_sd, task.observation_sd)
    return float(belief.variance[task.n_skip :].mean())


def _check(hazard: float, mean_sd: float, observation_sd: float) -> None:
    """Refuse settings for which the task is not defined."""
    if not 0 <= hazard <= 1:
        raise SpecificationError(f"volatility: hazard is {hazard}; allowed: 0 to 1; type hazard=0.02")
    for name, value, usual in (("mean_sd", mean_sd, 1.0), ("observation_sd", observation_sd, 0.5)):
        if not 0 < value < float("inf"):
            raise SpecificationError(f"volatility: {name} is {value}; allowed: above 0; type {name}={usual}")
