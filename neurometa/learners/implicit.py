"""Implicit MAML: the inner loop solves a proximal problem, and the outer gradient comes from its optimality condition.

Rajeswaran et al. 2019, arXiv:1909.04630. Memory and cost of the outer gradient do not depend on the inner steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import EngineError, SpecificationError
from ..tasks.base import Part, Task
from ..tree import Tree
from ._gradient import InnerLoop

__all__ = ["ImplicitLearner"]

STRENGTH = "learner.strength"


@dataclass(frozen=True)
class ImplicitLearner(InnerLoop):
    r"""Adapt to the minimum of ``L(w) + strength/2*|w - w0|**2`` over the support set.

    At the minimum :math:`\nabla L(w) + \lambda (w - w_0) = 0`; differentiating this gives the meta-gradient

    .. math:: \frac{dL_Q}{dw_0} = \lambda\,(H + \lambda)^{-1}\,\nabla L_Q(w)

    with H the Hessian of the support loss, solved by conjugate gradients for all tasks at once. Every other parameter
    that the support loss depends on, and :math:`\lambda` itself, gets its gradient from the same solution. All of it is
    as exact as the two solvers are: ``steps`` at ``rate`` must reach the minimum.

    Attributes
    ----------
    network, trunk, steps, rate, adapts, inner, beta1, minibatch
        As in `InnerLoop`; the steps solve the inner problem.
    strength : float
        Start of :math:`\lambda`, above 0.
    learn_strength : bool
        Learn it, in the group ``rule``.
    solver_steps : int
        Steps of conjugate gradients.
    """

    steps: int = 16
    strength: float = 1.0
    learn_strength: bool = False
    solver_steps: int = 5

    def __post_init__(self):
        super().__post_init__()
        if self.compile:
            raise SpecificationError("ImplicitLearner does not compile: its backward pass is its own; compile=False")
        if not self.strength > 0 or self.solver_steps < 1:
            raise SpecificationError(
                f"ImplicitLearner: strength {self.strength} and solver_steps {self.solver_steps} must be above 0"
            )

    def groups(self) -> dict[str, str]:
        """Return the learned groups; the strength belongs to ``rule``."""
        return super().groups() | ({STRENGTH: "rule"} if self.learn_strength else {})

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; the strength is stored through softplus."""
        params = super().init(stream, device=device, dtype=dtype)
        like = next(iter(params.values()))
        return params | {STRENGTH: torch.log(torch.expm1(like.new_full((1,), self.strength)))}

    def _adapt(self, params: Tree, support: Part, task: Task, stream: torch.Generator | None) -> Tree:
        names = [*params]
        adapted: tuple[str, ...] = tuple(self._adapted)  # type: ignore[attr-defined]

        def solve(*leaves: Tensor) -> tuple[Tensor, ...]:
            known = dict(zip(names, leaves, strict=True))
            rates = dict.fromkeys(adapted, leaves[0].new_full((), self.rate))
            return tuple(self._descend(known, rates, support, task, 1, stream).values())

        def residual(leaves: tuple[Tensor, ...], fast: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            known = dict(zip(names, leaves, strict=True))
            loss = self._support_loss(known, support, task, stream)
            found = dict(zip(adapted, fast, strict=True))
            return torch.autograd.grad(loss(found), fast, create_graph=True)

        made = _Minimum.apply(solve, residual, self.solver_steps, *params.values())
        return dict(zip(adapted, made, strict=True))

    def _support_loss(
        self, params: Tree, support: Part, task: Task, stream: torch.Generator | None
    ) -> Callable[[Tree], Tensor]:
        """Return the proximal loss."""
        plain = super()._support_loss(params, support, task, stream)
        start = self._start(params, support.target.shape[1])
        strength = F.softplus(params[STRENGTH])  # (1,) or (batch, 1)

        def loss(fast: Tree) -> Tensor:
            squares = [(w - start[name]).square().flatten(1).sum(1) for name, w in fast.items()]
            return plain(fast) + 0.5 * (strength.view(-1) * torch.stack(squares).sum(0)).sum()

        return loss


class _Minimum(torch.autograd.Function):
    """The minimum of the inner problem, differentiated through its optimality condition."""

    @staticmethod
    def forward(ctx: Any, solve: Any, residual: Any, n_steps: int, *leaves: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        fast = tuple(each.detach() for each in solve(*leaves))
        ctx.save_for_backward(*leaves, *fast)
        ctx.residual, ctx.n_steps, ctx.n_leaves = residual, n_steps, len(leaves)
        return fast

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        leaves, fast = ctx.saved_tensors[: ctx.n_leaves], ctx.saved_tensors[ctx.n_leaves :]
        with torch.enable_grad():
            leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
            fast = tuple(each.detach().requires_grad_() for each in fast)
            residual = ctx.residual(leaves, fast)

        def product(vectors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            """Multiply by the Hessian of the proximal loss, a block per task."""
            return torch.autograd.grad(residual, fast, vectors, retain_graph=True, materialize_grads=True)

        solution = _conjugate_gradients(product, slopes, ctx.n_steps)
        found = torch.autograd.grad(residual, leaves, tuple(-each for each in solution), allow_unused=True)
        return None, None, None, *found

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse forward mode by name."""
        raise EngineError("ImplicitLearner has a backward pass of its own and no forward mode; use Backprop")


def _conjugate_gradients(
    product: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]], right: tuple[Tensor, ...], n_steps: int
) -> tuple[Tensor, ...]:
    """Solve a symmetric positive system for every entry of the batch axis at once."""
    x = tuple(torch.zeros_like(each) for each in right)
    rest, direction = right, right
    size = _dot(rest, rest)
    for _ in range(n_steps):
        image = product(direction)
        curvature = _dot(direction, image)
        length = torch.where(curvature > 0, size / curvature, torch.zeros_like(size))  # solved, or not positive: stop
        x = _add(x, length, direction)
        rest = _add(rest, -length, image)
        new = torch.where(length > 0, _dot(rest, rest), torch.zeros_like(size))  # 0: no further step is taken
        turn = torch.where(size > 0, new / size, torch.zeros_like(size))
        direction = _add(rest, turn, direction)
        size = new
    return x


def _dot(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """Return the inner product of two trees, ``(batch,)``."""
    return torch.stack([(x * y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def _add(a: tuple[Tensor, ...], factor: Tensor, b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return ``a + factor*b`` with a factor per entry of the batch axis."""
    return tuple(x + factor.view(-1, *(1,) * (x.ndim - 1)) * y for x, y in zip(a, b, strict=True))
