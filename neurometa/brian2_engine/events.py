"""What a spike brings about, as Brian2's own pathways: delivery, ``on_pre``, ``on_post``.

Every pathway has a slot of the schedule of its own: all deliveries, then every ``on_pre``, then every ``on_post``. The
variables of a synapse that carry a letter and an underscore in front of their names hold copies: ``o_`` of a trace
before its equation, ``u_`` and ``h_`` what one pathway alone would leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..spec import Projection

if TYPE_CHECKING:
    from .build import Model

__all__ = ["combine", "copies", "pathways", "prepare", "set_delays"]


def stored(projection: Projection) -> dict[str, str]:
    """Return what the rule of a projection may change, and the variable that holds it."""
    traces = projection.rule.traces if projection.rule else ()
    return {"w": "w", **{name: f"t_{name}" for name in traces}}


def copies(projection: Projection) -> list[str]:
    """Return the prefixes of the copies that the rule's coincidence needs."""
    rule = projection.rule
    if rule is None or not (rule.on_pre and rule.on_post):
        return []
    return {"brian": [], "ignore": ["u", "h"], "symmetric": ["h"]}[rule.coincidence]


def pathways(model: Model, projection: Projection) -> dict[str, dict[str, str]]:
    """Return the statements of every pathway: ``{"on_pre": {name: code}, "on_post": {name: code}}``."""
    rule = projection.rule
    found: dict[str, dict[str, str]] = {"on_pre": {"deliver": f"v_{projection.into}_post += eff"}, "on_post": {}}
    if rule is None:
        return found
    own = stored(projection)
    # what a pathway reads and writes; the second entry is a second way through both pathways
    plans = {"brian": [(own, own)], "ignore": [], "symmetric": [(own, own), (_copy(own, "h"), _copy(own, "h"))]}
    for side in ("pre", "post"):
        if not getattr(rule, f"on_{side}"):
            continue
        ways = plans[rule.coincidence if copies(projection) else "brian"]
        if not ways:
            ways = [(own, _copy(own, "u" if side == "pre" else "h"))]
        for i, (read, write) in enumerate(ways):
            name = f"change{i}" if side == "pre" else f"after{i}"
            found[f"on_{side}"][name] = _statements(model, projection, f"on_{side}", read, write)
    return found


def _copy(own: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name: f"{prefix}_{name}" for name in own}


def _statements(
    model: Model, projection: Projection, label: str, read: Mapping[str, str], write: Mapping[str, str]
) -> str:
    """Return the code of a pathway: everything under new names first, which Brian2 takes as it stands."""
    rule = projection.rule
    assert rule is not None
    now = dict(read)
    lines: list[str] = []
    for statement in rule.assignments[label]:
        lines.append(f"l{len(lines)} = {model.rule_text(statement.expression, projection, now)}")
        now[statement.target] = f"l{len(lines) - 1}"
    changed = dict.fromkeys(statement.target for statement in rule.assignments[label])
    if "w" in changed and projection.limits is not None:
        lines.append(f"l{len(lines)} = {model.clipped(projection, now['w'])}")
        now["w"] = f"l{len(lines) - 1}"
    lines += [f"n_{name} = choose(learning, {now[name]}, {read[name]})" for name in changed]
    return "\n".join([*lines, *(f"{write[name]} = n_{name}" for name in changed)])


def set_delays(model: Model, projection: Projection, synapses: Any) -> None:
    """Set the delays of all pathways, whole numbers of steps."""
    delay = projection.delay_steps(*model.shape(projection)[1:], model.network.dt)
    step = model.network.dt * model.b2.ms
    every = np.broadcast_to(delay, model.shape(projection))[model.places[projection.label]]
    more = int(projection.rule.on_pre_delay / model.network.dt + 0.5) if projection.rule else 0
    if len(every):
        synapses.deliver.delay = every * step
        for name in pathways(model, projection)["on_pre"]:
            if name != "deliver":
                getattr(synapses, name).delay = (every + more) * step


def prepare(model: Model, projection: Projection) -> None:
    """Take the copies that the coincidence needs."""
    own = stored(projection)
    texts = {f"{prefix}_{name}": variable for prefix in copies(projection) for name, variable in own.items()}
    if texts:
        model.assign(model.synapses[projection.label], texts)


def combine(model: Model, projection: Projection) -> None:
    """Put together what the pathways have left in the copies."""
    rule, found = projection.rule, copies(projection)
    if rule is None or not found:
        return
    texts = {}
    for name, variable in stored(projection).items():
        if rule.coincidence == "symmetric":
            texts[variable] = f"0.5*({variable} + h_{name})"
        else:
            both = f"u_{name} + (h_{name} - {variable})"
            texts[variable] = model.clipped(projection, f"({both})") if name == "w" and projection.limits else both
    model.assign(model.synapses[projection.label], texts)
