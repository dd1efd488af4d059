"""Strategies as JSON: a run folder can rebuild them by name, and never executes anything that is stored in it."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from .. import learners, outer, tasks
from ..errors import RunError, SpecificationError, unknown
from ..spec.base import Description, decode, encode

__all__ = ["build", "completed", "describe", "options_of"]

_FOLDERS = {"learner": learners, "outer": outer, "task": tasks}


def describe(kind: str, strategy: Any) -> dict[str, Any]:
    """Return a strategy as what ``json`` writes: the name it is registered under and its settings.

    Parameters
    ----------
    kind : {"learner", "outer", "task"}
        Folder of the strategy.
    strategy : dataclass
        A strategy; a class from a user's own file is named by its class and cannot be rebuilt from the record alone.

    Raises
    ------
    SpecificationError
        If it is not a dataclass, or holds more than text, numbers and descriptions.
    """
    if isinstance(strategy, type) or not dataclasses.is_dataclass(strategy):
        shown = strategy.__name__ if isinstance(strategy, type) else f"a {type(strategy).__name__}"
        raise SpecificationError(f"{kind} is {shown}; it must be an object of a frozen dataclass of settings")
    known = _name(kind, type(strategy))
    settings = {}
    for field in dataclasses.fields(strategy):
        value = getattr(strategy, field.name)
        if isinstance(value, nn.Module):
            value, known = f"module {type(value).__name__}", None
        settings[field.name] = encode(value)
    return {"name": known or _custom(type(strategy)), "settings": settings}


def _name(kind: str, cls: type) -> str | None:
    """Return the name under which a class of this package is registered."""
    folder = _FOLDERS[kind]
    parent, _, name = cls.__module__.rpartition(".")
    return name if parent == folder.__name__ and name in folder.names() else None


def _custom(cls: type) -> str:
    return f"custom {cls.__name__}"


def build(kind: str, record: Any, given: Any = None) -> Any:
    """Rebuild a strategy from `describe`.

    Parameters
    ----------
    kind : {"learner", "outer", "task"}
        Folder of the strategy.
    record : dict
        As `describe` made it.
    given : class or object, optional
        Of the strategy, where it is not one of this package; a class gets the settings of the record.

    Raises
    ------
    RunError
        If the record names a class that is not part of this package and is not given, or settings that it does not
        have.
    """
    try:
        name, settings = record["name"], record["settings"]
        if given is not None:
            cls = given if isinstance(given, type) else type(given)
            if name not in (_name(kind, cls), _custom(cls)):
                raise RunError(f"the run's {kind} is '{name}', not {cls.__name__}")
            if not isinstance(given, type):
                return given
        elif name in _FOLDERS[kind].names():
            cls = _FOLDERS[kind].get(name)
        else:
            raise RunError(
                f"the run's {kind} is '{name}', which is not part of neurometa; give it again: --{kind} PATH.py:NAME"
            )
        return cls(**{key: decode(value) for key, value in settings.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the run's record of its {kind} (config.json) cannot be read: {error!r}") from None


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a stored plan with the settings that its strategies have gained since, each at its default."""
    found = dict(config)
    for kind, folder in _FOLDERS.items():
        record = config.get(kind)
        if isinstance(record, dict) and record.get("name") in folder.names():
            fields = dataclasses.fields(folder.get(record["name"]))
            defaults = {f.name: encode(f.default) for f in fields if f.default is not dataclasses.MISSING}
            found[kind] = {**record, "settings": {**defaults, **record.get("settings", {})}}
    return found


def options_of(kind: str, cls: type, given: dict[str, str], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Turn options typed as text into values of a strategy's fields.

    Parameters
    ----------
    kind : str
        For the error message.
    cls : type
        A dataclass.
    given : mapping of str to str
        Option -> text, such as ``{"n_way": "5"}``.
    skip : tuple of str
        Fields that cannot be set so.

    Raises
    ------
    SpecificationError
        If an option does not exist or its text does not fit its type.
    """
    fields = {
        f.name: f for f in dataclasses.fields(cls) if f.name not in skip and not isinstance(f.default, Description)
    }
    values = {}
    for name, text in given.items():
        if name not in fields:
            raise SpecificationError(unknown(f"option of the {kind}", name, fields))
        values[name] = convert(text, fields[name].default, f"{kind}.{name}")
    return values


def convert(text: str, default: Any, where: str) -> Any:
    """Read text as a value of the default's type."""
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
        if isinstance(default, tuple):
            parts = [part.strip() for part in text.split(",") if part.strip()]
            if default and all(isinstance(each, int | float) for each in default):
                number = float if any(isinstance(each, float) for each in default) else int
                return tuple(number(part) for part in parts)
            return tuple(int(p) if p.lstrip("-").isdigit() else p for p in parts)
        if default is None:
            return None if text.lower() == "none" else int(text)
        return text
    except (ValueError, KeyError):
        kind = (
            "whole number"
            if default is None
            else {bool: "true or false", int: "whole number", float: "number", tuple: "row of numbers"}[type(default)]
        )
        raise SpecificationError(f"{where} is '{text}'; it must be a {kind}") from None
