"""A projection: synapses from one population to another, and the rule by which they change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import SpecificationError
from ..expression import Expression, parse
from .base import RESERVED, Description, check_choice, check_name
from .listed import Listed, Pairs
from .param import Normal, Param
from .population import modulator_names
from .rule import PlasticityRule

__all__ = ["Delays", "Projection", "Random"]

#: The efficacy of a synapse whose text gives its strength.
_SIGNED = {"excitatory": "relu({})", "inhibitory": "-relu({})"}


@dataclass(frozen=True, eq=False)
class Random(Description):
    """A mask that keeps each synapse with probability ``p``, drawn from ``seed``."""

    p: float
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.p <= 1:
            raise SpecificationError(f"Random: p is {self.p}; it must lie in (0, 1]")


@dataclass(frozen=True, eq=False)
class Delays(Description):
    """Delays, ms, one for each synapse: uniform between ``low`` and ``high``, drawn from ``seed``."""

    low: float
    high: float
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.low <= self.high:
            raise SpecificationError(f"Delays: low {self.low}, high {self.high}; allowed: 0 <= low <= high (ms)")


@dataclass(frozen=True, eq=False)
class Projection(Description):
    """Synapses ``w[batch, post, pre]`` between two populations.

    Attributes
    ----------
    pre, post : str
        Source and target population; ``one`` as source makes a bias.
    name : str, optional
        First part of its parameters' names; default ``pre__post``.
    into : str
        Input current of the target, to which ``efficacy*activity`` is added up anew in each step; or one of its
        *variables*: then a spike, when it arrives, adds the efficacy to it (Brian2's ``g_post += w``).
    efficacy : str
        Text: what the network uses, over ``w``, the projection's parameters, the rule's traces and modulators.
    w : Param, optional
        The weight; of a plastic projection its start. Default: normal with sd ``1/sqrt(n_pre)`` per synapse, or, with
        a rule, a start at 0 that is not learned.
    params : mapping of str to Param
        Parameters of the efficacy, such as ``w0`` and the plastic strength ``alpha``.
    rule : PlasticityRule, optional
        How ``w`` changes.
    modulators : mapping of str to str
        Name in the texts (``m`` or ``m_<name>``) -> population of size 1 or of the target's size.
    bounds : pair, optional
        Limits of ``w``; override the rule's.
    mask : None, "no_self", "one_to_one", Random or Pairs
        Which synapses exist.
    delay : float, Delays or Listed
        Time from a spike to its arrival, ms; rounded to time steps.
    sign : None, "excitatory" or "inhibitory"
        Sign that every efficacy keeps, whatever its parts become. The text is then the strength of a synapse, and the
        efficacy is ``relu(text)``, or ``-relu(text)``: a synapse that is depressed to nothing is silent, and does not
        come back with the other sign. The gradient is that of the text where its value is above 0, and 0 elsewhere,
        so strengths that are learned should be ``positive``.
    """

    pre: str
    post: str
    name: str | None = None
    into: str = "drive"
    efficacy: str = "w"
    w: Param | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    rule: PlasticityRule | None = None
    modulators: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[float | str, float | str] | None = None
    mask: str | Random | Pairs | None = None
    delay: float | Delays | Listed = 0
    sign: str | None = None

    def __post_init__(self):
        where = f"projection '{self.label}'"
        if not re.match(r"[A-Za-z][A-Za-z0-9_]*\Z", self.label):
            raise SpecificationError(f"{where}: the name must be letters, digits and underscores")
        if self.label in RESERVED:
            raise SpecificationError(f"{where}: the name is reserved; choose another")
        object.__setattr__(self, "modulators", modulator_names(self.modulators, where))
        self._freeze("params", "modulators")
        for name in self.params:
            check_name(
                name, f"{where}, parameter", frozenset((*self.modulators, *(self.rule.traces if self.rule else ())))
            )
        for name, param in {"w": self.weight, **self.params}.items():
            if not isinstance(param, Param) or param.per == "neuron":
                raise SpecificationError(
                    f"{where}: parameter '{name}' must be a Param per scalar, post, pre or synapse"
                )
            if param.per_episode and name != "w":
                raise SpecificationError(f"{where}: parameter '{name}' cannot be drawn per episode; only w can")
        if not isinstance(self.mask, Random | Pairs):
            check_choice(self.mask, (None, "no_self", "one_to_one"), f"{where}: mask")
        check_choice(self.sign, (None, "excitatory", "inhibitory"), f"{where}: sign")
        if not isinstance(self.delay, Delays | Listed) and (isinstance(self.delay, bool) or not self.delay >= 0):
            raise SpecificationError(f"{where}: delay is {self.delay!r}; allowed: 0 or more (ms), or Delays(low, high)")
        traces = tuple(self.rule.traces) if self.rule else ()
        allowed = ("w", *self.params, *traces, *self.modulators, "dt", "n_pre", "n_post")
        for name in sorted(self.efficacy_expression.names - set(allowed)):
            raise SpecificationError(f"{where}: efficacy reads unknown name '{name}'; it may read {', '.join(allowed)}")
        rule = self.rule
        for name in rule.modulators if rule else ():
            if rule and name not in self.modulators:
                raise SpecificationError(
                    f"{where}: rule '{rule.name}' reads the modulator '{name}'; "
                    f'name its population, such as modulators={{"{name}": "dopamine"}}'
                )
        if self.bounds is not None:
            self._freeze("bounds")
            numbers = len(self.bounds) == 2 and all(isinstance(b, int | float) for b in self.bounds)
            if not numbers or not self.bounds[0] < self.bounds[1]:  # type: ignore[operator]
                raise SpecificationError(
                    f"{where}: bounds is {self.bounds}; allowed: two numbers (low, high) with low < high"
                )

    @property
    def label(self) -> str:
        """Name of the projection."""
        return self.name or f"{self.pre}__{self.post}"

    @property
    def weight(self) -> Param:
        """The weight's parameter, with its default filled in."""
        if self.w is not None:
            return self.w
        return Param(0.0, learned=False) if self.rule else Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")

    @property
    def limits(self) -> tuple[float | str, float | str] | None:
        """Bounds in force."""
        return self.bounds if self.bounds is not None else (self.rule.bounds if self.rule else None)

    @cached_property
    def efficacy_expression(self) -> Expression:
        """Checked text of the efficacy, with its sign."""
        where = f"projection '{self.label}': efficacy"
        strength = parse(self.efficacy, where)
        return parse(_SIGNED[self.sign].format(strength.text), where) if self.sign else strength

    def synapses(self, n_post: int, n_pre: int) -> np.ndarray:
        """Return which synapses exist, boolean ``(n_post, n_pre)``; the same on every machine."""
        if isinstance(self.mask, Pairs):
            return self.mask.synapses(n_post, n_pre)
        if isinstance(self.mask, Random):
            return np.random.default_rng(self.mask.seed).random((n_post, n_pre)) < self.mask.p
        diagonal = np.eye(n_post, n_pre, dtype=bool)
        return {None: np.ones((n_post, n_pre), dtype=bool), "no_self": ~diagonal, "one_to_one": diagonal}[self.mask]

    def delay_steps(self, n_post: int, n_pre: int, dt: float) -> int | np.ndarray:
        """Return after how many steps a spike arrives: one number, or ``(n_post, n_pre)``; rounded as in Brian2."""
        if isinstance(self.delay, Delays):
            drawn = np.random.default_rng(self.delay.seed).uniform(self.delay.low, self.delay.high, (n_post, n_pre))
            return (drawn / dt + 0.5).astype(int)
        if isinstance(self.delay, Listed):
            found = self.delay.spread(self.synapses(n_post, n_pre), f"projection '{self.label}': delay")
            return (found / dt + 0.5).astype(int)
        return int(self.delay / dt + 0.5)

    @cached_property
    def trace_axes(self) -> dict[str, frozenset[str]]:
        """Over which neurons each trace varies; where every synapse has its own delay, over both."""
        if self.rule is None:
            return {}
        if isinstance(self.delay, Delays | Listed):
            return dict.fromkeys(self.rule.traces, frozenset({"pre", "post"}))
        return self.rule.trace_axes

    @property
    def static(self) -> bool:
        """Whether the efficacy is the same at every step of an episode."""
        traces = set(self.rule.traces) if self.rule else set()
        reads = self.efficacy_expression.names
        return not ((self.rule and "w" in reads) or reads & (traces | set(self.modulators)))
