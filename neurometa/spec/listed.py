"""Synapses and delays that are listed one by one: what an imported network has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import SpecificationError
from .base import Description

__all__ = ["Listed", "Pairs"]


@dataclass(frozen=True, eq=False)
class Pairs(Description):
    """A mask that lists the synapses: ``pre[k]`` to ``post[k]``, indices of neurons.

    Examples
    --------
    >>> Pairs(pre=(0, 2), post=(1, 0)).synapses(2, 3).astype(int)
    array([[0, 0, 1],
           [1, 0, 0]])
    """

    pre: tuple[int, ...]
    post: tuple[int, ...]

    def __post_init__(self):
        self._freeze("pre", "post")
        whole = all(isinstance(k, int) and not isinstance(k, bool) and k >= 0 for k in (*self.pre, *self.post))
        if not whole or len(self.pre) != len(self.post):
            raise SpecificationError("Pairs: pre and post must be equally many whole numbers, 0 or more")
        if len(set(zip(self.pre, self.post, strict=True))) < len(self.pre):
            raise SpecificationError("Pairs: a pair of neurons is listed twice; one synapse each is allowed")

    def check(self, n_post: int, n_pre: int, where: str) -> None:
        """Refuse an index of a neuron that does not exist."""
        for side, found, size in (("pre", self.pre, n_pre), ("post", self.post, n_post)):
            if max(found, default=0) >= size:
                raise SpecificationError(f"{where}: Pairs lists {side} neuron {max(found)}, but there are {size}")

    def synapses(self, n_post: int, n_pre: int) -> np.ndarray:
        """Return which synapses exist, boolean ``(n_post, n_pre)``."""
        self.check(n_post, n_pre, "mask")
        found = np.zeros((n_post, n_pre), dtype=bool)
        found[list(self.post), list(self.pre)] = True
        return found


@dataclass(frozen=True, eq=False)
class Listed(Description):
    """Delays, ms, one for each synapse, in the order of ``post`` and then ``pre``; absent synapses are left out."""

    values: tuple[float, ...]

    def __post_init__(self):
        self._freeze("values")
        if not all(isinstance(value, int | float) and value >= 0 for value in self.values):
            raise SpecificationError("Listed: every delay must be 0 or more (ms)")

    def spread(self, synapses: np.ndarray, where: str) -> np.ndarray:
        """Return the delays as ``(n_post, n_pre)``; 0 where there is no synapse."""
        if len(self.values) != int(synapses.sum()):
            raise SpecificationError(f"{where}: {len(self.values)} delays for {int(synapses.sum())} synapses")
        found = np.zeros(synapses.shape)
        found[synapses] = self.values
        return found
