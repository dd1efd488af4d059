"""Linear differential equations, integrated exactly over one step.

With ``dx/dt = A x + b`` and ``b`` constant within the step, ``x(t + dt) = E x(t) + F b``, where
``E = exp(A dt)`` and ``F`` is the integral of ``exp(A s)`` over the step. Both are read off one matrix exponential,
``exp([[A, 1], [0, 0]] dt)``, in float64, once for an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..expression import Expression
from ..spec import Network, Population, Projection
from ..tree import Tree
from .ops import TORCH

__all__ = ["Coefficients", "entries", "population_coefficients", "trace_coefficients"]

#: ``coefficients(values, like) -> {name: tensor}``: what stays the same over an episode.
Coefficients = Callable[[Tree, Tensor], Tree]


def entries(population: Population) -> dict[str, list[str]]:
    """Return, for every variable with a derivative, the variables from which something reaches it within a step."""
    factors = {name: set(parts[0]) for name, parts in population.linear.items()}
    found: dict[str, list[str]] = {}
    for name in factors:
        reached, front = {name}, [name]
        while front:
            new = factors[front.pop()] - reached
            reached |= new
            front += new
        found[name] = [other for other in factors if other in reached]
    return found


def population_coefficients(population: Population, dt: float) -> Coefficients:
    """Build the function that gives ``"<population>.E <v> <u>"`` and ``"... F <v> <u>"``: from ``u`` to ``v``."""
    names, reached, prefix = list(population.linear), entries(population), population.name
    cells = [
        (i, names.index(other), *_formula(factor, population.params, f"{prefix}.", {"dt": dt}))
        for i, (_, (factors, _)) in enumerate(population.linear.items())
        for other, factor in factors.items()
    ]
    size = len(names)
    unit = torch.eye(size, dtype=torch.float64)

    def coefficients(values: Tree, like: Tensor) -> Tree:
        rates = [(i, j, function(*[values[key].double() for key in reads])) for i, j, function, reads in cells]
        shape = torch.broadcast_shapes(*(r.shape for _, _, r in rates if isinstance(r, Tensor)), (1,))
        zero = torch.zeros(shape, dtype=torch.float64, device=like.device)
        table = {(i, j): zero + rate for i, j, rate in rates}
        rows = [torch.stack([table.get((i, j), zero) for j in range(size)], -1) for i in range(size)]
        matrix = torch.stack(rows, -2)  # ([batch,] n | 1, variables, variables)
        upper = torch.cat([matrix, unit.to(like.device).expand_as(matrix)], -1)
        whole = torch.matrix_exp(torch.cat([upper, torch.zeros_like(upper)], -2) * dt)
        found = {}
        for i, name in enumerate(names):
            for other in reached[name]:
                j = names.index(other)
                found[f"{prefix}.E {name} {other}"] = whole[..., i, j].to(like.dtype)
                found[f"{prefix}.F {name} {other}"] = whole[..., i, size + j].to(like.dtype)
        return found

    return coefficients


def trace_coefficients(network: Network, projection: Projection) -> Coefficients:
    """Build the function that gives ``"<projection>.E <trace>"`` and ``"... F <trace>"`` of every exact trace."""
    rule, label, dt = projection.rule, projection.label, network.dt
    constants = {
        "dt": dt,
        "n_pre": float(network[projection.pre].size),
        "n_post": float(network[projection.post].size),
    }
    rates = {
        name: _formula(rate, rule.params, f"{label}.rule.", constants)
        for name, (rate, _) in (rule.exact_traces if rule else {}).items()
        if rule and rate is not None
    }

    def coefficients(values: Tree, like: Tensor) -> Tree:
        found = {}
        for name, (function, reads) in rates.items():
            rate = function(*[values[key].double() for key in reads])
            z = (rate if isinstance(rate, Tensor) else like.new_full((1, 1), rate).double()) * dt
            safe = torch.where(z == 0, torch.ones_like(z), z)
            found[f"{label}.E {name}"] = torch.exp(z).to(like.dtype)
            found[f"{label}.F {name}"] = (dt * torch.where(z == 0, torch.ones_like(z), torch.expm1(safe) / safe)).to(
                like.dtype
            )
        return found

    return coefficients


def _formula(
    factor: Expression, params: Mapping[str, object], prefix: str, constants: Mapping[str, float]
) -> tuple[Callable[..., Tensor | float], list[str]]:
    names = sorted(factor.names & set(params))
    return factor.function(names, TORCH, constants), [f"{prefix}{name}" for name in names]
