"""Changing a description: what a lesion or a control needs."""

from __future__ import annotations

from dataclasses import replace

from .network import Network

__all__ = ["impose"]


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
