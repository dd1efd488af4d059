"""What each name of the grammar means in torch. Every function takes tensors and numbers mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..expression import NUMPY

__all__ = ["TORCH"]


def minimum(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    """Smaller of the two; the gradient goes to the smaller."""
    if isinstance(a, Tensor):
        return torch.minimum(a, b) if isinstance(b, Tensor) else torch.clamp(a, max=b)
    return torch.clamp(b, max=a) if isinstance(b, Tensor) else float(NUMPY["minimum"](a, b))


def maximum(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    """Larger of the two; the gradient goes to the larger."""
    if isinstance(a, Tensor):
        return torch.maximum(a, b) if isinstance(b, Tensor) else torch.clamp(a, min=b)
    return torch.clamp(b, min=a) if isinstance(b, Tensor) else float(NUMPY["maximum"](a, b))


def spike(x: Tensor) -> Tensor:
    """Heaviside step forward, fast-sigmoid surrogate gradient (Zenke & Ganguli 2018, doi:10.1162/neco_a_01086)."""
    finite = torch.nan_to_num(x)  # infinity over infinity would make the forward value nan
    soft = finite / (1 + 10 * finite.abs())
    return (x > 0).to(x.dtype) + (soft - soft.detach())


def kwta(x: Tensor, k: float) -> Tensor:
    """Keep the ``k`` largest of the last axis, 0 elsewhere."""
    smallest = x.topk(int(k), -1).values[..., -1:]
    return torch.where(x >= smallest, x, torch.zeros_like(x))


TORCH: Mapping[str, Callable[..., Any]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "arctan": torch.arctan,
    "abs": torch.abs,
    "sign": torch.sign,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "relu": torch.relu,
    "spike": spike,
    "minimum": minimum,
    "maximum": maximum,
    "clip": lambda x, low, high: minimum(maximum(x, low), high),
    "softmax": lambda x: torch.softmax(x, -1),
    "kwta": kwta,
    "int": lambda condition, like: condition.to(like.dtype),
}
