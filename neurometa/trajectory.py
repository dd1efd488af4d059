"""What a simulation returns, whichever engine ran it, and the plan of what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .errors import EngineError

__all__ = ["Save", "State", "Trajectory"]


class State(NamedTuple):
    """Everything that changes within an episode. Every leaf has the batch axis first.

    Attributes
    ----------
    x : dict
        ``"population.variable"`` -> ``(batch, n)``.
    w : dict
        Plastic projection -> ``(batch, post, pre)``.
    traces : dict
        ``"projection.trace"`` -> ``(batch, post | 1, pre | 1)``.
    """

    x: dict[str, Any]
    w: dict[str, Any]
    traces: dict[str, Any]


@dataclass(frozen=True)
class Save:
    """Plan of what a simulation keeps besides its output.

    Attributes
    ----------
    what : tuple of str
        Patterns over ``x.<population>``, ``<variable>.<population>``, ``w.<projection>``,
        ``traces.<projection>.<trace>``; ``*`` matches anything.
    every : int
        Keep each ``every``-th step, after it ran, counted from the first.
    """

    what: tuple[str, ...] = ("*",)
    every: int = 1

    def __post_init__(self):
        if self.every < 1:
            raise EngineError(f"Save: every is {self.every}; it must be a whole number above 0")

    def choose(self, names: list[str]) -> list[str]:
        """Return the names that the plan keeps.

        Raises
        ------
        EngineError
            If a pattern matches nothing.
        """
        for pattern in self.what:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise EngineError(f"Save: '{pattern}' matches nothing; there are {', '.join(names)}")
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in self.what)]


@dataclass(frozen=True)
class Trajectory:
    """Outcome of a simulation.

    Attributes
    ----------
    output : array
        ``(time, batch, n_out)``.
    final : State
        State after the last step.
    saved : dict
        Name as in `Save` -> ``(kept steps, batch, ...)``.
    steps : tuple of int
        The steps that were kept.
    inputs : dict
        Input population -> ``(time, batch, n)``, as the network's own output made them; empty unless the loop was
        closed.
    """

    output: Any
    final: State
    saved: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[int, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return one kept quantity by its name."""
        if name not in self.saved:
            raise EngineError(f"'{name}' was not kept; kept: {', '.join(self.saved) or 'nothing (pass save=)'}")
        return self.saved[name]
