"""Does a second simulator agree? The same description, parameters and inputs through torch and through Brian2.

In the closed loop both engines run the whole network on their own. Where the network is chaotic, rounding errors grow
until they differ whatever one does, so the horizon is measured: the number of steps over which a perturbation of 1e-15
stays below the tolerance. In replay mode Brian2 gets the recorded activity instead and only the synapses evolve, which
has no such limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import brian2_engine, torch_engine
from .callable_module import make_callable
from .errors import EngineError
from .spec import Network, Param, Population, Projection, Spikes
from .spec.rule import split_variable
from .torch_engine.params import draw, unconstrain
from .trajectory import Save, State, Trajectory

__all__ = ["Crosscheck", "Difference", "compare", "crosscheck", "precision", "replay_network"]

Flags = bool | Sequence[bool] | Tensor
TOLERANCE = 1e-10
#: A variable's differences are taken relative to its largest absolute value, or to this if that is smaller.
SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Difference:
    """How far one variable differs between two runs.

    Attributes
    ----------
    name : str
        Variable as in `Save`.
    largest : float
        Largest difference within the horizon, relative to the variable's largest absolute value.
    allowed : float
        What is allowed.
    first : int or None
        First step at which the difference is above what is allowed, horizon or not.
    """

    name: str
    largest: float
    allowed: float
    first: int | None

    @property
    def agrees(self) -> bool:
        """Whether the difference is allowed (one that is not a number is not)."""
        return bool(self.largest <= self.allowed)


@dataclass(frozen=True)
class Crosscheck:
    """Outcome of a cross-check.

    Attributes
    ----------
    mode : str
        ``"closed loop"``, ``"replay"``, or a number format, such as ``"float32"``.
    rows : tuple of Difference
        One for each variable.
    n_steps, n_episodes : int
        What was compared.
    horizon : int
        Steps that are judged; in the closed loop those over which a perturbation of 1e-15 stays below the tolerance.
    """

    mode: str
    rows: tuple[Difference, ...]
    n_steps: int
    n_episodes: int
    horizon: int

    @property
    def agrees(self) -> bool:
        """Whether every variable does."""
        return all(row.agrees for row in self.rows)

    @property
    def largest(self) -> float:
        """The largest difference of any variable."""
        return max((row.largest for row in self.rows), default=0.0)

    def assert_agrees(self) -> None:
        """Raise an `EngineError` that names the worst variable, unless all agree."""
        wrong = [row for row in self.rows if not row.agrees]
        if wrong:
            worst = max(wrong, key=lambda row: row.largest)
            raise EngineError(
                f"{self.mode}: {worst.name} differs by {worst.largest:.2e} (allowed {worst.allowed:.0e}), first at "
                f"step {worst.first} of {self.n_steps}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as what ``json`` writes."""
        rows = [{**vars(row), "agrees": row.agrees} for row in self.rows]
        return {**vars(self), "rows": rows, "agrees": self.agrees}


def crosscheck(
    network: Network,
    params: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    *,
    learn: Flags = True,
    reset: Flags = False,
    noise: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    replay: bool = False,
    tolerance: float = TOLERANCE,
) -> Crosscheck:
    """Run a network in both engines, in float64, and compare every variable at every step.

    Parameters
    ----------
    network : Network
        The description.
    params : mapping of str to Tensor
        Stored leaves.
    inputs : mapping of str to Tensor
        Input population -> ``(time, batch, n)``.
    learn, reset : bool or (time,)
        As in the engines.
    noise : mapping of str to Tensor, optional
        Population -> ``(time, batch, n)``; drawn from ``seed`` where absent.
    seed : int
        Of noise and of parameters that are drawn per episode.
    replay : bool
        Give Brian2 the activity that torch recorded, and compare weights and traces only.
    tolerance : float
        Allowed difference, relative to each variable's largest absolute value.

    Returns
    -------
    Crosscheck
        Variable by variable.

    Raises
    ------
    EngineError
        If Brian2 is not installed or cannot express the network, or there is nothing to replay.

    Examples
    --------
    >>> import torch
    >>> from neurometa import Streams, init_params, networks
    >>> network = networks.associative(n_in=3, n_out=2)
    >>> params = init_params(network, Streams(0)["init"])
    >>> inputs = {name: torch.rand(20, 4, size) for name, size in network.inputs.items()}
    >>> crosscheck(network, params, inputs).agrees
    True
    """
    case = _Case(network, params, inputs, learn, reset, noise, seed, tolerance)
    ours = case.run()
    if replay:
        return case.outcome("replay", ours, _replayed(case, ours), case.n_steps)
    theirs = brian2_engine.simulate(
        network, case.params, case.inputs, learn=case.learn, reset=case.reset, noise=case.noise, save=Save()
    )
    return case.outcome("closed loop", ours, theirs, _horizon(case, ours))


def precision(
    network: Network,
    params: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    *,
    learn: Flags = True,
    reset: Flags = False,
    noise: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> Crosscheck:
    """Hold the trajectory in the parameters' own number format against the float64 one, both in torch.

    Parameters and results are as in `crosscheck`; the mode is the number format, such as ``"float32"``.
    """
    case = _Case(network, params, inputs, learn, reset, noise, seed, tolerance)
    dtype = next(iter(params.values())).dtype
    return case.outcome(str(dtype).removeprefix("torch."), case.run(dtype), case.run(), case.n_steps)


class _Case:
    """One comparison: everything in float64 on the CPU, and drawn once for all engines."""

    def __init__(self, network, params, inputs, learn, reset, noise, seed, tolerance):
        self.network, self.tolerance = network, tolerance
        self.params = {name: leaf.detach().cpu().double() for name, leaf in params.items()}
        self.inputs = {name: inputs[name].detach().cpu().double() for name in network.inputs if name in inputs}
        if not self.inputs:
            raise EngineError(f"no input fits network '{network.name}', which reads {', '.join(network.inputs)}")
        first = next(iter(self.inputs.values()))
        self.n_steps, self.batch = first.shape[:2]
        self.learn, self.reset = (torch.as_tensor(flag).expand(self.n_steps).tolist() for flag in (learn, reset))
        stream = torch.Generator().manual_seed(seed)
        for name, leaf in network.leaves.items():
            if leaf.param.per_episode and name not in self.params:
                drawn = draw(leaf, leaf.param.init, stream, first.dtype, (self.batch,))
                self.params[name] = unconstrain(leaf.param, drawn)
        self.noise = {}
        for population in network.populations:
            if any("noise" in expression.names for expression in population.expressions.values()):
                drawn = torch.randn(self.n_steps, self.batch, population.size, generator=stream, dtype=first.dtype)
                self.noise[population.name] = (noise or {}).get(population.name, drawn).detach().cpu().double()

    def run(self, dtype: torch.dtype | None = None, factor: float = 1.0) -> Trajectory:
        """Run in torch; in another number format, or with inputs and beginning multiplied by a factor."""

        def own(tree: Mapping[str, Tensor], by: float = 1.0) -> dict[str, Tensor]:
            return {name: (leaf * by).to(dtype or leaf.dtype) for name, leaf in tree.items()}

        params, inputs = own(self.params), own(self.inputs, factor)
        begin = torch_engine.start(self.network, params, self.batch, like=next(iter(inputs.values())))
        with torch.no_grad():
            return torch_engine.simulate(
                self.network,
                params,
                inputs,
                learn=self.learn,
                reset=self.reset,
                state=State(*(own(part, factor) for part in begin)),
                noise=own(self.noise),
                save=Save(),
            )

    def outcome(self, mode: str, ours: Trajectory, theirs: Trajectory, horizon: int) -> Crosscheck:
        """Compare what the second trajectory kept."""
        rows = compare(self.network, ours, theirs, self.tolerance, horizon)
        return Crosscheck(mode, rows, self.n_steps, self.batch, horizon)


def _horizon(case: _Case, ours: Trajectory) -> int:
    """Return the number of steps over which a relative perturbation of 1e-15 stays below the tolerance."""
    rows = compare(case.network, ours, case.run(factor=1 + 1e-15), case.tolerance, case.n_steps)
    return min((row.first for row in rows if row.first is not None), default=case.n_steps)


def compare(
    network: Network, ours: Trajectory, theirs: Trajectory, tolerance: float, horizon: int
) -> tuple[Difference, ...]:
    """Compare two trajectories of a network, variable by variable, in what the second one kept.

    Parameters
    ----------
    network : Network
        The description; tells which synapses exist.
    ours, theirs : Trajectory
        Of the same steps; torch's first.
    tolerance : float
        Allowed difference, relative to each variable's largest absolute value.
    horizon : int
        Steps that are judged.

    Returns
    -------
    tuple of Difference
        One for each variable.
    """
    absent: dict[str, np.ndarray] = {}
    for p in network.projections:
        exists = p.synapses(network[p.post].size, network[p.pre].size)
        absent[f"w.{p.label}"] = ~exists
        for trace, axes in p.trace_axes.items():
            summed = tuple(i for i, side in enumerate(("post", "pre")) if side not in axes)
            absent[f"traces.{p.label}.{trace}"] = ~np.asarray(exists.any(summed, keepdims=True))
    rows = []
    for name in theirs.saved:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        if name in absent:
            b = np.where(absent[name], 0.0, b)  # a synapse that does not exist has the weight 0 in torch
            a = np.where(absent[name], 0.0, a) if name.startswith("traces.") else a
        rows.append(difference(name, a, b, tolerance, horizon))
    return tuple(rows)


def difference(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float, horizon: int) -> Difference:
    """Compare one variable, ``(time, ...)``."""
    a, b = (values.reshape(len(values), -1).astype(float) for values in (ours, theirs))
    judged = b[: max(horizon, 1)]
    scale = max(float(np.abs(judged[np.isfinite(judged)]).max(initial=0.0)), SMALLEST_SCALE)
    with np.errstate(invalid="ignore"):
        apart = np.where(a == b, 0.0, np.abs(a - b)) / scale  # equal infinities agree
    apart = np.where(np.isnan(apart), np.inf, apart).max(1, initial=0.0)
    above = np.flatnonzero(apart > tolerance)
    largest = float(apart[: max(horizon, 1)].max(initial=0.0))
    return Difference(name, largest, tolerance, int(above[0]) if len(above) else None)


def replay_network(network: Network) -> tuple[Network, dict[str, tuple[str, str]]]:
    """Return a network in which the plastic projections learn from imposed activity.

    Parameters
    ----------
    network : Network
        The whole network.

    Returns
    -------
    Network
        The plastic projections, and the populations that they and their modulators read, in the same order; every
        variable that is read is imposed.
    dict
        Input population -> ``(population, variable)`` of the original that it shows.

    Raises
    ------
    EngineError
        If no projection is plastic.
    """
    if not network.plastic:
        raise EngineError(f"network '{network.name}' has no plastic projection, so there is nothing to replay")
    read: dict[str, set[str]] = {}
    for projection in network.plastic:
        sides = {"pre": projection.pre, "post": projection.post}
        for name in (*sides.values(), *projection.modulators.values()):
            read.setdefault(name, {"x"})
        for name in projection.rule.variables if projection.rule else ():
            variable, side = split_variable(name) or ("x", "post")
            read[sides[side]].add(variable)
            _refuse_moving(network, sides[side], variable)
    feeds: dict[str, tuple[str, str]] = {}
    first: list[Population] = []
    imposed: list[Population] = []
    wires: list[Projection] = []
    for population in network.populations:
        if population.name not in read or population.is_input:
            if population.name in read:
                feeds[population.name] = (population.name, "x")
                imposed.append(population)
            continue
        shown = {v: f"{population.name}_{v}_shown" for v in population.variables if v in read[population.name]}
        for variable, name in shown.items():
            feeds[name] = (population.name, variable)
            first.append(Population(name, population.size))
            one = Param(1.0, learned=False)
            wires.append(Projection(name, population.name, into=f"shown_{variable}", w=one, mask="one_to_one"))
        heard = any(p.post == population.name and network.delivers(p) for p in network.plastic)
        imposed.append(_imposed(population, list(shown), heard))
    # A projection carries what its source is when the input current is added up: early or late, as in the network.
    into = {p.label: "unused_late" if p.into in network[p.post].phases[1][0] else "unused" for p in network.plastic}
    into |= {p.label: "heard" for p in network.plastic if network.delivers(p)}
    plastic = tuple(replace(projection, into=into[projection.label]) for projection in network.plastic)
    output = f"{network.plastic[0].post}.x"
    return Network((*first, *imposed), (*wires, *plastic), output=output, dt=network.dt, name="replay"), feeds


def _refuse_moving(network: Network, population: str, variable: str) -> None:
    """Refuse to replay what a rule sees before, and a trajectory after spikes have changed it."""
    spikes = network[population].spikes
    reset = {a.target for a in spikes.assignments} if spikes else set()
    if variable in reset | {p.into for p in network.projections if p.post == population and network.delivers(p)}:
        raise EngineError(
            f"a rule reads '{variable}' of '{population}' before a spike changes it, which a trajectory does not show; "
            "compare the closed loop"
        )


def _imposed(population: Population, shown: list[str], heard: bool) -> Population:
    """Return a population to which its variables are shown, late ones late; what else comes in goes nowhere."""
    late_inputs, late_stages = population.phases[1]
    late = {variable for _, texts in late_stages for variable in texts}
    update = {f"late {v}" if v in late else v: f"shown_{v}" for v in shown}
    if late_inputs:
        update["late unused_heard"] = "unused_late"
    start = {variable: value for variable, value in population.start.items() if variable in shown}
    inputs = (*(f"shown_{v}" for v in shown), "unused", "unused_late")
    spikes = Spikes("fires > 0.5") if population.spikes else None
    if spikes:
        update = {"fires": update.pop("x"), **update}
    if heard:
        update["heard"] = "0.0"
    return Population(population.name, population.size, update, start=start, inputs=inputs, spikes=spikes)


def _replayed(case: _Case, ours: Trajectory) -> Trajectory:
    """Return what Brian2 makes of the synapses when it is shown the activity that torch recorded."""
    small, feeds = replay_network(case.network)
    params = {name: torch.ones(1, 1) for name in small.leaves} | case.params
    inputs = {name: ours.saved[f"{variable}.{population}"] for name, (population, variable) in feeds.items()}
    kept = {f"w.{projection.label}" for projection in small.plastic}
    save = Save(tuple(name for name in ours.saved if name in kept or name.startswith("traces.")))
    return brian2_engine.simulate(small, params, inputs, learn=case.learn, reset=case.reset, save=save)


make_callable(__name__, crosscheck)
