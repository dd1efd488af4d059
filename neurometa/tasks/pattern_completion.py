"""Pattern completion: see a few random patterns, then complete one of which half is erased (Miconi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import ClassVar

import torch
from torch import Tensor

from ..streams import generator
from ._completion import Completion, over_erased
from .base import Episode, Part, check_split

__all__ = ["PatternCompletion", "hopfield"]


@dataclass(frozen=True, kw_only=True)
class PatternCompletion(Completion):
    r"""Complete one of a few patterns of random bits that were shown before.

    Every bit of every pattern is 1 or -1 with equal probability, independently. A random half of the bits of the probe
    is erased (of an odd number, the smaller half). The course of an episode is that of `Completion`.

    Parameters
    ----------
    n_bits : int
        Bits of a pattern.
    n_patterns, n_presentations, n_show, n_gap, n_probe
        As in `Completion`. The defaults are those of the published comparison with an LSTM: 50 bits, 2 patterns, each
        shown once for 3 steps and 1 blank step. The large task of the publication has ``n_bits=1000``,
        ``n_patterns=5``, ``n_presentations=2``, ``n_show=6``, ``n_gap=4``, ``n_probe=6``.

    Notes
    -----
    The score is the error rate: wrong signs among the erased bits, as a share of all bits. (An answer of exactly 0 is
    half wrong.) With :math:`k` bits shown of :math:`n`, the best predictor without the patterns guesses and scores
    :math:`\tfrac12 (n - k)/n`, which is 1/4. The ideal observer remembers all patterns; where :math:`m` of them agree
    with the probe, he answers each bit as most of these have it. Each of the others agrees by chance with probability
    :math:`2^{-k}`, so he scores

    .. math:: \frac{n - k}{n} \sum_{m=1}^{P} \binom{P-1}{m-1} 2^{-k(m-1)} (1 - 2^{-k})^{P-m} \frac{E[\min(c, m - c)]}{m}

    with :math:`c` binomial of :math:`m` and 1/2: 4e-9 at the standard numbers. References are a Hopfield matrix of the
    same patterns, and who remembers only the pattern that was shown last: the floor times :math:`1 - 1/P`.

    Miconi et al. draw patterns with equally many bits of both signs; then the bits that are shown tell a little about
    the others, and the floor is lower than 1/4 (.22 at 50 bits). Independent bits tell nothing.

    References
    ----------
    Miconi, Stanley & Clune 2018, doi:10.48550/arXiv.1804.02464. Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Examples
    --------
    >>> task = PatternCompletion(n_bits=6)
    >>> episode = task.sample(torch.Generator().manual_seed(0), 1)
    >>> episode.support.inputs["stimulus"][-1, 0].int().tolist(), episode.support.target[-1, 0].int().tolist()
    ([0, 1, -1, 0, 0, 1], [1, 1, -1, 1, -1, 1])
    >>> task.floor(), task.ceiling()
    (0.25, 0.015625)
    """

    score_name: ClassVar[str] = "error rate"
    higher_is_better: ClassVar[bool] = False

    n_bits: int = 50

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        self._check("n_bits", 2)

    @property
    def n_in(self) -> int:
        """Bits of a pattern."""
        return self.n_bits

    @property
    def n_erased(self) -> int:
        """Bits that the probe does not show."""
        return self.n_bits // 2

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds ``patterns``, ``asked``, ``order`` and ``erased``, see `Completion`."""
        check_split(split)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        bits = 2 * torch.randint(2, (n, self.n_patterns, self.n_bits), generator=own) - 1
        erased = torch.rand(n, self.n_bits, generator=own).argsort(-1) < self.n_erased  # (batch, n_bits)
        return self._course(own, bits.to(device=device, dtype=dtype), erased)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the wrong signs among the erased bits as a share of all bits, ``(batch,)``."""
        wrong = (1 - output.sign() * part.target) / 2  # (time, batch, n_bits)
        return over_erased(wrong, part) * (self.n_erased / self.n_bits)

    def floor(self) -> float:
        """Return the error of who guesses what is erased."""
        return self.n_erased / self.n_bits / 2

    def ceiling(self) -> float:
        """Return the error of the ideal observer, exactly."""
        others, alike = self.n_patterns - 1, 0.5 ** (self.n_bits - self.n_erased)
        error = 0.0
        for more in range(1, others + 1):  # patterns that agree with the probe besides the one that is asked for
            m, chance = more + 1, comb(others, more) * alike**more * (1 - alike) ** (others - more)
            error += chance * sum(comb(m, c) * min(c, m - c) for c in range(m + 1)) / 2**m / m
        return error * self.n_erased / self.n_bits

    def references(self) -> dict[str, float]:
        """Return the error of a Hopfield matrix (1,000 fixed test episodes) and of who knows the last pattern only."""
        last = (1 - 1 / self.n_patterns) * self.floor()
        return {"Hopfield matrix": _hopfield_error(self), "last pattern only": last}


def hopfield(patterns: Tensor, probe: Tensor, n_sweeps: int = 100) -> Tensor:
    r"""Complete probes by the Hopfield matrix :math:`\sum_p x_p x_p^T` without its diagonal.

    What the probe shows is clamped. All other neurons take the sign of their drive at once (and keep their state where
    it is 0), until none changes, ``n_sweeps`` times at most.

    Parameters
    ----------
    patterns : Tensor
        ``(batch, pattern, n)`` of 1 and -1.
    probe : Tensor
        ``(batch, n)``, 0 where it is erased.
    n_sweeps : int
        Upper limit.

    Returns
    -------
    Tensor
        ``(batch, n)`` of 1 and -1, or 0 where nothing ever drove a neuron.

    Examples
    --------
    >>> hopfield(torch.tensor([[[1.0, 1, -1, -1], [1, -1, 1, -1]]]), torch.tensor([[1.0, 1, 0, 0]])).int().tolist()
    [[1, 1, -1, -1]]
    """
    state = probe
    for _ in range(n_sweeps):
        overlap = torch.einsum("bpn,bn->bp", patterns, state)
        drive = torch.einsum("bpn,bp->bn", patterns, overlap) - patterns.shape[1] * state
        new = torch.where((probe != 0) | (drive == 0), state, drive.sign())
        if torch.equal(new, state):
            break
        state = new
    return state


@cache
def _hopfield_error(task: PatternCompletion, n: int = 1000, batch: int = 100) -> float:
    """Measure the Hopfield matrix on test episodes."""
    stream, scores = generator(0, "references"), []
    for _ in range(0, n, batch):
        episode = task.sample(stream, batch, "test")
        answer = hopfield(episode.info["patterns"], episode.support.inputs["stimulus"][-1])
        scores.append(task.score(answer.expand_as(episode.support.target), episode.support))
    return float(torch.cat(scores).mean())
