"""A description as Brian2 objects.

The batch is laid out side by side: neuron ``b*size + k`` is neuron ``k`` of episode ``b``, and synapses stay within
their episode. Brian2 orders objects within a slot of its schedule by ``order`` and then by *name*; here every operation
has a slot of its own, in the order in which it must run, so names mean nothing.

No name of the user reaches Brian2 bare. With ``k`` the number of a projection:

| in a population | | in a projection | |
|---|---|---|---|
| ``v_*``, ``a_*`` | variables, parameters | ``w``, ``eff`` | plastic variable, efficacy |
| ``fed``, ``noise`` | data of this step | ``p_*``, ``r_*`` | parameters of projection and rule |
| ``c{k}``, ``d{k}`` | activity carried, current delivered | ``t_*`` | traces |
| ``s{k}_*``, ``b{k}_*`` | sums (``b``: of the whole projection) | ``f_*`` | learned functions |
| ``q_*``, ``q{k}_*`` | modulators of population, of projection | ``episode`` | number of the episode |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import EngineError
from ..expression import Expression, parse
from ..spec import MLP, Network, Population, Projection
from ..spec.rule import is_modulator, split_variable
from .events import combine, copies, pathways, prepare, set_delays, stored
from .texts import functions, mlp_function, rename

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
        refuse(network)
        self.b2, self.network, self.values, self.batch = b2, network, values, batch
        self.clock = b2.Clock(dt=network.dt * b2.ms, name="network_clock")
        self.slots = ["feed"]
        self.namespace = functions(b2)
        self.objects: list[Any] = []
        self.index = {p.label: k for k, p in enumerate(network.projections)}
        self.places = {p.label: self._places(p) for p in network.projections}
        self.groups = {"one": self._group("one", batch, ["v_x : 1", *self._outgoing("one")])}
        for k, population in enumerate(network.populations):
            self.groups[population.name] = self._neurons(k, population)
        self.pools: dict[str, Any] = {}
        self._link()
        self.synapses = {p.label: self._synapses(p) for p in network.projections}
        for population in network.populations:
            self._population(population)
        for population in network.populations:
            self._population(population, late=True)
        for projection in network.plastic:
            self._sums(projection)
        for projection in network.plastic:
            self._rule(projection)
        self._deliver()
        for population in network.populations:
            if population.spikes:
                self._place(self.groups[population.name].resetter.get("spike"))
        self.slots.append("last")

    def finish(self, *more: Any) -> Any:
        """Return the Brian2 network of all objects and of further ones, such as monitors."""
        made = self.b2.Network(*self.objects, *more)
        # The standard slots hold Brian2's own updaters, which have nothing to do here.
        made.schedule = [*self.slots, "start", "groups", "thresholds", "synapses", "resets", "end"]
        return made

    def shape(self, projection: Projection) -> tuple[int, int, int]:
        """Return ``(batch, post, pre)`` of a projection."""
        return self.batch, self.network[projection.post].size, self.network[projection.pre].size

    # Names and layout

    def _slot(self) -> str:
        self.slots.append(f"slot{len(self.slots)}")
        return self.slots[-1]

    def _places(self, projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return episode, post and pre index of every synapse, in the order in which they are made."""
        shape = self.shape(projection)
        episode, post, pre = np.nonzero(np.broadcast_to(projection.synapses(*shape[1:]), shape))
        return episode, post, pre

    def _group(self, name: str, size: int, variables: list[str], **options: Any) -> Any:
        group = self.b2.NeuronGroup(size, "\n".join(variables), name=f"population_{name}", clock=self.clock, **options)
        group.namespace.update(self.namespace)
        self.objects.append(group)
        return group

    def _neurons(self, k: int, population: Population) -> Any:
        """Return the group of a population; spikes and exact equations are Brian2's own business."""
        size, spikes = self.batch * population.size, population.spikes
        if not self._native(population):
            feeds = population.is_input and any(
                p.pre == population.name and self.network.delivers(p) for p in self.network.projections
            )
            return self._group(
                f"{k}", size, self._variables(population), **({"threshold": "v_x > 0.5", "reset": ""} if feeds else {})
            )
        refractory = self.network.refractory_steps(population)
        equations = []
        for variable, expression in self._derivatives(population).items():
            held = bool(spikes and refractory and variable in spikes.held)
            text = self._population_text(population, population.state.index(variable), expression)
            equations.append(f"dv_{variable}/dt = ({text})/ms : 1{' (unless refractory)' if held else ''}")
        known = [f"v_{variable} : 1" for variable in self._derivatives(population)]
        variables = [line for line in self._variables(population) if line not in known]
        options: dict[str, Any] = {"method": population.method}
        if spikes:
            options["threshold"] = self._spike_text(population, self._condition(spikes.threshold))
            options["refractory"] = refractory * self.network.dt * self.b2.ms
            lines = [f"l{i} = {self._spike_text(population, a.expression)}" for i, a in enumerate(spikes.assignments)]
            code = [
                f"{line}\nv_{a.target} = l{i}"
                for i, (line, a) in enumerate(zip(lines, spikes.assignments, strict=True))
            ]
            options["reset"] = "\n".join(code)
        return self._group(f"{k}", size, [*equations, *variables], **options)

    @staticmethod
    def _condition(text: str) -> Expression:
        return parse(text, condition=True)

    @staticmethod
    def _native(population: Population) -> bool:
        """Whether Brian2's own machinery runs a population: spikes, or the exact method."""
        return population.spikes is not None or population.method == "exact"

    @staticmethod
    def _derivatives(population: Population) -> dict[str, Expression]:
        return {v: e for derivative, texts in population.stages if derivative for v, e in texts.items()}

    def _spike_text(self, population: Population, expression: Expression) -> str:
        return rename(expression.text, self._names(population))

    def _place(self, target: Any) -> None:
        """Give an object of Brian2's own a slot for itself."""
        if target is not None:
            target.when = self._slot()

    def _pool(self, name: str) -> Any:
        """Return a group of one neuron for each episode, in which something is added up."""
        pool = self.b2.NeuronGroup(self.batch, "total : 1", name=f"pool_{name}", clock=self.clock)
        self.objects.append(pool)
        return pool

    def _add_up(self, group: Any, variable: str, size: int, pool: Any) -> None:
        """Add a variable of a group up over the neurons of each episode, now."""
        model, name = f"total_post = {variable}_pre : 1 (summed)", f"adder_{len(self.objects)}"
        adder = self.b2.Synapses(group, pool, model, name=name, clock=self.clock)
        adder.connect(i=np.arange(self.batch * size), j=np.repeat(np.arange(self.batch), size))
        self.objects.append(adder)
        self._sum_now(adder, "total_post")

    def _outgoing(self, name: str) -> list[str]:
        """Return the variables that projections need in their source or target population."""
        found = []
        for projection in self.network.projections:
            k, sums = self.index[projection.label], projection.rule.sums if projection.rule else {}
            if projection.pre == name:
                found.append(f"c{k} : 1")
                found += [f"s{k}_{n} : 1" for n, s in sums.items() if s.over in ("post", "both")]
                found += [f"b{k}_{n} : 1\nb{k}_{n}_live : 1 (linked)" for n, s in sums.items() if s.over == "both"]
            if projection.post == name:
                found.append(f"d{k} : 1")
                found += [f"s{k}_{n} : 1" for n, s in sums.items() if s.over == "pre"]
                found += [f"q{k}_{m}_seen : 1\nq{k}_{m}_live : 1 (linked)" for m in _read(projection)]
        return found

    def _variables(self, population: Population) -> list[str]:
        found = [f"v_{v} : 1" for v in population.variables]
        found += ["fed : 1"] if population.is_input else []
        found += [f"a_{name} : 1" for name in population.params]
        found += [f"q_{name}_live : 1 (linked)" for name in population.modulators]
        found += ["noise : 1"] if any("noise" in e.names for e in population.expressions.values()) else []
        for i, expression in enumerate(population.expressions.values()):
            for j, _ in enumerate(re.findall(r"\bsoftmax\s*\(", expression.text)):
                found += [f"e{i}_{j} : 1", f"z{i}_{j} : 1 (linked)"]
        return found + self._outgoing(population.name)

    def _synapses(self, projection: Projection) -> Any:
        k, rule, label = self.index[projection.label], projection.rule, projection.label
        model = ["w : 1", "eff : 1", "episode : 1", "learning : 1 (shared)"]
        events = self.network.delivers(projection)
        model += [] if events else [f"d{k}_post = eff*c{k}_pre : 1 (summed)"]
        model += [f"p_{name} : 1" for name in projection.params]
        namespace = dict(self.namespace)
        if rule:
            model += [f"r_{name} : 1" for name in rule.params]
            exact = {name: self.rule_text(rule.trace_expressions[name], projection) for name in rule.exact_traces}
            model += [f"dt_{name}/dt = ({text})/ms : 1 (clock-driven)\no_{name} : 1" for name, text in exact.items()]
            model += [f"t_{name} : 1" for name in rule.traces if name not in exact]
            model += [f"{prefix}_{name} : 1" for prefix in copies(projection) for name in stored(projection)]
            for name, expression in rule.sum_expressions.items():
                side = "post" if rule.sums[name].over == "pre" else "pre"
                model.append(f"s{k}_{name}_{side} = {self.rule_text(expression, projection)} : 1 (summed)")
            for name, mlp in rule.functions.items():
                namespace[f"f_{name}"] = mlp_function(self.b2, mlp, self._layers(projection, name, mlp))
        groups, name = (self.groups[projection.pre], self.groups[projection.post]), f"projection_{k}"
        options: dict[str, Any] = pathways(self, projection) if events else {}
        options |= {"method": "exact"} if rule and rule.exact_traces else {}
        options |= {"name": name, "clock": self.clock, "namespace": namespace}
        made = self.b2.Synapses(*groups, "\n".join(model), **options)
        (_, n_post, n_pre), (episode, post, pre) = self.shape(projection), self.places[label]
        if len(episode):
            made.connect(i=episode * n_pre + pre, j=episode * n_post + post)
        else:  # a random mask may keep no synapse
            made.connect(condition=False)
        made.episode = episode
        leaves = {f"p_{name}": f"{label}.{name}" for name in projection.params}
        leaves |= {f"r_{name}": f"{label}.rule.{name}" for name in (rule.params if rule else ())}
        leaves |= {"w": f"{label}.w"} if f"{label}.w" in self.values else {}
        for variable, leaf in leaves.items():
            self.place(projection, made, variable, self.values[leaf])
        if events:
            set_delays(self, projection, made)
        self.objects.append(made)
        return made

    def place(self, projection: Projection, synapses: Any, variable: str, values: np.ndarray) -> None:
        """Set a variable of the synapses from values that broadcast to ``(batch, post, pre)``."""
        setattr(synapses, variable, np.broadcast_to(values, self.shape(projection))[self.places[projection.label]])

    def _layers(self, projection: Projection, name: str, mlp: MLP) -> list[tuple[np.ndarray, np.ndarray]]:
        stems = [f"{projection.label}.rule.{name}.{i}" for i in range(len(mlp.hidden) + 1)]
        layers = [(self.values[f"{stem}.w"], self.values[f"{stem}.b"]) for stem in stems]
        return [(w if w.ndim == 3 else w[None], b if b.ndim == 2 else b[None]) for w, b in layers]

    def _link(self) -> None:
        """Let populations read their modulators: a live view of the other population's activity."""

        def link(target: Any, variable: str, source: str, size: int) -> None:
            own = self.network[source].size
            index = np.arange(self.batch * size) if own == size else np.repeat(np.arange(self.batch), size)
            setattr(target, variable, self.b2.linked_var(self.groups[source], "v_x", index=index))

        for population in self.network.populations:
            for name, source in population.modulators.items():
                link(self.groups[population.name], f"q_{name}_live", source, population.size)
        for projection in self.network.projections:
            k, (_, n_post, n_pre) = self.index[projection.label], self.shape(projection)
            for name in _read(projection):
                link(self.groups[projection.post], f"q{k}_{name}_live", projection.modulators[name], n_post)
            for name, total in projection.rule.sums.items() if projection.rule else ():
                if total.over == "both":  # one value per episode, in a neuron of its own
                    variable = f"b{k}_{name}"
                    self.pools[variable] = self._pool(variable)
                    index = np.repeat(np.arange(self.batch), n_pre)
                    linked = self.b2.linked_var(self.pools[variable], "total", index=index)
                    setattr(self.groups[projection.pre], f"{variable}_live", linked)

    def _run(self, target: Any, code: str) -> None:
        """Run code on a group once a step, in a slot of its own."""
        slot = self._slot()
        self.objects.append(target.run_regularly(code, when=slot, name=f"operation_{slot}", clock=self.clock))

    def assign(self, target: Any, texts: Mapping[str, str], before: Iterable[str] = ()) -> None:
        """Give variables of a group new values once a step, all from the old ones.

        Brian2 hands an assignment to a variable that exists to sympy, which may reorder it; one to a new name it takes
        as it stands. So everything is worked out under new names first; ``before`` holds further such lines.
        """
        lines = [*before, *(f"new_{name} = {text}" for name, text in texts.items())]
        self._run(target, "\n".join([*lines, *(f"{name} = new_{name}" for name in texts)]))

    def _sum_now(self, synapses: Any, variable: str) -> None:
        synapses.summed_updaters[variable].when = self._slot()

    def _look(self, projection: Projection, names: Iterable[str]) -> None:
        """Copy modulators of a projection as they are now: synapses cannot read a linked variable themselves."""
        k = self.index[projection.label]
        texts = {f"q{k}_{name}_seen": f"q{k}_{name}_live" for name in _read(projection) if name in names}
        if texts:
            self.assign(self.groups[projection.post], texts)

    # Populations

    def _population(self, population: Population, late: bool = False) -> None:
        group, (inputs, stages) = self.groups[population.name], population.phases[late]
        if population.is_input and not late:
            self.assign(group, {"v_x": "fed"})
            self._place(group.thresholder.get("spike"))
        if population.is_input or (late and not stages):
            return
        for name in population.params:
            value = self.values[f"{population.name}.{name}"]
            setattr(group, f"a_{name}", np.broadcast_to(value, (self.batch, population.size)).ravel())
        for into in inputs:
            incoming = [p for p in self.network.projections if p.post == population.name and p.into == into]
            for projection in incoming:
                k, synapses = self.index[projection.label], self.synapses[projection.label]
                self.assign(self.groups[projection.pre], {f"c{k}": "v_x"})
                self._look(projection, projection.efficacy_expression.names)
                self.assign(synapses, {"eff": self._efficacy_text(projection)})
                self._sum_now(synapses, f"d{k}_post")
            total = " + ".join(f"d{self.index[p.label]}" for p in incoming) or "0.0"
            self.assign(group, {f"v_{into}": total})
        native = self._native(population) and not late
        for derivative, texts in stages:
            if native and derivative:
                self._place(group.state_updater)
                continue
            code = {}
            for variable, expression in texts.items():
                text = self._population_text(population, population.state.index(variable), expression)
                code[f"v_{variable}"] = f"v_{variable} + {self.network.dt!r}*({text})" if derivative else text
            self.assign(group, code)
        if native and population.spikes:
            self._place(group.thresholder["spike"])
            self.assign(group, {"v_x": "1.0*int(lastspike == t)"})

    def _population_text(self, population: Population, i: int, expression: Expression) -> str:
        """Return the ``i``-th text of a population; a softmax becomes exp, a normaliser neuron and a division."""
        made: list[str] = []

        def softmax(arguments: list[str]) -> str:
            place, group, size = f"{i}_{len(made)}", self.groups[population.name], population.size
            made.append(place)
            pool = self._pool(f"of_{group.name}_{place}")
            index = np.repeat(np.arange(self.batch), size)
            setattr(group, f"z{place}", self.b2.linked_var(pool, "total", index=index))
            self.assign(group, {f"e{place}": f"exp({arguments[0]})"})
            self._add_up(group, f"e{place}", size, pool)
            return f"e{place}/z{place}"

        return rename(expression.text, self._names(population), {"softmax": softmax})

    def _names(self, population: Population) -> dict[str, str]:
        names = {v: f"v_{v}" for v in population.variables} | {n: f"a_{n}" for n in population.params}
        return (
            names | {n: f"q_{n}_live" for n in population.modulators} | {"noise": "noise", "dt": repr(self.network.dt)}
        )

    # Projections

    def _constants(self, projection: Projection) -> dict[str, str]:
        _, n_post, n_pre = self.shape(projection)
        return {"dt": repr(self.network.dt), "n_pre": repr(float(n_pre)), "n_post": repr(float(n_post))}

    def _efficacy_text(self, projection: Projection) -> str:
        k, names = self.index[projection.label], {"w": "w", **self._constants(projection)}
        names |= {name: f"p_{name}" for name in projection.params}
        names |= {name: f"t_{name}" for name in (projection.rule.traces if projection.rule else ())}
        names |= {name: f"q{k}_{name}_seen_post" for name in projection.modulators}
        return rename(projection.efficacy_expression.text, names)

    def rule_text(self, expression: Expression, projection: Projection, now: Mapping[str, str] | None = None) -> str:
        """Return a text of a rule; ``now`` says where ``w``, traces and local names are found at this place."""
        k, rule = self.index[projection.label], projection.rule
        if rule is None:
            raise EngineError(f"projection '{projection.label}' has no rule")
        names = {"w_eff": "eff", "pre": f"c{k}_pre", "post": "v_x_post", **self._constants(projection)}
        names |= {"w": "w", **{name: f"t_{name}" for name in rule.traces}, **(now or {})}
        sums = {"post": f"s{k}_%s_pre", "pre": f"s{k}_%s_post", "both": f"b{k}_%s_pre"}
        for name in expression.names - set(names):
            variable = split_variable(name)
            if name in rule.params:
                names[name] = f"r_{name}"
            elif name in rule.sums:
                names[name] = sums[rule.sums[name].over] % name
            elif is_modulator(name):
                names[name] = f"q{k}_{name}_seen_post"
            elif variable:
                names[name] = f"v_{variable[0]}_{variable[1]}"
        calls = {name: _call_of(f"f_{name}") for name in rule.functions}
        return rename(expression.text, names, calls)

    def _sums(self, projection: Projection) -> None:
        rule, k, synapses = projection.rule, self.index[projection.label], self.synapses[projection.label]
        for name, total in rule.sums.items() if rule else ():
            self._look(projection, rule.sum_expressions[name].names if rule else ())
            self._sum_now(synapses, f"s{k}_{name}_{'post' if total.over == 'pre' else 'pre'}")
            if total.over == "both":
                group = self.groups[projection.pre]
                self._add_up(group, f"s{k}_{name}", self.shape(projection)[2], self.pools[f"b{k}_{name}"])
                self.assign(group, {f"b{k}_{name}": f"b{k}_{name}_live"})

    def _rule(self, projection: Projection) -> None:
        rule = projection.rule
        if rule is None:
            return
        dt, own = repr(self.network.dt), stored(projection)
        now = dict(own)  # where the newest value of each is found
        lines: list[str] = []

        def assign(texts: Mapping[str, str]) -> None:
            """Give new names to new values; the old ones stay as they are, so nothing is changed under a reader."""
            for name, text in texts.items():
                lines.append(f"l{len(lines)} = {text}")
                now[name] = f"l{len(lines) - 1}"

        exact, synapses = rule.exact_traces, self.synapses[projection.label]
        old = {name: f"o_{name}" for name in exact}  # where a reader of the old value finds it
        self._look(projection, rule.reads)
        if self.network.delivers(projection):
            k = self.index[projection.label]
            self.assign(self.groups[projection.pre], {f"c{k}": "v_x"})
            if "w_eff" in rule.reads:
                self.assign(synapses, {"eff": self._efficacy_text(projection)})
        if exact:
            self.assign(synapses, {f"o_{name}": f"t_{name}" for name in exact})
            self._place(synapses.state_updater)
            self.assign(synapses, {f"t_{name}": f"choose(learning, t_{name}, o_{name})" for name in exact})
            now |= old
        derivatives = {
            name: self.rule_text(e, projection, old) for name, e in rule.trace_expressions.items() if name not in exact
        }
        traces = {name: f"t_{name} + {dt}*({text})" for name, text in derivatives.items()}
        if not rule.joint:
            assign(traces)
            now |= {name: f"t_{name}" for name in exact}
        if rule.dw_expression:
            assign({"w": f"w + {dt}*({self.rule_text(rule.dw_expression, projection, now)})"})
        if rule.joint:
            assign(traces)
            now |= {name: f"t_{name}" for name in exact}
        for statement in rule.assignments["step"]:
            assign({statement.target: self.rule_text(statement.expression, projection, now)})
        if projection.limits is not None and (rule.dw or rule.step):
            assign({"w": self.clipped(projection, now["w"])})
        # Where the rule is off, weights and traces stand still.
        changed = {name: variable for name, variable in own.items() if now[name] != variable}
        ends = {variable: f"choose(learning, {now[name]}, {variable})" for name, variable in changed.items()}
        if ends:
            self.assign(synapses, ends, lines)

    def clipped(self, projection: Projection, text: str) -> str:
        """Return the text of a weight within its bounds."""
        low, high = (f"r_{b}" if isinstance(b, str) else f"({float(b)!r})" for b in projection.limits or ())
        return f"clip({text}, {low}, {high})"

    def _deliver(self) -> None:
        """Let spikes arrive: efficacies, all deliveries, every on_pre, every on_post."""
        found = [p for p in self.network.projections if self.network.delivers(p)]
        for projection in found:
            self._look(projection, projection.efficacy_expression.names)
            self.assign(self.synapses[projection.label], {"eff": self._efficacy_text(projection)})
            prepare(self, projection)
        for projection in found:
            self._place(self.synapses[projection.label].deliver)
        for side in ("on_pre", "on_post"):
            for projection in found:
                names = [name for name in pathways(self, projection)[side] if name != "deliver"]
                # of two ways through both pathways, the second one runs the other way round
                for name in names[:1] if len(names) == 2 else names:
                    self._place(getattr(self.synapses[projection.label], name))
        for projection in found:
            ways = pathways(self, projection)
            for name in ("after1", "change1"):
                if name in ways["on_post"] or name in ways["on_pre"]:
                    self._place(getattr(self.synapses[projection.label], name))
            combine(self, projection)


def _read(projection: Projection) -> list[str]:
    """Return the modulators of a projection that its texts read."""
    reads = projection.efficacy_expression.names | (projection.rule.reads if projection.rule else frozenset())
    return [name for name in projection.modulators if name in reads]


def _call_of(function: str) -> Any:
    """Return how to write a call of a learned function: it also gets the number of the episode."""
    return lambda arguments: f"{function}({', '.join([*arguments, 'episode'])})"


def refuse(network: Network) -> None:
    """Refuse by name what Brian2, or this engine, cannot express."""
    for population in network.populations:
        where = f"population '{population.name}'"
        if any("kwta" in expression.calls for expression in population.expressions.values()):
            raise EngineError(f"{where}: kwta sorts neurons, which Brian2's equations cannot say")
        stages = [texts for derivative, texts in population.stages if derivative]
        if (population.spikes or population.method == "exact") and len(stages) > 1:
            raise EngineError(f"{where}: Brian2 advances all derivatives at once; put them next to each other")
        if population.spikes and any("softmax" in e.calls for texts in stages for e in texts.values()):
            raise EngineError(f"{where}: Brian2 takes no softmax in a differential equation")
    for projection in network.projections:
        rule = projection.rule
        if rule is None:
            continue
        if rule.brian2_refuses:
            raise EngineError(f"rule '{rule.name}' does not run in Brian2: {rule.brian2_refuses}")
        if "pre" in rule.reads and (projection.delay or rule.on_pre_delay):
            raise EngineError(
                f"projection '{projection.label}': rule '{rule.name}' reads 'pre', which in Brian2 is not known for "
                "spikes that are under way; use on_pre and a trace"
            )
