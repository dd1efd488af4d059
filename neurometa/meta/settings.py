"""Strategies as JSON: a run folder can rebuild them by name, and never executes anything that is stored in it."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from .. import learners, outer, tasks
from ..errors import RunError, SpecificationError, unknown
from ..spec.base import Description, decode, encode

__all__ = ["build", "describe", "options_of"]

_FOLDERS = {"learner": learners, "outer": outer, "task": tasks}


def describe(kind: str, strategy: Any) -> dict[str, Any]:
    """Return a strategy as what ``json`` writes: the name it is registered under and its settings.

    Parameters
    ----------
    kind : {"learner", "outer", "task"}
        Folder of the strategy.
    strategy : dataclass
        A strategy; a class from a user's own file is named by its class and cannot be rebuilt from the record alone.
    """
    folder = _FOLDERS[kind]
    module = type(strategy).__module__
    known = module.startswith(folder.__name__ + ".") and module.rpartition(".")[2] in folder.names()
    settings = {}
    for field in dataclasses.fields(strategy):
        value = getattr(strategy, field.name)
        if isinstance(value, nn.Module):
            value, known = f"module {type(value).__name__}", False
        settings[field.name] = encode(value)
    return {"name": module.rpartition(".")[2] if known else f"custom {type(strategy).__name__}", "settings": settings}


def build(kind: str, record: dict[str, Any]) -> Any:
    """Rebuild a strategy from `describe`.

    Raises
    ------
    RunError
        If the record names a class that is not part of this package, or settings that it does not have.
    """
    folder = _FOLDERS[kind]
    try:
        name, settings = record["name"], record["settings"]
        if name not in folder.names():
            raise RunError(f"the run's {kind} is '{name}', which is not part of neurometa; pass it again by its path")
        return folder.get(name)(**{key: decode(value) for key, value in settings.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"the run's record of its {kind} cannot be read: {error}") from None


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
            return tuple(int(p) if p.lstrip("-").isdigit() else p for p in parts)
        if default is None:
            return None if text.lower() == "none" else int(text)
        return text
    except (ValueError, KeyError):
        kind = (
            "whole number"
            if default is None
            else {bool: "true or false", int: "whole number", float: "number"}[type(default)]
        )
        raise SpecificationError(f"{where} is '{text}'; it must be a {kind}") from None
