"""Classification by prototypes: features are learned, nothing else adapts; ProtoNet and NIL.

With Euclidean distances this is ProtoNet (Snell et al. 2017, arXiv:1703.05175). With cosines, on parameters that MAML
or ANIL learned, it is NIL, the test without an inner loop (Raghu et al. 2020, arXiv:1909.09157).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..spec.base import check_choice
from ..tasks.base import Part, Task
from ..torch_engine.simulate import simulate
from ..trajectory import Save
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["PrototypeLearner"]

SCALE = "learner.scale"


@dataclass(frozen=True)
class PrototypeLearner(NetworkLearner):
    """Name a query after the class whose prototype, the mean of its support features, is nearest.

    Attributes
    ----------
    network : Network
        Gives the features; a rule that it has is off.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    features : str
        Population whose activity is compared, such as ``"hidden"``; default: the stimulus as the network receives it,
        that is the trunk's features.
    distance : {"euclidean", "cosine"}
        Logits are the scale times minus the squared distance (ProtoNet), or times the mean cosine with the support
        features of a class (NIL).
    scale : float
        Start of the scale, which is learned in the group ``rule``.
    """

    network: Network
    trunk: ConvTrunk | None = None
    features: str = ""
    distance: str = "euclidean"
    scale: float = 1.0

    def __post_init__(self):
        self._check_trunk()
        check_choice(self.distance, ("euclidean", "cosine"), "PrototypeLearner: distance")
        if not self.scale > 0:
            raise SpecificationError(f"PrototypeLearner: scale is {self.scale}; it must be above 0")
        if self.features:
            self.network[self.features]  # an unknown population is an error here

    def groups(self) -> dict[str, str]:
        """Return the learned groups: what the features depend on, and the scale."""
        used = {name: group for name, group in super().groups().items() if self.features or name.startswith("trunk.")}
        return used | {SCALE: "rule"}

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; the scale is stored through softplus."""
        params = super().init(stream, device=device, dtype=dtype)
        like = next(iter(params.values()), torch.zeros((), device=device, dtype=dtype))
        return params | {SCALE: torch.log(torch.expm1(like.new_full((1,), self.scale)))}

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return ``prototypes``, ``(batch, n_out, features)``."""
        if task.score_name != "accuracy":
            raise SpecificationError(f"PrototypeLearner needs a task with classes; {type(task).__name__} has none")
        found, label = self._features(params, support, stream), support.inputs["target"]
        total = torch.einsum("tbk,tbf->bkf", label, found)
        prototypes = total / label.sum(0).clamp_min(1.0).unsqueeze(-1)
        return {"prototypes": prototypes} | self._statistics(params, support)

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Return logits ``(time, batch, n_out)``."""
        known = {name: value for name, value in fast.items() if name.startswith("trunk.")}
        asked, prototypes = self._features({**params, **known}, query, stream), fast["prototypes"]
        scale = F.softplus(params[SCALE])  # (1,) or (batch, 1)
        product = torch.einsum("tbf,bkf->tbk", asked, prototypes)
        if self.distance == "cosine":
            return scale * product
        return scale * (2 * product - prototypes.square().sum(-1) - asked.square().sum(-1, keepdim=True))

    def _features(self, params: Mapping[str, Tensor], part: Part, stream: torch.Generator | None) -> Tensor:
        """Return the features of a part, ``(time, batch, features)``."""
        inputs = self._inputs(params, part)
        if self.features:
            plan = Save((f"x.{self.features}",))
            kept = simulate(self.network, params, inputs, learn=False, reset=part.reset, stream=stream, save=plan)
            found = kept[f"x.{self.features}"]
        else:
            found = inputs["stimulus"]
        return F.normalize(found, dim=-1) if self.distance == "cosine" else found
