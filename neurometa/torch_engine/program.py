"""A network made ready to run: everything that does not depend on tensors is worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import EngineError
from ..spec import Leaf, Network, Population, Projection, Trace
from ..trajectory import State
from ..tree import Tree, to_batch
from .compiled import compiled
from .events import delayed
from .exact import Coefficients, population_coefficients, trace_coefficients
from .masks import mask_of
from .params import check_leaf, constrain_leaf, draw
from .plasticity import make_limit
from .step import Step, efficacy_function, make_step

__all__ = ["Program", "prepare", "program", "start"]


class Program:
    """The functions of one network; methods take tensors and return tensors and change nothing in place.

    Everything that a method needs is worked out here, into names and numbers, so that ``torch.compile`` follows a
    method without looking into a description.

    Parameters
    ----------
    network : Network
        The description; also kept as ``network``.
    """

    def __init__(self, network: Network):
        self.network = network
        self.leaves = dict(network.leaves)
        self.inputs = dict(network.inputs)
        self.noisy = {
            p.name: p.size for p in network.populations if any("noise" in e.names for e in p.expressions.values())
        }
        self.static = [(p.label, efficacy_function(network, p)) for p in network.projections if p.static]
        #: projections whose efficacy alone is used in a step, and those whose rule reads a static efficacy
        self._shared = {p.label for p in network.projections if p.static and not p.rule}
        self._watched = [p.label for p in network.projections if p.static and p.rule]
        gated = any(p.efficacy_expression.names & set(p.modulators) for p in network.projections)
        #: sources of projections with a delay: label, longest delay in steps, number of neurons, delays
        self._under_way = list(delayed(network))
        self.foldable = not (gated or self._under_way)
        self._exact: list[Coefficients] = [
            population_coefficients(p, network.dt) for p in network.populations if p.method == "exact" and p.linear
        ]
        self._exact += [trace_coefficients(network, p) for p in network.plastic if p.rule and p.rule.exact_traces]
        self.output = network.output
        self.limits = {p.label: make_limit(p) for p in network.plastic}
        self.steps: dict[bool, Step] = {flag: make_step(network, flag) for flag in (False, True)}
        self._compiled: dict[bool, Step] = {}
        self._starts = [
            (f"{p.name}.{variable}", p.size, _start(p, variable)) for p in network.populations for variable in p.state
        ]
        self._masks: Tree = {}
        #: label, size, and for every trace its name, size and start
        self._synapses: list[tuple[str, tuple[int, int], list[tuple[str, tuple[int, int], float]]]] = []
        for projection in network.projections:
            rule, size = projection.rule, (network[projection.post].size, network[projection.pre].size)
            if projection.mask is not None:
                self._masks[projection.label] = mask_of(projection, *size)
            if rule is not None or projection.weight.per_episode:
                self._synapses.append((projection.label, size, _traces(projection, size)))

    def step(self, learn: bool, compile: bool = False) -> Step:
        """Return the step function, compiled where asked for (once)."""
        if not compile:
            return self.steps[learn]
        if learn not in self._compiled:
            self._compiled[learn] = compiled(self.steps[learn])
        return self._compiled[learn]

    def constrain(self, params: Mapping[str, Tensor]) -> Tree:
        """Return the values that stored leaves mean."""
        found = {name: leaf for name, leaf in self.leaves.items() if name in params or not leaf.param.per_episode}
        return {name: self._meant(name, leaf, params) for name, leaf in found.items()}

    def prepare(self, params: Mapping[str, Tensor], items: bool = False, like: Tensor | None = None) -> Tree:
        """Return what a step needs and what stays the same over an episode.

        Parameters
        ----------
        params : mapping of str to Tensor
            Stored leaves.
        items : bool
            Activity has an axis of independent items after the batch, ``(batch, items, n)``.
        like : Tensor, optional
            A sequence of the episode, ``(time, batch, n)``: gives masks their device and number format, and says to
            how many tasks leaves with one entry per group of tasks are spread. A static efficacy stays as it is: its
            product takes a whole group at once.

        Returns
        -------
        dict of str to Tensor
            Constrained values by name, and ``"<projection>.efficacy"`` where the efficacy never changes.
        """
        values = self.constrain(params)
        for label in self._masks:
            values[f"{label}.mask"] = self._mask(label, like if like is not None else next(iter(values.values())))
        for label, efficacy in self.static:
            if f"{label}.w" in values:
                values[f"{label}.efficacy"] = efficacy(values, values[f"{label}.w"], {}, {})
        for name, leaf in self.leaves.items() if like is not None else ():
            if name in values and name.rpartition(".")[0] not in self._shared:
                values[name] = to_batch(values[name], len(leaf.shape), like.shape[1])  # type: ignore[union-attr]
        for label in self._watched if like is not None else ():
            values[f"{label}.efficacy"] = to_batch(values[f"{label}.efficacy"], 2, like.shape[1])  # type: ignore[union-attr]
        for name, leaf in self.leaves.items() if items else ():
            if len(leaf.shape) == 1 and name in values and values[name].ndim == 2:
                values[name] = values[name].unsqueeze(1)  # (batch, 1, n)
        some = like if like is not None else next(iter(values.values()))
        for coefficients in self._exact:
            values.update(coefficients(values, some))
        for label, _, _, delay in self._under_way:
            if isinstance(delay, np.ndarray):
                values[f"{label}.delay"] = torch.from_numpy(delay).to(some.device)
        return values

    def start(
        self,
        params: Mapping[str, Tensor],
        batch: int,
        stream: torch.Generator | None = None,
        like: Tensor | None = None,
    ) -> State:
        """Return the state at the beginning of an episode, every leaf with the batch axis first.

        ``like`` gives device and number format where the network has no parameter.
        """
        like = like if like is not None else next(iter(params.values()))
        w, traces = {}, {}
        for label, size, own in self._synapses:
            weight = self._value(f"{label}.w", params, batch, stream, like)
            weight = weight * self._mask(label, like) if label in self._masks else weight
            w[label] = to_batch(weight, 2, batch).expand(batch, *size)
            traces.update({name: like.new_full((batch, *axes), init) for name, axes, init in own})
        return State(self.activity(params, batch, stream, like), w, traces)

    def activity(self, params: Mapping[str, Tensor], batch: int, stream: torch.Generator | None, like: Tensor) -> Tree:
        """Return the activity at the beginning of an episode, ``"population.variable"`` -> ``(batch, n)``."""
        x = {"one.x": like.new_ones(batch, 1)}
        for key, size, start in self._starts:
            if isinstance(start, str):
                x[key] = to_batch(self._value(start, params, batch, stream, like), 1, batch).expand(batch, size)
            else:
                x[key] = like.new_full((batch, size), start)
        for label, longest, size, _ in self._under_way:
            x[f"{label}.arriving"] = like.new_zeros(batch, longest, size)
        return x

    def _mask(self, label: str, like: Tensor) -> Tensor:
        return self._masks[label].to(device=like.device, dtype=like.dtype)

    def _value(
        self, name: str, params: Mapping[str, Tensor], batch: int, stream: torch.Generator | None, like: Tensor
    ) -> Tensor:
        """Return the value that a stored leaf means, or draw it where it is drawn per episode."""
        leaf = self.leaves[name]
        if name in params or not leaf.param.per_episode:
            return self._meant(name, leaf, params)
        if stream is None:
            raise EngineError(f"parameter '{name}' is drawn per episode; pass the init stream")
        return draw(leaf, leaf.param.init, stream, like.dtype, (batch,)).to(like.device)

    def _meant(self, name: str, leaf: Leaf, params: Mapping[str, Tensor]) -> Tensor:
        check_leaf(self.network, name, leaf, params)
        return constrain_leaf(leaf.param, params[name])


def _start(population: Population, variable: str) -> float | str:
    """Return the number at which a variable starts, or the name of the leaf that holds it."""
    value = population.start.get(variable, 0.0)
    return float(value) if isinstance(value, int | float) else f"{population.name}.start_{variable}"


def _traces(projection: Projection, size: tuple[int, int]) -> list[tuple[str, tuple[int, int], float]]:
    """Return name, size and start of every trace of a projection."""
    found = []
    for name, axes in projection.trace_axes.items():
        trace = projection.rule.traces[name] if projection.rule else Trace()
        shape = (size[0] if "post" in axes else 1, size[1] if "pre" in axes else 1)
        found.append((f"{projection.label}.{name}", shape, trace.init if isinstance(trace, Trace) else 0.0))
    return found


@lru_cache(maxsize=128)
def program(network: Network) -> Program:
    """Return the program of a network, made on first use."""
    return Program(network)


def prepare(network: Network, params: Mapping[str, Tensor], *, items: bool = False) -> Tree:
    """Return constrained values and constant efficacies; see `Program.prepare`."""
    return program(network).prepare(params, items)


def start(
    network: Network,
    params: Mapping[str, Tensor],
    batch: int,
    stream: torch.Generator | None = None,
    *,
    like: Tensor | None = None,
) -> State:
    """Return the state at the beginning of an episode; see `Program.start`."""
    return program(network).start(params, batch, stream, like)
