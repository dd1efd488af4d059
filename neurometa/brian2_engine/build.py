"""A description as Brian2 objects.

The batch is laid out side by side: neuron ``b*size + k`` is neuron ``k`` of episode ``b``, and synapses stay within
their episode. Brian2 orders objects within a slot of its schedule by ``order`` and then by *name*; here every operation
has a slot of its own, in the order in which it must run, so names mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EngineError
from ..expression import Expression
from ..spec import MLP, Network, Population, Projection
from ..spec.rule import is_modulator, split_variable
from .texts import functions, mlp_function, rename, split_calls

__all__ = ["Model"]


class Model:
    """Brian2 objects of one network for a batch of episodes.

    Parameters
    ----------
    b2 : module
        brian2.
    network : Network
        The description.
    values : mapping of str to ndarray
        Constrained parameters.
    batch : int
        Number of episodes.
    """

    def __init__(self, b2: Any, network: Network, values: Mapping[str, np.ndarray], batch: int):
        _refuse(network)
        self.b2, self.network, self.values, self.batch = b2, network, values, batch
        self.clock = b2.Clock(dt=network.dt * b2.ms, name="network_clock")
        self.slots = ["feed"]
        self.namespace = functions(b2)
        self.objects: list[Any] = []
        self.index = {p.label: k for k, p in enumerate(network.projections)}
        self.places = {p.label: self._places(p) for p in network.projections}
        self.groups = {"one": self._group("one", batch, ["v_x : 1", *self._outgoing("one")])}
        for k, population in enumerate(network.populations):
            self.groups[population.name] = self._group(f"{k}", batch * population.size, self._variables(population))
        self.pools: dict[str, Any] = {}
        self._link()
        self.synapses = {p.label: self._synapses(p) for p in network.projections}
        for population in network.populations:
            self._population(population)
        for projection in network.plastic:
            self._sums(projection)
        for projection in network.plastic:
            self._rule(projection)
        self.slots.append("last")

    def finish(self, *more: Any) -> Any:
        """Return the Brian2 network of all objects and of further ones, such as monitors."""
        made = self.b2.Network(*self.objects, *more)
        # The standard slots hold Brian2's own updaters, which have nothing to do here.
        made.schedule = [*self.slots, "start", "groups", "thresholds", "synapses", "resets", "end"]
        return made

    # Names and layout

    def _slot(self) -> str:
        self.slots.append(f"slot{len(self.slots)}")
        return self.slots[-1]

    def _places(self, projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return episode, post and pre index of every synapse, in the order in which they are made."""
        post, pre = self.network[projection.post].size, self.network[projection.pre].size
        exists = np.broadcast_to(projection.synapses(post, pre), (self.batch, post, pre))
        return np.nonzero(exists)

    def _group(self, name: str, size: int, variables: list[str]) -> Any:
        group = self.b2.NeuronGroup(size, "\n".join(variables), name=f"population_{name}", clock=self.clock)
        self.objects.append(group)
        return group

    def _outgoing(self, name: str) -> list[str]:
        """Return the variables that projections need in their source or target population."""
        found = []
        for projection in self.network.projections:
            k = self.index[projection.label]
            rule = projection.rule
            if projection.pre == name:
                found.append(f"c{k} : 1")
                found += [f"s{k}_{n} : 1" for n, s in (rule.sums.items() if rule else ()) if s.over in ("post", "both")]
                found += [
                    f"b{k}_{n} : 1\nlb{k}_{n} : 1 (linked)"
                    for n, s in (rule.sums.items() if rule else ())
                    if s.over == "both"
                ]
            if projection.post == name:
                found.append(f"d{k} : 1")
                found += [f"s{k}_{n} : 1" for n, s in (rule.sums.items() if rule else ()) if s.over == "pre"]
                found += [f"q{k}_{m} : 1\nlq{k}_{m} : 1 (linked)" for m in projection.modulators]
        return found

    def _variables(self, population: Population) -> list[str]:
        found = [f"v_{v} : 1" for v in population.variables]
        found += ["fed : 1"] if population.is_input else []
        found += [f"a_{name} : 1" for name in population.params]
        found += [f"q_{name} : 1 (linked)" for name in population.modulators]
        found += ["noise : 1"] if any("noise" in e.names for e in population.expressions.values()) else []
        for i, expression in enumerate(population.expressions.values()):
            for j, _ in enumerate(split_calls(expression.text, "softmax")):
                found += [f"e{i}_{j} : 1", f"z{i}_{j} : 1 (linked)"]
        return found + self._outgoing(population.name)

    def _synapses(self, projection: Projection) -> Any:
        k, rule = self.index[projection.label], projection.rule
        model = ["w : 1", "eff : 1", "learning : 1 (shared)", f"d{k}_post = eff*c{k}_pre : 1 (summed)"]
        model += [f"p_{name} : 1" for name in projection.params]
        if rule:
            model += [f"r_{name} : 1" for name in rule.params]
            model += [f"t_{name} : 1" for name in rule.traces]
            for name, expression in rule.sum_expressions.items():
                side = "post" if rule.sums[name].over == "pre" else "pre"
                model.append(f"s{k}_{name}_{side} = {self._rule_text(expression, projection)} : 1 (summed)")
        namespace = dict(self.namespace)
        for name, mlp in rule.functions.items() if rule else ():
            namespace[f"f_{name}"] = mlp_function(self.b2, mlp, self._layers(projection, name, mlp))
        made = self.b2.Synapses(
            self.groups[projection.pre],
            self.groups[projection.post],
            "\n".join(model),
            name=f"projection_{k}",
            clock=self.clock,
            namespace=namespace,
        )
        b, post, pre = self.places[projection.label]
        made.connect(
            i=b * self.network[projection.pre].size + pre,
            j=b * self.network[projection.post].size + post,
        )
        shape = (self.batch, self.network[projection.post].size, self.network[projection.pre].size)
        for name in projection.params:
            setattr(made, f"p_{name}", np.broadcast_to(self.values[f"{projection.label}.{name}"], shape)[b, post, pre])
        for name in rule.params if rule else ():
            value = self.values[f"{projection.label}.rule.{name}"]
            setattr(made, f"r_{name}", np.broadcast_to(value, shape)[b, post, pre])
        if f"{projection.label}.w" in self.values:
            made.w = np.broadcast_to(self.values[f"{projection.label}.w"], shape)[b, post, pre]
        self.objects.append(made)
        return made

    def _layers(self, projection: Projection, name: str, mlp: MLP) -> list[tuple[np.ndarray, np.ndarray]]:
        stems = [f"{projection.label}.rule.{name}.{i}" for i in range(len(mlp.hidden) + 1)]
        layers = [(self.values[f"{stem}.w"], self.values[f"{stem}.b"]) for stem in stems]
        if any(weight.ndim != 2 for weight, _ in layers):
            raise EngineError(f"function '{name}' differs between episodes; the Brian2 engine takes one for all")
        return layers

    def _link(self) -> None:
        """Let populations read their modulators: a live view of the other population's activity."""

        def link(target: Any, variable: str, source: str, size: int) -> None:
            own = self.network[source].size
            index = np.arange(self.batch * size) if own == size else np.repeat(np.arange(self.batch), size)
            setattr(target, variable, self.b2.linked_var(self.groups[source], "v_x", index=index))

        for population in self.network.populations:
            for name, source in population.modulators.items():
                link(self.groups[population.name], f"q_{name}", source, population.size)
        for projection in self.network.projections:
            post = self.network[projection.post]
            for name, source in projection.modulators.items():
                link(self.groups[post.name], f"lq{self.index[projection.label]}_{name}", source, post.size)
            for name, total in projection.rule.sums.items() if projection.rule else ():
                if total.over == "both":  # one value per episode, in a neuron of its own
                    variable = f"b{self.index[projection.label]}_{name}"
                    pool = self.b2.NeuronGroup(self.batch, "total : 1", name=f"pool_{variable}", clock=self.clock)
                    index = np.repeat(np.arange(self.batch), self.network[projection.pre].size)
                    setattr(self.groups[projection.pre], f"l{variable}", self.b2.linked_var(pool, "total", index=index))
                    self.pools[variable] = pool
                    self.objects.append(pool)

    def _run(self, target: Any, code: str) -> None:
        """Run code on a group once a step, in a slot of its own."""
        slot = self._slot()
        self.objects.append(target.run_regularly(code, when=slot, name=f"operation_{slot}", clock=self.clock))

    def _sum_now(self, synapses: Any, variable: str) -> None:
        synapses.summed_updaters[variable].when = self._slot()

    def _look(self, projection: Projection, target: Any) -> None:
        """Copy the modulators of a projection: synapses cannot read a linked variable themselves."""
        k = self.index[projection.label]
        if projection.modulators:
            self._run(target, "\n".join(f"q{k}_{name} = lq{k}_{name}" for name in projection.modulators))

    # Populations

    def _population(self, population: Population) -> None:
        group = self.groups[population.name]
        group.namespace.update(self.namespace)
        if population.is_input:
            self._run(group, "v_x = fed")
            return
        for name in population.params:
            value = self.values[f"{population.name}.{name}"]
            setattr(group, f"a_{name}", np.broadcast_to(value, (self.batch, population.size)).ravel())
        for into in population.inputs:
            incoming = [p for p in self.network.projections if p.post == population.name and p.into == into]
            for projection in incoming:
                k, synapses = self.index[projection.label], self.synapses[projection.label]
                self._run(self.groups[projection.pre], f"c{k} = v_x")
                self._look(projection, self.groups[population.name])
                self._run(synapses, f"eff = {self._efficacy_text(projection)}")
                self._sum_now(synapses, f"d{k}_post")
            total = " + ".join(f"d{self.index[p.label]}" for p in incoming) or "0"
            self._run(group, f"v_{into} = {total}")
        labels = list(population.expressions)
        for derivative, texts in population.stages:
            code = []
            for variable, expression in texts.items():
                i = labels.index(f"d{variable}/dt" if derivative else variable)
                text = self._with_softmax(population, i, expression)
                value = f"v_{variable} + {self.network.dt!r}*({text})" if derivative else text
                code.append((variable, value))
            if derivative:  # all at once, from the old values
                lines = [f"new_{v} = {text}" for v, text in code] + [f"v_{v} = new_{v}" for v, _ in code]
                self._run(group, "\n".join(lines))
            else:
                for variable, text in code:
                    self._run(group, f"v_{variable} = {text}")

    def _with_softmax(self, population: Population, i: int, expression: Expression) -> str:
        """Return a text for Brian2; each softmax becomes exp, a normaliser neuron and a division."""
        names = {v: f"v_{v}" for v in population.variables} | {n: f"a_{n}" for n in population.params}
        names |= {n: f"q_{n}" for n in population.modulators} | {"noise": "noise", "dt": repr(self.network.dt)}
        group, text, pieces, position = self.groups[population.name], expression.text, [], 0
        for j, (begin, end, argument) in enumerate(split_calls(text, "softmax")):
            if "softmax" in argument:
                raise EngineError(f"population '{population.name}': softmax inside softmax does not run in Brian2")
            pool = self.b2.NeuronGroup(
                self.batch, "total : 1", name=f"normaliser_{len(self.objects)}", clock=self.clock
            )
            adder = self.b2.Synapses(
                group,
                pool,
                f"total_post = e{i}_{j}_pre : 1 (summed)",
                name=f"adder_{len(self.objects)}",
                clock=self.clock,
            )
            size = population.size
            adder.connect(i=np.arange(self.batch * size), j=np.repeat(np.arange(self.batch), size))
            setattr(group, f"z{i}_{j}", self.b2.linked_var(pool, "total", index=np.repeat(np.arange(self.batch), size)))
            self.objects += [pool, adder]
            self._run(group, f"e{i}_{j} = exp({rename(argument, names)})")
            self._sum_now(adder, "total_post")
            pieces += [rename(text[position:begin], names), f"(e{i}_{j}/z{i}_{j})"]
            position = end
        return "".join([*pieces, rename(text[position:], names)])

    # Projections

    def _constants(self, projection: Projection) -> dict[str, str]:
        sizes = {"n_pre": self.network[projection.pre].size, "n_post": self.network[projection.post].size}
        return {"dt": repr(self.network.dt), **{name: repr(float(size)) for name, size in sizes.items()}}

    def _efficacy_text(self, projection: Projection) -> str:
        k, names = self.index[projection.label], {"w": "w", **self._constants(projection)}
        names |= {name: f"p_{name}" for name in projection.params}
        names |= {name: f"t_{name}" for name in (projection.rule.traces if projection.rule else ())}
        names |= {name: f"q{k}_{name}_post" for name in projection.modulators}
        return rename(projection.efficacy_expression.text, names)

    def _rule_text(self, expression: Expression, projection: Projection, local: frozenset[str] = frozenset()) -> str:
        k, rule = self.index[projection.label], projection.rule
        names = {"w": "w", "w_eff": "eff", "pre": f"c{k}_pre", "post": "v_x_post", **self._constants(projection)}
        for name in expression.names - set(names):
            variable = split_variable(name)
            if name in local:
                names[name] = f"l_{name}"
            elif rule is not None and name in rule.traces:
                names[name] = f"t_{name}"
            elif rule is not None and name in rule.params:
                names[name] = f"r_{name}"
            elif rule is not None and name in rule.sums:
                over = rule.sums[name].over
                names[name] = {"post": f"s{k}_{name}_pre", "pre": f"s{k}_{name}_post", "both": f"b{k}_{name}_pre"}[over]
            elif is_modulator(name):
                names[name] = f"q{k}_{name}_post"
            elif variable:
                names[name] = f"v_{variable[0]}_{variable[1]}"
        names |= {name: f"f_{name}" for name in (rule.functions if rule else ())}
        return rename(expression.text, names)

    def _sums(self, projection: Projection) -> None:
        rule, k, synapses = projection.rule, self.index[projection.label], self.synapses[projection.label]
        for name, total in rule.sums.items() if rule else ():
            self._sum_now(synapses, f"s{k}_{name}_{'post' if total.over == 'pre' else 'pre'}")
            if total.over == "both":
                group, size = self.groups[projection.pre], self.network[projection.pre].size
                pool = self.pools[f"b{k}_{name}"]
                model = f"total_post = s{k}_{name}_pre : 1 (summed)"
                adder = self.b2.Synapses(group, pool, model, name=f"adder_{len(self.objects)}", clock=self.clock)
                owner = np.repeat(np.arange(self.batch), size)
                adder.connect(i=np.arange(self.batch * size), j=owner)
                self.objects.append(adder)
                self._sum_now(adder, "total_post")
                self._run(group, f"b{k}_{name} = lb{k}_{name}")

    def _rule(self, projection: Projection) -> None:
        rule = projection.rule
        if rule is None:
            return
        dt, kept = repr(self.network.dt), ["w", *(f"t_{name}" for name in rule.traces)]
        # A bare name would be a view of the array that the next line changes; 1.0* makes it a value.
        lines = [f"old_{name} = 1.0*{name}" for name in kept]
        traces = rule.trace_expressions
        lines += [f"new_{n} = t_{n} + {dt}*({self._rule_text(e, projection)})" for n, e in traces.items()]
        change = f"change = {self._rule_text(rule.dw_expression, projection)}" if rule.dw_expression else ""
        advance = [f"t_{name} = new_{name}" for name in traces]
        lines += [change, *advance] if rule.joint else [*advance, change]
        lines += [f"w = w + {dt}*change"] if change else []
        local: frozenset[str] = frozenset()
        for statement in rule.assignments["step"]:
            text = self._rule_text(statement.expression, projection, local)
            own = {"w": "w", **{name: f"t_{name}" for name in rule.traces}}
            if statement.target not in own:
                local |= {statement.target}
            lines.append(f"{own.get(statement.target, f'l_{statement.target}')} = 1.0*({text})")
        if projection.limits is not None:
            names = [f"r_{b}" if isinstance(b, str) else f"({float(b)!r})" for b in projection.limits]
            lines.append(f"w = clip(w, {names[0]}, {names[1]})")
        self._look(projection, self.groups[projection.post])
        # Where the rule is off, weights and traces stand still; both factors are exactly 0 or 1.
        lines += [f"{name} = learning*{name} + (1 - learning)*old_{name}" for name in kept]
        self._run(self.synapses[projection.label], "\n".join(filter(None, lines)))


def _refuse(network: Network) -> None:
    for population in network.populations:
        if population.spikes is not None or population.method != "euler":
            raise EngineError(
                f"population '{population.name}': the Brian2 engine runs rate populations, method 'euler'"
            )
        if any("kwta" in expression.calls for expression in population.expressions.values()):
            raise EngineError(
                f"population '{population.name}': kwta sorts neurons, which Brian2's equations cannot say"
            )
    for projection in network.projections:
        rule = projection.rule
        if projection.delay or projection.sign:
            raise EngineError(f"projection '{projection.label}': the Brian2 engine runs no delay and no sign yet")
        if rule and rule.brian2_refuses:
            raise EngineError(f"rule '{rule.name}' does not run in Brian2: {rule.brian2_refuses}")
        if rule and (rule.on_pre or rule.on_post or any(t.method != "euler" for t in rule.traces.values())):  # type: ignore[union-attr]
            raise EngineError(f"rule '{rule.name}': the Brian2 engine runs rate rules (dw or step) with euler traces")
