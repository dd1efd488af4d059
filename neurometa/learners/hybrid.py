"""A local rule and a gradient step together, at every time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._online import OnlineLearner

__all__ = ["HybridLearner"]


@dataclass(frozen=True)
class HybridLearner(OnlineLearner):
    """Adapt by the network's own rules and by ``w = (1 - decay*m)*w - rate*m*gradient``, both from the same old state.

    Attributes
    ----------
    network, trunk, objective, modulator, rate, decay
        As in `OnlineLearner`; the rules of the network are on.
    """

    uses_rule: ClassVar[bool] = True
