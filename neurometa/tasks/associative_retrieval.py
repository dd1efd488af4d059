"""Associative retrieval: read "a9k8j3??k" and answer "8" (Ba et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import one_hot

from ..errors import SpecificationError
from ..streams import generator
from ._classification import Classification, most_frequent
from .base import Episode, Part, check_split

__all__ = ["AssociativeRetrieval"]


@dataclass(frozen=True, kw_only=True)
class AssociativeRetrieval(Classification):
    r"""Answer with the value that was shown after a key, each key and value being one symbol of a sequence.

    Each episode draws ``n_pairs`` different keys (letters) and a value (digit) for each, uniform and independent, so
    that a digit may come twice. One symbol is shown at each step, as a one-hot vector over letters, digits and ``?``:
    key, value, key, value, ..., ``?``, ``?``, and then one of the keys. The answer is scored at the last step.
    Activity is never reset, and synapses may change at every step.

    Parameters
    ----------
    n_pairs : int
        Keys shown, each with its value.
    n_keys, n_values : int
        Letters and digits that there are.
    n_asked : int
        Steps for which the asked key is shown. Published is 1, with a network that iterates its fast weights within a
        step; a plain recurrent network needs one step to recognise the key and one to recall what followed it.
    together : bool
        Show key and value in one step (two ones in the vector), not one after the other. A feed-forward network, which
        has no activity that outlasts a step, can bind only what is shown together.

    Notes
    -----
    Digits are independent of keys, so the best predictor without the sequence scores ``1/n_values``; the ideal
    observer, who remembers it, scores 1. Between them stands the best score without binding, that of an observer who
    knows which digits were shown but not after which key: it answers the most frequent one and scores
    :math:`E[\max_v c_v] / n_{pairs}` with the counts :math:`c_v` of the digits, .3835 at the standard numbers. To
    answer any shown digit scores :math:`1/n_{pairs} + (1 - 1/n_{pairs})/n_{values}`, .325.

    References
    ----------
    Ba et al. 2016, doi:10.48550/arXiv.1610.06258; Garcia Rodriguez, Guo & Moraitis 2022, doi:10.48550/arXiv.2206.14048.

    Examples
    --------
    >>> task = AssociativeRetrieval()
    >>> episode = task.sample(torch.Generator().manual_seed(0), 1)
    >>> symbols = "abcdefghijklmnopqrstuvwxyz0123456789?"
    >>> "".join(symbols[i] for i in episode.support.inputs["stimulus"][:, 0].argmax(-1))
    't1z1k7f9??kk'
    >>> int(episode.support.target[-1, 0].argmax())
    7
    """

    n_pairs: int = 4
    n_keys: int = 26
    n_values: int = 10
    n_asked: int = 2
    together: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("n_pairs", 1), ("n_keys", 1), ("n_values", 2), ("n_asked", 1)):
            if getattr(self, name) < least:
                raise SpecificationError(
                    f"associative_retrieval: {name} is {getattr(self, name)}; allowed: {least} or more; "
                    f"type {name}={getattr(AssociativeRetrieval, name)}"
                )
        if self.n_pairs > self.n_keys:
            raise SpecificationError(
                f"associative_retrieval: n_pairs is {self.n_pairs} of n_keys {self.n_keys}; allowed: n_keys or fewer; "
                "type n_pairs=4, n_keys=26"
            )

    @property
    def n_in(self) -> int:
        """Letters, digits and ``?``."""
        return self.n_keys + self.n_values + 1

    @property
    def n_out(self) -> int:
        """Digits."""
        return self.n_values

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds ``keys``, ``values`` (batch, n_pairs) and ``asked`` (batch), a pair."""
        check_split(split)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        keys = torch.rand(n, self.n_keys, generator=own).argsort(1)[:, : self.n_pairs]  # (batch, pair)
        values = torch.randint(self.n_values, (n, self.n_pairs), generator=own)
        asked = torch.randint(self.n_pairs, (n,), generator=own)
        rows = torch.arange(n)
        key, value = one_hot(keys, self.n_in), one_hot(self.n_keys + values, self.n_in)  # (batch, pair, n_in)
        pairs = key + value if self.together else torch.stack([key, value], 2).flatten(1, 2)  # (batch, time, n_in)
        gap = one_hot(torch.full((n, 2), self.n_in - 1), self.n_in)
        shown = torch.cat([pairs, gap, key[rows, asked, None].expand(-1, self.n_asked, -1)], 1)
        stimulus = shown.transpose(0, 1).to(device=device, dtype=dtype)  # (time, batch, n_in)
        steps = torch.arange(len(stimulus)).to(device)
        answer = one_hot(values[rows, asked], self.n_values).to(stimulus)  # (batch, n_values)
        scored = (steps == len(steps) - 1).to(stimulus)  # (time,)
        target = scored[:, None, None] * answer  # (time, batch, n_values)
        inputs = {"stimulus": stimulus, "target": torch.zeros_like(target), "teach": torch.zeros_like(target[..., :1])}
        part = Part(inputs, target, scored[:, None].expand(-1, n), steps >= 0, steps == 0)
        return Episode(part, info={"keys": keys, "values": values, "asked": asked})

    def floor(self) -> float:
        """Return chance, ``1/n_values``."""
        return 1 / self.n_values

    def ceiling(self) -> float:
        """Return 1: who remembers the sequence knows the answer."""
        return 1.0

    def references(self) -> dict[str, float]:
        """Return what two observers score who know which values were shown, but not after which key; exactly."""
        return {
            "best without binding": most_frequent(self.n_pairs, self.n_values),
            "a shown value at random": 1 / self.n_pairs + (1 - 1 / self.n_pairs) / self.n_values,
        }
