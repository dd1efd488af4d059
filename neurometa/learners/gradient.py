"""Gradient meta-learning: each task takes a few gradient steps on its support set (Finn et al. 2017, arXiv:1703.03400).

Order 2 is MAML, order 1 FOMAML; adapting the head alone is ANIL (Raghu et al. 2020, arXiv:1909.09157). All tasks adapt
at once: each has a slice of every adapted parameter, and the gradient of the *sum* of their losses is, slice by slice,
the gradient of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..tasks.base import Part, Task
from ..torch_engine.compiled import compiled
from ..torch_engine.program import Program, program
from ..torch_engine.simulate import run
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["GradientLearner"]

RATE = "learner.rate"


@dataclass(frozen=True)
class GradientLearner(NetworkLearner):
    """Adapt by ``steps`` gradient steps ``w = w - rate*gradient`` on the support loss.

    Attributes
    ----------
    network : Network or nn.Module
        A description (its rules are off), or any module from ``(n, n_in)`` to ``(n, n_out)``.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    steps : int
        Inner gradient steps.
    rate : float
        Inner rate at the start, above 0.
    learn_rate : bool
        Learn the rate, in the group ``rule``.
    order : {1, 2}
        2 differentiates through the inner gradient, 1 takes it as constant.
    adapts : tuple of str
        Patterns over the dotted names of the group ``w0`` (and ``trunk.*``): what a task changes.
    compile : bool
        Compile the adaptation as one function; the inner gradient is then ``torch.func.grad``, because
        ``autograd.grad`` under compile silently drops the second order.
    """

    network: Network | nn.Module  # type: ignore[assignment]
    trunk: ConvTrunk | None = None
    steps: int = 1
    rate: float = 0.1
    learn_rate: bool = False
    order: int = 2
    adapts: tuple[str, ...] = ("*",)
    compile: bool = False

    def __post_init__(self):
        if self.order not in (1, 2):
            raise SpecificationError(f"GradientLearner: order is {self.order}; allowed: 1 (first-order) or 2")
        if not self.rate > 0 or self.steps < 1:
            raise SpecificationError(f"GradientLearner: rate {self.rate} and steps {self.steps} must be above 0")
        if isinstance(self.network, Network):
            self._check_trunk()
            made = program(self.network)
            object.__setattr__(self, "_made", made)
        names = [*self._adaptable()]
        for pattern in self.adapts:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise SpecificationError(
                    f"GradientLearner: adapts '{pattern}' matches nothing; allowed: {', '.join(names)}"
                )
        chosen = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in self.adapts))
        object.__setattr__(self, "_adapted", {name: self._n_axes(name) for name in chosen})
        # A break in the graph would silently run everything eagerly: it is an error instead.
        inner = compiled(self._adapt, fullgraph=True) if self.compile else self._adapt
        object.__setattr__(self, "_inner", inner)

    def __reduce__(self):
        """Copy and pickle by the settings; what is worked out from them is worked out again."""
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    def _adaptable(self) -> tuple[str, ...]:
        groups = self._base_groups()
        return tuple(name for name, group in groups.items() if group in ("w0", "trunk"))

    def _n_axes(self, name: str) -> int:
        """Return the number of axes of a stored leaf, a batch axis not counted."""
        if isinstance(self.network, nn.Module):
            return self.network.get_parameter(name.removeprefix("model.")).ndim
        if name.startswith("trunk."):
            return 4 if name.endswith(".w") else 1
        return len(self.network.leaves[name].shape)

    def _base_groups(self) -> dict[str, str]:
        if isinstance(self.network, Network):
            return super().groups()
        if self.trunk is not None:
            raise SpecificationError("a module takes no trunk: put the layers into the module")
        return {f"model.{name}": "w0" for name, _ in self.network.named_parameters()}

    def groups(self) -> dict[str, str]:
        """Return the learned groups; the inner rate belongs to ``rule``."""
        return self._base_groups() | ({RATE: "rule"} if self.learn_rate else {})

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; a module's start at its own values."""
        if isinstance(self.network, Network):
            params = super().init(stream, device=device, dtype=dtype)
        else:
            named = self.network.named_parameters()
            params = {f"model.{name}": p.detach().clone().to(device=device, dtype=dtype) for name, p in named}
        like = next(iter(params.values()))
        params[RATE] = torch.log(torch.expm1(like.new_full((1,), self.rate)))
        return params

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return the adapted parameters, one slice per task."""
        # Flags become numbers here, outside the compiled function.
        plain = support._replace(learn=(), reset=tuple(support.reset.tolist()))  # type: ignore[arg-type]
        stream = None if self.compile else stream  # a compiled function cannot draw from it
        return self._inner(dict(params), plain, task, torch.is_grad_enabled(), stream)  # type: ignore[attr-defined]

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer queries with the adapted parameters."""
        return self._output({**params, **fast}, query, stream)

    def _adapt(
        self, params: Tree, support: Part, task: Task, differentiate: bool, stream: torch.Generator | None
    ) -> Tree:
        batch = support.target.shape[1]
        fast: Tree = {}
        for name, n_axes in self._adapted.items():  # type: ignore[attr-defined]
            leaf = params[name]
            fast[name] = leaf.expand(batch, *leaf.shape[leaf.ndim - n_axes :])
        rate = F.softplus(params[RATE])  # (1,) or (batch, 1)

        def loss(fast: Tree) -> Tensor:
            return task.loss(self._output({**params, **fast}, support, stream), support).sum()

        for _ in range(self.steps):
            slopes = self._slopes(loss, fast, differentiate and self.order == 2)
            fast = {name: w - rate.view(-1, *(1,) * (w.ndim - 1)) * slopes[name] for name, w in fast.items()}
        return fast

    def _slopes(self, loss, fast: Tree, second_order: bool) -> Tree:
        if self.compile:
            slopes = torch.func.grad(loss)(fast)
            return slopes if second_order else {name: slope.detach() for name, slope in slopes.items()}
        with torch.enable_grad():
            leaves = {k: w if w.requires_grad else w.detach().requires_grad_() for k, w in fast.items()}
            found = torch.autograd.grad(loss(leaves), [*leaves.values()], create_graph=second_order, allow_unused=True)
        return {
            name: torch.zeros_like(w) if slope is None else slope
            for (name, w), slope in zip(leaves.items(), found, strict=True)
        }

    def _output(self, params: Mapping[str, Tensor], part: Part, stream: torch.Generator | None) -> Tensor:
        if isinstance(self.network, Network):
            inputs = self._inputs(params, part)
            made: Program = self._made  # type: ignore[attr-defined]
            return run(made, params, inputs, learn=False, reset=part.reset, stream=stream).output
        module: nn.Module = self.network
        own = {name.removeprefix("model."): leaf for name, leaf in params.items() if name.startswith("model.")}
        n_axes = {name: p.ndim for name, p in module.named_parameters()}
        axes = {name: 0 if leaf.ndim > n_axes[name] else None for name, leaf in own.items()}
        x = part.inputs["stimulus"]  # (time, batch, n_in)
        if not any(axis == 0 for axis in axes.values()):
            return torch.func.functional_call(module, own, (x.flatten(0, 1),)).unflatten(0, x.shape[:2])
        call = torch.vmap(lambda p, one: torch.func.functional_call(module, p, (one,)), in_dims=(axes, 1), out_dims=1)
        return call(own, x)
