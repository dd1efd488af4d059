"""Covariance matrix adaptation: a search distribution that learns the shape of the loss, for few parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import SpecificationError
from ..tree import Tree
from .base import Outer, Problem

if TYPE_CHECKING:
    from cmaes import CMA

__all__ = ["CmaEs", "CmaState"]

MOST = 200
#: Least step as a share of its start, and least variance of an axis as a share of the mean one: long after convergence
#: candidates differ by rounding only, and the library would shrink its matrix until it divides 0 by 0.
LEAST_STEP, LEAST_AXIS = 1e-12, 1e-14


class CmaState(NamedTuple):
    """The search distribution, in double precision whatever the parameters are; CPU tensors and numbers.

    Attributes
    ----------
    mean : Tensor
        Its centre, ``(n,)``: the learned parameters, flattened in their order.
    covariance : Tensor
        Its shape, ``(n, n)``; the diagonal has the mean 1.
    path_sigma, path_covariance : Tensor
        Where the centre has been going, for the step and for the shape, ``(n,)``.
    sigma : float
        Its step: a candidate is ``mean + sigma*N(0, covariance)``, so this is the root mean square per scalar.
    n_steps : int
        Generations so far.
    """

    mean: Tensor
    covariance: Tensor
    path_sigma: Tensor
    path_covariance: Tensor
    sigma: float
    n_steps: int


@dataclass(frozen=True)
class CmaEs(Outer):
    r"""CMA-ES by the library ``cmaes``, the whole population in one batched call; nothing need be differentiable.

    Candidates :math:`x_k \sim m + \sigma N(0, C)` are ranked by their loss on the same tasks. The better half, weighted
    by rank, moves m; C learns in which directions steps succeeded, and the length of the path of m sets
    :math:`\sigma`. Only ranks count, so no scaling of the loss and no learning rate has to be chosen. Memory and time
    grow with the square and the cube of the number of learned scalars, of which there may be 200.

    The parameters returned are m; the state, not the parameters handed in, says where the search goes on.

    Attributes
    ----------
    population : int
        Candidates in each iteration, 4 or more; 0 takes the library's ``4 + floor(3*log(n))`` for n scalars.
    sigma : float
        Step at the start, in units of the stored, unconstrained parameters: about a third of the distance within which
        the optimum is expected.

    Raises
    ------
    SpecificationError
        If a setting is outside its range.

    References
    ----------
    Hansen & Ostermeier 2001, doi:10.1162/106365601750190398; Hansen 2016, arXiv:1604.00772 (the equations); Nomura &
    Shibata 2024, arXiv:2402.01373 (the library).
    """

    population: int = 0
    sigma: float = 0.3

    def __post_init__(self):
        if self.population != 0 and self.population < 4:
            raise SpecificationError(
                f"CmaEs: population is {self.population}; allowed: 4 or more, or 0 for the library's choice"
            )
        if not 0 < self.sigma < math.inf:
            raise SpecificationError(f"CmaEs: sigma is {self.sigma}; allowed: above 0; type sigma={CmaEs.sigma}")

    def init(self, params: Tree) -> CmaState:
        """Return a round distribution about the parameters.

        Raises
        ------
        SpecificationError
            If there are more than 200 scalars.
        """
        total = sum(leaf.numel() for leaf in params.values())
        if total > MOST:
            raise SpecificationError(
                f"CmaEs takes at most {MOST} learned scalars, found {total}; use Evolution or Backprop, or learn fewer "
                'groups, such as learn=("rule",)'
            )
        mean = np.array([value for leaf in params.values() for value in leaf.flatten().tolist()])
        zeros = np.zeros(total)
        return _state(mean, np.eye(total), zeros, zeros, float(self.sigma), 0)

    def step(self, params: Tree, state: CmaState, problem: Problem) -> tuple[Tree, CmaState, dict[str, float]]:
        """Evaluate one population and move the distribution.

        A candidate whose loss is not finite ranks last; if none is finite, nothing moves and the loss says so.

        Returns
        -------
        tuple
            Parameters at the new mean; the state; ``loss`` (mean over the candidates with a finite one), ``best`` (the
            least), and the new ``sigma``.
        """
        if problem.stream is None:
            raise SpecificationError("CmaEs needs a random stream; pass Problem(..., stream=)")
        optimiser = self._optimiser(state, int(torch.randint(2**32, (), generator=problem.stream)))
        candidates = np.stack([optimiser.ask() for _ in range(optimiser.population_size)])  # (population, n)
        with torch.no_grad():
            found = problem.losses(_tree(torch.from_numpy(candidates), params), len(candidates))
            losses = np.array(found.view(len(candidates), -1).mean(1).tolist())
        finite = losses[np.isfinite(losses)]
        if not finite.size:
            return params, state, {"loss": math.nan, "best": math.nan, "sigma": state.sigma}
        ranked = np.where(np.isfinite(losses), losses, np.inf)
        optimiser.tell([(x, float(loss)) for x, loss in zip(candidates, ranked, strict=True)])
        state = self._after(optimiser)
        metrics = {"loss": float(finite.mean()), "best": float(finite.min()), "sigma": state.sigma}
        return {name: leaf[0] for name, leaf in _tree(state.mean[None], params).items()}, state, metrics

    # The library keeps its state in private attributes, whose names the bounds in pyproject.toml and the tests hold.

    def _optimiser(self, state: CmaState, seed: int) -> CMA:
        """Return the library's object as the state describes it."""
        from cmaes import CMA

        mean, covariance, *paths = (each.cpu().numpy().copy() for each in state[:4])
        made = CMA(mean, state.sigma, seed=seed, population_size=self.population or None, cov=covariance)
        made._p_sigma, made._pc = paths
        made._g = state.n_steps
        return made

    def _after(self, made: CMA) -> CmaState:
        """Return the state of the library's object, with step and shape told apart and both above their least."""
        scale = made._C.diagonal().mean()
        covariance = made._C / scale + LEAST_AXIS * np.eye(made.dim)
        sigma = max(float(made._sigma * scale**0.5), LEAST_STEP * self.sigma)
        return _state(made._mean, covariance, made._p_sigma, made._pc / scale**0.5, sigma, made._g)


def _state(
    mean: np.ndarray,
    covariance: np.ndarray,
    path_sigma: np.ndarray,
    path_covariance: np.ndarray,
    sigma: float,
    n_steps: int,
) -> CmaState:
    """Turn arrays into tensors."""
    arrays = (mean, covariance, path_sigma, path_covariance)
    centre, shape, path, other = (torch.from_numpy(each) for each in arrays)
    return CmaState(centre, shape, path, other, sigma, n_steps)


def _tree(flat: Tensor, like: Tree) -> Tree:
    """Cut ``(copies, n)`` into leaves ``(copies, ...)`` with the shapes, formats and places of a tree."""
    pieces = flat.split([leaf.numel() for leaf in like.values()], dim=1)
    return {
        name: piece.reshape(len(flat), *leaf.shape).to(leaf)
        for piece, (name, leaf) in zip(pieces, like.items(), strict=True)
    }
