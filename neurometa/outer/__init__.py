"""Outer algorithms: how meta-parameters improve across tasks. Every module in this folder is one, by its name."""

import sys

from .. import discover
from .backprop import Backprop
from .base import Outer, Problem

__all__ = ["Backprop", "Outer", "Problem", "get", "names"]


def names() -> list[str]:
    """Return the names of all outer algorithms."""
    return discover.names(sys.modules[__name__])


def get(name: str) -> type[Outer]:
    """Return an outer algorithm's class by the name of its module."""
    return discover.load(sys.modules[__name__], name, "outer algorithm")


def __getattr__(name: str) -> type[Outer]:
    """Return a class by its own name, such as ``outer.CmaEs``."""
    return discover.by_class(sys.modules[__name__], name, "outer algorithm")
