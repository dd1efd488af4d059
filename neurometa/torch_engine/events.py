"""What happens at a spike's arrival: delivery to the target, then ``on_pre``, then ``on_post``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..spec import Network, Projection
from ..tree import Tree
from .plasticity import Formula, make_limit
from .spikes import at_spikes, has_spiked

__all__ = ["Arrival", "Pathways", "delayed", "make_arrival", "make_pathways", "steps_of"]

#: ``arrival(values, x) -> (arrived, for_rule)``: spikes that arrive now, ``(batch, pre)`` or ``(batch, post, pre)``;
#: the second lets on_pre wait longer. What is still under way is written into ``x``.
Arrival = Callable[[Tree, Tree], tuple[Tensor, Tensor]]
#: ``pathways(values, w, traces, arrived, efficacy, x, currents) -> (w, traces)``
Pathways = Callable[[Tree, Tensor, Tree, Tensor, Tensor, Tree, Tree], tuple[Tensor, Tree]]
#: Target and formula of every statement, in order.
Statements = Sequence[tuple[str, Formula]]


def steps_of(network: Network, projection: Projection) -> tuple[int | np.ndarray, int, int]:
    """Return the delay, in steps, how many more on_pre waits, and how long a spike is under way at most."""
    delay = projection.delay_steps(network[projection.post].size, network[projection.pre].size, network.dt)
    more = int(projection.rule.on_pre_delay / network.dt + 0.5) if projection.rule else 0
    return delay, more, int(np.max(delay)) + more


def make_arrival(network: Network, projection: Projection) -> Arrival:
    """Build the function that says which spikes of a projection arrive in this step."""
    label, source = projection.label, f"{projection.pre}.x"
    computed = network[projection.pre].spikes is not None
    delay, more, longest = steps_of(network, projection)
    key, fixed = f"{label}.arriving", None if isinstance(delay, np.ndarray) else delay

    def arrival(values: Tree, x: Tree) -> tuple[Tensor, Tensor]:
        now = x[source] if computed else has_spiked(x[source])
        if not longest:
            return now, now
        last = torch.cat([now.unsqueeze(1), x[key]], 1)  # (batch, longest + 1, pre): now, one step ago, ...
        x[key] = last[:, :longest]
        if fixed is not None:
            return last[:, fixed], last[:, fixed + more]
        steps = values[f"{label}.delay"]  # (post, pre)
        each = torch.arange(steps.shape[1], device=steps.device)
        arrived = last[:, steps, each]  # (batch, post, pre)
        return arrived, last[:, steps + more, each] if more else arrived

    return arrival


def make_pathways(network: Network, projection: Projection) -> Pathways:
    """Build what on_pre and on_post do to a projection with events.

    The pre pathway runs first and the post pathway reads what it has left (Brian2); with ``coincidence="ignore"`` both
    read the values before, and their changes add up; with ``"symmetric"`` the outcome is the mean of both orders.
    """
    rule, label, post_key = projection.rule, projection.label, f"{projection.post}.x"
    assert rule is not None
    constants = {
        "dt": network.dt,
        "n_pre": float(network[projection.pre].size),
        "n_post": float(network[projection.post].size),
    }
    shared = (rule, projection, constants)
    on_pre, on_post = (
        [(a.target, Formula(a.expression, *shared)) for a in rule.assignments[name]] for name in ("on_pre", "on_post")
    )
    traces, coincidence = list(rule.traces), rule.coincidence
    limit, mask_key = make_limit(projection), f"{label}.mask"
    spiking_post = network[projection.post].spikes is not None

    def pathways(
        values: Tree, w: Tensor, all_traces: Tree, arrived: Tensor, efficacy: Tensor, x: Tree, currents: Tree
    ) -> tuple[Tensor, Tree]:
        pre = arrived if arrived.ndim == 3 else arrived.unsqueeze(-2)  # (batch, 1 | post, pre)
        post = x[post_key].unsqueeze(-1)  # (batch, post, 1)
        fixed: Tree = {"pre": pre, "post": post, "w_eff": efficacy}
        mask = values.get(mask_key)

        def run(statements: Statements, spikes: Tensor, old: Tree) -> Tree:
            new = {**old, **fixed}
            for target, formula in statements:
                new[target] = formula(new, values, x, currents)  # type: ignore[assignment]
            found = dict(old)
            for target in dict.fromkeys(target for target, _ in statements):
                if target == "w":
                    value = limit(values, new["w"])
                    at = spikes if mask is None else spikes * mask
                    found["w"] = at_spikes(at, value, old["w"])
                else:
                    found[target] = at_spikes(spikes, new[target], old[target])
            return found

        def before(old: Tree) -> Tree:
            return run(on_pre, pre, old) if on_pre else old

        def after(old: Tree) -> Tree:
            return run(on_post, post, old) if on_post and spiking_post else old

        old: Tree = {"w": w, **{name: all_traces[f"{label}.{name}"] for name in traces}}
        if coincidence == "brian" or not (on_pre and on_post):
            found = after(before(old))
        elif coincidence == "symmetric":
            found = _combine(old, after(before(old)), before(after(old)), lambda _, a, b: 0.5 * (a + b))
        else:
            found = _combine(old, before(old), after(old), _added)
            found["w"] = torch.where((pre > 0.5) & (post > 0.5), limit(values, found["w"]), found["w"])
        return found["w"], {f"{label}.{name}": found[name] for name in traces}

    return pathways


def _combine(old: Tree, a: Tree, b: Tree, both: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tree:
    return {name: a[name] if a[name] is b[name] else both(old[name], a[name], b[name]) for name in old}


def _added(old: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add two changes up; where only one is a change, it stays as exact as it was."""
    return torch.where(b == old, a, torch.where(a == old, b, a + (b - old)))


def delayed(network: Network) -> Iterable[tuple[str, int, int, int | np.ndarray]]:
    """Return label, longest time under way, number of sources and delay of every projection with a delay."""
    for projection in network.projections:
        if network.delivers(projection):
            delay, _, longest = steps_of(network, projection)
            if longest:
                yield projection.label, longest, network[projection.pre].size, delay
