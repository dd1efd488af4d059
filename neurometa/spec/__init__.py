"""Descriptions: parameters, plasticity rules, populations, projections, networks. Text and sizes, no tensors."""

from .base import Description
from .listed import Listed, Pairs
from .network import ONE, Network
from .param import Leaf, Normal, Orthogonal, Param, PerEpisode, Uniform
from .population import Population
from .projection import Delays, Projection, Random
from .rule import MLP, PlasticityRule, Sum, Trace
from .spikes import Spikes
from .trunk import ConvTrunk

__all__ = [
    "MLP",
    "ONE",
    "ConvTrunk",
    "Delays",
    "Description",
    "Leaf",
    "Listed",
    "Network",
    "Normal",
    "Orthogonal",
    "Pairs",
    "Param",
    "PerEpisode",
    "PlasticityRule",
    "Population",
    "Projection",
    "Random",
    "Spikes",
    "Sum",
    "Trace",
    "Uniform",
]
