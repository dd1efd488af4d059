"""Networks: every module in this folder builds one, by its name.

A builder takes ``n_in``, ``n_out``, a rule and its own settings, and returns a description. The standard input
populations are ``stimulus``, ``target`` and ``teach`` (1 while the target is shown).
"""

import sys
from collections.abc import Callable

from .. import discover
from ..spec import Network

__all__ = ["get", "names"]


def names() -> list[str]:
    """Return the names of all library networks."""
    return discover.names(sys.modules[__name__])


def get(name: str) -> Callable[..., Network]:
    """Return the builder of a library network."""
    return discover.load(sys.modules[__name__], name, "network")


# The attribute of this package is the network itself, not the module that holds it.
globals().update({name: get(name) for name in names()})
