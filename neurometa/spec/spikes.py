"""When a neuron spikes, and what a spike does to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..algebra import margin
from ..errors import SpecificationError
from ..expression import Assignment, Expression, parse, parse_assignments
from .base import Description, check_choice

__all__ = ["SURROGATES", "Spikes"]

#: Names of the surrogate gradients.
SURROGATES = ("fast_sigmoid", "sigmoid", "arctan", "triangle", "gaussian")


@dataclass(frozen=True, eq=False)
class Spikes(Description):
    """Threshold, reset and refractory time of a spiking population.

    Attributes
    ----------
    threshold : str
        Condition, such as ``"v > v_th"``: a neuron spikes where it holds and the neuron is not refractory.
    reset : str
        Ordered assignments at a spike, after all synapses: ``"v = v_r; u = u + d"``.
    refractory : float
        ms; a whole number of time steps. A neuron that spikes can do so again when they have passed.
    held : tuple of str
        Variables that stand still while the neuron is refractory, whatever its equation or a synapse says (Brian2's
        ``unless refractory``).
    surrogate : {"fast_sigmoid", "sigmoid", "arctan", "triangle", "gaussian"}
        Derivative of a spike by the distance to threshold, in the backward pass only.
    slope : float
        Its steepness, in 1 over the unit of the threshold (for mV, values around 1).

    Notes
    -----
    With ``z`` the distance ``v - v_th`` times the slope, the derivatives are ``1/(1 + |z|)**2`` (fast_sigmoid, Zenke
    & Ganguli 2018, doi:10.1162/neco_a_01086), ``slope*s*(1 - s)`` with ``s = sigmoid(z)``,
    ``slope/2/(1 + (pi*z/2)**2)`` (arctan), ``max(0, 1 - |z|)`` (triangle, Bellec 2018, arXiv:1803.09574) and
    ``slope*exp(-z**2/2)/sqrt(2*pi)``. A condition with ``and`` counts as its smaller distance, with ``or`` as the
    larger.

    Examples
    --------
    >>> spikes = Spikes("v > v_th", "v = v_r", refractory=2.0, held=("v",))
    >>> spikes.margin.text
    'v - v_th'
    """

    threshold: str
    reset: str = ""
    refractory: float = 0.0
    held: tuple[str, ...] = ()
    surrogate: str = "fast_sigmoid"
    slope: float = 1.0

    def __post_init__(self):
        self._freeze("held")
        check_choice(self.surrogate, SURROGATES, "Spikes: surrogate")
        number = isinstance(self.refractory, int | float) and not isinstance(self.refractory, bool)
        if not number or not self.refractory >= 0:
            raise SpecificationError(f"Spikes: refractory is {self.refractory!r}; it must be 0 or more (ms)")
        if not self.slope > 0:
            raise SpecificationError(f"Spikes: slope is {self.slope}; it must be above 0")
        _ = self.condition, self.assignments  # texts are checked now

    @cached_property
    def condition(self) -> Expression:
        """The threshold as a number: 1 where it is crossed, 0 elsewhere."""
        parse(self.threshold, "Spikes: threshold", condition=True)
        return parse(f"int({self.threshold})", "Spikes: threshold")

    @cached_property
    def margin(self) -> Expression:
        """How far above threshold a neuron is."""
        return margin(parse(self.threshold, "Spikes: threshold", condition=True))

    @cached_property
    def assignments(self) -> tuple[Assignment, ...]:
        """Checked statements of the reset."""
        return parse_assignments(self.reset, "Spikes: reset") if self.reset.strip() else ()

    def check(self, where: str, variables: Iterable[str], readable: Iterable[str]) -> None:
        """Refuse a text that reads or assigns what the population does not have."""
        variables, readable = tuple(variables), tuple(readable)
        for label, expression in (("threshold", self.condition), *(("reset", a.expression) for a in self.assignments)):
            for name in sorted(expression.names - set(readable)):
                raise SpecificationError(
                    f"{where}: {label} reads unknown name '{name}'; it may read {', '.join(readable)}"
                )
        for label, names in (("reset assigns", [a.target for a in self.assignments]), ("held names", self.held)):
            for name in names:
                if name not in variables:
                    raise SpecificationError(
                        f"{where}: {label} '{name}'; its variables are {', '.join(variables) or 'none'}"
                    )
