"""What the tasks share whose answer is one number: their error, and parts of independent points."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Part, Task

__all__ = ["Regression", "points"]


class Regression(Task):
    """Base of the tasks that are scored by the squared error of one number."""

    score_name: ClassVar[str] = "squared error"
    higher_is_better: ClassVar[bool] = False

    @property
    def n_out(self) -> int:
        """Size of the answer: one number."""
        return 1

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the weighted mean squared error per task, ``(batch,)``."""
        error = (output - part.target).square().sum(-1)  # (time, batch)
        return (error * part.weight).sum(0) / part.weight.sum(0)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the same as `loss`."""
        return self.loss(output, part)


def points(x: Tensor, y: Tensor, shown: bool) -> Part:
    """Return a part of independent points ``(time, batch, n)``: a support set, or queries whose answers are hidden."""
    flags = torch.ones(len(x), dtype=torch.bool, device=x.device)
    teach = torch.ones_like(y[..., :1]) if shown else torch.zeros_like(y[..., :1])
    inputs = {"stimulus": x, "target": y * teach, "teach": teach}
    return Part(inputs, y, torch.ones_like(y[..., 0]), flags if shown else ~flags, flags)
