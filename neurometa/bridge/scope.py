"""What a name means in the text of a Brian2 object: constant, unit, shortcut or variable."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import SpecificationError
from ..spec import Param
from .texts import Renamed, convert, number, read
from .units import numbers, unit_of

__all__ = ["Constant", "Scope", "param"]

_REFUSED = {
    "xi": "noise within an equation",
    "t": "the time 't'",
    "i": "the index 'i' of a neuron",
    "j": "the index 'j' of a neuron",
    "lastspike": "'lastspike'",
    "lastupdate": "'lastupdate'",
    "not_refractory": "'not_refractory'",
    "t_in_timesteps": "the time 't_in_timesteps'",
    "inf": "'inf'",
}


class Constant(NamedTuple):
    """A value that does not change: numbers in our units, and the unit's name."""

    values: np.ndarray
    unit: str


def param(constant: Constant, per: str, learned: bool, minimum: float | None = None) -> Param:
    """Return the parameter of a constant; where it varies, its own values are in the tree of parameters."""
    start = float(np.mean(constant.values))
    kept = minimum is not None and constant.unit == "ms" and bool(np.all(constant.values > minimum))
    return Param(start, per=per, learned=learned, minimum=minimum if kept else None, unit=constant.unit)


class Scope:
    """Resolves the names of one Brian2 object, and collects the constants of its surroundings that it reads.

    Parameters
    ----------
    b2 : module
        brian2.
    group : object
        NeuronGroup or Synapses.
    namespace : mapping
        Of the run, for what the object's own namespace does not have.
    names : Renamed
        Our names of everything that has one.
    """

    def __init__(self, b2: Any, group: Any, namespace: Mapping[str, Any], names: Renamed):
        self.b2, self.group, self.names = b2, group, names
        self.where = f"'{group.name}'"
        self.outside = {**namespace, **(group.namespace or {})}
        self.constants: dict[str, Constant] = {}
        self.shortcuts: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.special: Callable[[str], str | None] = lambda name: None

    def is_unit(self, name: str) -> bool:
        """Whether a name is a unit, such as ``mV``."""
        return name in self.b2.core.namespace.DEFAULT_UNITS and name not in self.variables

    def text(self, text: str, what: str) -> str:
        """Return one of the object's formulas in our words."""
        where = f"{self.where}: {what}"
        return convert(text, lambda name: self._resolve(name, where), where, self.is_unit)

    def _resolve(self, name: str, where: str) -> ast.expr:
        if name in self.variables:
            return ast.Name(self.variables[name])
        if name in self.shortcuts:
            return ast.parse(self.text(self.shortcuts[name], name), mode="eval").body
        special = self.special(name)
        if special is not None:
            return ast.Name(special)
        if name == "dt":
            return ast.Name("dt")
        if name in _REFUSED or name.startswith("xi_"):
            raise SpecificationError(
                f"{where} reads {_REFUSED.get(name, 'noise within an equation')}, which texts here do not have; "
                "allowed: variables, constants and dt"
            )
        known = self.b2.core.namespace
        if name in known.DEFAULT_UNITS:
            unit = known.DEFAULT_UNITS[name]
            return number(float(numbers(float(unit), self.b2.get_dimensions(unit), f"{where}: '{name}'")))
        if name in known.DEFAULT_CONSTANTS:
            return number(float(known.DEFAULT_CONSTANTS[name].value))
        return ast.Name(self._outer(name, where))

    def _outer(self, name: str, where: str) -> str:
        """Take a constant from the object's namespace, or from that of the run."""
        if name not in self.outside:
            raise SpecificationError(
                f"{where} reads '{name}', which is not known; type from_brian2(..., namespace={{'{name}': ...}})"
            )
        value = self.outside[name]
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise SpecificationError(
                f"{where} reads '{name}', which is a {type(value).__name__}; allowed: a number or a quantity"
            ) from None
        if array.ndim:
            raise SpecificationError(
                f"{where} reads '{name}', an array of shape {array.shape}; allowed: one number; "
                "an array belongs into a variable"
            )
        self.add(name, array, self.b2.get_dimensions(value), where)
        return self.names[name]

    def add(self, name: str, values: np.ndarray, dim: Any, where: str) -> None:
        """Keep a constant under our name for it."""
        place = f"{where}: '{name}'"
        self.constants[self.names[name]] = Constant(numbers(values, dim, place), unit_of(dim, place))

    def current(self, name: str) -> Constant:
        """Return what a variable of the object holds now."""
        variable = self.group.variables[name]
        place = f"{self.where}: '{name}'"
        values = np.array(getattr(self.group, f"{name}_")[:], dtype=np.float64)
        return Constant(numbers(values, variable.dim, place), unit_of(variable.dim, place))

    def used(self, *texts: str) -> list[str]:
        """Return the collected constants that some formulas read."""
        names = set().union(*(read(text) for text in texts)) if texts else set()
        return [name for name in self.constants if name in names]
