"""A comparison from a TOML file: names of tasks, networks, rules and learners, and numbers; no code."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..compare.plan import Arm, Plan
from ..errors import SpecificationError, unknown
from ..learners import Learner
from ..learners.base import GROUPS
from ..meta.settings import options_of
from ..tasks.base import Task
from . import choose
from .train import assemble

__all__ = ["read_plan"]

_PLAN = {field.name: field for field in fields(Plan)}
_OWN = ("task", "arms", "set", "name")
_ARM = ("learner", "network", "rule", "trunk", "outer", "set", "search", "learn", "role")


def read_plan(path: Path) -> Plan:
    """Read a plan.

    The file has the fields of a `Plan` at its top, ``task`` as a name, ``set`` as the task's options, and a table
    ``[arms.NAME]`` for each learner with ``learner``, ``network``, ``rule`` (a name or an equation), ``trunk``,
    ``outer``, ``learn``, ``role``, ``set`` (options such as ``"network.n_hidden" = 32``) and ``search`` (option ->
    ``[low, high]``; ``lr`` is that of the outer loop). What is stored is never executed: a learner of your own belongs
    into a plan written in Python (``PATH.py:NAME``).

    Raises
    ------
    SpecificationError
        If the file cannot be read, or something in it does not exist.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise SpecificationError(f"plan {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecificationError(f"plan {path} is not TOML: {error}") from None
    for name in content:
        if name not in {*_PLAN, "set"}:
            raise SpecificationError(f"plan {path}: {unknown('field', name, (*_PLAN, 'set'))}")
    for needed in ("task", "arms", "main", "rival"):
        if needed not in content:
            raise SpecificationError(f"plan {path} has no '{needed}'; see docs/comparing.md for an example")
    cls = choose.task_class(_safe(content["task"], path))
    task = cls(**options_of("task", cls, _texts(content.get("set", {}))))
    arms = {name: _arm(task, name, table, path) for name, table in _table(content["arms"], "arms", path).items()}
    rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k not in _OWN}
    if isinstance(rest.get("seeds"), int):
        rest["seeds"] = tuple(range(rest["seeds"]))
    words = {"title": path.stem.replace("_", " "), "question": ""}
    return Plan(**{**words, **rest, "name": content.get("name", path.stem), "task": task, "arms": arms})


def _arm(task: Task, name: str, table: Any, path: Path) -> Arm:
    where = f"arms.{name}"
    table = _table(table, where, path)
    for key in table:
        if key not in _ARM:
            raise SpecificationError(f"plan {path}: {where}: {unknown('field', key, _ARM)}")
    parts = {k: _safe(table.get(k, d), path) for k, d in {"network": "modulated", "rule": "", "trunk": "auto"}.items()}
    learner, outer = _safe(table.get("learner", "plastic"), path), _safe(table.get("outer", "backprop"), path)
    settings = _texts(table.get("set", {}))
    search = {k: tuple(v) for k, v in _table(table.get("search", {}), f"{where}.search", path).items()}
    for key, pair in search.items():
        if len(pair) != 2 or not all(isinstance(v, int | float) for v in pair):
            raise SpecificationError(f"plan {path}: {where}.search.{key} is {list(pair)}; write [low, high]")

    def make(**values: float) -> Learner:
        given = choose.options([f"{k}={v}" for k, v in (settings | _texts(values)).items()])
        given.pop("outer")
        return assemble(task, parts["network"], parts["rule"], learner, parts["trunk"], {**given, "outer": {}})

    own = {k.removeprefix("outer."): v for k, v in settings.items() if k.startswith("outer.")}
    typed = {k: float(own.pop(k)) if k in own else None for k in ("lr", "clip")}
    typed["schedule"] = own.pop("schedule", None)  # type: ignore[assignment]
    outer_loop, learn = choose.make_outer(outer, typed, own), tuple(table.get("learn", GROUPS))
    make()  # a mistake is found now
    return Arm(make, search, outer_loop, learn, table.get("role", "learner"))


def _safe(value: Any, path: Path) -> str:
    """Refuse what would be executed."""
    if not isinstance(value, str):
        raise SpecificationError(f"plan {path}: {value!r} stands where a name is expected")
    if ".py" in value:
        raise SpecificationError(
            f"plan {path} names the file {value}, and what is stored is never executed; write the plan in Python and "
            "type PATH.py:NAME"
        )
    return value


def _table(value: Any, where: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecificationError(f"plan {path}: {where} is {value!r}; it must be a table")
    return value


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """Return options as they would be typed."""
    rows = {k: ",".join(map(str, v)) for k, v in values.items() if isinstance(v, list | tuple)}
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in values.items()} | rows
