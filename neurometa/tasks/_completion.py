"""What the completion tasks share: the course of an episode, and an answer that is judged where nothing was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SpecificationError
from .base import Episode, Part, Task

__all__ = ["Completion", "over_erased"]


@dataclass(frozen=True, kw_only=True)
class Completion(Task):
    """Base of the tasks in which patterns are shown and then one of them, half of it erased, is to be completed.

    An episode is one sequence. Each pattern is shown for ``n_show`` steps, with ``n_gap`` blank steps after it; all of
    them once, in random order, and this ``n_presentations`` times. Then the erased pattern is shown for ``n_probe``
    steps, and the answer at the last one counts. What is erased is shown as 0, which no element of a pattern is. What
    the probe shows is taken as answered (the published network clamps it), so an answer is judged on what is erased.
    Activity is never reset, and synapses may change at every step.

    Parameters
    ----------
    n_patterns : int
        Patterns of an episode.
    n_presentations : int
        How often each is shown.
    n_show, n_gap, n_probe : int
        Steps of a presentation, of the blank after it, and of the probe.
    """

    n_patterns: int = 2
    n_presentations: int = 1
    n_show: int = 3
    n_gap: int = 1
    n_probe: int = 3

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("n_patterns", 1), ("n_presentations", 1), ("n_show", 1), ("n_gap", 0), ("n_probe", 1)):
            self._check(name, least)

    def _check(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value < least:
            usual = type(self).__dataclass_fields__[name].default
            where = type(self).__name__
            raise SpecificationError(f"{where}: {name} is {value}; allowed: {least} or more; type {name}={usual}")

    @property
    def n_out(self) -> int:
        """Elements of a pattern."""
        return self.n_in

    @property
    def n_steps(self) -> int:
        """Steps of an episode."""
        return self.n_presentations * self.n_patterns * (self.n_show + self.n_gap) + self.n_probe

    def _course(
        self, own: torch.Generator, patterns: Tensor, erased: Tensor, info: Mapping[str, Tensor] | None = None
    ) -> Episode:
        """Draw what is asked and in which order patterns are shown, and lay out the sequence.

        ``patterns`` is ``(batch, pattern, n)`` and ``erased`` is ``(batch, n)``, boolean. ``info`` holds ``patterns``,
        ``asked`` (batch), ``order`` (presentations, batch, pattern) and ``erased``.
        """
        n, rows = len(patterns), torch.arange(len(patterns))
        order = torch.rand(self.n_presentations, n, self.n_patterns, generator=own).argsort(-1)
        asked = torch.randint(self.n_patterns, (n,), generator=own)
        place = {
            name: value.to(patterns.device) for name, value in (("rows", rows), ("order", order), ("asked", asked))
        }
        erased = erased.to(patterns.device)
        slots = patterns[place["rows"][:, None], place["order"]].transpose(1, 2).flatten(0, 1)  # (slot, batch, n)
        shown = slots[:, None].expand(-1, self.n_show, -1, -1)
        shown = F.pad(shown, (0, 0, 0, 0, 0, self.n_gap)).flatten(0, 1)
        pattern = patterns[place["rows"], place["asked"]]  # (batch, n)
        probe = pattern.masked_fill(erased, 0.0)
        stimulus = torch.cat([shown, probe.expand(self.n_probe, -1, -1)])  # (time, batch, n)
        steps = torch.arange(len(stimulus), device=patterns.device)
        last = (steps == len(steps) - 1).to(stimulus)
        target = last[:, None, None] * pattern
        inputs = {"stimulus": stimulus, "target": torch.zeros_like(target), "teach": torch.zeros_like(target[..., :1])}
        part = Part(inputs, target, last[:, None].expand(-1, n), steps >= 0, steps == 0)
        return Episode(
            part, info={"patterns": patterns, "asked": asked, "order": order, "erased": erased, **(info or {})}
        )

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean squared error over what is erased, ``(batch,)``."""
        return over_erased((output - part.target).square(), part)


def over_erased(error: Tensor, part: Part) -> Tensor:
    """Return the mean of ``(time, batch, n)`` over what the probe does not show, weighted over time, ``(batch,)``."""
    erased = (part.inputs["stimulus"] == 0).to(error)
    each = (error * erased).sum(-1) / erased.sum(-1).clamp_min(1)  # (time, batch)
    return (each * part.weight).sum(0) / part.weight.sum(0)
