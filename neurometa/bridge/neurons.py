"""A NeuronGroup, or a group that only emits spikes, as a population."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..errors import SpecificationError
from ..spec import Param, Population, Spikes
from .scope import Constant, Scope, param
from .texts import Renamed, statements

__all__ = ["Neurons"]

_OWN = ("lastspike", "not_refractory")
#: Variable to which spikes are delivered that nothing reads.
UNHEARD = "unheard"


class Neurons:
    """One group: its population, and the values of its parameters.

    Parameters
    ----------
    b2 : module
        brian2.
    group : NeuronGroup, SpikeGeneratorGroup or PoissonGroup
        The live object.
    namespace : mapping
        Of the run.
    dt : float
        ms.
    """

    def __init__(self, b2: Any, group: Any, namespace: Mapping[str, Any], dt: float):
        self.b2, self.group, self.dt = b2, group, dt
        self.label = Renamed()[group.name]
        self.is_input = not isinstance(group, b2.NeuronGroup)
        self.names = Renamed({"x", UNHEARD})
        self.values: dict[str, np.ndarray] = {}
        self.where = f"NeuronGroup '{group.name}'"
        self.scope = Scope(b2, group, namespace, self.names) if not self.is_input else None
        self.equations: dict[str, Any] = {}
        for name, equation in group.user_equations.items() if not self.is_input else ():
            self._declare(name, equation)

    def _declare(self, name: str, equation: Any) -> None:
        assert self.scope is not None
        flags = set(equation.flags) - {"unless refractory", "constant", "shared"}
        if "linked" in flags or "constant over dt" in flags or ("shared" in equation.flags and equation.expr):
            raise SpecificationError(
                f"{self.where}: '{name}' is ({', '.join(equation.flags)}), which is not taken; allowed: differential "
                "equations, parameters and plain subexpressions, (constant), (shared) parameters, (unless refractory)"
            )
        if equation.type == "subexpression":
            self.scope.shortcuts[name] = equation.expr.code
        else:
            self.equations[name] = equation
            self.scope.variables[name] = self.names[name]

    def has(self, name: str) -> bool:
        """Whether the group has a variable or shortcut of this name."""
        return name in self.equations or (self.scope is not None and name in self.scope.shortcuts)

    def constant(self, name: str, written: Collection[str]) -> bool:
        """Whether a variable never changes."""
        assigned = {s.target for s in self._reset()} | set(written)
        return name in self.equations and self.equations[name].type == "parameter" and name not in assigned

    def _reset(self) -> list[Any]:
        code = self.group.event_codes.get("spike") if not self.is_input else None
        return statements(code, f"{self.where}: reset")

    def population(self, written: Collection[str]) -> Population:
        """Return the population; ``written`` are the variables to which spikes are delivered."""
        if self.is_input:
            return Population(self.label, len(self.group))
        group, scope = self.group, self.scope
        assert scope is not None
        self._refuse()
        update, params, start, held = {}, {}, {}, []
        for name, equation in self.equations.items():
            own = self.names[name]
            if self.constant(name, written):
                scope.constants[own] = scope.current(name)
                continue
            text = scope.text(equation.expr.code, f"d{name}/dt") if equation.expr else "0.0"
            update[f"d{own}/dt"] = text
            start[own] = self._begin(f"start_{own}", scope.current(name))
            held += [own] if "unless refractory" in equation.flags else []
        if UNHEARD in written:
            update[f"d{UNHEARD}/dt"] = "0.0"
        if not update:
            raise SpecificationError(f"{self.where} has no variable that changes; an input group has no equations")
        threshold = group.events.get("spike")
        spikes = self._spikes(threshold, held) if threshold is not None else None
        if spikes is None:
            update["x"] = next(iter(update))[1:-3]  # what it shows to others
        texts = [*update.values(), *([spikes.threshold] if spikes else [])]
        texts += [a.expression.text for a in spikes.assignments] if spikes else []
        for name in scope.used(*texts):
            found = scope.constants[name]
            varies = found.values.ndim > 0 and not np.all(found.values == found.values.ravel()[0])
            params[name] = param(found, "neuron" if varies else "scalar", learned=False)
            self.values[name] = found.values.reshape(-1)[: None if varies else 1]
        method = self._method() if any(e.expr for e in self.equations.values()) else "euler"
        return Population(self.label, len(group), update, params, start, (), method=method, spikes=spikes)

    def _begin(self, leaf: str, found: Constant) -> float | Param:
        if np.all(found.values == found.values.ravel()[0]):
            return float(found.values.ravel()[0])
        self.values[leaf] = found.values
        return param(found, "neuron", learned=False)

    def _spikes(self, threshold: str, held: list[str]) -> Spikes:
        scope = self.scope
        assert scope is not None
        reset = []
        for s in self._reset():
            if s.target not in self.equations:
                raise SpecificationError(
                    f"{self.where}: reset assigns '{s.target}'; allowed: {', '.join(self.equations) or 'none'}"
                )
            text, own = scope.text(s.text, "reset"), self.names[s.target]
            reset.append(f"{own} = {own} {s.operator} ({text})" if s.operator else f"{own} = {text}")
        refractory = self._refractory()
        return Spikes(
            scope.text(threshold, "threshold"), "\n".join(reset), refractory, tuple(held) if refractory else ()
        )

    def _refractory(self) -> float:
        found = self.group._refractory
        if found is False or found is None:
            return 0.0
        try:
            seconds = float(found)
        except (TypeError, ValueError):
            raise SpecificationError(f"{self.where}: refractory is {found!r}; allowed: a time such as 2*ms") from None
        time = float(f"{seconds * 1e3:.12g}")
        waited = np.ravel(self.group.clock.t_[:])[0] - np.array(self.group.lastspike_[:])
        if time and np.any(waited <= seconds):
            raise SpecificationError(f"{self.where} has neurons that are refractory now; import it before it has run")
        return time

    def _method(self) -> str:
        """Return the method that Brian2 uses."""
        assert self.scope is not None
        return chosen(self.b2, self.group, self.group.state_updater, self.scope.outside, self.where)

    def _refuse(self) -> None:
        extra = [name for name in self.group.events if name != "spike"]
        if extra:
            raise SpecificationError(f"{self.where} has the event '{extra[0]}'; allowed: threshold and reset of spikes")


def chosen(b2: Any, group: Any, updater: Any, namespace: Mapping[str, Any], where: str) -> str:
    """Return "exact" or "euler": what Brian2 makes of ``method=``.

    Raises
    ------
    SpecificationError
        If it is another method.
    """
    wanted = updater.method_choice
    methods = b2.StateUpdateMethod.stateupdaters
    for name in (wanted,) if isinstance(wanted, str) else wanted:
        if name in ("euler", "exact", "linear"):
            try:
                variables = group.resolve_all(group.equations.identifiers | {"dt"}, dict(namespace))
                methods[name](group.equations, variables)
            except b2.stateupdaters.base.UnsupportedEquationsException:
                continue
            return "euler" if name == "euler" else "exact"
        raise SpecificationError(f"{where} is integrated by '{name}'; allowed: method='exact' or method='euler'")
    raise SpecificationError(f"{where}: method {wanted!r} does not fit its equations; type method='euler'")
