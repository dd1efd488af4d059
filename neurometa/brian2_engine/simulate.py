"""Running a network in Brian2: same call, same trajectory type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import EngineError
from ..spec import Network
from ..trajectory import Save, State, Trajectory
from ._brian2 import load, plain_numpy
from .build import Model
from .values import array, constrained, start

__all__ = ["simulate"]


def simulate(
    network: Network,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    learn: bool | Sequence[bool] | Any = True,
    reset: bool | Sequence[bool] | Any = False,
    state: State | None = None,
    noise: Mapping[str, Any] | None = None,
    save: Save | None = None,
) -> Trajectory:
    """Run a network over a sequence of inputs in Brian2, in float64 on its numpy target.

    Parameters
    ----------
    network : Network
        The description.
    params : mapping of str to tensor or array
        Stored leaves, with or without a batch axis.
    inputs : mapping of str to tensor or array
        Input population -> ``(time, batch, n)``.
    learn, reset : bool or (time,)
        As in the torch engine.
    state : State, optional
        Start from here.
    noise : mapping of str to tensor or array, optional
        Population -> ``(time, batch, n)``: noise is data, so that both engines see the same.
    save : Save, optional
        What to keep besides the output.

    Returns
    -------
    Trajectory
        Of numpy arrays; synapses that do not exist are NaN in ``saved`` weights and traces, 0 in ``final``.

    Raises
    ------
    EngineError
        If brian2 is not installed, or cannot express something (named, with the reason).
    """
    b2 = load()
    fed = {name: array(inputs[name]) for name in network.inputs if name in inputs}
    if set(fed) != set(network.inputs):
        missing = min(set(network.inputs) - set(fed))
        raise EngineError(f"input '{missing}' is missing; network '{network.name}' reads {', '.join(network.inputs)}")
    n_steps, batch = next(iter(fed.values())).shape[:2]
    learns, resets = (_flags(flags, n_steps) for flags in (learn, reset))
    noises = {name: array(value) for name, value in (noise or {}).items()}
    with plain_numpy(b2):
        values = constrained(network, params)
        model = Model(b2, network, values, batch)
        beginning = start(network, values, batch) if state is None else _arrays(state)
        _set(model, beginning, activity=True, synapses=True)
        feed = _feeder(b2, model, beginning, fed, noises, learns, resets)
        monitors, names = _monitors(b2, model)
        wanted = save.choose([*names]) if save else []
        used = {names[name][0] for name in wanted} | {f"x.{network.output.split('.')[0]}"}
        watching = {key: monitors[key]() for key in used}
        made = model.finish(feed, *watching.values())
        made.run(n_steps * network.dt * b2.ms)
    population, variable = network.output.split(".")
    output = _neurons(getattr(watching[f"x.{population}"], f"v_{variable}"), batch)
    steps = tuple(range(0, n_steps, save.every)) if save else ()
    saved = {name: _read(model, watching, names[name])[list(steps)] for name in wanted}
    return Trajectory(output, _final(model), saved, steps)


def _flags(flags: Any, n_steps: int) -> list[bool]:
    if isinstance(flags, bool):
        return [flags] * n_steps
    found = [bool(flag) for flag in array(flags)]
    if len(found) != n_steps:
        raise EngineError(f"learn and reset have {len(found)} steps, the inputs have {n_steps}")
    return found


def _arrays(state: State) -> State:
    return State(*({key: array(value) for key, value in part.items()} for part in state))


def _set(model: Model, state: State, *, activity: bool, synapses: bool) -> None:
    network = model.network
    model.groups["one"].v_x = 1.0
    for population in network.populations if activity else ():
        for variable in population.state:
            value = np.broadcast_to(state.x[f"{population.name}.{variable}"], (model.batch, population.size))
            setattr(model.groups[population.name], f"v_{variable}", value.ravel())
    for projection in network.projections if synapses else ():
        label = projection.label
        b, post, pre = model.places[label]
        shape = (model.batch, network[projection.post].size, network[projection.pre].size)
        if label in state.w:
            model.synapses[label].w = np.broadcast_to(state.w[label], shape)[b, post, pre]
        for trace in projection.rule.traces if projection.rule else ():
            value = np.broadcast_to(state.traces[f"{label}.{trace}"], shape)[b, post, pre]
            setattr(model.synapses[label], f"t_{trace}", value)


def _feeder(b2, model, beginning, fed, noises, learns, resets):
    """Return the operation that, before each step, sets inputs, noise and flags, and resets activity."""
    for population in model.network.populations:
        needs = any("noise" in expression.names for expression in population.expressions.values())
        if needs and population.name not in noises:
            raise EngineError(f"population '{population.name}' reads noise; pass noise=")
    step = [0]

    def feed() -> None:
        t = step[0]
        step[0] += 1
        if resets[t]:
            _set(model, beginning, activity=True, synapses=False)
        for name, sequence in fed.items():
            model.groups[name].fed = sequence[t].ravel()
        for name, sequence in noises.items():
            model.groups[name].noise = sequence[t].ravel()
        for projection in model.network.plastic:
            model.synapses[projection.label].learning = float(learns[t])

    return b2.NetworkOperation(feed, clock=model.clock, when="feed", name="feed_operation")


def _monitors(b2: Any, model: Model) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """Return makers of monitors, and for every name that can be kept its monitor and variable."""
    makers, names = {}, {}

    def maker(target, variables, key):
        label = f"monitor_{key.replace('.', '_')}"
        return lambda: b2.StateMonitor(target, variables, record=True, when="last", name=label, clock=model.clock)

    for population in model.network.populations:
        key = f"x.{population.name}"
        makers[key] = maker(model.groups[population.name], [f"v_{v}" for v in population.variables], key)
        names |= {f"{v}.{population.name}": (key, f"v_{v}") for v in population.variables}
    for projection in model.network.plastic:
        key = f"w.{projection.label}"
        traces = [f"t_{name}" for name in projection.rule.traces]  # type: ignore[union-attr]
        makers[key] = maker(model.synapses[projection.label], ["w", *traces], key)
        names[key] = (key, "w")
        names |= {f"traces.{projection.label}.{name[2:]}": (key, name) for name in traces}
    return makers, names


def _neurons(recorded: Any, batch: int) -> np.ndarray:
    """Turn ``(batch*n, time)`` into ``(time, batch, n)``."""
    return np.asarray(recorded).reshape(batch, -1, np.asarray(recorded).shape[-1]).transpose(2, 0, 1)


def _read(model: Model, watching: Mapping[str, Any], place: tuple[str, str]) -> np.ndarray:
    key, variable = place
    recorded = np.asarray(getattr(watching[key], variable))
    kind, label = key.split(".", 1)
    if kind == "x":
        return _neurons(recorded, model.batch)
    projection = next(p for p in model.network.plastic if p.label == label)
    shape = [model.network[projection.post].size, model.network[projection.pre].size]
    b, post, pre = model.places[label]
    if variable != "w":
        axes = projection.rule.trace_axes[variable[2:]]  # type: ignore[union-attr]
        shape = [size if side in axes else 1 for size, side in zip(shape, ("post", "pre"), strict=True)]
        post, pre = post * ("post" in axes), pre * ("pre" in axes)
    found = np.full((recorded.shape[-1], model.batch, *shape), np.nan)
    found[:, b, post, pre] = recorded.T
    return found


def _final(model: Model) -> State:
    x = {}
    for population in model.network.populations:
        for variable in population.state:
            value = np.asarray(getattr(model.groups[population.name], f"v_{variable}"))
            x[f"{population.name}.{variable}"] = value.reshape(model.batch, -1)
    w = {}
    for projection in model.network.plastic:
        b, post, pre = model.places[projection.label]
        shape = (model.batch, model.network[projection.post].size, model.network[projection.pre].size)
        w[projection.label] = np.zeros(shape)
        w[projection.label][b, post, pre] = np.asarray(model.synapses[projection.label].w)
    return State(x, w, {})
