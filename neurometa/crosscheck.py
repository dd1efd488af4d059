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
from .errors import EngineError
from .spec import Network, Param, Population, Projection
from .spec.rule import split_variable
from .trajectory import Save, State, Trajectory

__all__ = ["Crosscheck", "Difference", "compare", "crosscheck", "perturbation_horizon", "replay_network"]

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
        ``"closed loop"``, ``"replay"``, or ``"float32"``.
    rows : tuple of Difference
        One for each variable.
    n_steps, n_episodes : int
        What was compared.
    horizon : int
        Steps over which a perturbation of 1e-15 stays below the tolerance; only these are judged.
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

    def assert_agrees(self) -> None:
        """Raise an `EngineError` that names the worst variable, unless all agree."""
        if not self.agrees:
            worst = max(
                (row for row in self.rows if not row.agrees), key=lambda row: np.nan_to_num(row.largest, nan=np.inf)
            )
            raise EngineError(
                f"{self.mode}: {worst.name} differs by {worst.largest:.2e} (allowed {worst.allowed:.0e}), first at step "
                f"{worst.first} of {self.n_steps}"
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
    learn: bool | Sequence[bool] | Tensor = True,
    reset: bool | Sequence[bool] | Tensor = False,
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
    """
    case = _Case(network, params, inputs, learn, reset, noise, seed)
    ours = case.torch()
    if replay:
        rows = tuple(row for p in network.plastic for row in _replay(case, ours, p, tolerance))
        return Crosscheck("replay", rows, case.n_steps, case.batch, case.n_steps)
    horizon = perturbation_horizon(case, ours, tolerance)
    theirs = brian2_engine.simulate(
        network,
        case.params,
        case.inputs,
        learn=case.learn,
        reset=case.reset,
        state=case.state,
        noise=case.noise,
        save=Save(),
    )
    rows = compare(ours, theirs, tolerance, horizon)
    return Crosscheck("closed loop", rows, case.n_steps, case.batch, horizon)


class _Case:
    """One comparison: everything in float64 on the CPU, and drawn once for both engines."""

    def __init__(self, network, params, inputs, learn, reset, noise, seed):
        self.network = network
        self.params = {name: leaf.detach().cpu().double() for name, leaf in params.items()}
        self.inputs = {name: inputs[name].detach().cpu().double() for name in network.inputs if name in inputs}
        if not self.inputs:
            raise EngineError(f"no input fits network '{network.name}', which reads {', '.join(network.inputs)}")
        first = next(iter(self.inputs.values()))
        self.n_steps, self.batch = first.shape[:2]
        self.learn = torch.as_tensor(learn).expand(self.n_steps).tolist()
        self.reset = torch.as_tensor(reset).expand(self.n_steps).tolist()
        stream = torch.Generator().manual_seed(seed)
        self.noise = {}
        for population in network.populations:
            if any("noise" in expression.names for expression in population.expressions.values()):
                drawn = torch.randn(self.n_steps, self.batch, population.size, generator=stream, dtype=first.dtype)
                given = (noise or {}).get(population.name, drawn)
                self.noise[population.name] = given.detach().cpu().double()
        self.state = torch_engine.start(network, self.params, self.batch, stream, like=first)

    def torch(self, inputs: Mapping[str, Tensor] | None = None, state: State | None = None) -> Trajectory:
        with torch.no_grad():
            return torch_engine.simulate(
                self.network,
                self.params,
                self.inputs if inputs is None else inputs,
                learn=self.learn,
                reset=self.reset,
                state=self.state if state is None else state,
                noise=self.noise,
                save=Save(),
            )


def perturbation_horizon(case: _Case, ours: Trajectory, tolerance: float) -> int:
    """Return the number of steps over which a relative perturbation of 1e-15 stays below the tolerance."""
    factor = 1 + 1e-15
    inputs = {name: value * factor for name, value in case.inputs.items()}
    state = State(*({key: value * factor for key, value in part.items()} for part in case.state))
    rows = compare(ours, case.torch(inputs, state), tolerance, case.n_steps)
    return min((row.first for row in rows if row.first is not None), default=case.n_steps)


def compare(ours: Trajectory, theirs: Trajectory, tolerance: float, horizon: int) -> tuple[Difference, ...]:
    """Compare what two trajectories kept, variable by variable; NaN in the second marks synapses that do not exist."""
    return tuple(
        difference(name, np.asarray(ours.saved[name]), np.asarray(theirs.saved[name]), tolerance, horizon)
        for name in ours.saved
    )


def difference(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float, horizon: int) -> Difference:
    """Compare one variable, ``(time, ...)``."""
    absent = np.isnan(theirs).all(0)
    a = np.where(absent, 0.0, ours).reshape(len(ours), -1)
    b = np.where(absent, 0.0, theirs).reshape(len(theirs), -1)
    judged = b[: max(horizon, 1)]
    finite = judged[np.isfinite(judged)]
    scale = max(float(np.abs(finite).max(initial=0.0)), SMALLEST_SCALE)
    with np.errstate(invalid="ignore"):
        apart = np.where(a == b, 0.0, np.abs(a - b)) / scale  # equal infinities agree
    apart = np.where(np.isnan(apart), np.inf, apart).max(1, initial=0.0)
    above = np.flatnonzero(apart > tolerance)
    largest = float(apart[: max(horizon, 1)].max(initial=0.0))
    return Difference(name, largest, tolerance, int(above[0]) if len(above) else None)


def replay_network(network: Network, projection: Projection) -> tuple[Network, dict[str, tuple[str, str]]]:
    """Return a network in which one projection learns from imposed activity.

    Parameters
    ----------
    network : Network
        The whole network.
    projection : Projection
        A plastic projection of it.

    Returns
    -------
    Network
        Only that projection, between populations whose variables are inputs.
    dict
        Input population -> ``(population, variable)`` of the original; ``("", "carried")`` is the activity that the
        projection carried.
    """
    rule = projection.rule
    if rule is None:
        raise EngineError(f"projection '{projection.label}' has no rule")
    feeds: dict[str, tuple[str, str]] = {}
    populations: list[Population] = []
    wires: list[Projection] = []
    read: dict[str, list[str]] = {"pre": [], "post": ["x"]}
    for name in rule.variables:
        variable, side = split_variable(name) or ("", "post")
        if variable not in read[side]:
            read[side].append(variable)
    read["pre"] = ["x", *(v for v in read["pre"] if v != "x")]
    fixed = Param(1.0, learned=False)
    sides = {"pre": projection.pre, "post": projection.post}
    for side, variables in read.items():
        size = network[sides[side]].size
        for variable in variables:
            source = f"{side}_{variable}_feed"
            feeds[source] = ("", "carried") if (side, variable) == ("pre", "x") else (sides[side], variable)
            populations.append(Population(source, size))
            wires.append(Projection(source, f"{side}side", into=f"in_{variable}", w=fixed, mask="one_to_one"))
    for side, variables in read.items():
        into = (*(f"in_{variable}" for variable in variables), *(("drive",) if side == "post" else ()))
        update = {variable: f"in_{variable}" for variable in variables}
        if "drive" in update:  # the variable takes the name of the current
            into = (*(name for name in into if name != "drive"), "current")
        populations.append(Population(f"{side}side", network[sides[side]].size, update, inputs=into))
    modulators = {}
    for name, source in projection.modulators.items():
        feeds[f"{name}_feed"] = (source, "x")
        modulators[name] = f"{name}_feed"
        populations.insert(0, Population(f"{name}_feed", network[source].size))
    into = "current" if "drive" in read["post"] else "drive"
    own = replace(projection, pre="preside", post="postside", name="learning", into=into, modulators=modulators)
    return Network(tuple(populations), (*wires, own), output="postside.x", dt=network.dt, name="replay"), feeds


def _replay(case: _Case, ours: Trajectory, projection: Projection, tolerance: float) -> list[Difference]:
    small, feeds = replay_network(case.network, projection)
    label = projection.label
    inputs = {
        name: _carried(case, ours, projection) if variable == "carried" else ours.saved[f"{variable}.{population}"]
        for name, (population, variable) in feeds.items()
    }
    params = {f"learning.{n.removeprefix(label + '.')}": v for n, v in case.params.items() if n.startswith(label + ".")}
    for name in small.leaves:
        params.setdefault(name, torch.ones(1, 1, dtype=torch.double))
    begin = torch_engine.start(small, params, case.batch, torch.Generator(), like=inputs["pre_x_feed"])
    traces = {
        f"learning.{n.removeprefix(label + '.')}": v for n, v in case.state.traces.items() if n.startswith(label + ".")
    }
    begin = State(begin.x, {"learning": case.state.w[label]}, traces)
    theirs = brian2_engine.simulate(
        small,
        params,
        inputs,
        learn=case.learn,
        state=begin,
        save=Save(("w.learning", *(("traces.*",) if traces else ()))),
    )
    return [
        difference(
            name.replace("learning", label),
            ours.saved[name.replace("learning", label)].numpy(),
            found,
            tolerance,
            case.n_steps,
        )
        for name, found in theirs.saved.items()
    ]


def _carried(case: _Case, ours: Trajectory, projection: Projection) -> Tensor:
    """Return the activity that a projection carried at every step."""
    if projection.pre == "one":
        return torch.ones(case.n_steps, case.batch, 1, dtype=torch.double)
    x = ours.saved[f"x.{projection.pre}"]
    order = [population.name for population in case.network.populations]
    if order.index(projection.pre) < order.index(projection.post):
        return x
    begin = case.state.x[f"{projection.pre}.x"]
    reset = torch.tensor(case.reset)[:, None, None]
    return torch.where(reset, begin, torch.cat([begin[None], x[:-1]]))
