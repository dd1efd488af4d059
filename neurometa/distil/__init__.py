"""From what a rule did to a short equation: sparse regression on recorded plasticity.

A learned rule may have many terms, or be a neural network. What it does to synapses along the trajectories that it
brought about may still be said in a few terms. `distil` finds them, says how sure they are and which ones the data
cannot tell apart, and returns a rule that can be run, scored and cross-checked like any other.
"""

from __future__ import annotations

from ..callable_module import make_callable
from .rerun import Rerun, rerun
from .samples import Samples, samples_of
from .search import Distilled, distil

__all__ = ["Distilled", "Rerun", "Samples", "distil", "rerun", "samples_of"]


make_callable(__name__, distil)
