"""Teacher regression: imitate a small random network, new in each episode, from a few points."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from ..errors import SpecificationError
from ..streams import generator
from ._regression import Regression, points
from .base import Episode, check_split

__all__ = ["Teacher", "kernel"]

#: Support sets over which the reference is averaged, and nodes of the floor's quadrature between normal scores.
EPISODES, NODES, REACH = 4000, 64, 8.0
#: Added to the variance of the noise, so that matrices can be inverted without any.
ROUNDING = 1e-10


@dataclass(frozen=True, kw_only=True)
class Teacher(Regression):
    r"""Predict :math:`y = \sum_h v_h\,\mathrm{erf}(w_h \cdot x + b_h)/\sqrt{H} + N(0, \sigma^2)` after a few points.

    The teacher is drawn for each task: :math:`v_h \sim N(0, 1)`, :math:`w_h \sim N(0, g^2 I/d)`,
    :math:`b_h \sim N(0, g^2)`, with :math:`x \sim N(0, I)` in d dimensions (g `gain`, :math:`\sigma` `noise`,
    d `n_dim`, H `n_hidden`). Queries are points like those of the support set, so their noise is part of every error.
    A linear teacher is the task ``linear_gaussian``.

    Parameters
    ----------
    n_dim : int
        Size of x.
    n_hidden : int
        Hidden neurons of a teacher.
    n_shot, n_query : int
        Support and query points of each task.
    gain : float
        How steep and how curved teachers are, above 0.
    noise : float
        Standard deviation of the observation noise, 0 or more.

    Raises
    ------
    SpecificationError
        If a setting is outside its range.

    Notes
    -----
    A teacher and its negative are equally likely, so the best predictor without support answers 0 and scores
    :math:`E[k(x, x)] + \sigma^2`, where k is the covariance of two answers over teachers, in closed form and the same
    for every H (Williams 1998):

    .. math:: k(x, x') = \tfrac2\pi \arcsin \frac{2c(x, x')}{\sqrt{(1 + 2c(x, x))(1 + 2c(x', x'))}}, \qquad
              c(x, x') = g^2 (1 + x \cdot x'/d).

    The ideal observer would have to integrate over all teachers; its error is not known. The best predictor that is
    linear in the answers that were shown is known, Gaussian-process regression with the kernel k, and stands among the
    references. For H to infinity it is the ideal observer (Neal 1996); with few hidden neurons others may be better.

    References
    ----------
    Williams 1998, doi:10.1162/089976698300017412; Neal 1996, doi:10.1007/978-1-4612-0745-0.

    Examples
    --------
    >>> task = Teacher()
    >>> round(task.floor(), 3), {name: round(value, 2) for name, value in task.references().items()}
    (0.776, {'best linear in the shown answers': 0.08})
    """

    n_dim: int = 2
    n_hidden: int = 8
    n_shot: int = 10
    n_query: int = 10
    gain: float = 2.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("n_dim", "n_hidden", "n_shot", "n_query"):
            if getattr(self, name) < 1:
                raise SpecificationError(f"teacher: {name} is {getattr(self, name)}; allowed: 1 or more")
        if not 0 < self.gain < math.inf or not 0 <= self.noise < math.inf:
            raise SpecificationError(
                f"teacher: gain is {self.gain} and noise {self.noise}; allowed: gain above 0, noise 0 or more; "
                f"type gain={Teacher.gain}, noise={Teacher.noise}"
            )

    @property
    def n_in(self) -> int:
        """Size of x."""
        return self.n_dim

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` teachers; ``info`` holds ``w`` (batch, n_hidden, n_dim), ``b`` and ``v``, (batch, n_hidden)."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        n_points = self.n_shot + self.n_query
        w = self.gain / self.n_dim**0.5 * torch.randn(n, self.n_hidden, self.n_dim, generator=own)
        b = self.gain * torch.randn(n, self.n_hidden, generator=own)
        v = torch.randn(n, self.n_hidden, generator=own)
        x = torch.randn(n_points, n, self.n_dim, generator=own)
        noise = self.noise * torch.randn(n_points, n, 1, generator=own)
        hidden = torch.erf(torch.einsum("bhd,tbd->tbh", w, x) + b)  # (time, batch, n_hidden)
        y = (hidden * v).sum(-1, keepdim=True) / self.n_hidden**0.5 + noise  # (time, batch, 1)
        x, y = (value.to(device=device, dtype=dtype) for value in (x, y))
        support = points(x[: self.n_shot], y[: self.n_shot], shown=True)
        query = points(x[self.n_shot :], y[self.n_shot :], shown=False)
        return Episode(support, query, {"w": w, "b": b, "v": v})

    def floor(self) -> float:
        """Return the mean square of y, by a quadrature over the length of x (error below 1e-8)."""
        from scipy.special import chdtri, ndtr

        score = np.linspace(-REACH, REACH, NODES)
        weight = np.exp(-(score**2) / 2)
        c = self.gain**2 * (1 + chdtri(self.n_dim, ndtr(-score)) / self.n_dim)
        return float(weight @ (2 / np.pi * np.arcsin(2 * c / (1 + 2 * c))) / weight.sum()) + self.noise**2

    def references(self) -> dict[str, float]:
        """Return the error of the best predictor that is linear in the shown answers.

        Given the support points it is exact; the average over them is taken over 4,000 fixed draws, with a standard
        error of 1.4 % at the standard settings.
        """
        return {"best linear in the shown answers": _linear_error(self)[0]}


def kernel(task: Teacher, x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the covariance over teachers of the answers, without noise, to ``(..., n, d)`` and ``(..., m, d)``."""

    def scale(a: np.ndarray) -> np.ndarray:  # (..., n)
        return np.sqrt(1 + 2 * task.gain**2 * (1 + (a**2).sum(-1) / task.n_dim))

    inner = 2 * task.gain**2 * (1 + x @ other.swapaxes(-1, -2) / task.n_dim)
    return 2 / np.pi * np.arcsin(inner / (scale(x)[..., None] * scale(other)[..., None, :]))


@lru_cache(maxsize=32)
def _linear_error(task: Teacher, n: int = EPISODES) -> tuple[float, float]:
    """Return the expected squared error of Gaussian-process regression over ``n`` support sets, with standard error."""
    episode = replace(task, n_query=1).sample(generator(0, "references"), n, "test")
    shown, asked = (part.inputs["stimulus"] for part in (episode.support, episode.scored))
    x, new = (value.transpose(0, 1).numpy().astype(float) for value in (shown, asked))  # (n, time, n_dim)
    among = kernel(task, x, x) + (task.noise**2 + ROUNDING) * np.eye(task.n_shot)  # (n, shot, shot)
    between = kernel(task, x, new)  # (n, shot, 1)
    explained = between.swapaxes(-1, -2) @ np.linalg.solve(among, between)
    errors = (kernel(task, new, new) - explained)[:, 0, 0] + task.noise**2
    return float(errors.mean()), float(errors.std(ddof=1)) / n**0.5
