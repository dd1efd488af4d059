"""A population of neurons: named variables and the text that updates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..algebra import linear
from ..errors import SpecificationError
from ..expression import FUNCTIONS, POPULATION_FUNCTIONS, Expression, parse
from .base import Description, check_choice, check_name
from .param import Param
from .rule import is_modulator
from .spikes import Spikes

__all__ = ["Population", "modulator_names"]

Stages = list[tuple[bool, dict[str, Expression]]]
Phase = tuple[tuple[str, ...], Stages]
#: Beginning of the label of a text that runs after all populations have updated.
_LATE = "late "


@dataclass(frozen=True, eq=False)
class Population(Description):
    """Neurons that share one update.

    Attributes
    ----------
    name : str
        Name, also the first part of its parameters' names.
    size : int
        Number of neurons.
    update : str or mapping of str to str
        Ordered: variable -> text, or ``"dv/dt"`` -> text (forward Euler; neighbouring derivatives advance at once).
        A single text updates ``x``, the activity that projections carry. Empty: an input, filled by the task.
        ``"late v"`` -> text runs after all populations have updated and before the rules, so that what comes back from
        populations further on, such as an error, is there in the same step.
    params : mapping of str to Param
        Parameters of the text, per scalar or per neuron.
    start : mapping of str to float or Param
        Start of each variable; 0 where absent.
    inputs : tuple of str
        Input currents that projections may target.
    modulators : mapping of str to str
        Name in the text (``m`` or ``m_<name>``; the ``m_`` may be left out here) -> population of size 1 or its own.
    method : {"euler", "exact"}
        Integration of the derivatives. Exact: they are linear in each other, with factors made of parameters only;
        what else they read counts as constant within a step.
    spikes : Spikes, optional
        Makes the population spiking: then no text updates ``x``, which is this step's spike, 0 or 1. Texts that read
        it see the spike of the step before.

    Notes
    -----
    A text may read the population's variables, inputs and parameters, ``noise`` (unit normal), ``dt`` and its
    modulators; ``softmax`` and ``kwta`` are allowed here only. An input that only late texts read is added up late.
    """

    name: str
    size: int
    update: str | Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Param] = field(default_factory=dict)
    start: Mapping[str, float | Param] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("drive",)
    modulators: Mapping[str, str] = field(default_factory=dict)
    method: str = "euler"
    spikes: Spikes | None = None

    def __post_init__(self):
        where = f"population '{self.name}'"
        if self.name != "one":
            check_name(self.name, "population")
        if isinstance(self.update, str):
            object.__setattr__(self, "update", {"x": self.update} if self.update else {})
        object.__setattr__(self, "modulators", modulator_names(self.modulators, where))
        self._freeze("update", "params", "start", "inputs", "modulators")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise SpecificationError(f"{where}: size is {self.size!r}; it must be a whole number above 0")
        check_choice(self.method, ("euler", "exact"), f"{where}: method")
        taken: dict[str, str] = dict.fromkeys(self.modulators, "modulator")
        targets = [_target(k) for k in self.update]
        if self.update and "x" not in targets and self.spikes is None:
            raise SpecificationError(f"{where}: no text updates 'x', the activity that projections carry")
        if self.spikes is not None and (not self.update or "x" in targets):
            found = "has no text: an input population is fed its spikes" if not self.update else "has a text for 'x'"
            raise SpecificationError(f"{where} has spikes=, which set 'x', but {found}")
        inputs = self.inputs if self.update else ()
        for kind, names in (("variable", targets), ("input", inputs), ("parameter", self.params)):
            for name in names:
                check_name(name, f"{where}, {kind}", taken)
                taken[name] = kind
        for name in self.start:
            if name not in targets:
                raise SpecificationError(
                    f"{where}: start names '{name}'; its variables are {', '.join(targets) or 'none'}"
                )
        for label, param in self.all_params.items():
            if not isinstance(param, Param) or param.per not in ("scalar", "neuron"):
                raise SpecificationError(f"{where}: parameter '{label}' must be a Param per scalar or neuron")
            if param.per_episode and label in self.params:
                raise SpecificationError(f"{where}: parameter '{label}' cannot be drawn per episode; only a start can")
        spike = ("x",) if self.spikes else ()
        order = (*targets, *spike, *self.inputs, *self.params, *self.modulators, "noise", "dt")
        for label, expression in self.expressions.items():
            for name in sorted(expression.names - set(order)):
                raise SpecificationError(
                    f"{where}: {label} reads unknown name '{name}'; it may read {', '.join(order)}"
                )
        if self.spikes:
            self.spikes.check(where, targets, [name for name in order if name != "noise"])
        if self.method == "exact":
            _ = self.linear

    @property
    def is_input(self) -> bool:
        """Whether a task fills its activity."""
        return not self.update

    @cached_property
    def state(self) -> tuple[str, ...]:
        """Variables that are kept from step to step; ``refractory`` counts the steps until a neuron is free."""
        own = tuple(_target(k) for k in self.update)
        if self.spikes is None:
            return own or ("x",)
        return (*own, "x", "refractory") if self.spikes.refractory else (*own, "x")

    @property
    def is_source(self) -> bool:
        """Whether its activity can be taken for spikes: it is spiking, or an input that is fed them."""
        return self.spikes is not None or self.is_input

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that a rule or the output may read: those kept, and this step's input currents."""
        own = tuple(name for name in self.state if name != "refractory")
        return own if self.is_input else (*own, *self.inputs)

    @property
    def all_params(self) -> dict[str, Param]:
        """Parameters of the text and learned start values (``start_<variable>``)."""
        starts = {f"start_{k}": v for k, v in self.start.items() if isinstance(v, Param)}
        return {**self.params, **starts}

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """Checked text by its label, in order."""
        functions = {**FUNCTIONS, **POPULATION_FUNCTIONS}
        update: Mapping[str, str] = self.update  # type: ignore[assignment]
        return {k: parse(v, f"population '{self.name}': {k}", functions) for k, v in update.items()}

    @property
    def stages(self) -> Stages:
        """Ordered stages ``(derivative, {variable: expression})``; neighbouring derivatives share a stage."""
        return self._stages(late=False)

    @cached_property
    def linear(self) -> dict[str, tuple[dict[str, Expression], Expression]]:
        """Linear parts of every derivative, for the exact method: variable -> its factors by variable, and the rest.

        Raises
        ------
        SpecificationError, ExpressionError
            If a derivative is not linear, or a factor reads something else than parameters.
        """
        where, found = f"population '{self.name}'", {}
        own = [_target(label) for label in self.update if _is_derivative(label)]
        for label, expression in self.expressions.items():
            if not _is_derivative(label):
                continue
            if _is_late(label):
                raise SpecificationError(f"{where}: '{label}' is late, which method 'exact' does not do; use 'euler'")
            found[_target(label)] = parts = linear(
                expression, own, f"{where}: {label}", {**FUNCTIONS, **POPULATION_FUNCTIONS}
            )
            for variable, factor in parts[0].items():
                for name in sorted(factor.names - {*self.params, "dt"}):
                    raise SpecificationError(
                        f"{where}: {label} multiplies '{variable}' by '{name}'; with method 'exact' a factor reads "
                        "parameters only; use method 'euler'"
                    )
        if len([derivative for derivative, _ in self.stages if derivative]) > 1:
            raise SpecificationError(f"{where}: with method 'exact' all derivatives stand next to each other")
        return found

    @cached_property
    def phases(self) -> tuple[Phase, Phase]:
        """Input currents and stages of the update, and those that come after all populations have updated."""
        early, late = (
            {name for label, e in self.expressions.items() if _is_late(label) is when for name in e.names}
            for when in (False, True)
        )
        own = self.inputs if self.update else ()
        after = tuple(name for name in own if name in late - early)
        return (tuple(n for n in own if n not in after), self.stages), (after, self._stages(late=True))

    def _stages(self, late: bool) -> Stages:
        stages: Stages = []
        for label, expression in self.expressions.items():
            if _is_late(label) is not late:
                continue
            derivative = _is_derivative(label)
            if not (stages and derivative and stages[-1][0]):
                stages.append((derivative, {}))
            stages[-1][1][_target(label)] = expression
        return stages


def _is_late(label: str) -> bool:
    return label.startswith(_LATE)


def _is_derivative(label: str) -> bool:
    label = label.removeprefix(_LATE)
    return label.startswith("d") and label.endswith("/dt")


def _target(label: str) -> str:
    """Return the variable that a text updates, from its label: ``v``, ``dv/dt``, ``late v`` or ``late dv/dt``."""
    own = label.removeprefix(_LATE)
    return own[1:-3] if _is_derivative(own) else own


def modulator_names(modulators: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the mapping with every key written as the text reads it: ``m`` or ``m_<name>``."""
    named = {k if is_modulator(str(k)) else f"m_{k}": v for k, v in modulators.items()}
    if len(named) != len(modulators):
        raise SpecificationError(f"{where}: a modulator is named twice in {dict(modulators)}")
    return named
