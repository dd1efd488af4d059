"""Plasticity rules: every module in this folder holds one, and its name can be typed on the command line."""

import sys

from .. import discover
from ..spec import PlasticityRule

__all__ = ["get", "names"]


def names() -> list[str]:
    """Return the names of all library rules."""
    return discover.names(sys.modules[__name__])


def get(name: str) -> PlasticityRule:
    """Return a library rule by name."""
    return discover.load(sys.modules[__name__], name, "rule")


# The attribute of this package is the rule itself, not the module that holds it.
globals().update({name: get(name) for name in names()})
