"""Gaussian clusters with random label maps: a few labelled examples of each cluster, and then new points to name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import one_hot

from ..errors import SpecificationError
from ..streams import generator
from ._classification import Classification
from ._regression import points
from .base import Episode, check_split

__all__ = ["GaussianClusters"]

#: Nodes of the quadrature in each direction, equally spaced in a normal score between minus and plus `REACH`.
NODES, REACH = 48, 7.0
#: Noise over spread, beyond which a few examples tell next to nothing and the quadrature takes long.
MOST_NOISE = 20


@dataclass(frozen=True, kw_only=True)
class GaussianClusters(Classification):
    r"""Name points of ``n_way`` Gaussian clusters whose places and labels are new in each episode.

    Centres are drawn from :math:`N(0, s^2 I)`, points of a cluster from :math:`N(centre, \sigma^2 I)`, in d dimensions
    (s `spread`, :math:`\sigma` `noise`, d `n_dim`). Which cluster has which label is a uniform random permutation, so
    that nothing but the support set tells. The support holds ``n_shot`` points of each cluster in random order; each
    query is a new point of a cluster drawn uniformly. Activity starts from rest at every point.

    `n_distractor` further inputs are :math:`N(0, \tau^2)` at every point whatever its cluster (:math:`\tau`
    `distractor`). They are the last ones, always, and tell nothing, so floor and ceiling do not depend on them; what
    is inherited may hold that they are to be ignored.

    Parameters
    ----------
    n_way : int
        Clusters, and labels.
    n_shot : int
        Points of each cluster in the support.
    n_query : int
        Queries per episode, over all clusters.
    n_dim : int
        Inputs that depend on the cluster.
    spread, noise : float
        Standard deviation of a centre, and of a point about its centre, in each dimension; above 0, noise up to 20
        times spread.
    n_distractor : int
        Inputs that do not.
    distractor : float
        Their standard deviation, above 0.
    shuffle_labels : bool
        Control: the labels shown go through a uniform random permutation, drawn for each episode independently of the
        query labels, so that nobody can score above chance. The points stay the same.

    Raises
    ------
    SpecificationError
        If a setting is outside its range.

    Notes
    -----
    All clusters have as many examples, so the ideal observer names the cluster with the nearest posterior mean
    :math:`m_c`. With :math:`v = s^4/(s^2 + \sigma^2/K)`, the variance of :math:`m_c` in each dimension for K shots, and
    :math:`t = s^2 + \sigma^2`, the distances to a query x are independent given :math:`r = |x|^2 \sim t\chi^2_d`:

    .. math:: |x - m_c|^2 \sim v\,\chi^2_d(r/v), \qquad
              |x - m_{right}|^2 \sim b\,\chi^2_d\big((1 - v/t)^2\,r/b\big), \quad b = v - v^2/t,

    so its accuracy is :math:`E[(1 - F(|x - m_{right}|^2))^{n_{way} - 1}]` with F the first distribution function,
    computed by a quadrature over two normal scores (error below 1e-8). For K to infinity (v to :math:`s^2`) it is the
    accuracy of who knows the centres and their labels. A Hebbian rule sums the points of each label and answers by the
    inner product, which leaves out the length of the mean: .790 at the standard numbers.

    References
    ----------
    Najarro & Risi 2020, doi:10.48550/arXiv.2007.02686 (rules that are inherited without weights); Snell, Swersky &
    Zemel 2017, doi:10.48550/arXiv.1703.05175 (nearest mean as a few-shot classifier).

    Examples
    --------
    >>> task = GaussianClusters()
    >>> task.floor(), round(task.ceiling(), 4), {name: round(value, 4) for name, value in task.references().items()}
    (0.2, 0.8243, {'knows centres and labels': 0.9781})
    """

    n_way: int = 5
    n_shot: int = 1
    n_query: int = 5
    n_dim: int = 16
    spread: float = 1.0
    noise: float = 1.0
    n_distractor: int = 0
    distractor: float = 2.0
    shuffle_labels: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("n_way", 2), ("n_shot", 1), ("n_query", 1), ("n_dim", 1), ("n_distractor", 0)):
            if getattr(self, name) < least:
                raise SpecificationError(
                    f"gaussian_clusters: {name} is {getattr(self, name)}; allowed: {least} or more; "
                    f"type {name}={getattr(GaussianClusters, name)}"
                )
        for name in ("spread", "noise", "distractor"):
            if not 0 < getattr(self, name) < math.inf:
                raise SpecificationError(
                    f"gaussian_clusters: {name} is {getattr(self, name)}; allowed: above 0; "
                    f"type {name}={getattr(GaussianClusters, name)}"
                )
        if self.noise > MOST_NOISE * self.spread:
            raise SpecificationError(
                f"gaussian_clusters: noise is {self.noise} and spread {self.spread}; allowed: noise up to {MOST_NOISE} "
                "times spread; type noise=1.0, spread=1.0"
            )

    @property
    def n_in(self) -> int:
        """Inputs that depend on the cluster, and those that do not."""
        return self.n_dim + self.n_distractor

    @property
    def n_out(self) -> int:
        """Number of labels."""
        return self.n_way

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes.

        ``info`` holds ``centre`` (batch, n_way, n_dim), the ``cluster`` of each point (support + query time, batch),
        and ``label`` (batch, n_way), the label of each cluster.
        """
        check_split(split)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        n_support = self.n_way * self.n_shot
        n_points = n_support + self.n_query
        centre = self.spread * torch.randn(n, self.n_way, self.n_dim, generator=own)
        label, other = torch.rand(2, n, self.n_way, generator=own).argsort(-1)  # (batch, way); labels of the control
        shown = torch.rand(n, n_support, generator=own).argsort(-1) // self.n_shot  # (batch, support time)
        asked = torch.randint(self.n_way, (n, self.n_query), generator=own)
        away = torch.randn(n_points, n, self.n_dim, generator=own)
        ignored = torch.randn(n_points, n, self.n_distractor, generator=own)
        cluster, rows = torch.cat([shown, asked], 1).T, torch.arange(n)  # (time, batch)
        stimulus = torch.cat([centre[rows, cluster] + self.noise * away, self.distractor * ignored], -1)
        right = label[rows, cluster]  # (time, batch)
        told = other[rows, right] if self.shuffle_labels else right
        stimulus = stimulus.to(device=device, dtype=dtype)  # (time, batch, n_in)
        target, told = (one_hot(value, self.n_way).to(stimulus) for value in (right, told))  # (time, batch, n_way)
        support = points(stimulus[:n_support], told[:n_support], shown=True)
        query = points(stimulus[n_support:], target[n_support:], shown=False)
        return Episode(support, query, {"centre": centre, "cluster": cluster, "label": label})

    def floor(self) -> float:
        """Return chance, ``1/n_way``."""
        return 1 / self.n_way

    def ceiling(self) -> float:
        """Return the accuracy of the ideal observer, who knows s and sigma and sees the support; by quadrature."""
        return self.floor() if self.shuffle_labels else _accuracy(self, self.n_shot)

    def references(self) -> dict[str, float]:
        """Return the accuracy of who is told the centres and their labels; by the same quadrature."""
        return {"knows centres and labels": _accuracy(self, math.inf)}


@lru_cache(maxsize=32)
def _accuracy(task: GaussianClusters, n_shot: float, nodes: int = NODES) -> float:
    """Return the accuracy of who names the nearest posterior mean after ``n_shot`` examples of each cluster."""
    from scipy.stats import chi2, ncx2, norm

    s2, noise2 = task.spread**2, task.noise**2
    total, v = s2 + noise2, s2**2 / (s2 + noise2 / n_shot)
    b = v - v**2 / total
    score = np.linspace(-REACH, REACH, nodes)
    weight = norm.pdf(score) / norm.pdf(score).sum()
    square = total * chi2.isf(norm.sf(score), task.n_dim)[:, None]  # |x|^2, (nodes, 1)
    near = b * ncx2.ppf(norm.cdf(score), task.n_dim, (1 - v / total) ** 2 * square / b)  # (nodes, nodes)
    further = ncx2.sf(near / v, task.n_dim, square / v) ** (task.n_way - 1)
    return min(float(weight @ further @ weight), 1.0)  # rounding
