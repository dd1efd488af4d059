"""A plasticity rule from its equation, as a user types it on the command line."""

from __future__ import annotations

import difflib
import re

from ..errors import SpecificationError
from ..expression import FUNCTIONS, parse
from ..spec import Param, PlasticityRule
from ..spec.rule import is_modulator, split_variable

__all__ = ["rule_from_text"]

_LINE = re.compile(r"\s*(?P<name>[A-Za-z]\w*)(?P<over>\s*/\s*dt)?\s*=(?!=)\s*(?P<text>.+?)\s*\Z", re.DOTALL)
_FORMS = "'dw = ...', 'd<trace> = ...' or '<parameter> = number'"
#: What every rule may read; a parameter is not made from a name that is almost one of these.
_KNOWN = ("pre", "post", "w", "w_eff", "dt", "n_pre", "n_post")


def rule_from_text(text: str) -> PlasticityRule:
    """Make a rule from its equation.

    Parameters
    ----------
    text : str
        ``dw = ...``, and if wanted traces ``d<trace> = ...`` and parameters ``<name> = number``, separated by ``;`` or
        lines; ``dw/dt`` and ``d<trace>/dt`` mean the same. A name that is declared nowhere becomes a learned parameter
        of 0.1, or, where it begins with ``tau``, a time constant of 5 ms. Time constants stay above 1 ms.

    Returns
    -------
    PlasticityRule
        Its name is ``typed``.

    Raises
    ------
    SpecificationError
        If a line is none of these, or a name looks like a slip of the pen.
    ExpressionError
        If a formula is not in the grammar.

    Examples
    --------
    >>> rule = rule_from_text("dw = eta*m*elig - decay*w; delig = -elig/tau + pre*post; decay = 0.5")
    >>> {name: param.init for name, param in rule.params.items()}
    {'decay': 0.5, 'eta': 0.1, 'tau': 5.0}
    """
    rates, numbers = _read(text)
    if "w" not in rates:
        raise SpecificationError('rule: there is no dw; write "dw = eta*pre*post"')
    reads = {name: parse(formula, "rule", FUNCTIONS).names for name, formula in rates.items()}
    for name in rates:
        if name != "w" and not any(name in names for reader, names in reads.items() if reader != name):
            raise SpecificationError(f"rule: d{name} is given, but nothing else reads '{name}'")
    declared = {*_KNOWN, *rates, *numbers}
    for name in sorted(set().union(*reads.values()) - declared):
        if is_modulator(name) or split_variable(name):
            continue
        near = _slip(name, declared)
        if near:
            raise SpecificationError(
                f"rule: unknown name '{name}' (did you mean '{near}'?); if it is a parameter, declare it: {name} = 0.1"
            )
        numbers[name] = 5.0 if name.startswith("tau") else 0.1
    params = {name: _parameter(name, value) for name, value in sorted(numbers.items())}
    dw = rates.pop("w")
    return PlasticityRule("typed", dw=dw, traces=rates, params=params)


def _read(text: str) -> tuple[dict[str, str], dict[str, float]]:
    """Return the formula of every rate of change, and the number of every declared parameter."""
    rates: dict[str, str] = {}
    numbers: dict[str, float] = {}
    for line in filter(str.strip, re.split(r"[;\n]", text)):
        match = _LINE.match(line)
        if not match:
            raise SpecificationError(f"rule: '{line.strip()}' is none of {_FORMS}")
        name, formula = match["name"], match["text"]
        number = _number(formula)
        # 'decay = 0.01' declares a parameter, though it begins with a d: only a formula is a rate of change.
        is_rate = name.startswith("d") and len(name) > 1 and (name == "dw" or bool(match["over"]) or number is None)
        if not is_rate and (number is None or match["over"]):
            hint = "; write dw = ... for its change" if name == "w" else ""
            raise SpecificationError(f"rule: '{line.strip()}' is none of {_FORMS}{hint}")
        key = name[1:] if is_rate else name
        if key in rates or key in numbers:
            raise SpecificationError(f"rule: '{key}' is given twice")
        if is_rate:
            rates[key] = formula
        elif number is not None:
            numbers[key] = number
    return rates, numbers


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) else None


def _parameter(name: str, value: float) -> Param:
    if name.startswith("tau"):
        return Param(value, minimum=1.0 if value > 1.0 else None, unit="ms")
    return Param(value)


def _slip(name: str, declared: set[str]) -> str:
    """Return the declared name that a name misspells; ``beta`` is not meant as ``eta``, nor ``eta2`` as ``eta1``."""
    plain = name.rstrip("0123456789")
    for near in difflib.get_close_matches(name, declared - {"w", "dt"}, n=3, cutoff=0.75):
        if near[0] == name[0] and near.count("_") == name.count("_") and near.rstrip("0123456789") != plain:
            return near
    return ""
