"""A plain multi-layer network without plasticity rules: what gradient meta-learning adapts."""

from __future__ import annotations

from itertools import pairwise

from ..errors import SpecificationError
from ..spec import Network, Normal, Param, Population, Projection
from ..spec.base import check_choice

__all__ = ["mlp"]


def mlp(
    n_in: int, n_out: int, hidden: tuple[int, ...] = (40, 40), transfer: str = "relu", rule: None = None
) -> Network:
    """Build stimulus -> hidden layers -> out, with biases.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of stimulus and output.
    hidden : tuple of int
        Neurons of each hidden layer.
    transfer : {"relu", "tanh", "sigmoid", "softplus"}
        Of the hidden neurons; the output is linear (logits of a classifier).
    rule : None
        The network has no plastic projection; anything else is refused.

    Returns
    -------
    Network
        Answers ``out.x``.
    """
    check_choice(transfer, ("relu", "tanh", "sigmoid", "softplus"), "mlp: transfer")
    if rule is not None:
        raise SpecificationError("network 'mlp' has no plastic projection; use associative, recurrent or modulated")
    names = [f"layer{i}" for i in range(len(hidden))]
    layers = [Population(name, size, f"{transfer}(drive)") for name, size in zip(names, hidden, strict=True)]
    chain = ["stimulus", *names, "out"]
    weights = Param(Normal(0.0, "1/sqrt(3*n_pre)"), per="synapse")  # the variance of torch.nn.Linear's default
    projections = []
    for pre, post in pairwise(chain):
        projections += [Projection(pre, post, w=weights), Projection("one", post, w=Param(0.0, per="post"))]
    return Network(
        (Population("stimulus", n_in), *layers, Population("out", n_out, "drive")),
        tuple(projections),
        output="out.x",
        name="mlp",
    )
