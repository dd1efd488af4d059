"""From what a user types (a name, ``path.py:attribute``, or an equation) to the thing itself."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import learners, networks, rules, tasks
from ..errors import NeurometaError, SpecificationError, unknown
from ..expression import FUNCTIONS, parse
from ..meta.settings import convert
from ..spec import ConvTrunk, Network, Param, PlasticityRule
from ..spec.rule import is_modulator, split_variable
from ..tasks.base import Task

__all__ = ["by_path", "choose", "network_builder", "options", "rule_from_text", "task_class", "trunk_for"]

_LINE = re.compile(r"\s*(?:d(?P<rate>[A-Za-z]\w*?)(?:/dt)?|(?P<name>[A-Za-z]\w*))\s*=\s*(?P<text>.+)\Z", re.DOTALL)


def by_path(text: str, kind: str) -> Any:
    """Return what ``path.py:attribute`` names. The file is executed.

    Raises
    ------
    SpecificationError
        If the file or the attribute is not there, or the file fails.
    """
    path, _, attribute = text.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise SpecificationError(f"{kind}: there is no file {path}; allowed: a name, path.py:attribute or an equation")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SpecificationError(f"{kind}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except NeurometaError:
        raise
    except Exception as error:
        raise SpecificationError(f"{kind}: {path} fails with {type(error).__name__}: {error}") from None
    if attribute not in vars(module):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise SpecificationError(f"{path}: {unknown('attribute', attribute, public)}")
    return vars(module)[attribute]


def choose(text: str, kind: str, get: Callable[[str], Any]) -> Any:
    """Return a thing by name, or by ``path.py:attribute``."""
    return by_path(text, kind) if ".py:" in text else get(text)


def choose_rule(text: str) -> PlasticityRule:
    """Return a rule by name, by ``path.py:attribute``, or from its equation."""
    found = rule_from_text(text) if "=" in text else choose(text, "rule", rules.get)
    if not isinstance(found, PlasticityRule):
        raise SpecificationError(f"'{text}' is a {type(found).__name__}, not a PlasticityRule")
    return found


def rule_from_text(text: str) -> PlasticityRule:
    """Make a rule from its equation.

    Parameters
    ----------
    text : str
        ``dw = ...``, and if wanted traces ``d<trace> = ...`` and parameters ``<name> = number``, separated by ``;`` or
        lines. A name that is declared nowhere becomes a learned parameter of 0.1, or, where it begins with ``tau``,
        a time constant of 5 ms that stays above 1 ms.

    Examples
    --------
    >>> rule = rule_from_text("dw = eta*m*elig - decay*w; delig = -elig/tau + pre*post; eta = 0.5")
    >>> {name: param.init for name, param in rule.params.items()}
    {'decay': 0.1, 'eta': 0.5, 'tau': 5.0}
    """
    dw, traces, params = "", {}, {}
    for line in filter(str.strip, re.split(r"[;\n]", text)):
        match = _LINE.match(line)
        if not match:
            raise SpecificationError(f"rule: '{line.strip()}' is not 'dw = ...', 'd<trace> = ...' or '<name> = number'")
        rate, name, formula = match["rate"], match["name"], match["text"].strip()
        if rate == "w":
            dw = formula
        elif rate:
            traces[rate] = formula
        else:
            try:
                params[str(name)] = Param(float(formula))
            except ValueError:
                raise SpecificationError(f"rule: '{name}' is '{formula}'; a parameter is a number") from None
    if not dw:
        raise SpecificationError('rule: there is no dw; write "dw = eta*pre*post"')
    known = {"pre", "post", "w", "w_eff", "dt", "n_pre", "n_post", *traces, *params}
    read = set().union(*(parse(t, "rule", FUNCTIONS).names for t in (dw, *traces.values())))
    for name in sorted(read - known):
        if is_modulator(name) or split_variable(name):
            continue
        near = unknown("name", name, known - {"w", "dt"})
        if "did you mean" in near:
            raise SpecificationError(f"rule: {near}")
        params[name] = Param(5.0, minimum=1.0, unit="ms") if name.startswith("tau") else Param(0.1)
    return PlasticityRule("typed", dw=dw, traces=traces, params=dict(sorted(params.items())))


def options(settings: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort ``--set task.n_way=20 network.n_hidden=32`` by what each belongs to."""
    found: dict[str, dict[str, str]] = {"task": {}, "network": {}, "learner": {}, "outer": {}, "trunk": {}}
    for setting in settings:
        owner, dot, rest = setting.partition(".")
        name, equals, value = rest.partition("=")
        if not dot or not equals or owner not in found:
            raise SpecificationError(
                f"--set {setting}: write one of {', '.join(f'{k}.<option>=<value>' for k in found)}"
            )
        found[owner][name] = value
    return found


def task_class(text: str) -> type[Task]:
    """Return a task's class by name or path."""
    found = choose(text, "task", tasks.get)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise SpecificationError(f"'{text}' is not a Task class")
    return found


def network_builder(text: str) -> Callable[..., Network]:
    """Return a builder of networks by name or path."""
    found = choose(text, "network", networks.get)
    if not callable(found):
        raise SpecificationError(f"'{text}' is not a function that returns a Network")
    return found


def learner_class(text: str) -> type[learners.Learner]:
    """Return a learner's class by name or path."""
    found = choose(text, "learner", learners.get)
    if not (isinstance(found, type) and issubclass(found, learners.Learner)):
        raise SpecificationError(f"'{text}' is not a Learner class")
    return found


def call_options(builder: Callable[..., Any], given: dict[str, str], kind: str) -> dict[str, Any]:
    """Turn options typed as text into arguments of a builder, by the types of its defaults."""
    import inspect

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
