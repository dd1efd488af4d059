"""Running a network in Brian2: same call, same trajectory type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import EngineError
from ..spec import Network, Projection
from ..trajectory import Save, State, Trajectory
from ._brian2 import load, plain_numpy
from .build import Model
from .standalone import feeds, program
from .values import activity, array, constrained, flags, sequences, start

__all__ = ["simulate"]

#: Time of the last spike, ms, of a neuron that has not spiked, as Brian2 has it.
NEVER = -1e7


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
    standalone: bool = False,
) -> Trajectory:
    """Run a network over a sequence of inputs in Brian2, in float64.

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
        Continue from here.
    noise : mapping of str to tensor or array, optional
        Population -> ``(time, batch, n)``: noise is data, so that both engines see the same.
    save : Save, optional
        What to keep besides the output.
    standalone : bool
        Let Brian2 write, compile and run a C++ program (its device ``cpp_standalone``) instead of interpreting every
        step with numpy: for hundreds of thousands of steps. It takes a C++ compiler and some minutes to compile. Inputs
        of boolean type are handed over as spike times, others as tables of 8 bytes a number. There is no reset, and
        learning is on or off throughout.

    Returns
    -------
    Trajectory
        Of numpy arrays; synapses that do not exist are NaN in ``saved`` weights and traces, 0 in ``final``.

    Raises
    ------
    EngineError
        If brian2 is not installed, or cannot express something (named, with the reason).

    Notes
    -----
    The program does the same arithmetic, but a compiler may contract a product and a sum into one rounding.
    """
    b2 = load()
    fed = sequences(network, inputs)
    n_steps, batch = next(iter(fed.values())).shape[:2]
    learns, resets = flags(learn, n_steps, "learn"), flags(reset, n_steps, "reset")
    noises = _noises(network, noise or {}, (n_steps, batch))
    places = _places(network)
    wanted = save.choose([*places]) if save else []
    population, variable = network.output.split(".")
    with program(b2) if standalone else plain_numpy(b2), np.errstate(all="ignore"):
        values = constrained(network, params, batch)
        beginning = start(network, values, batch) if state is None else _arrays(state)
        rest = activity(network, values, batch) if any(resets) else {}
        model = Model(b2, network, values, batch)
        _set_activity(model, beginning.x, 0)
        _set_synapses(model, beginning)
        if standalone:
            feed = feeds(b2, model, fed, noises, learns, resets)
        else:
            feed = [_feeder(b2, model, rest, fed, noises, learns, resets)]
        answers = _monitor(b2, model, "x", population, [f"v_{variable}"], "answers")
        watching = {}
        for key in dict.fromkeys(places[name][:2] for name in wanted):
            variables = [places[name][2] for name in wanted if places[name][:2] == key]
            watching[key] = _monitor(b2, model, *key, variables, every=save.every if save else 1)
        made = model.finish(*feed, answers, *watching.values())
        if any(np.any(value) for name, value in beginning.x.items() if name.endswith(".arriving")) or (
            any(resets[1:]) and any(p.delay for p in network.projections)
        ):
            raise EngineError("Brian2's queues start empty and are not emptied: no reset, and no spikes under way")
        made.run(n_steps * network.dt * b2.ms, namespace={})  # an empty one: nothing is looked up in this frame
        if standalone:
            b2.get_device().build(directory=None, compile=True, run=True)
        output = _neurons(getattr(answers, f"v_{variable}"), batch)
        steps = tuple(range(0, n_steps, save.every)) if save else ()
        saved = {name: _recorded(model, watching, places[name]) for name in wanted}
        return Trajectory(output, _final(model, n_steps), saved, steps)


def _noises(network: Network, noise: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    found = {}
    for population in network.populations:
        name = population.name
        if not any("noise" in expression.names for expression in population.expressions.values()):
            continue
        if name not in noise:
            raise EngineError(f"population '{name}' reads noise; pass noise=")
        found[name] = array(noise[name])
        if found[name].shape != (*shape, population.size):
            wanted = (*shape, population.size)
            raise EngineError(f"noise of '{name}' has shape {found[name].shape}; allowed: {wanted}")
    return found


def _arrays(state: State) -> State:
    return State(*({key: array(value) for key, value in part.items()} for part in state))


def _set_activity(model: Model, x: Mapping[str, np.ndarray], t: int) -> None:
    dt = model.network.dt
    model.groups["one"].v_x = 1.0
    for population in model.network.populations:
        for variable in population.state:
            value = np.broadcast_to(x[f"{population.name}.{variable}"], (model.batch, population.size)).ravel()
            if variable == "refractory":
                last = t - 1 + value - model.network.refractory_steps(population)
                model.groups[population.name].lastspike = np.where(value > 0, last * dt, NEVER) * model.b2.ms
            else:
                setattr(model.groups[population.name], f"v_{variable}", value)


def _set_synapses(model: Model, state: State) -> None:
    for projection in model.network.projections:
        label, synapses = projection.label, model.synapses[projection.label]
        if label in state.w:
            model.place(projection, synapses, "w", state.w[label])
        for trace in projection.rule.traces if projection.rule else ():
            model.place(projection, synapses, f"t_{trace}", state.traces[f"{label}.{trace}"])


def _feeder(
    b2: Any,
    model: Model,
    rest: Mapping[str, np.ndarray],
    fed: Mapping[str, np.ndarray],
    noises: Mapping[str, np.ndarray],
    learns: Sequence[bool],
    resets: Sequence[bool],
) -> Any:
    """Return the operation that, before each step, sets inputs, noise and flags, and resets activity."""
    step = [0]

    def feed() -> None:
        t = step[0]
        step[0] += 1
        if resets[t]:
            _set_activity(model, rest, t)
        for name, sequence in fed.items():
            model.groups[name].fed = sequence[t].ravel()
        for name, sequence in noises.items():
            model.groups[name].noise = sequence[t].ravel()
        for projection in model.network.plastic:
            model.synapses[projection.label].learning = float(learns[t])

    return b2.NetworkOperation(feed, clock=model.clock, when="feed", name="feed_operation")


def _kept(network: Network) -> list[Projection]:
    """Return the projections whose weights belong to the state."""
    return [p for p in network.projections if p.rule or p.weight.per_episode]


def _places(network: Network) -> dict[str, tuple[str, str, str]]:
    """Return where everything that can be kept is found: ``"x"`` or ``"w"``, population or projection, variable."""
    places = {f"{v}.{p.name}": ("x", p.name, f"v_{v}") for p in network.populations for v in p.variables}
    for projection in _kept(network):
        label = projection.label
        places[f"w.{label}"] = ("w", label, "w")
        traces = projection.rule.traces if projection.rule else ()
        places |= {f"traces.{label}.{name}": ("w", label, f"t_{name}") for name in traces}
    return places


def _monitor(b2: Any, model: Model, kind: str, label: str, variables: list[str], name: str = "", every: int = 1) -> Any:
    """Return a monitor of variables of a population or projection, after the last operation of a step."""
    target = model.groups[label] if kind == "x" else model.synapses[label]
    name = f"monitor_{name or target.name}"
    clock = model.clock if every == 1 else b2.Clock(dt=every * model.network.dt * b2.ms, name=f"clock_of_{name}")
    return b2.StateMonitor(target, variables, record=True, when="last", name=name, clock=clock)


def _neurons(recorded: Any, batch: int) -> np.ndarray:
    """Turn ``(batch*n, time)`` into ``(time, batch, n)``."""
    return np.asarray(recorded).reshape(batch, -1, np.asarray(recorded).shape[-1]).transpose(2, 0, 1)


def _recorded(model: Model, watching: Mapping[tuple[str, str], Any], place: tuple[str, str, str]) -> np.ndarray:
    """Return what a monitor saw of one variable, ``(time, batch, ...)``."""
    kind, label, variable = place
    recorded = np.asarray(getattr(watching[kind, label], variable))
    if kind == "x":
        return _neurons(recorded, model.batch)
    projection = next(p for p in model.network.projections if p.label == label)
    return _spread(model, projection, variable, recorded.T, np.nan)


def _spread(model: Model, projection: Projection, variable: str, values: np.ndarray, absent: float) -> np.ndarray:
    """Turn ``(..., synapses)`` into ``(..., batch, post | 1, pre | 1)``."""
    episode, post, pre = model.places[projection.label]
    batch, n_post, n_pre = model.shape(projection)
    if variable != "w" and projection.rule:
        axes = projection.trace_axes[variable.removeprefix("t_")]
        if "post" not in axes:
            post, n_post = np.zeros_like(post), 1
        if "pre" not in axes:
            pre, n_pre = np.zeros_like(pre), 1
    found = np.full((*values.shape[:-1], batch, n_post, n_pre), absent)
    found[..., episode, post, pre] = values
    return found


def _final(model: Model, n_steps: int) -> State:
    x = {"one.x": np.ones((model.batch, 1))}
    for population in model.network.populations:
        for variable in population.state:
            if variable == "refractory":
                since = n_steps - 1 - np.array(model.groups[population.name].lastspike / model.clock.dt)
                value = np.maximum(model.network.refractory_steps(population) - np.rint(since), 0.0)
            else:
                value = np.array(getattr(model.groups[population.name], f"v_{variable}"))
            x[f"{population.name}.{variable}"] = value.reshape(model.batch, -1)
    w, traces = {}, {}
    for projection in _kept(model.network):
        label, synapses = projection.label, model.synapses[projection.label]
        w[label] = _spread(model, projection, "w", np.array(synapses.w), 0.0)
        for name in projection.rule.traces if projection.rule else ():
            value = np.array(getattr(synapses, f"t_{name}"))
            traces[f"{label}.{name}"] = _spread(model, projection, f"t_{name}", value, 0.0)
    return State(x, w, traces)
