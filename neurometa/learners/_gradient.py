"""What every learner that descends a support loss shares: which leaves adapt, the loss, its gradient per task.

All tasks adapt at once: each has a slice of every adapted parameter, and the gradient of the *sum* of their losses is,
slice by slice, the gradient of each. No clones, no loop over tasks, and nothing depends on the number of tasks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..errors import SpecificationError
from ..spec import ConvTrunk, Network
from ..spec.base import check_choice
from ..tasks.base import Episode, Part, Task
from ..torch_engine.compiled import compiled
from ..torch_engine.program import Program, program
from ..torch_engine.simulate import run
from ..torch_engine.trunk import n_axes
from ..tree import Tree
from .base import NetworkLearner

__all__ = ["InnerLoop"]

BETA2, EPSILON = 0.999, 1e-8


@dataclass(frozen=True)
class InnerLoop(NetworkLearner):
    """Base of the learners that take gradient steps on the support set.

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
    adapts : tuple of str
        Patterns over the dotted names of the group ``w0`` (and ``trunk.*``): what a task changes.
    inner : {"sgd", "adam"}
        ``adam`` divides each step by the root of the running mean square (decay .999, bias corrected) of its gradient.
    beta1 : float
        Decay of Adam's running mean of the gradient; 0 as in Reptile.
    minibatch : int
        Support items in each inner step, taken in turn; 0: all of them.
    compile : bool
        Compile adaptation and answer as one function while training; the inner gradient is then ``torch.func.grad``,
        because ``autograd.grad`` under compile silently drops the second order.
    """

    network: Network | nn.Module  # type: ignore[assignment]
    trunk: ConvTrunk | None = None
    steps: int = 1
    rate: float = 0.1
    adapts: tuple[str, ...] = ("*",)
    inner: str = "sgd"
    beta1: float = 0.0
    minibatch: int = 0
    compile: bool = False

    def __post_init__(self):
        name = type(self).__name__
        if not self.rate > 0 or self.steps < 1:
            raise SpecificationError(f"{name}: rate {self.rate} and steps {self.steps} must be above 0")
        check_choice(self.inner, ("sgd", "adam"), f"{name}: inner")
        if not 0 <= self.beta1 < 1 or self.minibatch < 0:
            raise SpecificationError(
                f"{name}: beta1 {self.beta1} must lie in [0, 1) and minibatch {self.minibatch} be 0 or more"
            )
        if isinstance(self.network, Network):
            self._check_trunk()
            object.__setattr__(self, "_made", program(self.network))
        names = [leaf for leaf, group in self._base_groups().items() if group in ("w0", "trunk")]
        for pattern in self.adapts:
            if not any(fnmatchcase(leaf, pattern) for leaf in names):
                raise SpecificationError(f"{name}: adapts '{pattern}' matches nothing; allowed: {', '.join(names)}")
        chosen = tuple(leaf for leaf in names if any(fnmatchcase(leaf, pattern) for pattern in self.adapts))
        object.__setattr__(self, "_adapted", {leaf: self._n_axes(leaf) for leaf in chosen})
        # A break in the graph would silently run everything eagerly: it is an error instead.
        whole = compiled(self._whole, fullgraph=True) if self.compile else self._whole
        object.__setattr__(self, "_respond", whole)

    def __reduce__(self):
        """Copy and pickle by the settings; what is worked out from them is worked out again."""
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @abstractmethod
    def _adapt(self, params: Tree, support: Part, task: Task, stream: torch.Generator | None) -> Tree:
        """Return the adapted parameters."""

    def _n_axes(self, name: str) -> int:
        """Return the number of axes of a stored leaf, a batch axis not counted."""
        if isinstance(self.network, nn.Module):
            return self.network.get_parameter(name.removeprefix("model.")).ndim
        if name.startswith("trunk."):
            return n_axes(name)
        return len(self.network.leaves[name].shape)

    def _base_groups(self) -> dict[str, str]:
        if isinstance(self.network, Network):
            return super().groups()
        if self.trunk is not None:
            raise SpecificationError("a module takes no trunk: put the layers into the module")
        return {f"model.{name}": "w0" for name, _ in self.network.named_parameters()}

    def groups(self) -> dict[str, str]:
        """Return the learned groups of network and trunk."""
        return self._base_groups()

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; a module's start at its own values."""
        if isinstance(self.network, Network):
            return super().init(stream, device=device, dtype=dtype)
        named = self.network.named_parameters()
        return {f"model.{name}": p.detach().clone().to(device=device, dtype=dtype) for name, p in named}

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return the adapted parameters, one slice per task."""
        fast = self._adapt(dict(params), _plain(support), task, stream)
        return fast | self._statistics({**params, **fast}, support)

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer queries with the adapted parameters."""
        return self._output({**params, **fast}, query, stream)

    def respond(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Return the output over the query part, ``(time, batch, n_out)``."""
        if not self.compile or not torch.is_grad_enabled() or episode.query is None:
            return super().respond(params, episode, task, stream)
        # A compiled function cannot draw from a stream.
        return self._respond(dict(params), _plain(episode.support), _plain(episode.query), task)  # type: ignore[attr-defined]

    def _whole(self, params: Tree, support: Part, query: Part, task: Task) -> Tensor:
        fast = self._adapt(params, support, task, None)
        fast = fast | self._statistics({**params, **fast}, support)
        return self._output({**params, **fast}, query, None)

    def _start(self, params: Mapping[str, Tensor], batch: int) -> Tree:
        """Return the adapted leaves before adaptation, one slice per task."""
        fast: Tree = {}
        for name, own in self._adapted.items():  # type: ignore[attr-defined]
            leaf = params[name]
            fast[name] = leaf.expand(batch, *leaf.shape[leaf.ndim - own :])
        return fast

    def _support_loss(
        self, params: Tree, support: Part, task: Task, stream: torch.Generator | None
    ) -> Callable[[Tree], Tensor]:
        """Return the loss of a support part summed over tasks, as a function of the adapted leaves."""
        return lambda fast: task.loss(self._output({**params, **fast}, support, stream), support).sum()

    def _descend(
        self,
        params: Tree,
        rates: Mapping[str, Tensor],
        support: Part,
        task: Task,
        order: int,
        stream: torch.Generator | None,
    ) -> Tree:
        """Take the inner steps, at ``rates`` by leaf (of a shape that multiplies the leaf with its batch axis)."""
        fast = self._start(params, support.target.shape[1])
        mean: Tree = {name: torch.zeros_like(w) for name, w in fast.items()} if self.inner == "adam" else {}
        square = dict(mean)
        for k in range(self.steps):
            shown = _items(support, k, self.minibatch)
            slopes = self._slopes(self._support_loss(params, shown, task, stream), fast, order)
            if self.inner == "adam":
                mean = {name: self.beta1 * mean[name] + (1 - self.beta1) * g for name, g in slopes.items()}
                square = {name: BETA2 * square[name] + (1 - BETA2) * g.square() for name, g in slopes.items()}
                one, two = 1 - self.beta1 ** (k + 1), 1 - BETA2 ** (k + 1)
                # The constant stands inside the root: the slope of a root is infinite at 0.
                slopes = {n: mean[n] / one / (square[n] / two + EPSILON**2).sqrt() for n in slopes}
            fast = {name: w - rates[name] * slopes[name] for name, w in fast.items()}
        return fast

    def _slopes(self, loss: Callable[[Tree], Tensor], fast: Tree, order: int) -> Tree:
        """Return the gradient of a loss; of order 1 it is a constant for whoever differentiates further."""
        if torch.compiler.is_compiling():
            slopes = torch.func.grad(loss)(fast)
        else:
            create = order == 2 and torch.is_grad_enabled()
            with torch.enable_grad():
                # A view, because detach would drop the tangents of forward mode. Always one: an expanded leaf made
                # without gradients says that it requires one, and would silently get none.
                leaves = {name: w.view_as(w).requires_grad_() for name, w in fast.items()}
                found = torch.autograd.grad(loss(leaves), [*leaves.values()], create_graph=create, allow_unused=True)
            each = zip(fast.items(), found, strict=True)
            slopes = {name: torch.zeros_like(w) if slope is None else slope for (name, w), slope in each}
        return slopes if order == 2 else {name: slope.detach() for name, slope in slopes.items()}

    def _output(self, params: Mapping[str, Tensor], part: Part, stream: torch.Generator | None) -> Tensor:
        if isinstance(self.network, Network):
            inputs = self._inputs(params, part)
            made: Program = self._made  # type: ignore[attr-defined]
            return run(made, params, inputs, learn=False, reset=part.reset, stream=stream).output
        module: nn.Module = self.network
        own = {name.removeprefix("model."): leaf for name, leaf in params.items() if name.startswith("model.")}
        plain = {name: p.ndim for name, p in module.named_parameters()}
        axes = {name: 0 if leaf.ndim > plain[name] else None for name, leaf in own.items()}
        x = part.inputs["stimulus"]  # (time, batch, n_in)
        if not any(axis == 0 for axis in axes.values()):
            return torch.func.functional_call(module, own, (x.flatten(0, 1),)).unflatten(0, x.shape[:2])
        call = torch.vmap(lambda p, one: torch.func.functional_call(module, p, (one,)), in_dims=(axes, 1), out_dims=1)
        return call(own, x)


def _plain(part: Part) -> Part:
    """Return a part whose flags are numbers, for a compiled function; the rules are off anyway."""
    reset = part.reset.tolist() if isinstance(part.reset, Tensor) else part.reset
    return part._replace(learn=(), reset=tuple(reset))  # type: ignore[arg-type]


def _items(part: Part, k: int, size: int) -> Part:
    """Return the items of the ``k``-th inner step: ``size`` of them in turn, or all."""
    n_steps = part.target.shape[0]
    if not 0 < size < n_steps:
        return part
    begin = k * size % n_steps
    end, rest = begin + size, max(0, begin + size - n_steps)  # the rest is taken from the front again

    def take(sequence: Tensor) -> Tensor:
        return torch.cat([sequence[begin:], sequence[:rest]]) if rest else sequence[begin:end]

    inputs = {name: take(sequence) for name, sequence in part.inputs.items()}
    reset = (*part.reset, *part.reset)[begin:end]
    return part._replace(inputs=inputs, target=take(part.target), weight=take(part.weight), reset=reset)  # type: ignore[arg-type]
