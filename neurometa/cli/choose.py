"""From what a user types (a name, ``path.py:attribute``, or options) to the thing itself."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from .. import learners, networks, outer, rules, tasks
from ..data import ENVIRONMENT
from ..errors import NeurometaError, SpecificationError, unknown
from ..meta.settings import convert, options_of
from ..spec import ConvTrunk, Network, PlasticityRule
from ..tasks.base import Task
from .typed_rule import rule_from_text

__all__ = [
    "build_network",
    "by_path",
    "call_options",
    "choose",
    "choose_rule",
    "device",
    "learner_class",
    "make_outer",
    "network_builder",
    "options",
    "outer_class",
    "task_class",
    "trunk_for",
    "use_data_root",
]


def by_path(text: str, kind: str) -> Any:
    """Return what ``path.py:attribute`` names. The file is executed.

    Raises
    ------
    SpecificationError
        If the file or the attribute is not there, or the file fails.
    """
    path, _, attribute = text.rpartition(":")
    file = Path(path).expanduser()
    if not file.is_file():
        raise SpecificationError(f"{kind}: there is no file {path}")
    name = f"neurometa_typed_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SpecificationError(f"{kind}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except NeurometaError:
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SpecificationError(f"{kind}: {path} fails with {type(error).__name__}: {error}") from None
    if attribute not in vars(module):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise SpecificationError(f"{kind}: {path} has {unknown('attribute', attribute, public)}")
    return vars(module)[attribute]


def choose(text: str, kind: str, get: Callable[[str], Any]) -> Any:
    """Return a thing by name, or by ``path.py:attribute``."""
    if ".py:" in text:
        return by_path(text, kind)
    if text.endswith(".py"):
        raise SpecificationError(f"{kind}: {text} lacks the name of what to take; type {text}:NAME")
    return get(text)


def choose_rule(text: str) -> PlasticityRule:
    """Return a rule by name, by ``path.py:attribute``, or from its equation."""
    found = rule_from_text(text) if "=" in text else choose(text, "rule", rules.get)
    if not isinstance(found, PlasticityRule):
        raise SpecificationError(f"'{text}' is a {type(found).__name__}, not a PlasticityRule")
    return found


def task_class(text: str) -> type[Task]:
    """Return a task's class by name or path."""
    return _strategy(choose(text, "task", tasks.get), Task, text)


def learner_class(text: str) -> type[learners.Learner]:
    """Return a learner's class by name or path."""
    return _strategy(choose(text, "learner", learners.get), learners.Learner, text)


def outer_class(text: str) -> type[outer.Outer]:
    """Return an outer algorithm's class by name or path."""
    return _strategy(choose(text, "outer algorithm", outer.get), outer.Outer, text)


def make_outer(text: str, typed: dict[str, Any], given: dict[str, str]) -> outer.Outer:
    """Build the outer algorithm that a user typed.

    Parameters
    ----------
    text : str
        Name or path.
    typed : dict
        Values of options of their own (``--lr`` and the like); None where the user gave none.
    given : dict of str to str
        Further options (``--set outer.<option>=``).
    """
    cls = outer_class(text)
    accepted = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    for name, value in typed.items():
        if name in given:
            raise SpecificationError(f"--set outer.{name}: use --{name}")
        if value is not None and name not in accepted:
            raise SpecificationError(f"--{name}: the outer algorithm '{text}' has none")
    values = {name: value for name, value in typed.items() if value is not None}
    if "schedule" in accepted:
        values = {"schedule": "cosine", **values}
    return cls(**values, **options_of("outer", cls, given, tuple(typed)))


def _strategy(found: Any, base: type, text: str) -> Any:
    """Refuse what is not a complete class of settings."""
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SpecificationError(f"'{text}' is not a class derived from {base.__name__}")
    missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    if missing:
        raise SpecificationError(f"{base.__name__} '{text}' does not define {missing}")
    if not is_dataclass(found):
        raise SpecificationError(f"'{text}' is not a dataclass; write @dataclass(frozen=True) above the class")
    return found


def network_builder(text: str) -> Callable[..., Network]:
    """Return a builder of networks by name or path; its errors are those of a description."""
    found = choose(text, "network", networks.get)
    if not callable(found) or isinstance(found, type):
        raise SpecificationError(f"'{text}' is not a function (n_in, n_out, rule=..., ...) that returns a Network")
    return found


def build_network(text: str, n_in: int, n_out: int, rule: str, given: dict[str, str]) -> Network:
    """Build the network that a user typed."""
    builder = network_builder(text)
    settings = call_options(builder, given, "network")
    if rule:
        settings["rule"] = choose_rule(rule)
    try:
        network = builder(n_in, n_out, **settings)
    except NeurometaError:
        raise
    except Exception as error:
        raise SpecificationError(f"network '{text}' fails with {type(error).__name__}: {error}") from None
    if not isinstance(network, Network):
        raise SpecificationError(f"network '{text}' returned a {type(network).__name__}, not a Network")
    return network


def options(settings: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort ``--set task.n_way=20 network.n_hidden=32`` by what each belongs to."""
    found: dict[str, dict[str, str]] = {"task": {}, "network": {}, "learner": {}, "outer": {}, "trunk": {}}
    for setting in settings:
        owner, dot, rest = setting.partition(".")
        name, equals, value = rest.partition("=")
        if not dot or not equals or owner not in found:
            forms = ", ".join(f"{owner}.<option>=<value>" for owner in found)
            raise SpecificationError(f"--set {setting}: write one of {forms}")
        found[owner][name] = value
    return found


def call_options(builder: Callable[..., Any], given: dict[str, str], kind: str) -> dict[str, Any]:
    """Turn options typed as text into arguments of a builder, by the types of its defaults."""
    accepted = {
        name: p.default
        for name, p in inspect.signature(builder).parameters.items()
        if isinstance(p.default, bool | int | float | str | tuple)
    }
    for name in given:
        if name not in accepted:
            raise SpecificationError(unknown(f"option of the {kind}", name, accepted))
    return {name: convert(text, accepted[name], f"{kind}.{name}") for name, text in given.items()}


def trunk_for(task: Task, kind: str, given: dict[str, str]) -> ConvTrunk | None:
    """Return the trunk that fits a task: ``auto`` puts a convolutional one before images and none before the rest."""
    if kind not in ("auto", "conv", "none"):
        raise SpecificationError(unknown("trunk", kind, ("auto", "conv", "none")))
    if kind == "none" or (kind == "auto" and task.image_shape is None):
        if given:
            raise SpecificationError("--set trunk.<option>: this run has no trunk; add --trunk conv")
        return None
    if task.image_shape is None:
        raise SpecificationError(f"--trunk conv needs a task of images; {type(task).__name__} has none")
    values = call_options(ConvTrunk, given, "trunk")
    return ConvTrunk(**{"out": "unit", **values, "image_shape": task.image_shape})


def device(text: str) -> torch.device | None:
    """Return a device, refusing one that is not there; empty text is torch's own choice."""
    if not text:
        return None
    try:
        found = torch.device(text)
        torch.empty(1, device=found).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SpecificationError(f"--device {text} cannot be used: {str(error).splitlines()[0]}") from None
    return found


def use_data_root(path: Path | None) -> None:
    """Look for data in a folder; the choice is this process's, and no run records it."""
    if path is not None:
        os.environ[ENVIRONMENT] = str(path)
