"""The phenomenology of a rule, computed by the torch engine from the rule's own text: arrays out.

`dw_surface` is the change of one synapse over the activity of its two neurons, `weight_course` what the weights of
two populations do under random input, `verdict` whether their size settles, drifts or diverges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..errors import EngineError
from ..spec import Network, Normal, Param, PlasticityRule, Population, Projection
from ..spec.rule import is_modulator, split_variable
from ..streams import generator
from ..torch_engine import constrain, init_params, prepare, simulate, start
from ..torch_engine.plasticity import make_update
from ..trajectory import Save, State
from .learned import learned

__all__ = ["LIMIT", "Course", "Surface", "card_network", "dw_surface", "verdict", "weight_course"]

#: The two populations: name and size.
_SIDES = {"pre": ("source", 5), "post": ("sink", 4)}
#: A weight vector longer than this has diverged.
LIMIT = 1e6
#: Steps for which a pair of activities is held before dw is read, in a rule with traces.
HOLD = 5


@dataclass(frozen=True, eq=False)
class Surface:
    """Change of a synapse over the activity of its neurons.

    Attributes
    ----------
    pre, post : (n,)
        Activities.
    w : (3,)
        Weights: -1, 0 and 1, within the rule's bounds.
    factor : str
        The third factor: the modulator or variable whose level the first axis of ``dw`` varies; empty if none is read.
    levels : (k,)
        Its levels; one entry where there is no third factor.
    held : dict of str to float
        Further modulators and variables, and at which level they were held.
    dw : (k, 3, n_post, n_pre)
        Change of ``w`` per ms; of a ``step`` rule, in one step.
    """

    pre: np.ndarray
    post: np.ndarray
    w: np.ndarray
    factor: str
    levels: np.ndarray
    held: Mapping[str, float]
    dw: np.ndarray


@dataclass(frozen=True, eq=False)
class Course:
    """Weights over time under random input.

    Attributes
    ----------
    scales : (s,)
        Scales of the input.
    w : (time + 1, s, post, pre)
        Weights, the start included.
    bounds : pair of float, optional
        Bounds of ``w``.
    """

    scales: np.ndarray
    w: np.ndarray
    bounds: tuple[float, float] | None

    @property
    def length(self) -> np.ndarray:
        """Length of a neuron's weight vector, mean over neurons: ``(time + 1, s)``."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.sqrt((self.w**2).sum(-1)).mean(-1)

    @property
    def verdicts(self) -> list[str]:
        """Whether |w| settles, drifts or diverges, for every scale; with a remark where the bounds hold it."""
        found = []
        for i, length in enumerate(self.length.T):
            said = verdict(length)
            pinned = self.bounds is not None and np.isin(self.w[-1, i], self.bounds).mean() >= 0.5
            found.append("settles at its bounds" if pinned and said == "settles" else said)
        return found


def card_network(rule: PlasticityRule) -> Network:
    """Return the network of the card: five linear neurons, projecting to four.

    Every modulator is an input of size 1. Further variables that the rule reads are given a meaning: ``error`` is a
    random linear map of the input minus the activity, any other one a slow average of squared activity.

    Raises
    ------
    EngineError
        If the rule has ``on_pre`` or ``on_post``: its change is not a function of two activities.
    """
    if rule.has_events:
        raise EngineError(
            f"rule '{rule.name}' changes w at spikes (on_pre, on_post), not with activity; draw spike_timing(rule)"
        )

    def population(side: str) -> Population:
        found = [split_variable(name) or ("", "") for name in rule.variables]
        own = [variable for variable, where in found if where == side and variable not in ("x", "drive", "target")]
        update = {v: "target - x" if v.startswith("error") else f"0.9*{v} + 0.1*x*x" for v in own}
        return Population(*_SIDES[side], {"x": "drive", **update}, inputs=("drive", "target"))

    n_pre = _SIDES["pre"][1]
    inputs = [Population("stimulus", n_pre), *(Population(f"from_{name}", 1) for name in rule.modulators)]
    goal = Param(Normal(0.0, "1/sqrt(n_pre)"), per="synapse")
    return Network(
        (*inputs, population("pre"), population("post")),
        (
            Projection("stimulus", "source", name="shown", w=Param(1.0), mask="one_to_one"),
            Projection("stimulus", "source", name="goal_of_pre", into="target", w=goal),
            Projection("stimulus", "sink", name="goal_of_post", into="target", w=goal),
            Projection(
                "source",
                "sink",
                name="plastic",
                rule=rule,
                modulators={name: f"from_{name}" for name in rule.modulators},
            ),
        ),
        name=f"card of {rule.name}",
    )


def _parameters(network: Network, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return learned(init_params(network, generator(0, "rule_card"), dtype=torch.double), leaves)


def _bounds(rule: PlasticityRule, network: Network, params: Mapping[str, Tensor]) -> tuple[float, float] | None:
    if rule.bounds is None:
        return None
    values = constrain(network, params)
    low, high = (float(values[f"plastic.rule.{b}"].mean() if isinstance(b, str) else b) for b in rule.bounds)
    return low, high


def _usual(bounds: tuple[float, float] | None, reach: float) -> tuple[float, float]:
    """Return the weights from ``-reach`` to ``reach`` that the bounds allow, or all that they allow."""
    if bounds is None:
        return -reach, reach
    low, high = max(bounds[0], -reach), min(bounds[1], reach)
    return (low, high) if low < high else bounds


def _has_sign(name: str) -> bool:
    """Whether a third factor may be negative; what is known by no name counts as an average of squared activity."""
    return is_modulator(name) or name.startswith(("error", "drive", "target"))


def dw_surface(rule: PlasticityRule, n: int = 31, leaves: Mapping[str, Tensor] = MappingProxyType({})) -> Surface:
    """Return the change of one synapse over the activity of its two neurons, from -1 to 1.

    All other neurons are silent, all synapses have the same weight. The engine's own update is run on activities that
    are given instead of computed, with the rule's initial parameters (drawn ones from a fixed seed) and without its
    bounds. In a rule with traces the pair of activities is held for five steps, and the weight with it; the change is
    that of the fifth.

    Parameters
    ----------
    rule : PlasticityRule
        A rate rule.
    n : int
        Number of activities of each neuron.
    leaves : mapping of str to Tensor
        Learned parameters from `rule_leaves`, in place of the initial ones.

    Returns
    -------
    Surface
        Three weights; three levels of the first modulator that the rule reads, or else of its first further variable,
        such as ``error_post``. Levels are -1, 0, 1 for a modulator, an error,
        a drive or a target, and 0, 0.5, 1 for the rest; further ones are held at 1 and 0.5.

    Raises
    ------
    EngineError
        If the torch engine does not run the rule (spikes).

    Examples
    --------
    >>> from neurometa import rules
    >>> found = dw_surface(rules.get("oja"), n=3)  # 0.1*post*(pre - post*w)
    >>> found.w.tolist(), float(found.dw[0, 2, 2, 0].round(6)), found.factor  # w = 1, post = 1, pre = -1
    ([-1.0, 0.0, 1.0], -0.2, '')
    """
    network = card_network(rule)
    params = _parameters(network, leaves)
    third = [*rule.modulators, *(name for name in rule.variables if name not in ("x_pre", "x_post"))]
    factor = third[0] if third else ""
    held = {name: 1.0 if _has_sign(name) else 0.5 for name in third[1:]}
    levels = np.linspace(-1.0 if _has_sign(factor) else 0.0, 1.0, 3) if factor else np.ones(1)
    weights = np.linspace(*_usual(_bounds(rule, network, params), 1.0), 3)
    activity = np.linspace(-1.0, 1.0, n)
    grid = np.meshgrid(levels, weights, activity, activity, indexing="ij")
    level, w, post, pre = (torch.from_numpy(axis.reshape(-1)) for axis in grid)  # (batch,) each
    x = {"source.x": _first("pre", pre), "sink.x": _first("post", post)}
    for name, value in {factor: level, **{k: torch.full_like(level, v) for k, v in held.items()}}.items():
        variable, side = split_variable(name) or ("", "")
        if side:
            x[f"{_SIDES[side][0]}.{variable}"] = _first(side, value)
        elif name:
            x[f"from_{name}.x"] = value[:, None]  # (batch, 1)
    dw = _change(replace(rule, bounds=None), params, x, w)[:, 0, 0].reshape(grid[0].shape)
    return Surface(activity, activity, weights, factor, levels, held, dw.numpy())


def _first(side: str, values: Tensor) -> Tensor:
    """Give ``(batch,)`` values to the first neuron of a side, 0 to the others: ``(batch, size)``."""
    return torch.cat([values[:, None], values.new_zeros(len(values), _SIDES[side][1] - 1)], -1)


def _change(rule: PlasticityRule, params: Mapping[str, Tensor], x: dict[str, Tensor], level: Tensor) -> Tensor:
    """Run the engine's update of the rule on given activities and ``(batch,)`` weights; return the change of ``w``."""
    network = card_network(rule)
    update = make_update(network, network.plastic[0])
    values = prepare(network, params)
    state = start(network, params, len(level))
    w = level[:, None, None].expand_as(state.w["plastic"])  # (batch, post, pre)
    state = State(x, {"plastic": w}, state.traces)
    with torch.no_grad():
        for _ in range(HOLD if rule.traces else 1):
            new, traces = update(values, x["source.x"], w, x, {}, state)
            state = state._replace(traces={**state.traces, **traces})
    return (new - w) / (1.0 if rule.step else network.dt)


def weight_course(
    rule: PlasticityRule, steps: int = 4000, scales: tuple[float, ...] = (0.5, 1.0, 2.0), seed: int = 0
) -> Course:
    """Run the rule in a small network under random input, once for every scale of the input.

    Five linear neurons project to four by plastic synapses whose efficacy is ``w``. Each input is the mean of one part
    of its own and one that all share, both uniform between ``-scale`` and ``scale`` and drawn anew every step.
    Modulators stand at 1.

    Parameters
    ----------
    rule : PlasticityRule
        A rate rule.
    steps : int
        Length of the run.
    scales : tuple of float
        Scales of the input.
    seed : int
        Of input and first weights; the same for every scale.

    Returns
    -------
    Course
        The weights, with their start.

    Raises
    ------
    EngineError
        If the torch engine does not run the rule (spikes).
    """
    network = card_network(rule)
    params = _parameters(network, {})
    bounds = _bounds(rule, network, params)
    n_pre, n_post = network["source"].size, network["sink"].size
    stream, dtype = generator(seed, "course"), params["shown.w"].dtype
    own, shared = (2 * torch.rand(steps, 1, k, generator=stream, dtype=dtype) - 1 for k in (n_pre, 1))
    scale = torch.tensor(scales, dtype=own.dtype)[:, None]  # (scale, 1)
    inputs = {"stimulus": scale * (own + shared) / 2}  # (time, scale, pre)
    inputs |= {f"from_{name}": own.new_ones(steps, len(scales), 1) for name in rule.modulators}
    low, high = _usual(bounds, 0.5)
    drawn = low + (high - low) * torch.rand(n_post, n_pre, generator=stream, dtype=dtype)
    w = drawn.expand(len(scales), -1, -1)  # (scale, post, pre)
    state = start(network, params, len(scales), like=inputs["stimulus"])._replace(w={"plastic": w})
    with torch.no_grad():
        found = simulate(network, params, inputs, state=state, save=Save(("w.plastic",)))["w.plastic"]
    return Course(np.asarray(scales), torch.cat([w[None], found]).numpy(), bounds)


def verdict(length: np.ndarray) -> str:
    """Say what a length does over time: ``"settles"``, ``"drifts"`` or ``"diverges"``.

    It diverges where it leaves `LIMIT` or is no number. It settles where its means over the third and the last quarter
    differ by less than a twentieth of the range that it went through; otherwise it drifts.

    Examples
    --------
    >>> t = np.arange(400)
    >>> verdict(1 - np.exp(-t / 30)), verdict(0.01 * t), verdict(np.exp(t / 10))
    ('settles', 'drifts', 'diverges')
    """
    if not np.all(np.abs(length) <= LIMIT):
        return "diverges"
    third, last = (part.mean() for part in np.array_split(length, 4)[2:])
    still = 1e-12 * np.abs(length).max()  # means of equal numbers differ by rounding
    return "settles" if abs(last - third) <= max(0.05 * np.ptp(length), still) else "drifts"
