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
from ..analysis.figures import check_ending
from ..analysis.latex import equations
from ..analysis.rule_card import dw_surface, weight_course
from ..analysis.rule_figure import rule_figure, stability
from ..analysis.timing import spike_timing
from ..analysis.timing_figure import timing_figure, window_in_words
from ..errors import SpecificationError
from ..spec import PlasticityRule
from .card import card
from .choose import choose_rule
from .output import print_json, print_rows
from .script import UsageError

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
    figure: Path | None = None
    """With show: draw dw over activity, weights over time and stability; of a spiking rule its window, its change over
    frequency and over the delay of a third factor (PNG, SVG or PDF by the ending)."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the list or the rule."""
        if self.action == "list":
            if self.figure is not None:
                raise UsageError("rules list draws no figure; type neurometa rules show NAME --figure FILE.png")
            hint = "show one: neurometa rules show NAME; a rule may also be typed: --rule 'dw = eta*pre*post - eta*w'"

            def describe(name: str) -> dict[str, Any]:
                rule = rules.get(name)
                return {"equation": rule.dw or rule.step, "class": rule.locality}

            return _show("rules", rules.names(), describe, self.json, hint)
        if not self.name:
            raise SpecificationError(f"rules show needs a name; there are {', '.join(rules.names())}")
        figure = None if self.figure is None else check_ending(self.figure)
        rule = choose_rule(self.name)
        drawn = {} if figure is None else _draw(rule, figure)
        if self.json:
            found = {"rule": rule.name, "locality": rule.locality, "description": rule.to_json()}
            print_json(found | {"latex": [formula for _, formula in equations(rule)]} | drawn)
        else:
            print("\n".join([card(rule), *(f"{key}: {text}" for key, text in drawn.items())]))
        return 0


def _draw(rule: PlasticityRule, path: Path) -> dict[str, str]:
    """Draw a rule's card; return what it says in words and where it is."""
    if rule.has_events:
        timing = spike_timing(rule)
        path = timing_figure(f"{rule.name}: {rule.locality}", timing, path)
        return {"window": window_in_words(timing), "figure": str(path)}
    course = weight_course(rule)
    path = rule_figure(f"{rule.name}: {rule.locality}", dw_surface(rule), course, path)
    return {"stability": stability(course), "figure": str(path)}


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
