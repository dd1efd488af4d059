"""Gradient-based plasticity: a gradient step at every time step, at a rate that a neuromodulator sets.

Duan et al. 2023, arXiv:2302.03235.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._online import OnlineLearner

__all__ = ["OnlineGradientLearner"]


@dataclass(frozen=True)
class OnlineGradientLearner(OnlineLearner):
    """Adapt by ``w = (1 - decay*m)*w - rate*m*gradient`` at every step; the rules of the network are off.

    On a task that is one sequence this is MAML taken step by step: with ``m = 1`` the outer loop learns the start of
    the synapses and one rate.

    Attributes
    ----------
    network, trunk, objective, modulator, rate, decay
        As in `OnlineLearner`.
    """
