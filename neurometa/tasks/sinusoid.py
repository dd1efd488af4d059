"""Sinusoid regression: fit a sine of unknown amplitude and phase from a few points (Finn et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import SpecificationError
from ..streams import generator
from ._regression import Regression, points
from .base import Episode, check_split

__all__ = ["Sinusoid"]


@dataclass(frozen=True, kw_only=True)
class Sinusoid(Regression):
    """Predict ``y = amplitude*sin(x - phase)`` after ``n_shot`` points of it.

    Parameters
    ----------
    n_shot, n_query : int
        Support and query points of each task.
    amplitude : tuple of float
        Range of the uniform amplitude.
    width : float
        ``x`` is uniform between ``-width`` and ``width``; the phase is uniform between 0 and pi.

    Notes
    -----
    The best predictor without support is the mean over tasks, ``-(2/pi)*E[amplitude]*cos(x)``; at the standard ranges
    its squared error is 3.01 (a constant scores 4.25). Without noise the ideal observer has no error from three points
    on.

    References
    ----------
    Finn, Abbeel & Levine 2017, doi:10.48550/arXiv.1703.03400.

    Examples
    --------
    >>> round(Sinusoid().floor(), 2)
    3.01
    """

    n_shot: int = 5
    n_query: int = 10
    amplitude: tuple[float, float] = (0.1, 5.0)
    width: float = 5.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.n_shot < 1 or self.n_query < 1:
            raise SpecificationError(f"n_shot is {self.n_shot} and n_query {self.n_query}; both must be above 0")
        given = self.amplitude
        pair = (given,) if isinstance(given, int | float) else tuple(given)
        if len(pair) != 2 or not pair[0] < pair[1]:
            raise SpecificationError(
                f"amplitude is {given}, allowed: (low, high) with low below high; type amplitude=(0.1, 5.0)"
            )
        if not self.width > 0:
            raise SpecificationError(f"width is {self.width}, allowed: above 0; type width=5.0")
        object.__setattr__(self, "amplitude", pair)

    @property
    def n_in(self) -> int:
        """One number, x."""
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
        """Draw ``n`` sines; ``info`` holds ``amplitude`` and ``phase``, ``(batch,)``."""
        check_split(split)
        dtype = dtype or torch.get_default_dtype()
        own = generator(int(torch.randint(2**62, (1,), generator=stream)), split)
        low, high = self.amplitude
        drawn = torch.rand(2 + self.n_shot + self.n_query, n, generator=own, dtype=torch.double)
        amplitude, phase = low + (high - low) * drawn[0], math.pi * drawn[1]
        x = self.width * (2 * drawn[2:] - 1)  # (time, batch)
        y = amplitude * torch.sin(x - phase)
        x, y = (value.unsqueeze(-1).to(device=device, dtype=dtype) for value in (x, y))
        support = points(x[: self.n_shot], y[: self.n_shot], shown=True)
        query = points(x[self.n_shot :], y[self.n_shot :], shown=False)
        return Episode(support, query, {"amplitude": amplitude, "phase": phase})

    def floor(self) -> float:
        """Squared error of the mean over tasks, in closed form."""
        low, high = self.amplitude
        mean, square = (low + high) / 2, (high**3 - low**3) / (3 * (high - low))
        cosine = 0.5 + math.sin(2 * self.width) / (4 * self.width)
        return square / 2 - (2 / math.pi * mean) ** 2 * cosine

    def ceiling(self) -> float | None:
        """No error from three points on; not known below."""
        return 0.0 if self.n_shot >= 3 else None
