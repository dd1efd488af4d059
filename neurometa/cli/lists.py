"""``neurometa rules``, ``tasks``, ``networks``, ``learners`` and ``data``: what there is."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .. import data, learners, networks, outer, rules, tasks
from ..errors import SpecificationError
from ..spec import Param, PlasticityRule
from .choose import choose_rule
from .output import print_json, print_rows

__all__ = ["Data", "Learners", "Networks", "Rules", "Tasks"]


def _first_line(thing: Any) -> str:
    """Return the first line of a docstring, without its markup."""
    line = (inspect.getdoc(thing) or "").split("\n")[0]
    return re.sub(r":\w+:|`", "", line)


def _show(kind: str, names: list[str], describe: Callable[[str], dict[str, Any]], as_json: bool, hint: str) -> int:
    found = {name: describe(name) for name in names}
    if as_json:
        print_json({kind: found})
        return 0
    keys = list(next(iter(found.values())))
    rows = [(name, *(str(entry[key]) for key in keys)) for name, entry in found.items()]
    print_rows(kind, ("name", *keys), rows)
    print(hint)
    return 0


@dataclass
class Rules:
    """List the plasticity rules, or show one: `neurometa rules show NAME`."""

    action: tyro.conf.Positional[Literal["list", "show"]] = "list"
    """list, or show one rule."""
    name: tyro.conf.Positional[str] = ""
    """With show: a name, PATH.py:NAME, or an equation."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the list or the rule."""
        if self.action == "list":
            hint = "show one: neurometa rules show NAME; a rule may also be typed: --rule 'dw = eta*pre*post - eta*w'"

            def describe(name: str) -> dict[str, Any]:
                rule = rules.get(name)
                return {"equation": rule.dw or rule.step, "class": rule.locality}

            return _show("rules", rules.names(), describe, self.json, hint)
        if not self.name:
            raise SpecificationError(f"rules show needs a name; there are {', '.join(rules.names())}")
        rule = choose_rule(self.name)
        if self.json:
            print_json({"rule": rule.name, "locality": rule.locality, "description": rule.to_json()})
        else:
            print(card(rule))
        return 0


def card(rule: PlasticityRule) -> str:
    """Return a rule as text: equations, class, parameters, bounds, source."""
    lines = [rule.name, ""]
    if rule.dw:
        lines.append(f"  dw/dt = {rule.dw}")
    lines += [
        f"  d{name}/dt = {trace.text}"
        for name, trace in rule.traces.items()
        if not isinstance(trace, str) and trace.text
    ]
    lines += [f"  {name} = sum of {total.text} over {total.over}" for name, total in rule.sums.items()]
    for label in ("step", "on_pre", "on_post"):
        lines += [f"  {label}: {a.target} = {a.expression.text}" for a in rule.assignments[label]]
    if rule.bounds is not None:
        lines.append(f"  w between {rule.bounds[0]} and {rule.bounds[1]}")
    lines += ["", f"class: {rule.locality}"]
    lines += [f"  {name} = {_parameter(param)}" for name, param in rule.params.items()]
    return "\n".join([*lines, f"source: {rule.reference}" if rule.reference else ""]).rstrip()


def _parameter(param: Param) -> str:
    limit = "" if param.minimum is None else f", at least {param.minimum}"
    fixed = "" if param.learned else ", not learned"
    return f"{param.init}{' ' + param.unit if param.unit else ''} ({param.constraint}, per {param.per}{limit}{fixed})"


@dataclass
class Tasks:
    """List the tasks and their options."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the list."""

        def describe(name: str) -> dict[str, Any]:
            cls = tasks.get(name)
            settings = ", ".join(f"{f.name}={f.default}" for f in fields(cls))  # type: ignore[arg-type]
            return {"what": _first_line(cls), "options": settings}

        return _show("tasks", tasks.names(), describe, self.json, "set an option: neurometa train --set task.n_way=20")


@dataclass
class Networks:
    """List the networks and their options."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the list."""

        def describe(name: str) -> dict[str, Any]:
            builder = networks.get(name)
            accepted = inspect.signature(builder).parameters.values()
            plain = [p for p in accepted if isinstance(p.default, int | float | str)]
            return {"what": _first_line(builder), "options": ", ".join(f"{p.name}={p.default}" for p in plain)}

        return _show(
            "networks", networks.names(), describe, self.json, "set one: neurometa train --set network.n_hidden=32"
        )


@dataclass
class Learners:
    """List the learners (how a network adapts within a task) and the outer algorithms, with their options."""

    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the lists."""

        def describe(cls: type) -> dict[str, Any]:
            fixed = ("network", "trunk", "n_in", "n_out")  # these follow from the task
            own = [f for f in fields(cls) if f.name not in fixed]  # type: ignore[arg-type]
            return {"what": _first_line(cls), "options": ", ".join(f"{f.name}={f.default}" for f in own)}

        found = {name: describe(learners.get(name)) for name in learners.names()}
        others = {name: describe(outer.get(name)) for name in outer.names()}
        if self.json:
            print_json({"learners": found, "outer": others})
            return 0
        for title, entries in (("learners", found), ("outer algorithms", others)):
            print_rows(title, ("name", "what", "options"), [(name, *entry.values()) for name, entry in entries.items()])
            print()
        print("set one: neurometa train --outer evolution --set outer.population=128 learner.compile=true")
        return 0


@dataclass
class Data:
    """Show which data are here and how to get the rest: `neurometa data info`, `neurometa data fetch NAME`."""

    action: tyro.conf.Positional[Literal["info", "fetch"]] = "info"
    """info, or fetch one data set."""
    name: tyro.conf.Positional[str] = ""
    """With fetch: the data set, such as omniglot."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the list, or fetch."""
        if self.action == "fetch":
            if not self.name:
                raise SpecificationError(f"data fetch needs a name; there are {', '.join(data.DATA_SETS)}")
            path = data.fetch(self.name, root=self.data_root, progress=not self.json)
            print_json({"fetched": self.name, "path": str(path)}) if self.json else print(f"{self.name}: {path}")
            return 0
        found = data.info(self.data_root)
        if self.json:
            print_json({"data": found})
            return 0
        for entry in found:
            print("\n".join(f"{key}: {value}" for key, value in entry.items()))
            print()
        print("fetch one: neurometa data fetch omniglot", file=sys.stderr)
        return 0
