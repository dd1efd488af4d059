"""What the bandits share: two arms, exactly what a choice brings, and an actor-critic loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SpecificationError
from ..streams import generator
from ._choice import choose, gumbel
from .base import Episode, Interactive, Part, check_split

__all__ = ["Bandit", "returns"]


@dataclass(frozen=True, kw_only=True)
class Bandit(Interactive):
    r"""Base of the tasks with two arms, one choice at each step.

    The stimulus is the choice of the step before (one-hot, 2) and what it brought: 1 for a reward, -1 for none (all 0
    at the first step). The network answers two logits, from which the choice is drawn, and a prediction of the reward
    to come (3 numbers).

    The *value* of the loss is minus the mean reward, so that evolution can follow it; its *gradient* is that of the
    actor-critic loss :math:`-A_t \log\pi(a_t) + c_v (R_t - v_t)^2 - c_H H(\pi_t)`, mean over time, with the
    discounted return :math:`R_t` of the same episode and :math:`A_t = R_t - v_t` taken as a constant.

    Attributes
    ----------
    hazard : float
        Probability at each step after the first that the arms change.
    n_steps : int
        Choices of an episode.
    discount : float
        Weight of the next reward relative to this one, 0 to 1. Later rewards of these tasks do not depend on a choice,
        so 0 gives the gradient with the least variance.
    value_weight, entropy : float
        :math:`c_v` and :math:`c_H`, 0 or more.
    """

    hazard: float = 0.05
    n_steps: int = 100
    discount: float = 0.0
    value_weight: float = 0.5
    entropy: float = 0.01

    score_name: ClassVar[str] = "probability of reward"
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, usual in (("hazard", 0.05), ("discount", 0.0)):
            if not 0 <= getattr(self, name) <= 1:
                raise SpecificationError(f"{name} is {getattr(self, name)}; allowed: 0 to 1; type {name}={usual}")
        if self.n_steps < 1 or min(self.value_weight, self.entropy) < 0:
            raise SpecificationError(
                f"n_steps is {self.n_steps}, value_weight {self.value_weight} and entropy {self.entropy}; "
                "allowed: 1 or more, and 0 or more"
            )

    @property
    def n_in(self) -> int:
        """Size of the stimulus: a choice and a reward."""
        return 3

    @property
    def n_out(self) -> int:
        """Size of the answer: two logits and a value."""
        return 3

    @abstractmethod
    def _arms(self, own: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Draw the probability that each arm is rewarded, and whether it is, ``(time, batch, 2)`` both."""

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; `Part.world` holds ``probability`` and ``reward`` of each arm, and ``gumbel``."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        probability, reward = self._arms(own, n)
        drawn = {"probability": probability, "reward": reward, "gumbel": gumbel((self.n_steps, n, 2), own)}
        world = {name: value.to(device=device, dtype=dtype) for name, value in drawn.items()}
        like = world["reward"]
        better = F.one_hot(world["probability"].argmax(-1), 3).to(like)  # (time, batch, 3)
        zeros = torch.zeros_like(better)
        inputs = {"stimulus": zeros, "target": zeros, "teach": zeros[..., :1]}
        learn = torch.ones(self.n_steps, dtype=torch.bool, device=like.device)
        return Episode(Part(inputs, better, torch.ones_like(like[..., 0]), learn, ~learn, world))

    def respond(self, part: Part, t: int, output: Tensor) -> Mapping[str, Tensor]:
        """Show the choice, and whether it was rewarded."""
        choice = choose(output[:, :2], part.world["gumbel"][t])  # (batch, 2)
        reward = (choice * part.world["reward"][t]).sum(-1, keepdim=True)
        return {"stimulus": torch.cat([choice, 2 * reward - 1], -1)}

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return minus the mean reward per task ``(batch,)``, with the gradient of the actor-critic loss."""
        logits, value = output[..., :2].log_softmax(-1), output[..., 2]  # (time, batch, 2), (time, batch)
        choice = choose(output[..., :2], part.world["gumbel"])
        reward = (choice * part.world["reward"]).sum(-1)  # (time, batch)
        error = returns(reward, self.discount) - value
        actor = -(choice * logits).sum(-1) * error.detach()
        entropy = -(logits.exp() * logits).sum(-1)
        followed = (actor + self.value_weight * error.square() - self.entropy * entropy).mean(0)
        return followed - followed.detach() - reward.mean(0)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean probability of reward of the arms that were chosen, per task ``(batch,)``."""
        choice = choose(output[..., :2], part.world["gumbel"])
        return (choice * part.world["probability"]).sum(-1).mean(0)

    def floor(self) -> float:
        """Return .5: to who sees no reward, both arms are alike."""
        return 0.5


def returns(reward: Tensor, discount: float) -> Tensor:
    """Return the discounted sum of this and later rewards at each step, ``(time, batch)``."""
    found = [reward[-1]]
    for now in reward[:-1].flip(0):
        found.append(now + discount * found[-1])
    return torch.stack(found[::-1])
