"""Nested states of outer algorithms as plain containers, and back: a checkpoint holds no class by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["alike", "plain", "rebuilt"]


def plain(state: Any) -> Any:
    """Turn named tuples into tuples and mappings into dicts, at every depth.

    Parameters
    ----------
    state : nested containers
        Named tuples, tuples, lists and mappings of tensors, numbers and text.

    Returns
    -------
    nested containers
        What ``torch.load(..., weights_only=True)`` reads back.
    """
    if isinstance(state, Mapping):
        return {key: plain(value) for key, value in state.items()}
    return tuple(map(plain, state)) if isinstance(state, tuple | list) else state


def rebuilt(state: Any, like: Any) -> Any:
    """Invert `plain`, by the example of a state with the same structure."""
    if isinstance(like, Mapping):
        return {key: rebuilt(state[key], value) for key, value in like.items()}
    if isinstance(like, tuple | list):
        items = [rebuilt(item, example) for item, example in zip(state, like, strict=True)]
        return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)
    return state


def alike(a: Any, b: Any, dtypes: bool = True) -> bool:
    """Whether two nested states have the same names and shapes, and, if asked, the same number formats."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[key], b[key], dtypes) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(alike(x, y, dtypes) for x, y in zip(a, b, strict=True))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and (a.dtype == b.dtype or not dtypes)
    return not any(isinstance(each, Mapping | list | tuple | Tensor) for each in (a, b))
