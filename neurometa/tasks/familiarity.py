"""Continual familiarity: have I seen this before? Asked of every stimulus of a stream (Tyulmankov et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..errors import SpecificationError
from ..streams import generator
from .base import Episode, Part, Task, check_split

__all__ = ["Familiarity"]


@dataclass(frozen=True, kw_only=True)
class Familiarity(Task):
    r"""Say of every stimulus of a stream whether it is familiar (1) or new (0).

    A stimulus is a random vector of -1 and 1. With probability 1/2 it is the one that was shown `lag` steps ago, if
    that one was itself new (none is shown three times); otherwise it is new. The answer is one logit, positive for
    familiar. Activity is reset at the first step only, and synapses may change at every step.

    Parameters
    ----------
    lag : int
        Steps from a stimulus to its repetition.
    n_dim : int
        Length of a stimulus; 20 or more, so that two new ones are practically never alike.
    n_steps : int
        Length of the stream, more than `lag`.

    Notes
    -----
    Time falls into blocks of `lag` steps. A step of block k is familiar with probability :math:`f_0 = 0`,
    :math:`f_k = (1 - f_{k-1})/2`, so :math:`f_k = (1 - (-1/2)^k)/3`, which is never above 1/2. The best predictor
    without support therefore answers "new" throughout, and scores 1 minus the mean of f: .6700 at a lag of 3 and .6733
    at a lag of 6 in 200 steps, 2/3 in an endless stream. The ideal observer scores 1; that a new stimulus is by chance
    the one of `lag` steps ago, with probability :math:`2^{-n_{dim}}`, is neglected.

    References
    ----------
    Tyulmankov, Yang & Abbott 2022, doi:10.1016/j.neuron.2021.11.009.

    Examples
    --------
    >>> round(Familiarity(lag=3).floor(), 4), round(Familiarity(lag=6).floor(), 4)
    (0.67, 0.6733)
    >>> part = Familiarity(lag=1, n_steps=8).sample(torch.Generator().manual_seed(0), 1).support
    >>> part.target[:, 0, 0].tolist()
    [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    """

    score_name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    lag: int = 3
    n_dim: int = 100
    n_steps: int = 200

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.lag < self.n_steps:
            raise SpecificationError(
                f"familiarity: lag is {self.lag} of n_steps {self.n_steps}; allowed: 1 to n_steps - 1; "
                "type lag=3, n_steps=200"
            )
        if self.n_dim < 20:
            raise SpecificationError(
                f"familiarity: n_dim is {self.n_dim}; allowed: 20 or more, so that new stimuli differ; type n_dim=100"
            )

    @property
    def n_in(self) -> int:
        """Length of a stimulus."""
        return self.n_dim

    @property
    def n_out(self) -> int:
        """One logit: familiar or new."""
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
        """Draw ``n`` streams."""
        check_split(split)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        fresh = 2 * torch.randint(2, (self.n_steps, n, self.n_dim), generator=own) - 1  # (time, batch, n_dim)
        wanted = torch.rand(self.n_steps, n, generator=own) < 0.5  # (time, batch): repeat, if that can be
        blocks = [torch.zeros_like(wanted[: self.lag])]
        for block in wanted[self.lag :].split(self.lag):
            blocks.append(block & ~blocks[-1][: len(block)])
        familiar = torch.cat(blocks).unsqueeze(-1)  # (time, batch, 1)
        stimulus = torch.where(familiar, fresh.roll(self.lag, 0), fresh).to(device=device, dtype=dtype)
        target = familiar.to(stimulus)
        steps = torch.arange(self.n_steps).to(device)
        hidden = torch.zeros_like(target)
        inputs = {"stimulus": stimulus, "target": hidden, "teach": hidden}
        return Episode(Part(inputs, target, torch.ones_like(target[..., 0]), steps >= 0, steps == 0))

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean binary cross-entropy of logits per stream, ``(batch,)``."""
        entropy = binary_cross_entropy_with_logits(output, part.target, reduction="none")  # (time, batch, 1)
        return (entropy[..., 0] * part.weight).sum(0) / part.weight.sum(0)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the share of right answers (familiar where the logit is positive) per stream, ``(batch,)``."""
        right = ((output > 0) == (part.target > 0))[..., 0].to(part.weight)  # (time, batch)
        return (right * part.weight).sum(0) / part.weight.sum(0)

    def floor(self) -> float:
        """Return the share of new stimuli, which is what always answering "new" scores."""
        return 1 - sum(1 - (-0.5) ** (t // self.lag) for t in range(self.n_steps)) / 3 / self.n_steps

    def ceiling(self) -> float:
        """Return 1: who remembers what was shown `lag` steps ago knows the answer."""
        return 1.0
