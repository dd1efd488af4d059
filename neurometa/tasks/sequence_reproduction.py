"""Sequence reproduction: hold a sequence of symbols, and give it back in order (copy task, Graves et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import one_hot

from ..errors import SpecificationError
from ..streams import generator
from ._classification import Classification, most_frequent
from .base import Episode, Part, check_split

__all__ = ["SequenceReproduction"]


@dataclass(frozen=True, kw_only=True)
class SequenceReproduction(Classification):
    r"""Reproduce a random sequence after a cue.

    Each episode draws ``length`` symbols, uniform and independent, so that a symbol may come twice. They are shown one
    at a step, as one-hot vectors; ``delay`` empty steps follow; then one step with the cue, an input of its own; and
    then ``length`` empty steps, at each of which the answer is scored: the first symbol, the second, and so on.
    Activity is never reset, and synapses may change at every step.

    Parameters
    ----------
    n_symbols : int
        Symbols that there are.
    length : int
        Symbols in a sequence.
    delay : int
        Empty steps before the cue.

    Notes
    -----
    The best predictor without the sequence scores ``1/n_symbols``; the ideal observer scores 1. An observer who knows
    which symbols were shown but not their order answers the most frequent one throughout and scores
    :math:`E[\max_s c_s] / length` with the counts :math:`c_s`, .3865 at the standard numbers.

    References
    ----------
    Graves, Wayne & Danihelka 2014, doi:10.48550/arXiv.1410.5401.

    Examples
    --------
    >>> task = SequenceReproduction(length=3)
    >>> part = task.sample(torch.Generator().manual_seed(0), 1).support
    >>> part.inputs["stimulus"][:3, 0].argmax(-1).tolist() == part.target[-3:, 0].argmax(-1).tolist()
    True
    >>> part.weight[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """

    n_symbols: int = 8
    length: int = 5
    delay: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("n_symbols", 2), ("length", 1), ("delay", 0)):
            if getattr(self, name) < least:
                raise SpecificationError(
                    f"sequence_reproduction: {name} is {getattr(self, name)}; allowed: {least} or more; "
                    f"type {name}={getattr(SequenceReproduction, name)}"
                )

    @property
    def n_in(self) -> int:
        """Symbols and the cue."""
        return self.n_symbols + 1

    @property
    def n_out(self) -> int:
        """Symbols."""
        return self.n_symbols

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds ``symbols``, (length, batch)."""
        check_split(split)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        symbols = torch.randint(self.n_symbols, (self.length, n), generator=own)
        shown = one_hot(symbols, self.n_in).to(device=device, dtype=dtype)  # (length, batch, n_in)
        before = self.length + self.delay + 1  # steps up to the cue, which is the last of them
        steps = torch.arange(before + self.length).to(device)
        cue = (steps == before - 1).to(shown)[:, None, None] * one_hot(torch.tensor(self.n_symbols)).to(shown)
        stimulus = cue.expand(-1, n, -1) + torch.cat(
            [shown, shown.new_zeros(self.delay + 1 + self.length, n, self.n_in)]
        )
        answers = shown[..., : self.n_symbols]  # (length, batch, n_symbols)
        target = torch.cat([answers.new_zeros(before, n, self.n_symbols), answers])
        weight = (steps >= before).to(shown)[:, None].expand(-1, n)
        inputs = {"stimulus": stimulus, "target": torch.zeros_like(target), "teach": torch.zeros_like(target[..., :1])}
        return Episode(Part(inputs, target, weight, steps >= 0, steps == 0), info={"symbols": symbols})

    def floor(self) -> float:
        """Return chance, ``1/n_symbols``."""
        return 1 / self.n_symbols

    def ceiling(self) -> float:
        """Return 1: who remembers the sequence knows every answer."""
        return 1.0

    def references(self) -> dict[str, float]:
        """Return what an observer scores who knows which symbols were shown, but not their order; exactly."""
        return {"best without order": most_frequent(self.length, self.n_symbols)}
