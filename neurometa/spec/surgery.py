"""Changing a description: what a lesion or a control needs."""

from __future__ import annotations

from dataclasses import replace

from .network import Network
from .param import Param
from .projection import Projection

__all__ = ["held_constant", "impose", "resized"]


def impose(network: Network, name: str) -> Network:
    """Return the network with one population made an input: its activity is imposed from outside.

    Parameters
    ----------
    network : Network
        Any network.
    name : str
        A population, such as a neuromodulator that is to be clamped, shifted, or taken from another episode.

    Returns
    -------
    Network
        Without the projections into that population. Parameters of the original network fit; those that are no
        longer used are ignored.

    Examples
    --------
    >>> from neurometa.networks import get
    >>> impose(get("tracker")(1, 1), "rate").inputs["rate"]
    1
    """
    changed = replace(network[name], update={}, params={}, start={}, inputs=("drive",), modulators={}, spikes=None)
    populations = tuple(changed if p.name == name else p for p in network.populations)
    projections = tuple(p for p in network.projections if p.post != name)
    return replace(network, populations=populations, projections=projections)


def held_constant(network: Network, name: str) -> Network:
    """Return the network with one population that hears nothing but its bias: a learned constant.

    Parameters
    ----------
    network : Network
        Any network.
    name : str
        A population that the network computes, such as a neuromodulator that is to be held at its best constant.

    Examples
    --------
    >>> from neurometa.networks import get
    >>> [p.label for p in held_constant(get("tracker")(1, 1), "rate").projections if p.post == "rate"]
    ['one__rate']
    """
    kept = tuple(p for p in network.projections if p.post != name or p.pre == "one")
    if not any(p.post == name for p in kept):
        kept = (*kept, Projection("one", name, w=Param(0.0, per="post")))
    return replace(network, projections=kept)


def resized(network: Network, factor: float) -> Network:
    """Return the network with more (or fewer) hidden neurons.

    Parameters
    ----------
    network : Network
        Any network.
    factor : float
        By which the size is multiplied of every population that is computed, does not answer, has more than one
        neuron, and is not tied one to one to a population of another kind.

    Examples
    --------
    >>> from neurometa.networks import get
    >>> resized(get("mlp")(3, 2, hidden=(4,)), 2)["layer0"].size
    8
    """
    tied = {name for p in network.projections if p.mask == "one_to_one" for name in (p.pre, p.post)}
    fixed = {network.output.partition(".")[0], *network.inputs, *tied}
    sizes = {
        p.name: p.size if p.size == 1 or p.name in fixed else max(1, round(factor * p.size))
        for p in network.populations
    }
    return replace(network, populations=tuple(replace(p, size=sizes[p.name]) for p in network.populations))
