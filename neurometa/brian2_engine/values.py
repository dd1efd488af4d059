"""Parameters, start values and sequences in numpy, worked out apart from the other engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EngineError
from ..spec import Leaf, Network, Param, Trace
from ..trajectory import State

__all__ = ["activity", "array", "constrained", "flags", "sequences", "start"]


def array(value: Any) -> np.ndarray:
    """Return a tensor, array or number as a float64 array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _sequence(value: Any) -> np.ndarray:
    """Return a tensor or array as it is if it is boolean, else in float64."""
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    return value if value.dtype == bool else array(value)


def sequences(network: Network, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the sequence of every input population, ``(time, batch, n)``; further ones are left out."""
    if not network.inputs:
        raise EngineError(f"network '{network.name}' has no input population; give one an empty update")
    found: dict[str, np.ndarray] = {}
    for name, size in network.inputs.items():
        if name not in inputs:
            raise EngineError(f"input '{name}' is missing; network '{network.name}' reads {', '.join(network.inputs)}")
        found[name] = _sequence(inputs[name])
        shape = found[name].shape
        if len(shape) != 3 or shape[-1] != size:
            raise EngineError(f"input '{name}' has shape {shape}; allowed: (time, batch, {size})")
    shapes = {sequence.shape[:2] for sequence in found.values()}
    if len(shapes) != 1:
        raise EngineError(f"inputs differ in (time, batch): {sorted(shapes)}")
    return found


def flags(given: Any, n_steps: int, name: str) -> list[bool]:
    """Return one truth value for each step."""
    if isinstance(given, bool):
        return [given] * n_steps
    found = [bool(flag) for flag in array(given)]
    if len(found) != n_steps:
        raise EngineError(f"{name} has {len(found)} steps, the inputs have {n_steps}")
    return found


def constrained(network: Network, params: Mapping[str, Any], batch: int) -> dict[str, np.ndarray]:
    """Return what the stored parameters of a network mean."""
    values = {}
    for name, leaf in network.leaves.items():
        if name in params:
            values[name] = _meaning(leaf.param, array(params[name]))
            _check(name, leaf, values[name].shape, batch)
        elif not leaf.param.per_episode:
            raise EngineError(f"network '{network.name}': parameter '{name}' is missing; found {', '.join(params)}")
    return values


def _check(name: str, leaf: Leaf, shape: tuple[int, ...], batch: int) -> None:
    single = len(leaf.shape) == 1
    full = leaf.shape if single else tuple(map(max, leaf.shape, (leaf.n_post, leaf.n_pre)))
    own = shape[-len(leaf.shape) :]
    front = shape[: -len(leaf.shape)]
    fits = len(own) == len(leaf.shape) and all(n in (a, b) for n, a, b in zip(own, leaf.shape, full, strict=True))
    if not fits or front not in ((), (1,), (batch,)):
        raise EngineError(
            f"parameter '{name}' has shape {shape}; allowed: {leaf.shape}, or one batch axis of {batch} more in front"
        )


def _meaning(param: Param, stored: np.ndarray) -> np.ndarray:
    if param.constraint == "fraction":
        return 1.0 / (1.0 + np.exp(-stored))
    if param.minimum is not None or param.constraint == "positive":
        return (param.minimum or 0.0) + np.logaddexp(stored, 0.0)
    return stored


def activity(network: Network, values: Mapping[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    """Return the activity at the beginning of an episode, ``"population.variable"`` -> ``(batch, n)``."""
    x = {"one.x": np.ones((batch, 1))}
    for population in network.populations:
        for variable in population.state:
            value = population.start.get(variable, 0.0)
            if isinstance(value, Param):
                found = _drawn(f"{population.name}.start_{variable}", values)
            else:
                found = np.asarray(value, dtype=np.float64)
            x[f"{population.name}.{variable}"] = np.broadcast_to(found, (batch, population.size))
    for projection in network.projections:
        if network.delivers(projection):
            n_post, n_pre = network[projection.post].size, network[projection.pre].size
            more = int(projection.rule.on_pre_delay / network.dt + 0.5) if projection.rule else 0
            longest = int(np.max(projection.delay_steps(n_post, n_pre, network.dt))) + more
            x |= {f"{projection.label}.arriving": np.zeros((batch, longest, n_pre))} if longest else {}
    return x


def start(network: Network, values: Mapping[str, np.ndarray], batch: int) -> State:
    """Return the state at the beginning of an episode, as arrays with the batch axis first."""
    w, traces = {}, {}
    for projection in network.projections:
        label, rule = projection.label, projection.rule
        if not rule and not projection.weight.per_episode:
            continue
        shape = (batch, network[projection.post].size, network[projection.pre].size)
        w[label] = np.broadcast_to(_drawn(f"{label}.w", values), shape) * projection.synapses(*shape[1:])
        for name, trace in rule.traces.items() if rule else ():
            axes = projection.trace_axes[name]
            sizes = (shape[1] if "post" in axes else 1, shape[2] if "pre" in axes else 1)
            initial = trace.init if isinstance(trace, Trace) else 0.0
            traces[f"{label}.{name}"] = np.full((batch, *sizes), initial)
    return State(activity(network, values, batch), w, traces)


def _drawn(name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in values:
        raise EngineError(f"parameter '{name}' is drawn per episode; put its values into params, or pass state=")
    return values[name]
