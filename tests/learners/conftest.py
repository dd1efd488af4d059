"""A few-shot regression task, a curved toy, and central differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from neurometa.tasks.base import Episode, Part, Task

F64 = torch.float64


@dataclass(frozen=True)
class Regression(Task):
    """Random support and query points; the loss is half the squared error, averaged over steps."""

    n_in: ClassVar[int] = 3
    n_out: ClassVar[int] = 2
    score_name: ClassVar[str] = "squared error"
    higher_is_better: ClassVar[bool] = False

    def sample(self, stream, n, split="train", *, device=None, dtype=F64):
        return Episode(self.part(stream, n, 4, True), self.part(stream, n, 3, False))

    def part(self, stream, n: int, time: int, is_support: bool) -> Part:
        stimulus, target = (torch.randn(time, n, size, generator=stream, dtype=F64) for size in (self.n_in, self.n_out))
        teach = torch.full((time, n, 1), float(is_support), dtype=F64)
        on = torch.ones(time, dtype=torch.bool)
        inputs = {"stimulus": stimulus, "target": target * teach, "teach": teach}
        return Part(inputs, target, torch.ones(time, n, dtype=F64), on if is_support else ~on, on)

    def loss(self, output, part):
        error = (output - part.target).square().sum(-1) / 2  # (time, batch)
        return (error * part.weight).sum(0) / part.weight.sum(0)

    def score(self, output, part):
        return self.loss(output, part)

    def floor(self):
        return float("nan")


@pytest.fixture
def task() -> Regression:
    return Regression()


@pytest.fixture
def episode(task) -> Episode:
    return task.sample(torch.Generator().manual_seed(2), 5)


def _slopes(loss, params):
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    found = torch.autograd.grad(loss(leaves), [*leaves.values()], allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }


@pytest.fixture
def slopes():
    """Return ``slopes(loss, params)``: the gradient of a scalar loss, by name."""
    return _slopes


@pytest.fixture
def differences():
    """Return ``differences(loss, params, h)``: central differences of a scalar loss, by name."""

    def of(loss, params, h: float = 1e-5):
        found = {}
        for name, leaf in params.items():
            slope = torch.zeros_like(leaf)
            for i in range(leaf.numel()):
                ends = []
                for sign in (1, -1):
                    moved = leaf.clone()
                    moved.view(-1)[i] += sign * h
                    ends.append(float(loss({**params, name: moved}).detach()))
                slope.view(-1)[i] = (ends[0] - ends[1]) / (2 * h)
            found[name] = slope
        return found

    return of


@pytest.fixture
def relative():
    """Return ``relative(a, b)``: distance of two gradients, relative to the norm of the second as a whole."""

    def of(a, b) -> float:
        assert a.keys() == b.keys()
        difference, size = (
            torch.cat([leaf.flatten() for leaf in leaves])
            for leaves in ([a[name] - b[name] for name in a], [*b.values()])
        )
        return float(difference.norm() / size.norm())

    return of
