"""Adam with clipping and a schedule: what every outer algorithm does with its estimate of the gradient."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec.base import check_choice
from ..tree import Tree
from .base import Outer, Problem

__all__ = ["AdamState", "Descent", "reverse", "slopes_of"]


class AdamState(NamedTuple):
    """Running moments of the gradient, by parameter, and the number of steps taken."""

    mean: Tree
    square: Tree
    n_steps: int


@dataclass(frozen=True)
class Descent(Outer):
    """Base of the algorithms that estimate a gradient and follow it with Adam (Kingma & Ba 2015, arXiv:1412.6980).

    Attributes
    ----------
    lr : float
        Learning rate.
    schedule : {"constant", "cosine"}
        ``cosine`` falls to 0 at the last iteration.
    clip : float
        Largest norm of the whole gradient; 0 switches clipping off.
    l1 : float
        Strength of a penalty ``l1*sum(|p|)`` on what `penalised` names, added to the loss that is followed (not to the
        loss that is reported); it drives the coefficients of a rule that are not needed to 0. It sees parameters as
        they are stored, so it is meant for those without a constraint.
    penalised : tuple of str
        Patterns over the dotted names of the parameters; default: the parameters of rules.
    weight_decay : float
        Decoupled decay of every parameter (Loshchilov & Hutter 2019, arXiv:1711.05101).
    beta1, beta2, epsilon : float
        Adam's constants.
    """

    lr: float = 1e-3
    schedule: str = "constant"
    clip: float = 1.0
    l1: float = 0.0
    penalised: tuple[str, ...] = ("*.rule.*",)
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        check_choice(self.schedule, ("constant", "cosine"), f"{type(self).__name__}: schedule")
        if not self.lr > 0 or self.clip < 0:
            raise SpecificationError(
                f"{type(self).__name__}: lr {self.lr} must be above 0 and clip {self.clip} not below 0"
            )
        if self.l1 < 0 or self.weight_decay < 0:
            raise SpecificationError(
                f"{type(self).__name__}: l1 {self.l1} and weight_decay {self.weight_decay} must not be below 0"
            )

    @abstractmethod
    def gradient(self, params: Tree, problem: Problem) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss and an estimate of its gradient, one tensor per parameter."""

    def init(self, params: Tree) -> AdamState:
        """Return zero moments."""
        if self.l1 and not any(map(self._is_penalised, params)):
            raise SpecificationError(
                f"{type(self).__name__}: penalised {', '.join(self.penalised)} matches nothing that is learned; "
                f"there are {', '.join(params)}"
            )
        zeros = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
        return AdamState(zeros, dict(zeros), 0)

    def step(self, params: Tree, state: AdamState, problem: Problem) -> tuple[Tree, AdamState, dict[str, float]]:
        """Take one step; metrics are ``loss``, the gradient's norm before clipping, and the rate."""
        loss, slopes = self.gradient(params, problem)
        return self.follow(params, state, problem, loss, slopes)

    def follow(
        self, params: Tree, state: AdamState, problem: Problem, loss: Tensor, slopes: list[Tensor]
    ) -> tuple[Tree, AdamState, dict[str, float]]:
        """Take one step along a gradient that is known."""
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in slopes]))
        # One transfer for both numbers. Never divide by the norm itself: it may be 0.
        loss_value, norm_value = torch.stack([loss.detach(), norm]).tolist()
        if self.clip and norm_value > self.clip:
            slopes = [g * (self.clip / norm_value) for g in slopes]
        if self.l1:
            slopes = [
                g + self.l1 * p.sign() if self._is_penalised(n) else g
                for (n, p), g in zip(params.items(), slopes, strict=True)
            ]
        progress = problem.iteration / max(1, problem.n_iterations)
        lr = self.lr * (0.5 * (1 + math.cos(math.pi * progress)) if self.schedule == "cosine" else 1.0)
        new, state = self._adam(params, slopes, state, lr)
        return new, state, {"loss": loss_value, "gradient_norm": norm_value, "lr": lr}

    def _is_penalised(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.penalised)

    def _adam(self, params: Tree, slopes: list[Tensor], state: AdamState, lr: float) -> tuple[Tree, AdamState]:
        n_steps = state.n_steps + 1
        correct1, correct2 = 1 - self.beta1**n_steps, 1 - self.beta2**n_steps
        values = [leaf.detach() for leaf in params.values()]
        mean = torch._foreach_lerp([*state.mean.values()], slopes, 1 - self.beta1)
        square = torch._foreach_mul([*state.square.values()], self.beta2)
        torch._foreach_addcmul_(square, slopes, slopes, 1 - self.beta2)  # in place on fresh tensors only
        scale = torch._foreach_sqrt(square)
        torch._foreach_div_(scale, math.sqrt(correct2))
        torch._foreach_add_(scale, self.epsilon)
        new = torch._foreach_mul(values, 1 - lr * self.weight_decay)
        torch._foreach_addcdiv_(new, mean, scale, -lr / correct1)
        names = list(params)
        return (
            dict(zip(names, new, strict=True)),
            AdamState(dict(zip(names, mean, strict=True)), dict(zip(names, square, strict=True)), n_steps),
        )


def reverse(losses: Callable[[Tree], Tensor], params: Tree) -> tuple[Tensor, list[Tensor]]:
    """Return the mean of losses and its exact gradient by reverse mode, one tensor per parameter."""
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}
    loss = losses(leaves).mean()
    return loss, slopes_of(loss, leaves)


def slopes_of(loss: Tensor, leaves: Tree) -> list[Tensor]:
    """Return the gradient of a loss, one tensor per leaf; 0 for leaves (it may be all) on which it does not depend."""
    if not loss.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves.values()]
    found = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), found, strict=True)]
