"""One step of a network: populations in declared order, every rule from the same old weights, then spikes.

The step function closes over names, numbers and compiled texts only, never over descriptions, so that
``torch.compile`` takes it as one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import Network, Population, Projection
from ..trajectory import State
from ..tree import Tree, to_batch
from .events import make_arrival, make_pathways
from .exact import entries
from .ops import TORCH
from .plasticity import make_update
from .spikes import make_reset, make_threshold, places

__all__ = ["Step", "efficacy_function", "make_step"]

#: ``step(values, state, inputs, noise) -> (state, currents)``; currents are this step's input currents.
Step = Callable[[Tree, State, Mapping[str, Tensor], Mapping[str, Tensor]], tuple[State, Tree]]
Efficacy = Callable[[Tree, Tensor, Tree, Tree], Tensor]
#: ``update(values, x, currents, noise)`` writes the new variables of a population into ``x``.
Update = Callable[[Tree, Tree, Tree, Mapping[str, Tensor]], None]


@lru_cache(maxsize=256)
def make_step(network: Network, learn: bool = True) -> Step:
    """Build the step function of a network.

    Parameters
    ----------
    network : Network
        The description.
    learn : bool
        Run the plasticity rules after the populations.

    Returns
    -------
    callable
        ``step(values, state, inputs, noise) -> (state, currents)``: ``values`` from `prepare`, ``inputs`` and
        ``noise`` one time step ``(batch, n)`` by population; ``currents`` are the input currents of this step by
        ``"population.input"``. It changes nothing in place.
    """
    rules = [(p.label, make_update(network, p)) for p in network.plastic] if learn else []
    plan = []
    for late in (False, True):
        for population in network.populations:
            inputs, stages = population.phases[late]
            if late and not stages:
                continue
            name, currents = population.name, []
            for into in inputs:
                found = [p for p in network.projections if p.post == name and p.into == into]
                sources = [(p.label, f"{p.pre}.x", efficacy_function(network, p)) for p in found]
                currents.append((f"{name}.{into}", sources))
            update = None if population.is_input else _population_update(network, population, late)
            plan.append((name, f"{name}.{population.state[0]}", currents, update))
    arrive, deliver, resets = _spiking(network, learn)

    def step(
        values: Tree, state: State, inputs: Mapping[str, Tensor], noise: Mapping[str, Tensor]
    ) -> tuple[State, Tree]:
        x = dict(state.x)
        currents: Tree = {}
        carried: Tree = {}
        used: Tree = {}
        for name, first, inflows, update in plan:
            if update is None:
                x[f"{name}.x"] = inputs[name]
                continue
            for key, sources in inflows:
                total: Tensor | None = None
                bias: Tensor | None = None
                for label, source, efficacy_of in sources:
                    carried[label] = x[source]
                    efficacy = values.get(f"{label}.efficacy")
                    if efficacy is None:
                        w = state.w[label] if label in state.w else values[f"{label}.w"]
                        efficacy = efficacy_of(values, w, state.traces, x)
                    used[label] = efficacy
                    if source == "one.x":  # activity 1: the efficacy itself, without a product
                        part = efficacy.squeeze(-1)  # ([batch,] post)
                        bias = part if bias is None else bias + part
                    else:
                        total = _drive(efficacy, carried[label], total)
                currents[key] = _with_bias(total, bias, x[first])
            update(values, x, currents, noise)
        arrive(values, state, x, carried, used)
        w, traces = dict(state.w), dict(state.traces)
        for label, rule in rules:
            w[label], changed = rule(values, carried[label], used[label], x, currents, state)
            traces.update(changed)
        deliver(values, w, traces, x, carried, currents)
        for reset in resets:
            reset(values, x, currents)
        return State(x, w, traces), currents

    return step


def _drive(efficacy: Tensor, x: Tensor, total: Tensor | None) -> Tensor:
    if efficacy.ndim == 2:
        part = F.linear(x, efficacy)  # (batch, [items,] post)
    elif efficacy.shape[0] != x.shape[0]:  # one efficacy per group of tasks
        part = torch.matmul(x.reshape(efficacy.shape[0], -1, x.shape[-1]), efficacy.mT)
        part = part.reshape(*x.shape[:-1], -1)  # (batch, [items,] post)
    elif x.ndim == 2:
        part = torch.matmul(efficacy, x.unsqueeze(-1)).squeeze(-1)  # (batch, post)
    else:
        part = torch.matmul(x, efficacy.mT)  # (batch, items, post)
    return part if total is None else total + part


def _with_bias(total: Tensor | None, bias: Tensor | None, like: Tensor) -> Tensor:
    if bias is None:
        return torch.zeros_like(like) if total is None else total
    bias = to_batch(bias, 1, like.shape[0])
    if bias.ndim == 2 and like.ndim == 3:
        bias = bias.unsqueeze(1)  # (batch, 1, post)
    return bias.expand_as(like) if total is None else total + bias


def _spiking(
    network: Network, learn: bool
) -> tuple[Callable[..., None], Callable[..., None], list[Callable[..., None]]]:
    """Build what spikes bring about: arrivals, before the rules; deliveries and pathways, after them; resets."""
    arrivals, deliveries = [], []
    for projection in network.projections:
        if not network.delivers(projection):
            continue
        label, rule, post = projection.label, projection.rule, network[projection.post]
        efficacy = efficacy_function(network, projection)
        reads = rule is not None and learn and "w_eff" in rule.reads
        arrivals.append((label, make_arrival(network, projection), efficacy if reads else None))
        held = post.spikes is not None and projection.into in post.spikes.held and network.refractory_steps(post) > 0
        pathways = make_pathways(network, projection) if learn and rule is not None and rule.has_events else None
        target, blocked = f"{post.name}.{projection.into}", f"{post.name}.refractory" if held else None
        deliveries.append((label, target, blocked, efficacy, pathways))
    resets = [r for p in network.populations if p.spikes for r in [make_reset(p, network.dt)] if r is not None]

    def arrive(values: Tree, state: State, x: Tree, carried: Tree, used: Tree) -> None:
        for label, arrival, efficacy_of in arrivals:
            carried[label], carried[f"{label} on_pre"] = arrival(values, x)
            w = state.w[label] if label in state.w else values[f"{label}.w"]
            used[label] = w if efficacy_of is None else efficacy_of(values, w, state.traces, x)

    def deliver(values: Tree, w: Tree, traces: Tree, x: Tree, carried: Tree, currents: Tree) -> None:
        used = {}
        for label, target, blocked, efficacy_of, _ in deliveries:
            efficacy = values.get(f"{label}.efficacy")
            if efficacy is None:
                efficacy = efficacy_of(values, w[label] if label in w else values[f"{label}.w"], traces, x)
            used[label] = efficacy
            arrived = carried[label]
            amount = (efficacy * arrived).sum(-1) if arrived.ndim > x[target].ndim else _drive(efficacy, arrived, None)
            x[target] = x[target] + (amount if blocked is None else torch.where(x[blocked] > 0.5, 0.0, amount))
        for label, _, _, _, pathways in deliveries:
            if pathways is not None:
                arrived = carried[f"{label} on_pre"]
                w[label], changed = pathways(values, w[label], traces, arrived, used[label], x, currents)
                traces.update(changed)

    return arrive, deliver, resets


def efficacy_function(network: Network, projection: Projection) -> Efficacy:
    """Build ``efficacy(values, w, traces, x) -> ([batch,] post, pre)`` of one projection."""
    label, expression = projection.label, projection.efficacy_expression
    post, pre = network[projection.post].size, network[projection.pre].size
    constants = {"dt": network.dt, "n_pre": float(pre), "n_post": float(post)}
    names = sorted(expression.names - set(constants))
    function = expression.function(names, TORCH, constants)
    traces = set(projection.rule.traces) if projection.rule else set()
    reads: list[tuple[str, str]] = []
    for name in names:
        if name in projection.modulators:
            reads.append(("modulator", f"{projection.modulators[name]}.x"))
        else:
            reads.append(("w" if name == "w" else "trace" if name in traces else "value", f"{label}.{name}"))

    def efficacy(values: Tree, w: Tensor, state_traces: Tree, x: Tree) -> Tensor:
        arguments = []
        for kind, key in reads:
            if kind == "w":
                arguments.append(w)
            elif kind == "trace":
                arguments.append(state_traces[key])
            elif kind == "modulator":
                arguments.append(x[key].unsqueeze(-1))  # (batch, post | 1, 1)
            else:
                arguments.append(values[key])
        result = function(*arguments)
        if not isinstance(result, Tensor):
            result = w.new_full((1, 1), result)
        if f"{label}.mask" in values:
            result = result * values[f"{label}.mask"]
        return result.expand(*result.shape[:-2], post, pre)

    return efficacy


def _population_update(network: Network, population: Population, late: bool) -> Update:
    """Build the update of one population; it writes the new variables into the step's own dictionary ``x``."""
    prefix, dt, exact = population.name, network.dt, population.method == "exact"
    spikes = population.spikes if not late else None
    refractory = network.refractory_steps(population)
    held = {f"{prefix}.{name}" for name in spikes.held} if spikes and refractory else set()
    count = f"{prefix}.refractory"
    stages = []
    for derivative, texts in population.phases[late][1]:
        linear = exact and derivative
        if linear:
            texts = {variable: population.linear[variable][1] for variable in texts}
        compiled = []
        for variable, expression in texts.items():
            function = expression.function(sorted(expression.names - {"dt"}), TORCH, {"dt": dt})
            compiled.append((f"{prefix}.{variable}", places(expression, population), function))
        reached = {f"{prefix}.{v}": [f"{prefix}.{u}" for u in entries(population)[v]] for v in texts} if linear else {}
        stages.append((derivative, compiled, reached))
    threshold = make_threshold(population, dt, refractory) if spikes else None

    def update(values: Tree, x: Tree, currents: Tree, noise: Mapping[str, Tensor]) -> None:
        sources: dict[str, Mapping[str, Tensor]] = {"x": x, "current": currents, "noise": noise, "value": values}
        if spikes and refractory:
            x[count] = torch.clamp(x[count] - 1, min=0)
        for derivative, compiled, reached in stages:
            new = {}
            given = {key: function(*[sources[kind][name] for kind, name in reads]) for key, reads, function in compiled}
            for key, value in given.items():
                old = x[key]
                if reached:
                    value = _propagate(values, key, reached[key], x, given)
                elif derivative:
                    value = old + value if dt == 1 else old + dt * value
                if not isinstance(value, Tensor):
                    value = torch.full_like(old, value)
                value = value if value.shape == old.shape else value.expand_as(old)
                new[key] = torch.where(x[count] > 0.5, old, value) if key in held else value
            x.update(new)
        if threshold is not None:
            threshold(values, x, currents)

    return update


def _propagate(values: Tree, key: str, reached: list[str], x: Tree, given: Mapping[str, Tensor | float]) -> Tensor:
    """Return a variable one step later, exactly."""
    prefix, name = key.split(".")
    total: Tensor | None = None
    for source in reached:
        other = source.split(".")[1]
        part = values[f"{prefix}.E {name} {other}"] * x[source]
        total = part if total is None else total + part
    for source in reached:
        if isinstance(given[source], Tensor) or given[source] != 0.0:
            total = total + values[f"{prefix}.F {name} {source.split('.')[1]}"] * given[source]  # type: ignore[operator]
    return total  # type: ignore[return-value]
