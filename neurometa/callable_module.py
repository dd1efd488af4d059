"""Modules that are called like the one function that they are about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


def make_callable(name: str, function: Callable[..., Any]) -> None:
    """Let a module be called like a function of its own: ``nm.crosscheck(...)`` is ``crosscheck.crosscheck(...)``.

    Parameters
    ----------
    name : str
        ``__name__`` of the module.
    function : callable
        What a call of the module calls.
    """

    class CallableModule(ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return function(*arguments, **options)

    sys.modules[name].__class__ = CallableModule
