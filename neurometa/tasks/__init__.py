"""Tasks: where episodes come from. Every module in this folder is a task that can be named on the command line."""

import sys

from .. import discover
from .base import Episode, Part, Task

__all__ = ["Episode", "Part", "Task", "get", "names"]


def names() -> list[str]:
    """Return the names of all tasks."""
    return discover.names(sys.modules[__name__])


def get(name: str) -> type[Task]:
    """Return a task's class by the name of its module."""
    return discover.load(sys.modules[__name__], name, "task")


def __getattr__(name: str) -> type[Task]:
    """Return a task's class by its own name, ``tasks.Volatility``."""
    return discover.by_class(sys.modules[__name__], name, "task")
