"""Learners: how a network adapts within a task. Every module in this folder is one, by its name."""

import sys

from .. import discover
from .base import Learner
from .gradient import GradientLearner
from .plastic import PlasticLearner

__all__ = ["GradientLearner", "Learner", "PlasticLearner", "get", "names"]


def names() -> list[str]:
    """Return the names of all learners."""
    return discover.names(sys.modules[__name__])


def get(name: str) -> type[Learner]:
    """Return a learner's class by the name of its module."""
    return discover.load(sys.modules[__name__], name, "learner")


def __getattr__(name: str) -> type[Learner]:
    """Return a class by its own name, such as ``learners.MetaSgdLearner``."""
    return discover.by_class(sys.modules[__name__], name, "learner")
