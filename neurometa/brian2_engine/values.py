"""Parameters and start values in numpy, worked out apart from the other engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EngineError
from ..spec import Network, Param
from ..trajectory import State

__all__ = ["array", "constrained", "start"]


def array(value: Any) -> np.ndarray:
    """Return a tensor, array or number as a float64 array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def constrained(network: Network, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what the stored parameters of a network mean."""
    values = {}
    for name, leaf in network.leaves.items():
        if name in params:
            values[name] = _meaning(leaf.param, array(params[name]))
        elif not leaf.param.per_episode:
            raise EngineError(f"network '{network.name}': parameter '{name}' is missing; found {', '.join(params)}")
    return values


def _meaning(param: Param, stored: np.ndarray) -> np.ndarray:
    if param.constraint == "fraction":
        return 1.0 / (1.0 + np.exp(-stored))
    if param.minimum is not None or param.constraint == "positive":
        return (param.minimum or 0.0) + np.logaddexp(stored, 0.0)
    return stored


def start(network: Network, values: Mapping[str, np.ndarray], batch: int) -> State:
    """Return the state at the beginning of an episode, as arrays with the batch axis first."""
    x, w, traces = {}, {}, {}
    for population in network.populations:
        for variable in population.state:
            value = population.start.get(variable, 0.0)
            found = (
                np.float64(value) if isinstance(value, int | float) else values[f"{population.name}.start_{variable}"]
            )
            x[f"{population.name}.{variable}"] = np.broadcast_to(found, (batch, population.size))
    for projection in network.projections:
        label, name = projection.label, f"{projection.label}.w"
        if not projection.rule and not projection.weight.per_episode:
            continue
        if name not in values:
            raise EngineError(f"parameter '{name}' is drawn per episode; pass state=")
        shape = (batch, network[projection.post].size, network[projection.pre].size)
        w[label] = np.broadcast_to(values[name], shape) * projection.synapses(*shape[1:])
        for trace, axes in projection.rule.trace_axes.items() if projection.rule else ():
            sizes = (shape[1] if "post" in axes else 1, shape[2] if "pre" in axes else 1)
            initial = projection.rule.traces[trace].init  # type: ignore[union-attr]
            traces[f"{label}.{trace}"] = np.full((batch, *sizes), initial)
    return State(x, w, traces)
