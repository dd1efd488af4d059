"""Spikes in torch: exact forward, surrogate backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..expression import Expression
from ..spec import Population
from ..tree import Tree
from .ops import TORCH

__all__ = ["Read", "at_spikes", "has_spiked", "make_reset", "make_threshold", "places"]

#: Where a name of a population's text is found: which dictionary, and its key there.
Read = tuple[str, str]


def _triangle(z: Tensor) -> Tensor:
    z = torch.clamp(z, -1.0, 1.0)
    return z - 0.5 * z * z.abs()


#: Antiderivatives by ``z = slope*distance``; a derivative by the distance that has 1 at threshold is divided by slope.
_SURROGATES: Mapping[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "fast_sigmoid": (lambda z: z / (1 + z.abs()), True),
    "sigmoid": (torch.sigmoid, False),
    "arctan": (lambda z: torch.arctan(0.5 * math.pi * z) / math.pi, False),
    "triangle": (_triangle, True),
    "gaussian": (lambda z: 0.5 * torch.erf(z / math.sqrt(2)), False),
}


def _differentiated(x: Tensor) -> bool:
    """Whether a derivative with respect to ``x`` may be asked for."""
    return (torch.is_grad_enabled() and x.requires_grad) or forward_ad._current_level >= 0


def at_spikes(spikes: Tensor, new: Tensor | float, old: Tensor) -> Tensor:
    """Take new values where there is a spike: exactly forward, by the surrogate gradient of the spike backward.

    Parameters
    ----------
    spikes : Tensor
        0 or 1, broadcastable to the values.
    new, old : Tensor
        Values with and without a spike.

    Returns
    -------
    Tensor
        ``where(spikes, new, old)``, whose derivative by ``spikes`` is ``new - old``.
    """
    found = torch.where(spikes > 0.5, new, old)
    if _differentiated(spikes):
        found = found + (spikes - spikes.detach()) * (new - old)
    return found


def has_spiked(x: Tensor) -> Tensor:
    """Take activity for spikes: 1 where it is above 1/2; what is already 0 or 1 stays as it is."""
    return x if _differentiated(x) else (x > 0.5).to(x.dtype)


def places(expression: Expression, population: Population) -> list[Read]:
    """Return where the names of a population's text are found, in alphabetical order; ``dt`` is a constant."""
    prefix, state, inputs = population.name, set(population.state), set(population.inputs)
    reads: list[Read] = []
    for name in sorted(expression.names - {"dt"}):
        if name in population.modulators:
            reads.append(("x", f"{population.modulators[name]}.x"))
        elif name == "noise":
            reads.append(("noise", prefix))
        else:
            reads.append(("x" if name in state else "current" if name in inputs else "value", f"{prefix}.{name}"))
    return reads


def _formula(expression: Expression, population: Population, dt: float) -> tuple[Callable[..., Any], Sequence[Read]]:
    reads = places(expression, population)
    return expression.function(sorted(expression.names - {"dt"}), TORCH, {"dt": dt}), reads


def make_threshold(population: Population, dt: float, refractory: int) -> Callable[[Tree, Tree, Tree], None]:
    """Build ``threshold(values, x, currents)``: write this step's spikes, and who is refractory, into ``x``."""
    spikes, prefix = population.spikes, population.name
    assert spikes is not None
    condition, condition_reads = _formula(spikes.condition, population, dt)
    distance, distance_reads = _formula(spikes.margin, population, dt)
    soft, divided = _SURROGATES[spikes.surrogate]
    slope, key, count = spikes.slope, f"{prefix}.x", f"{prefix}.refractory"

    def threshold(values: Tree, x: Tree, currents: Tree) -> None:
        sources = {"x": x, "current": currents, "value": values}
        old = x[key]
        crossed = condition(*[sources[kind][name] for kind, name in condition_reads])
        crossed = crossed.expand_as(old) if isinstance(crossed, Tensor) else torch.full_like(old, crossed)
        free = (x[count] < 0.5).to(old.dtype) if refractory else None
        found = crossed if free is None else crossed * free
        z = distance(*[sources[kind][name] for kind, name in distance_reads])
        if isinstance(z, Tensor) and _differentiated(z):
            z = soft(slope * torch.nan_to_num(z))
            z = z / slope if divided else z
            z = z if free is None else z * free
            found = found.detach() + (z - z.detach())
        x[key] = found
        if refractory:
            x[count] = torch.where(found > 0.5, float(refractory), x[count])

    return threshold


def make_reset(population: Population, dt: float) -> Callable[[Tree, Tree, Tree], None] | None:
    """Build ``reset(values, x, currents)``: what a spike does to its neuron, written into ``x``."""
    spikes, prefix = population.spikes, population.name
    assert spikes is not None
    statements = [(f"{prefix}.{a.target}", *_formula(a.expression, population, dt)) for a in spikes.assignments]
    if not statements:
        return None
    key = f"{prefix}.x"

    def reset(values: Tree, x: Tree, currents: Tree) -> None:
        new: Tree = {**x}
        sources = {"x": new, "current": currents, "value": values}
        for target, function, reads in statements:
            new[target] = function(*[sources[kind][name] for kind, name in reads])
        for target in dict.fromkeys(target for target, _, _ in statements):
            x[target] = at_spikes(x[key], new[target], x[target])

    return reset
