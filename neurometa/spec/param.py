"""Parameters: an initial value, a constraint, and over what they vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..errors import SpecificationError
from ..expression import parse
from .base import Description, check_choice

__all__ = ["Init", "Leaf", "Normal", "Orthogonal", "Param", "PerEpisode", "Uniform"]


@dataclass(frozen=True, eq=False)
class Normal(Description):
    """Normal initial values; ``sd`` may be text over ``n_pre`` and ``n_post``, such as ``"1/sqrt(n_pre)"``."""

    mean: float = 0.0
    sd: float | str = 1.0

    def __post_init__(self):
        if isinstance(self.sd, str):
            extra = parse(self.sd, "Normal: sd").names - {"n_pre", "n_post"}
            if extra:
                raise SpecificationError(f"Normal: sd reads unknown name '{min(extra)}'; it may read n_pre, n_post")

    def deviation(self, n_pre: int, n_post: int) -> float:
        """Return the standard deviation as a number."""
        if not isinstance(self.sd, str):
            return float(self.sd)
        constants = {"n_pre": float(n_pre), "n_post": float(n_post)}
        return float(parse(self.sd).function([], constants=constants)())


@dataclass(frozen=True, eq=False)
class Uniform(Description):
    """Uniform initial values between ``low`` and ``high``."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Orthogonal(Description):
    """A random (semi-)orthogonal matrix times ``gain``; for weights per synapse."""

    gain: float = 1.0


@dataclass(frozen=True, eq=False)
class PerEpisode(Description):
    """Drawn anew at the start of every episode from the ``init`` stream; never learned."""

    init: float | Normal | Uniform | Orthogonal


Init = float | Normal | Uniform | Orthogonal | PerEpisode


@dataclass(frozen=True, eq=False)
class Param(Description):
    """One parameter of a rule, a population or a projection.

    Attributes
    ----------
    init : float or description
        Initial value (as people read it, that is after the constraint).
    constraint : {"free", "positive", "fraction"}
        ``positive`` is stored through softplus, ``fraction`` (0 to 1) through the logistic function.
    per : {"scalar", "post", "pre", "synapse", "neuron"}
        Over what it varies; ``neuron`` for populations, the rest for projections and rules.
    learned : bool
        False keeps it at its initial value in every learned group.
    minimum : float, optional
        Lower limit, such as ``dt`` for a time constant; with ``positive`` or ``free``.
    unit : str
        Printed and recorded, never computed with.
    """

    init: Init = 0.0
    constraint: str = "free"
    per: str = "scalar"
    learned: bool = True
    minimum: float | None = None
    unit: str = ""

    def __post_init__(self):
        check_choice(self.constraint, ("free", "positive", "fraction"), "Param: constraint")
        check_choice(self.per, ("scalar", "post", "pre", "synapse", "neuron"), "Param: per")
        if not isinstance(self.init, int | float | Normal | Uniform | Orthogonal | PerEpisode):
            raise SpecificationError(
                f"Param: init is {self.init!r}; allowed: a number, Normal, Uniform, Orthogonal or PerEpisode"
            )
        if self.minimum is not None and self.constraint == "fraction":
            raise SpecificationError("Param: a fraction takes no minimum")
        low = self.minimum if self.minimum is not None else (0.0 if self.constraint != "free" else None)
        if low is not None:
            self._check_range(low)

    def _check_range(self, low: float) -> None:
        """Refuse an initial value that the constraint cannot store."""
        init = self.init.init if isinstance(self.init, PerEpisode) else self.init
        if isinstance(init, Normal | Orthogonal):
            raise SpecificationError(
                f"Param: a {type(init).__name__} start may leave the range above {low}; use a number or a Uniform"
            )
        drawn = isinstance(init, Uniform)
        smallest, largest = (init.low, init.high) if isinstance(init, Uniform) else (init, init)
        if not (smallest > low or (drawn and smallest == low)):
            raise SpecificationError(f"Param: init {init} must lie above {low}")
        if self.constraint == "fraction" and not (largest < 1 or (drawn and largest == 1)):
            raise SpecificationError(f"Param: init {init} of a fraction must lie below 1")

    @property
    def per_episode(self) -> bool:
        """Whether the value is drawn anew each episode."""
        return isinstance(self.init, PerEpisode)


class Leaf(NamedTuple):
    """One entry of the flat parameter tree: its description, stored shape, fan-in, fan-out and learned group."""

    param: Param
    shape: tuple[int, ...]
    n_pre: int
    n_post: int
    group: str
