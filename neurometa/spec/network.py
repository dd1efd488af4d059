"""A network: populations that update in declared order, projections between them, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ..errors import SpecificationError, unknown
from .base import Description
from .listed import Listed, Pairs
from .param import Leaf, Normal, Param
from .population import Population
from .projection import Projection
from .rule import split_variable

__all__ = ["ONE", "Network"]

#: The built-in population with activity 1, which makes biases.
ONE = Population("one", 1)


@dataclass(frozen=True, eq=False)
class Network(Description):
    """A whole network, without tensors.

    Attributes
    ----------
    populations : sequence of Population
        In the order in which they update; each reads the newest activity of those before it and the previous
        activity of itself and those after it.
    projections : sequence of Projection
        Between them; ``one`` (size 1, activity 1) may be the source of any.
    output : str
        What the network answers, ``"population"`` or ``"population.variable"``.
    dt : float
        Time step, ms.
    name : str
        For tables and error messages.

    Examples
    --------
    >>> network = Network(
    ...     populations=(Population("stimulus", 3), Population("out", 2, "tanh(drive)")),
    ...     projections=(Projection("stimulus", "out"),), output="out")
    >>> sorted(network.leaves)
    ['stimulus__out.w']
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...] = ()
    output: str = ""
    dt: float = 1.0
    name: str = "network"

    def __post_init__(self):
        self._freeze("populations", "projections")
        where = f"network '{self.name}'"
        if not self.populations:
            raise SpecificationError(f"{where} has no population")
        seen: set[str] = {"one"}
        for population in self.populations:
            if population.name in seen:
                raise SpecificationError(f"{where}: two populations are named '{population.name}'")
            seen.add(population.name)
        object.__setattr__(self, "output", self.output or f"{self.populations[-1].name}.x")
        if "." not in self.output:
            object.__setattr__(self, "output", f"{self.output}.x")
        labels: set[str] = set(seen)
        for projection in self.projections:
            if projection.label in labels:
                raise SpecificationError(f"{where}: the name '{projection.label}' is used twice; pass name=")
            labels.add(projection.label)
            self._check_projection(projection, where)
        for population in self.populations:
            self._check_modulators(population.modulators, population, f"{where}: population '{population.name}'")
        source, variable = self.output.split(".", 1)
        if variable not in self._population(source, f"{where}: output").variables:
            raise SpecificationError(
                f"{where}: output is '{self.output}'; allowed variables: {', '.join(self[source].variables)}"
            )
        if not self.dt > 0:
            raise SpecificationError(f"{where}: dt is {self.dt}; it must be above 0 (ms)")
        for population in self.populations:
            _ = self.refractory_steps(population)

    def __getitem__(self, name: str) -> Population:
        """Return a population by name."""
        return self._population(name, f"network '{self.name}'")

    def _population(self, name: str, where: str) -> Population:
        if name not in self._by_name:
            raise SpecificationError(f"{where}: {unknown('population', name, self._by_name)}")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {p.name: p for p in (ONE, *self.populations)}

    def _check_modulators(self, modulators: Mapping[str, str], target: Population, where: str) -> None:
        for name, source in modulators.items():
            size = self._population(source, f"{where}, modulator '{name}'").size
            if size not in (1, target.size):
                raise SpecificationError(
                    f"{where}: modulator '{source}' has size {size}; allowed: 1 or {target.size}, the size of "
                    f"'{target.name}'"
                )

    def _check_projection(self, projection: Projection, where: str) -> None:
        where = f"{where}: projection '{projection.label}'"
        pre, post = (self._population(name, where) for name in (projection.pre, projection.post))
        own = () if post.is_input else tuple(name for name in post.variables if name not in ("x", *post.inputs))
        if post.is_input or projection.into not in (*post.inputs, *own):
            allowed = ", ".join(() if post.is_input else post.inputs) or "none (it is an input population)"
            if own:
                allowed += f", or for spikes a variable: {', '.join(own)}"
            raise SpecificationError(
                f"{where}: into='{projection.into}' is not an input of '{post.name}'; allowed: {allowed}"
            )
        self._check_events(projection, pre, post, where)
        if projection.mask == "no_self" and pre.size != post.size:
            raise SpecificationError(f"{where}: mask 'no_self' needs equal sizes, found {pre.size} and {post.size}")
        if projection.mask == "one_to_one" and pre.size != post.size:
            raise SpecificationError(f"{where}: mask 'one_to_one' needs equal sizes, found {pre.size} and {post.size}")
        if isinstance(projection.mask, Pairs):
            projection.mask.check(post.size, pre.size, where)
        if isinstance(projection.delay, Listed):
            projection.delay.spread(projection.synapses(post.size, pre.size), where)
        self._check_modulators(projection.modulators, post, where)
        rule = projection.rule
        for name in rule.variables if rule else ():
            variable, side = split_variable(name) or ("", "")
            population = pre if side == "pre" else post
            if rule and variable not in population.variables:
                raise SpecificationError(
                    f"{where}: rule '{rule.name}' reads '{name}', but population '{population.name}' has "
                    f"the variables {', '.join(population.variables)}"
                )

    def _check_events(self, projection: Projection, pre: Population, post: Population, where: str) -> None:
        """Refuse what needs spikes where there are none."""
        events, rule = projection.into not in post.inputs, projection.rule
        if events and not pre.is_source:
            raise SpecificationError(
                f"{where}: into='{projection.into}' is a variable of '{post.name}', to which spikes add, but "
                f"'{pre.name}' has no spikes; give it spikes=, or project into one of {', '.join(post.inputs)}"
            )
        if projection.delay and not events:
            raise SpecificationError(
                f"{where}: a delay is for spikes that add to a variable of '{post.name}', not for the input current "
                f"'{projection.into}'"
            )
        if rule is None or not (rule.on_pre or rule.on_post):
            return
        if not events:
            raise SpecificationError(
                f"{where}: rule '{rule.name}' has on_pre or on_post, so the projection must deliver spikes: into= "
                f"names a variable of '{post.name}', not the input current '{projection.into}'"
            )
        if rule.on_post and post.spikes is None:
            raise SpecificationError(f"{where}: rule '{rule.name}' has on_post, but '{post.name}' has no spikes")

    def refractory_steps(self, population: Population) -> int:
        """Return after how many steps a neuron that has spiked can spike again."""
        time = population.spikes.refractory if population.spikes else 0.0
        steps = round(time / self.dt)
        if abs(steps * self.dt - time) > 1e-6 * self.dt:
            raise SpecificationError(
                f"network '{self.name}': population '{population.name}' has a refractory time of {time:g} ms, which is "
                f"no whole number of steps of {self.dt:g} ms; the nearest is {steps * self.dt:g}"
            )
        return steps

    def delivers(self, projection: Projection) -> bool:
        """Whether spikes of a projection add to a variable of its target, instead of making an input current."""
        return projection.into not in self[projection.post].inputs

    @property
    def inputs(self) -> dict[str, int]:
        """Input populations and their sizes: what an episode has to fill."""
        return {p.name: p.size for p in self.populations if p.is_input}

    @property
    def plastic(self) -> tuple[Projection, ...]:
        """Projections that have a rule."""
        return tuple(p for p in self.projections if p.rule)

    @cached_property
    def modulators(self) -> frozenset[str]:
        """Names of the populations that act as neuromodulators and are computed by the network."""
        parts: tuple[Population | Projection, ...] = (*self.populations, *self.projections)
        named = {source for part in parts for source in part.modulators.values()}
        return frozenset(name for name in named if not self[name].is_input)

    @cached_property
    def modulatory(self) -> frozenset[str]:
        """The modulators, and every population that drives nothing but them."""
        found = set(self.modulators)
        computed = [p.name for p in self.populations if not p.is_input and p.name != self.output.split(".")[0]]
        for _ in computed:
            for name in computed:
                targets = {q.post for q in self.projections if q.pre == name} - {name}
                if targets and targets <= found:
                    found.add(name)
        return frozenset(found)

    @cached_property
    def leaves(self) -> dict[str, Leaf]:
        """Every parameter by its dotted name, those that are drawn per episode included."""
        found: dict[str, Leaf] = {}
        for population in self.populations:
            group = "modulator" if population.name in self.modulatory else "w0"
            size = population.size
            for name, param in population.all_params.items():
                shape = (size,) if param.per == "neuron" else (1,)
                found[f"{population.name}.{name}"] = Leaf(param, shape, size, size, _group(name, group))
        for projection in self.projections:
            pre, post = self[projection.pre].size, self[projection.post].size
            group = "modulator" if projection.post in self.modulatory else "w0"
            for name, param in {"w": projection.weight, **projection.params}.items():
                leaf_group = "rule" if projection.rule and name.startswith("alpha") else _group(name, group)
                found[f"{projection.label}.{name}"] = Leaf(param, _shape(param, pre, post), pre, post, leaf_group)
            if projection.rule:
                for name, param in projection.rule.params.items():
                    leaf = Leaf(param, _shape(param, pre, post), pre, post, "rule")
                    found[f"{projection.label}.rule.{name}"] = leaf
                for name, mlp in projection.rule.functions.items():
                    sizes = (mlp.inputs, *mlp.hidden, 1)
                    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
                        stem = f"{projection.label}.rule.{name}.{i}"
                        weight = Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")
                        found[f"{stem}.w"] = Leaf(weight, (fan_out, fan_in), fan_in, fan_out, "rule")
                        found[f"{stem}.b"] = Leaf(Param(0.0), (fan_out,), fan_in, fan_out, "rule")
        return found


def _shape(param: Param, pre: int, post: int) -> tuple[int, int]:
    return (post if param.per in ("post", "synapse") else 1, pre if param.per in ("pre", "synapse") else 1)


def _group(name: str, group: str) -> str:
    return "modulator" if name.startswith("gain") else group
