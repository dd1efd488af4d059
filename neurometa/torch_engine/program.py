"""A network made ready to run: everything that does not depend on tensors is worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import EngineError
from ..spec import Network
from ..trajectory import State
from ..tree import Tree
from .masks import mask_of
from .params import check_leaf, constrain_leaf, draw
from .step import Step, efficacy_function, make_step, refuse

__all__ = ["Program", "prepare", "program", "start"]


class Program:
    """The functions of one network; methods take tensors and return tensors and change nothing in place.

    Parameters
    ----------
    network : Network
        The description; also kept as ``network``.
    """

    def __init__(self, network: Network):
        refuse(network)
        self.network = network
        self.leaves = [(name, leaf) for name, leaf in network.leaves.items()]
        self.inputs = dict(network.inputs)
        self.noisy = {
            p.name: p.size for p in network.populations if any("noise" in e.names for e in p.expressions.values())
        }
        self.static = [(p.label, efficacy_function(network, p)) for p in network.projections if p.static]
        self.masked = [p for p in network.projections if p.mask is not None]
        self.foldable = not any(p.efficacy_expression.names & set(p.modulators) for p in network.projections)
        self.output = network.output
        self.steps: dict[bool, Step] = {flag: make_step(network, flag) for flag in (False, True)}
        self._compiled: dict[bool, Step] = {}

    def step(self, learn: bool, compile: bool = False) -> Step:
        """Return the step function, compiled where asked for (once)."""
        if not compile:
            return self.steps[learn]
        if learn not in self._compiled:
            self._compiled[learn] = torch.compile(self.steps[learn], dynamic=False)
        return self._compiled[learn]

    def constrain(self, params: Mapping[str, Tensor]) -> Tree:
        """Return the values that stored leaves mean."""
        values = {}
        for name, leaf in self.leaves:
            if name not in params and leaf.param.per_episode:
                continue
            check_leaf(self.network, name, leaf, params)
            values[name] = constrain_leaf(leaf.param, params[name])
        return values

    def prepare(self, params: Mapping[str, Tensor], items: bool = False, like: Tensor | None = None) -> Tree:
        """Return what a step needs and what stays the same over an episode.

        Parameters
        ----------
        params : mapping of str to Tensor
            Stored leaves.
        items : bool
            Activity has an axis of independent items after the batch, ``(batch, items, n)``.
        like : Tensor, optional
            Gives masks their device and number format; default: the parameters.

        Returns
        -------
        dict of str to Tensor
            Constrained values by name, and ``"<projection>.efficacy"`` where the efficacy never changes.
        """
        values = self.constrain(params)
        for name, leaf in self.leaves if items else ():
            if len(leaf.shape) == 1 and name in values and values[name].ndim == 2:
                values[name] = values[name].unsqueeze(1)  # (batch, 1, n)
        for projection in self.masked:
            like = like if like is not None else next(iter(values.values()))
            post, pre = self.network[projection.post].size, self.network[projection.pre].size
            values[f"{projection.label}.mask"] = mask_of(projection, post, pre, like)
        for label, efficacy in self.static:
            if f"{label}.w" in values:
                values[f"{label}.efficacy"] = efficacy(values, values[f"{label}.w"], {}, {})
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
        for projection in self.network.projections:
            rule = projection.rule
            if rule is None and not projection.weight.per_episode:
                continue
            post, pre = self.network[projection.post].size, self.network[projection.pre].size
            weight = self._value(f"{projection.label}.w", params, batch, stream, like)
            weight = weight if projection.mask is None else weight * mask_of(projection, post, pre, like)
            w[projection.label] = weight.expand(batch, post, pre)
            for trace, axes in rule.trace_axes.items() if rule else ():
                shape = (batch, post if "post" in axes else 1, pre if "pre" in axes else 1)
                traces[f"{projection.label}.{trace}"] = like.new_full(shape, rule.traces[trace].init)  # type: ignore[union-attr]
        return State(self.activity(params, batch, stream, like), w, traces)

    def activity(self, params: Mapping[str, Tensor], batch: int, stream: torch.Generator | None, like: Tensor) -> Tree:
        """Return the activity at the beginning of an episode, ``"population.variable"`` -> ``(batch, n)``."""
        x = {"one.x": like.new_ones(batch, 1)}
        for population in self.network.populations:
            for variable in population.state:
                value = population.start.get(variable, 0.0)
                if isinstance(value, int | float):
                    filled = like.new_full((1,), float(value))
                else:
                    filled = self._value(f"{population.name}.start_{variable}", params, batch, stream, like)
                x[f"{population.name}.{variable}"] = filled.expand(batch, population.size)
        return x

    def _value(
        self, name: str, params: Mapping[str, Tensor], batch: int, stream: torch.Generator | None, like: Tensor
    ) -> Tensor:
        """Return the value that a stored leaf means, or draw it where it is drawn per episode."""
        leaf = self.network.leaves[name]
        if name in params or not leaf.param.per_episode:
            check_leaf(self.network, name, leaf, params)
            return constrain_leaf(leaf.param, params[name])
        if stream is None:
            raise EngineError(f"parameter '{name}' is drawn per episode; pass the init stream")
        return draw(leaf, leaf.param.init, stream, like.dtype, (batch,)).to(like.device)


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
