"""More labels than trained: a learner grown by labels that are the mean of those that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..learners import Learner
from ..learners.recurrent import RecurrentLearner
from ..spec import Network
from ..streams import generator
from ..tree import Tree

__all__ = ["widened"]


def widened(learner: Learner, params: Mapping[str, Tensor], n_out: int) -> tuple[Learner, Tree]:
    """Return a learner for more labels, and its parameters.

    Label maps are drawn anew in every episode, so no label is special: along every axis that grows, the new entries are
    the mean over those that were learned.

    Parameters
    ----------
    learner : Learner
        With a network description, or a `RecurrentLearner`.
    params : mapping of str to Tensor
        As stored.
    n_out : int
        Labels, no fewer than it has.

    Raises
    ------
    SpecificationError
        If the learner has another kind of network, or more labels.
    """
    if isinstance(learner, RecurrentLearner):
        return _recurrent(learner, params, n_out - learner.n_out)
    network = getattr(learner, "network", None)
    if not isinstance(network, Network):
        raise SpecificationError(f"{type(learner).__name__} has no network description; its labels cannot be added to")
    tied = {network.output.partition(".")[0], "target"} & {p.name for p in network.populations}
    while more := {name for p in network.projections if p.mask == "one_to_one" for name in _ends(p, tied)} - tied:
        tied |= more
    grown = tuple(replace(p, size=n_out) if p.name in tied else p for p in network.populations)
    wide: Learner = replace(learner, network=replace(network, populations=grown))  # type: ignore[type-var,call-arg]
    fresh, found = wide.init(generator(0, "init")), {}
    for name, leaf in params.items():
        for axis, size in enumerate(fresh[name].shape):
            leaf = _longer(leaf, axis, size - leaf.shape[axis])
        found[name] = leaf
    return wide, found


def _ends(projection, names: set[str]) -> set[str]:
    """Return both ends of a projection if one of them is among some names."""
    ends = {projection.pre, projection.post}
    return ends if ends & names else set()


def _longer(leaf: Tensor, axis: int, more: int) -> Tensor:
    """Add the mean over an axis to its end, so many times."""
    if more < 0:
        raise SpecificationError(f"the learner has {-more} labels more than are asked for; allowed: that many or more")
    return torch.cat([leaf, *[leaf.mean(axis, keepdim=True)] * more], axis)


def _recurrent(learner: RecurrentLearner, params: Mapping[str, Tensor], more: int) -> tuple[Learner, Tree]:
    weight = params["cell.weight_ih_l0"]  # columns: stimulus, target, teach
    stimulus, target, teach = weight.split([learner.n_in, learner.n_out, 1], 1)
    grown = {name: _longer(params[name], 0, more) for name in ("readout.w", "readout.b")}
    seen = torch.cat([stimulus, _longer(target, 1, more), teach], 1)
    return replace(learner, n_out=learner.n_out + more), {**params, **grown, "cell.weight_ih_l0": seen}
