"""How a task draws a choice from logits by numbers that were drawn before, and how anybody plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Interactive, Part

__all__ = ["choose", "gumbel", "play"]


def gumbel(shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
    """Draw numbers with the distribution function ``exp(-exp(-x))``; the largest of logit plus number is a draw."""
    return -(-torch.rand(shape, generator=stream).clamp_min(1e-12).log()).log()


def choose(logits: Tensor, noise: Tensor) -> Tensor:
    """Return a choice as one-hot ``(..., n)``: each with its softmax probability, decided by Gumbel numbers."""
    return F.one_hot((logits.detach() + noise).argmax(-1), logits.shape[-1]).to(noise)


def play(task: Interactive, part: Part, policy: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
    """Let a policy play an episode in place of a network; return its output, ``(time, batch, n_out)``.

    Parameters
    ----------
    task, part : Interactive, Part
        An episode of the task.
    policy : callable
        From all inputs so far, ``(steps, batch, n)`` by population, to the output at the last of these steps.
    """
    inputs = {name: [*value] for name, value in part.inputs.items()}
    outputs: list[Tensor] = []
    for t in range(len(part.target)):
        outputs.append(policy({name: torch.stack(value[: t + 1]) for name, value in inputs.items()}))
        if t + 1 < len(part.target):
            for name, value in task.respond(part, t, outputs[-1]).items():
                inputs[name][t + 1] = value
    return torch.stack(outputs)
