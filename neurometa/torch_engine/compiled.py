"""``torch.compile``, once for every function."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch

__all__ = ["compiled"]


def compiled(function: Callable[..., Any], *, fullgraph: bool = False, backend: Any = "inductor") -> Callable[..., Any]:
    """Compile a function for the shapes that it is called with.

    Parameters
    ----------
    function : callable
        A Python function or method.
    fullgraph : bool
        Refuse a break in the graph, instead of running parts of the function eagerly.
    backend : str or callable
        As in ``torch.compile``.

    Returns
    -------
    callable
        The same function, compiled on first use.

    Notes
    -----
    ``torch.compile`` counts recompilations per code object and runs eagerly, without a word, after a few of them. All
    functions that one factory makes share their code object, so each gets a copy of its own here.
    """
    owner = getattr(function, "__self__", None)
    plain: Any = getattr(function, "__func__", function)
    own = FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )
    own.__kwdefaults__ = plain.__kwdefaults__
    target = own if owner is None else MethodType(own, owner)
    return torch.compile(target, dynamic=False, fullgraph=fullgraph, backend=backend)
