"""One step of a network: populations in declared order, then every rule from the same old weights.

The step function closes over names, numbers and compiled texts only, never over descriptions, so that
``torch.compile`` takes it as one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import EngineError
from ..spec import Network, Population, Projection
from ..trajectory import State
from ..tree import Tree, to_batch
from .ops import TORCH
from .plasticity import make_update

__all__ = ["Step", "efficacy_function", "make_step", "refuse"]

#: ``step(values, state, inputs, noise) -> (state, currents)``; currents are this step's input currents.
Step = Callable[[Tree, State, Mapping[str, Tensor], Mapping[str, Tensor]], tuple[State, Tree]]
Efficacy = Callable[[Tree, Tensor, Tree, Tree], Tensor]


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
    refuse(network)
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
            update = None if population.is_input else _population_update(population, network.dt, late)
            plan.append((name, f"{name}.{population.state[0]}", currents, update))

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
        w, traces = dict(state.w), dict(state.traces)
        for label, rule in rules:
            w[label], changed = rule(values, carried[label], used[label], x, currents, state)
            traces.update(changed)
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


def refuse(network: Network) -> None:
    """Refuse by name what this engine does not run."""
    for population in network.populations:
        if population.spikes is not None or population.method != "euler":
            raise EngineError(f"population '{population.name}': the torch engine runs rate populations, method 'euler'")
    for projection in network.projections:
        if projection.delay:
            raise EngineError(f"projection '{projection.label}': the torch engine runs no delay yet")


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


def _population_update(
    population: Population, dt: float, late: bool
) -> Callable[[Tree, Tree, Tree, Mapping[str, Tensor]], None]:
    """Build the update of one population; it writes the new variables into the step's own dictionary ``x``."""
    prefix, state, inputs = population.name, set(population.state), set(population.inputs)
    stages = []
    for derivative, texts in population.phases[late][1]:
        compiled = []
        for variable, expression in texts.items():
            names = sorted(expression.names - {"dt"})
            reads: list[tuple[str, str]] = []
            for name in names:
                if name in population.modulators:
                    reads.append(("x", f"{population.modulators[name]}.x"))
                elif name == "noise":
                    reads.append(("noise", prefix))
                else:
                    kind = "x" if name in state else "current" if name in inputs else "value"
                    reads.append((kind, f"{prefix}.{name}"))
            compiled.append((f"{prefix}.{variable}", reads, expression.function(names, TORCH, {"dt": dt})))
        stages.append((derivative, compiled))

    def update(values: Tree, x: Tree, currents: Tree, noise: Mapping[str, Tensor]) -> None:
        sources: dict[str, Mapping[str, Tensor]] = {"x": x, "current": currents, "noise": noise, "value": values}
        for derivative, compiled in stages:
            new = {}
            for key, reads, function in compiled:
                old = x[key]
                value = function(*[sources[kind][name] for kind, name in reads])
                value = (old + value if dt == 1 else old + dt * value) if derivative else value
                if not isinstance(value, Tensor):
                    value = torch.full_like(old, value)
                new[key] = value if value.shape == old.shape else value.expand_as(old)
            x.update(new)

    return update
