"""What an outer algorithm is: it sees a flat tree of parameters and per-task losses, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..tree import Tree

__all__ = ["Outer", "Problem"]


class Problem(NamedTuple):
    """One meta-iteration.

    Attributes
    ----------
    losses : callable
        ``losses(params, copies=1) -> (copies*batch,)``: the loss of every task of this iteration. With ``copies``,
        every given leaf has that many copies in front, and each copy sees the same tasks, in one call.
    iteration : int
        Counted from 0.
    n_iterations : int
        Iterations in all, for schedules.
    adapted : callable, optional
        ``adapted(params) -> (tree, losses)``: what each task makes of the parameters, by name, batch axis first, and
        its query loss ``(batch,)``.
    stream : torch.Generator, optional
        Randomness of the algorithm itself.
    truncated : callable, optional
        ``truncated(params, window) -> (batch,)``: the same losses, whose gradients reach back ``window`` steps only.
    """

    losses: Callable[..., Tensor]
    iteration: int
    n_iterations: int
    adapted: Callable[[Mapping[str, Tensor]], tuple[Tree, Tensor]] | None = None
    stream: torch.Generator | None = None
    truncated: Callable[[Mapping[str, Tensor], int], Tensor] | None = None


class Outer(ABC):
    """Base of every outer algorithm. Final classes are frozen dataclasses of settings, one file each."""

    @abstractmethod
    def init(self, params: Tree) -> Any:
        """Return the optimiser's state for the learned parameters."""

    @abstractmethod
    def step(self, params: Tree, state: Any, problem: Problem) -> tuple[Tree, Any, dict[str, float]]:
        """Improve the parameters once; return new parameters, new state and metrics (``loss`` among them)."""
