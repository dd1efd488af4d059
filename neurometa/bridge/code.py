"""The pathways of a Synapses object: what a spike delivers, and what it changes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np

from ..algebra import linear
from ..errors import SpecificationError
from ..expression import parse
from .neurons import UNHEARD
from .texts import Statement, convert, read, statements, substitute

if TYPE_CHECKING:
    from .synapses import Wiring

__all__ = ["Code"]


class Code:
    """Texts of one Synapses object in our words.

    Here all spikes are delivered before any variable of a synapse changes. Where a script delivers *after* it has
    changed something, such as ``u += U*(1 - u)`` and then ``g_post += w*u``, what is delivered is written in the old
    values, ``w*(u + U*(1 - u))``: the same number.

    Parameters
    ----------
    wiring : Wiring
        The object.
    """

    def __init__(self, wiring: Wiring):
        self.wiring, self.scope, self.where = wiring, wiring.scope, wiring.where
        synapses = wiring.synapses
        self.assigned: dict[str, None] = {}
        self.deliveries: list[tuple[str, str]] = []
        self.written: set[str] = set()
        self.equations = {n: self._equation(n, e) for n, e in wiring.equations.items() if e.expr is not None}
        clocked = {n for n, e in wiring.equations.items() if e.expr is not None and "event-driven" not in e.flags}
        self.read_by_clock = self._seen(*(self.equations[name] for name in clocked))
        paths = sorted(synapses._pathways, key=lambda path: (path.order, path.name))
        for path in paths:
            if path.event != "spike":
                raise SpecificationError(f"{self.where}: on_event names '{path.event}'; allowed: spikes")
        pre = [path for path in paths if path.prepost == "pre"]
        post = [path for path in paths if path.prepost == "post"]
        if pre and post and max(path.order for path in pre) >= min(path.order for path in post):
            raise SpecificationError(f"{self.where}: on_post runs before on_pre; allowed: on_pre first, order=-1 and 1")
        self.delay, self.more = np.zeros(1), 0.0
        self.on_pre, self.on_post = self._pre(pre), self._post(post)
        self.read_at_pre = self._seen(*(line.partition(" = ")[2] for line in self.on_pre.splitlines()))
        if not self.deliveries:
            self.written.add(UNHEARD)

    def _equation(self, name: str, equation: Any) -> str:
        return self.scope.text(equation.expr.code, f"d{name}/dt")

    def _seen(self, *texts: str) -> set[tuple[str, str]]:
        """Return which variables of neurons some formulas read."""
        names = set().union(*(read(text) for text in texts)) if texts else set()
        wiring, found = self.wiring, set()
        for side, stem in wiring.read_variables:
            neurons = wiring.target if side == "post" else wiring.source
            if f"{neurons.names[stem]}_{side}" in names:
                found.add((side, stem))
        return found

    # Pathways

    def _delays(self, path: Any) -> np.ndarray:
        found = self.wiring.scaled(path.delay[:])
        return found if len(found) else np.zeros(1)

    def _pre(self, paths: list[Any]) -> str:
        if not paths:
            return ""
        delays = [self._delays(path) for path in paths]
        if all(len(d) == len(delays[0]) and np.all(d == delays[0]) for d in delays):
            self.delay = delays[0]
            return self._run([s for path in paths for s in statements(path.code, f"{self.where}: on_pre")], "on_pre")
        codes = [statements(path.code, f"{self.where}: on_pre") for path in paths]
        delivers = [{self._post_variable(s.target) is not None for s in code} for code in codes]
        gap = [d.ravel()[0] for d in delays]
        uniform = all(np.all(d == d[0]) for d in delays)
        if len(paths) != 2 or not uniform or any(len(kinds) != 1 for kinds in delivers) or delivers[0] == delivers[1]:
            raise SpecificationError(
                f"{self.where}: pathways before the neuron have different delays; allowed: one that delivers and one "
                "that changes synapses, each with one delay"
            )
        first = 0 if True in delivers[0] else 1
        if gap[1 - first] < gap[first]:
            raise SpecificationError(f"{self.where}: synapses change before delivery; allowed: after it, or with it")
        self.delay, self.more = delays[first], float(f"{gap[1 - first] - gap[first]:.12g}")
        self._run(codes[first], "on_pre")
        return self._run(codes[1 - first], "on_pre")

    def _post(self, paths: list[Any]) -> str:
        for path in paths:
            if np.any(self._delays(path) != 0):
                raise SpecificationError(f"{self.where}: on_post has a delay; allowed: none")
        return self._run([s for path in paths for s in statements(path.code, f"{self.where}: on_post")], "on_post")

    def _post_variable(self, name: str) -> str | None:
        """Return Brian2's name of the target's variable that a statement assigns, None if it is the synapse's own."""
        wiring = self.wiring
        if name in self.scope.variables:
            return None
        stem = name.removesuffix("_post")
        return stem if wiring.target.has(stem) else None

    def _run(self, code: list[Statement], label: str) -> str:
        """Return the statements that change the synapse; what is delivered is kept apart."""
        lines, now = [], dict[str, str]()
        for statement in code:
            target, what = statement.target, f"{label}, {statement.target}"
            text = self.scope.text(statement.text, what)
            variable = self._post_variable(target)
            if variable is not None:
                self._deliver(statement, variable, substitute(text, now), label)
                continue
            if target.endswith("_pre"):
                raise SpecificationError(
                    f"{self.where}: {label} assigns '{target}'; allowed: the synapse's own variables, and in on_pre "
                    "<variable>_post += ..."
                )
            if target not in self.scope.variables:  # a local name: a variable that keeps its last value
                self.scope.variables[target] = self.scope.names[target]
            own = self.scope.variables[target]
            self.assigned[target] = None
            if statement.operator:
                text = ast.unparse(ast.parse(f"{own} {statement.operator} ({text})", mode="eval"))
            lines.append(f"{own} = {text}")
            now[own] = f"({substitute(text, now)})"
        return "\n".join(lines)

    def _deliver(self, statement: Statement, variable: str, text: str, label: str) -> None:
        neurons = self.wiring.target
        if label != "on_pre" or statement.operator not in ("+", "-"):
            raise SpecificationError(
                f"{self.where}: {label} assigns '{statement.target}' of the neuron; allowed: in on_pre, "
                f"{statement.target} += ..."
            )
        text = ast.unparse(ast.parse(f"-({text})" if statement.operator == "-" else text, mode="eval"))
        into = neurons.names[variable]
        if into in [known for known, _ in self.deliveries]:
            raise SpecificationError(f"{self.where}: on_pre adds to '{statement.target}' twice; add it up in one line")
        self.deliveries.append((into, text))
        self.written.add(variable)

    def replace(self, word: str, own: str) -> None:
        """Write another name for a word in every text."""

        def new(text: str) -> str:
            return convert(text, lambda name: ast.Name(own if name == word else name), self.where)

        def code(text: str) -> str:
            parts = [line.partition(" = ") for line in text.splitlines()]
            return "\n".join(f"{target} = {new(formula)}" for target, _, formula in parts)

        self.equations = {name: new(text) for name, text in self.equations.items()}
        self.on_pre, self.on_post = code(self.on_pre), code(self.on_post)
        self.deliveries = [(into, new(text)) for into, text in self.deliveries]

    def before_first_step(self, name: str, text: str, start: float) -> float:
        """Return from where a trace reaches its start within one step.

        At step 0 Brian2's event-driven variables are as they were set; ours have already advanced by one step.
        """
        wiring, own = self.wiring, self.scope.names[name]
        factors, rest = linear(parse(text, f"{self.where}: d{name}/dt"), [own], f"{self.where}: d{name}/dt")
        constants = {key: found.values for key, found in self.scope.constants.items()} | {"dt": np.array(wiring.dt)}
        outside = (rest.names | (factors[own].names if own in factors else set())) - set(constants)
        if outside:
            raise SpecificationError(
                f"{self.where}: d{name}/dt reads '{min(outside)}'; allowed in an event-driven equation: '{name}' "
                "itself and constants"
            )

        def value(formula: Any) -> np.ndarray:
            names = sorted(formula.names)
            return np.asarray(formula.function(names)(*(constants[n] for n in names)))

        rate, drift = value(factors[own]) if own in factors else np.zeros(()), value(rest)
        z = rate * wiring.dt
        gain = np.where(z == 0, wiring.dt, np.expm1(z) / np.where(rate == 0, 1.0, rate))
        before = (start - gain * drift) * np.exp(-z)
        if np.all(drift + rate * start == 0):
            return start
        found = float(before.ravel()[0])
        if not np.all(before == found):
            raise SpecificationError(
                f"{self.where}: '{name}' starts at {start:g} and moves differently in every synapse before the first "
                "spike; allowed: a start at rest, or one time constant for all"
            )
        return found
