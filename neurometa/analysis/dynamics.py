"""Dynamics of activity: principal components, dimension, fixed points with their spectra, Lyapunov exponents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec import Network
from ..torch_engine.program import program
from ..trajectory import State

__all__ = ["FixedPoints", "Pca", "fixed_points", "frozen_map", "lyapunov", "participation_ratio", "pca"]

#: One step of an autonomous system: ``(batch, n) -> (batch, n)``.
Map = Callable[[Tensor], Tensor]


class Pca(NamedTuple):
    """Principal components.

    Attributes
    ----------
    projected : (..., k)
        Activity in their coordinates.
    components : (k, n)
        Unit vectors, largest variance first.
    explained : (n,)
        Share of the variance of every component.
    """

    projected: np.ndarray
    components: np.ndarray
    explained: np.ndarray


def pca(x: np.ndarray, k: int = 3) -> Pca:
    """Return the first principal components of activity.

    Parameters
    ----------
    x : (..., n)
        Activity; all axes but the last are samples.
    k : int
        Components.

    Examples
    --------
    >>> found = pca(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), 1)
    >>> abs(found.components).round(4).tolist(), found.explained.round(6).tolist()
    ([[0.7071, 0.7071]], [1.0, 0.0])
    """
    flat = np.asarray(x, dtype=np.float64).reshape(-1, np.shape(x)[-1])
    centred = flat - flat.mean(0)
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    rows = rows * np.where(rows[np.arange(len(rows)), np.abs(rows).argmax(1)] < 0, -1, 1)[:, None]  # signs are free
    share = np.zeros(flat.shape[1])
    share[: len(values)] = values**2 / max((values**2).sum(), np.finfo(np.float64).tiny)
    return Pca((centred @ rows[:k].T).reshape(*np.shape(x)[:-1], -1), rows[:k], share)


def participation_ratio(x: np.ndarray) -> float:
    """Return the number of dimensions that activity uses: ``sum(v)**2/sum(v**2)`` over the variances of components.

    Parameters
    ----------
    x : (..., n)
        Activity.

    Examples
    --------
    >>> participation_ratio(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    2.0
    """
    share = pca(x, 1).explained
    return float(1 / (share**2).sum())


def frozen_map(
    network: Network,
    params: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    w: Mapping[str, Tensor] | None = None,
    populations: tuple[str, ...] = (),
) -> Map:
    """Return one step of a network at frozen weights and constant inputs, as a map of its activity.

    Parameters
    ----------
    network : Network
        The description.
    params : mapping of str to Tensor
        Stored leaves.
    inputs : mapping of str to Tensor
        Input population -> ``(n,)``.
    w : mapping of str to Tensor, optional
        Plastic projection -> ``(post, pre)``: its weights at some moment; default: at the start.
    populations : tuple of str
        Whose ``x`` is the state, in this order; default: all that have a loop. Everything else follows from them within
        a step.

    Returns
    -------
    callable
        ``(batch, n) -> (batch, n)``, differentiable.

    Raises
    ------
    SpecificationError
        If a population does not exist or spikes.
    """
    made, step = program(network), program(network).step(False, False)
    like = next(iter(params.values()))
    names = populations or tuple(
        dict.fromkeys(p.pre for p in network.projections if p.pre == p.post and not network[p.pre].is_input)
    )
    if not names:
        raise SpecificationError(f"network '{network.name}' has no population that projects to itself; name some")
    for name in names:
        if network[name].is_input or network[name].spikes:
            raise SpecificationError(f"population '{name}' is an input or spikes; its activity is no smooth state")
    sizes = [network[name].size for name in names]
    values = made.prepare(params, like=like.new_zeros(1, 1, 1))

    def map_of(x: Tensor) -> Tensor:
        batch = len(x)
        state = made.start(params, batch, torch.Generator(), x)
        held = {label: value.to(x).expand(batch, -1, -1) for label, value in (w or {}).items()}
        parts = dict(zip((f"{name}.x" for name in names), x.split(sizes, -1), strict=True))
        begin = State({**state.x, **parts}, {**state.w, **held}, state.traces)
        shown = {name: inputs[name].to(x).expand(batch, -1) for name in made.inputs}
        after, _ = step(values, begin, shown, {name: x.new_zeros(batch, size) for name, size in made.noisy.items()})
        return torch.cat([after.x[f"{name}.x"] for name in names], -1)

    return map_of


class FixedPoints(NamedTuple):
    """Fixed points of a map.

    Attributes
    ----------
    x : (k, n)
        Each once, those that most starts lead to first.
    speed : (k,)
        Distance that is left after one step.
    jacobian : (k, n, n)
        Derivative of the map.
    eigenvalues : (k, n)
        Of the Jacobian, largest modulus first; a point is stable if all are below 1.
    starts : (k,)
        How many starts lead there.
    """

    x: np.ndarray
    speed: np.ndarray
    jacobian: np.ndarray
    eigenvalues: np.ndarray
    starts: np.ndarray

    @property
    def stable(self) -> np.ndarray:
        """Whether each attracts its neighbourhood."""
        return np.abs(self.eigenvalues).max(-1, initial=0.0) < 1


def _jacobian(step: Map, x: Tensor) -> Tensor:
    """Return the derivative at each point of a batch, ``(batch, n, n)``."""
    rows = torch.func.vmap(torch.func.jacrev(lambda point: step(point[None])[0]))
    return rows(x)


def fixed_points(
    step: Map, starts: Tensor, *, iterations: int = 100, tolerance: float = 1e-9, apart: float = 1e-4
) -> FixedPoints:
    """Find fixed points ``step(x) = x`` by a damped Newton method from many starts.

    Parameters
    ----------
    step : callable
        Map ``(batch, n) -> (batch, n)``, such as `frozen_map` makes.
    starts : (batch, n)
        Such as states that the network went through; double precision finds more.
    iterations : int
        Newton steps at most; each is halved until the speed falls.
    tolerance : float
        Largest speed of what counts as a fixed point.
    apart : float
        Points nearer than this are the same.

    Returns
    -------
    FixedPoints
        Stable or not; those that no start leads to are not found.

    Notes
    -----
    Sussillo & Barak 2013, doi:10.1162/NECO_a_00409, who minimise the speed; Newton's method needs fewer steps and finds
    saddles as well.
    """
    x = starts.detach().clone()
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        with torch.no_grad():
            residual = step(x) - x
        speed = residual.norm(dim=1)
        if bool((speed < tolerance * 1e-3).all()):
            break
        change = torch.linalg.lstsq(_jacobian(step, x) - eye, -residual[..., None]).solution[..., 0]
        change = torch.nan_to_num(change)
        best, size = x, torch.ones_like(speed)
        for _ in range(12):
            with torch.no_grad():
                tried = x + size[:, None] * change
                better = (step(tried) - tried).norm(dim=1) < speed
            best = torch.where(better[:, None], tried, best)
            speed = torch.where(better, torch.zeros_like(speed), speed)  # taken: no smaller step is tried
            size = size / 2
        if torch.equal(best, x):
            break
        x = best
    with torch.no_grad():
        left = (step(x) - x).norm(dim=1)
    first: dict[int, int] = {}  # of points that are the same, the first -> how many there are
    for i in torch.nonzero(left < tolerance)[:, 0].tolist():
        same = next((k for k in first if float((x[k] - x[i]).norm()) < apart), i)
        first[same] = first.get(same, 0) + 1
    order = sorted(first, key=lambda k: -first[k])
    points = x[order]
    jacobian = (_jacobian(step, points) if order else x.new_zeros(0, *eye.shape)).detach().cpu().numpy()
    values = np.linalg.eigvals(jacobian)
    values = np.take_along_axis(values, np.argsort(-np.abs(values), -1), -1)
    counts = np.array([first[k] for k in order], dtype=int)
    return FixedPoints(points.cpu().numpy(), left[order].cpu().numpy(), jacobian, values, counts)


def lyapunov(step: Map, start: Tensor, n_steps: int = 1000, skip: int = 100, seed: int = 0) -> float:
    """Return the largest Lyapunov exponent of a map, per step: above 0 it is chaotic.

    Parameters
    ----------
    step : callable
        Map ``(batch, n) -> (batch, n)``.
    start : (n,)
        Where the trajectory begins.
    n_steps, skip : int
        Steps that count, and steps before them.
    seed : int
        Of the first tangent vector.

    Notes
    -----
    A tangent vector is carried along and measured at every step (Benettin et al. 1980, doi:10.1007/BF02128236).
    """
    x = start.detach()[None]
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).to(x.device)
    tangent, total = tangent / tangent.norm(), 0.0
    for t in range(skip + n_steps):
        moved = torch.func.jvp(step, (x,), (tangent,))
        x, tangent = moved[0], moved[1]
        size = float(tangent.norm())
        if size == 0:
            return float("-inf")
        total += np.log(size) if t >= skip else 0.0
        tangent = tangent / size
    return total / n_steps
