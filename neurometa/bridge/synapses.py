"""A Synapses object as a projection with a plasticity rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SpecificationError
from ..spec import Listed, Pairs, Param, PlasticityRule, Projection, Trace
from .code import Code
from .neurons import UNHEARD, Neurons, chosen
from .scope import Constant, Scope, param
from .texts import Renamed, read

__all__ = ["Wiring"]


class Wiring:
    """One Synapses object: its projections, and the values of their parameters.

    Parameters
    ----------
    b2 : module
        brian2.
    synapses : Synapses
        The live object.
    source, target : Neurons
        Its groups.
    namespace : mapping
        Of the run.
    weight : str
        Brian2's name of the plastic variable.
    dt : float
        ms.
    """

    def __init__(
        self,
        b2: Any,
        synapses: Any,
        source: Neurons,
        target: Neurons,
        namespace: Mapping[str, Any],
        weight: str,
        dt: float,
    ):
        self.b2, self.synapses, self.source, self.target, self.dt = b2, synapses, source, target, dt
        self.label, self.weight = Renamed()[synapses.name], weight
        self.where = f"Synapses '{synapses.name}'"
        self.names = Renamed()
        self.names[weight] = "w"
        self.scope = Scope(b2, synapses, namespace, self.names)
        self.scope.special = self._neuron_variable
        self.equations: dict[str, Any] = {}
        for equations in (synapses.equations, synapses.event_driven or {}):
            for name, equation in equations.items():
                self._declare(name, equation)
        if synapses.summed_updaters:
            name = next(iter(synapses.summed_updaters))
            raise SpecificationError(
                f"{self.where}: '{name}' is (summed); allowed: spikes that add to a variable, on_pre='g_post += w'"
            )
        self.values: dict[str, np.ndarray] = {}
        self.pre, self.post = self._pairs()
        self.read_variables: set[tuple[str, str]] = set()
        self.code = Code(self)

    def _declare(self, name: str, equation: Any) -> None:
        flags = set(equation.flags)
        if "constant over dt" in flags or (flags & {"shared"} and equation.type != "parameter"):
            raise SpecificationError(
                f"{self.where}: '{name}' is ({', '.join(equation.flags)}), which is not taken; allowed: "
                "(event-driven), (clock-driven), (constant), and (shared) parameters"
            )
        if equation.type == "subexpression":
            self.scope.shortcuts[name] = equation.expr.code
        else:
            self.equations[name] = equation
            self.scope.variables[name] = self.names[name]

    def _neuron_variable(self, name: str) -> str | None:
        """Return our word for a variable of one of the two neurons: ``v_post``; None if it is none."""
        stem, side = name, "post"
        if name.endswith(("_pre", "_post")):
            stem, _, side = name.rpartition("_")
        neurons = self.target if side == "post" else self.source
        if not neurons.has(stem):
            return None
        if stem not in neurons.equations:
            raise SpecificationError(
                f"{self.where} reads '{name}', a subexpression of '{neurons.group.name}'; allowed: its variables "
                f"({', '.join(neurons.equations)}); write its formula instead"
            )
        self.read_variables.add((side, stem))
        return f"{neurons.names[stem]}_{side}"

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            pre, post = np.array(self.synapses.i[:]), np.array(self.synapses.j[:])
        except TypeError:
            pre = post = np.zeros(0, dtype=int)
        if not len(pre):
            raise SpecificationError(f"{self.where} connects nothing; call {self.synapses.name}.connect() first")
        if len(set(zip(pre.tolist(), post.tolist(), strict=True))) < len(pre):
            raise SpecificationError(f"{self.where} has several synapses between two neurons; allowed: one")
        return pre, post

    # What is made of it

    def finish(self, written: Mapping[str, set[str]]) -> list[Projection]:
        """Return the projections, the plastic one first; ``written``: group -> variables that spikes add to."""
        code = self.code
        self._check_reads(written)
        self._replace_constants(written)
        for name, equation in self.equations.items():
            if equation.type == "parameter" and name not in code.assigned and name != self.weight:
                self.scope.constants[self.names[name]] = self.scope.current(name)
        plastic = {*code.assigned, *(n for n, e in self.equations.items() if e.type == "differential equation")}
        rule = self._rule(plastic) if plastic else None
        weight = self._weight()
        first = code.deliveries[0] if code.deliveries else (UNHEARD, "0.0")
        mask, made = self._mask(), []
        for k, (into, efficacy) in enumerate(code.deliveries or [first]):
            label = self.label if k == 0 else f"{self.label}_{into}"
            own = rule if k == 0 else None
            params = self._params(self.scope.used(efficacy), f"{label}.", learned=False)
            self._check_efficacy(efficacy, own, params)
            if k:
                w: Param | None = Param(1.0, learned=False)
            else:
                w = self._param(weight, f"{label}.w", learned=False)
            made.append(
                Projection(
                    self.source.label,
                    self.target.label,
                    name=label,
                    into=into,
                    efficacy=efficacy,
                    w=w,
                    params=params,
                    rule=own,
                    mask=mask,
                    delay=self._delay(code.delay),
                )
            )
        return made

    def _weight(self) -> Constant:
        if self.weight in self.equations:
            return self.scope.current(self.weight)
        return Constant(np.ones(1), "")

    def _check_efficacy(self, text: str, rule: PlasticityRule | None, params: Mapping[str, Param]) -> None:
        allowed = {"w", "dt", *params, *(rule.traces if rule else ())}
        for name in sorted(read(text) - allowed):
            raise SpecificationError(
                f"{self.where}: what a spike delivers, '{text}', reads '{name}'; allowed: the weight, constants and "
                "variables of the synapse"
            )

    def _check_reads(self, written: Mapping[str, set[str]]) -> None:
        """Refuse an on_pre that reads what spikes are adding to in the same slot, and equations in another order."""
        for side, stem in self.code.read_at_pre:
            neurons = self.target if side == "post" else self.source
            if stem in written.get(neurons.group.name, ()):
                raise SpecificationError(
                    f"{self.where}: on_pre reads '{stem}_{side}', to which spikes add in the same step; here all "
                    "spikes are delivered before any on_pre; let it read a variable to which no spike adds"
                )

    def _replace_constants(self, written: Mapping[str, set[str]]) -> None:
        """Take constants of a neuron that the code reads as parameters per neuron of the rule."""
        for side, stem in sorted(self.read_variables):
            neurons = self.target if side == "post" else self.source
            if neurons.constant(stem, written.get(neurons.group.name, ())):
                assert neurons.scope is not None
                found = neurons.scope.current(stem)
                word, own = f"{neurons.names[stem]}_{side}", self.names[f"{side}_{stem}"]
                self.code.replace(word, own)
                index = self.post if side == "post" else self.pre
                values = found.values if found.values.ndim else np.full(len(neurons.group), found.values)
                self.scope.constants[own] = Constant(values[index], found.unit)

    def _rule(self, plastic: set[str]) -> PlasticityRule:
        traces: dict[str, Trace] = {}
        dw, clocked = "", None
        for name, equation in self.equations.items():
            if equation.type != "differential equation":
                continue
            text = self.code.equations[name]
            event = "event-driven" in equation.flags
            if not event and clocked is None:
                clocked = chosen(self.b2, self.synapses, self.synapses.state_updater, self.scope.outside, self.where)
            method = "exact" if event else clocked
            if self.names[name] == "w":
                if method == "exact":
                    raise SpecificationError(
                        f"{self.where}: d{name}/dt is integrated exactly; allowed: Euler's method, so write "
                        "(clock-driven) behind it and pass method='euler'"
                    )
                dw = text
            else:
                traces[self.names[name]] = Trace(text, self._start(name, text if event else None), str(method))
        for name in self.code.assigned:
            own = self.names[name]
            if own != "w" and own not in traces:
                traces[own] = Trace("", self._start(name, None) if name in self.equations else 0.0)
        self._check_clock(clocked)
        texts = [dw, self.code.on_pre, self.code.on_post, *(t.text for t in traces.values())]
        names = [name for name in self.scope.constants if name in self._read_by(texts)]
        return PlasticityRule(
            self.label,
            dw=dw,
            traces=traces,
            on_pre=self.code.on_pre,
            on_post=self.code.on_post,
            on_pre_delay=self.code.more,
            params=self._params(names, f"{self.label}.rule.", learned=True),
            joint=bool(dw),
        )

    @staticmethod
    def _read_by(texts: list[str]) -> set[str]:
        lines = [line.partition(" = ")[2] or line for text in texts for line in text.splitlines() if line]
        return set().union(*(read(line) for line in lines)) if lines else set()

    def _check_clock(self, clocked: str | None) -> None:
        """Refuse a clock-driven equation that would run before the equations of neurons whose variables it reads."""
        if clocked is None:
            return
        own = self.synapses.state_updater
        for side, stem in self.code.read_by_clock:
            other = (self.target if side == "post" else self.source).group.state_updater
            if (own.order, own.name) < (other.order, other.name):
                raise SpecificationError(
                    f"{self.where}: its equations run before those of '{other.name}', whose '{stem}' they read, "
                    "because Brian2 goes by name; allowed: after them, so pass order=1 to Synapses"
                )

    def _start(self, name: str, event_text: str | None) -> float:
        """Return the start of a trace; an event-driven one has not decayed in Brian2's first step, and does so here."""
        values = self.scope.current(name).values
        start = float(values.ravel()[0])
        if not np.all(values == start):
            raise SpecificationError(
                f"{self.where}: '{name}' differs between synapses now; allowed: one value, so import before a run"
            )
        if event_text is None:
            return start
        if np.any(np.array(self.synapses.lastupdate_[:]) != 0):
            raise SpecificationError(f"{self.where} has run; event-driven variables are imported before a run")
        return self.code.before_first_step(name, event_text, start)

    # Values of parameters

    def _params(self, names: list[str], prefix: str, learned: bool) -> dict[str, Param]:
        return {name: self._param(self.scope.constants[name], f"{prefix}{name}", learned) for name in names}

    def _param(self, found: Constant, leaf: str, learned: bool) -> Param:
        """Return a parameter per scalar, pre, post or synapse: the smallest that holds all values."""
        values = found.values
        if values.ndim == 0 or np.all(values == values.ravel()[0]):
            self.values[leaf] = np.full((1, 1), values.ravel()[0])
            return param(found, "scalar", learned, self.dt if learned else None)
        shape = (len(self.target.group), len(self.source.group))
        full = np.full(shape, values[0])
        full[self.post, self.pre] = values
        for per, index, axis in (("post", self.post, 1), ("pre", self.pre, 0)):
            first = np.full(shape[1 - axis], values[0])
            first[index] = values
            if np.all(first[index] == values):
                self.values[leaf] = np.expand_dims(first, axis)
                return param(found, per, learned)
        self.values[leaf] = full
        return param(found, "synapse", learned)

    # Layout

    def _mask(self) -> str | Pairs | None:
        sizes = len(self.target.group), len(self.source.group)
        if len(self.pre) == sizes[0] * sizes[1]:
            return None
        if sizes[0] == sizes[1] and np.all(self.pre == self.post) and len(self.pre) == sizes[0]:
            return "one_to_one"
        if sizes[0] == sizes[1] and len(self.pre) == sizes[0] * (sizes[0] - 1) and not np.any(self.pre == self.post):
            return "no_self"
        return Pairs(tuple(self.pre.tolist()), tuple(self.post.tolist()))

    def _delay(self, delays: np.ndarray) -> float | Listed:
        if np.all(delays == delays[0]):
            return float(delays[0])
        order = np.lexsort((self.pre, self.post))  # post first, then pre
        return Listed(tuple(delays[order].tolist()))

    def scaled(self, seconds: Any) -> np.ndarray:
        """Return times in ms."""
        return np.array([float(f"{x * 1e3:.12g}") for x in np.atleast_1d(np.asarray(seconds, dtype=np.float64))])
