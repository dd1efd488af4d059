"""A gradient step at every time step, on an inner loss that the network computes itself (Duan et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import make_dual, unpack_dual

from ..errors import EngineError, SpecificationError
from ..spec import ConvTrunk, Network
from ..tasks.base import Part
from ..torch_engine.compiled import compiled
from ..torch_engine.program import Program, program
from ..torch_engine.simulate import Respond, simulate
from ..trajectory import Save, State, Trajectory
from ..tree import Tree
from ._synaptic import SynapticLearner

__all__ = ["OnlineLearner"]

RATE, DECAY = "learner.rate", "learner.decay"


@dataclass(frozen=True)
class OnlineLearner(SynapticLearner):
    """Base: synapses follow ``w = (1 - decay*m)*w - rate*m*gradient`` at every step where learning is on.

    The gradient is that of the inner loss of this step with respect to the plastic variables as they were before it:
    it does not reach back in time. The inner loss is summed over episodes, never averaged, so that each episode
    changes by its own gradient, whatever the size of the batch.

    Attributes
    ----------
    network : Network
        Its projections that have a rule are those whose ``w`` changes. Bounds and masks hold.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.
    objective : str
        ``"population.variable"``: the inner loss is half its squared norm; default: the variable ``error`` of the
        population that answers.
    modulator : str
        Population whose activity is ``m`` (of size 1); default: none, ``m = 1``.
    rate, decay : float
        Start of the two, learned in the group ``rule``; ``decay=0`` stays 0.
    compile : bool
        Compile the step, inner gradient included; pays on long runs of backpropagation.
    """

    network: Network
    trunk: ConvTrunk | None = None
    objective: str = ""
    modulator: str = ""
    rate: float = 0.1
    decay: float = 0.0
    compile: bool = False

    uses_rule: ClassVar[bool] = False

    def __post_init__(self):
        name = type(self).__name__
        self._check_trunk()
        if not self.rate > 0 or not 0 <= self.decay < 1:
            raise SpecificationError(f"{name}: rate {self.rate} must be above 0, and decay {self.decay} in [0, 1)")
        if not self.network.plastic:
            raise SpecificationError(f"{name}: network '{self.network.name}' has no projection with a rule")
        source, _, variable = (self.objective or f"{self.network.output.split('.')[0]}.error").partition(".")
        allowed = self.network[source].variables
        if variable not in allowed:
            options = ", ".join(f"{source}.{v}" for v in allowed)
            raise SpecificationError(f"{name}: objective '{source}.{variable}' does not exist; allowed: {options}")
        if self.modulator and self.network[self.modulator].size != 1:
            raise SpecificationError(f"{name}: modulator '{self.modulator}' must have the size 1")
        object.__setattr__(self, "_objective", f"{source}.{variable}")

    def groups(self) -> dict[str, str]:
        """Return the learned groups; rate and decay belong to ``rule``, parameters of a rule that is off to none."""
        found = {name: group for name, group in super().groups().items() if self.uses_rule or ".rule." not in name}
        return found | {RATE: "rule"} | ({DECAY: "rule"} if self.decay else {})

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters; the rate is stored through softplus, the decay through the logistic function."""
        params = super().init(stream, device=device, dtype=dtype)
        like = next(iter(params.values()))
        params[RATE] = torch.log(torch.expm1(like.new_full((1, 1), self.rate)))
        if self.decay:
            params[DECAY] = torch.logit(like.new_full((1, 1), self.decay))
        return params

    def run(
        self,
        params: Mapping[str, Tensor],
        part: Part,
        stream: torch.Generator | None = None,
        save: Save | None = None,
        state: State | None = None,
        respond: Respond | None = None,
    ) -> Trajectory:
        """Run the network over one part of an episode; a plan of what to keep is for parts without learning."""
        if respond is not None:
            raise SpecificationError(
                f"{type(self).__name__} cannot act in a task that responds; use PlasticLearner or RecurrentLearner"
            )
        inputs = self._inputs(params, part)
        learns, resets = part.learn.tolist(), part.reset.tolist()
        if not any(learns):
            plain = {"learn": False, "reset": resets, "state": state, "stream": stream, "save": save}
            return simulate(self.network, params, inputs, **plain)  # type: ignore[arg-type]
        if save is not None:
            raise EngineError(f"{type(self).__name__} keeps no trajectory while it learns; use PlasticLearner")
        made = program(self.network)
        if made.noisy:
            raise EngineError(f"{type(self).__name__}: network '{self.network.name}' draws noise; use PlasticLearner")
        like = part.target
        values = made.prepare(params, like=like)
        rest = made.activity(params, like.shape[1], stream, like)
        state = made.start(params, like.shape[1], stream, like) if state is None else state
        rate = F.softplus(params[RATE])  # ([batch,] 1, 1)
        decay = torch.sigmoid(params[DECAY]) if DECAY in params else None
        learning = _compiled_step(self) if self.compile and torch.is_grad_enabled() else self._learn
        outputs = []
        for t, (learn, reset) in enumerate(zip(learns, resets, strict=True)):
            state = State(rest, state.w, state.traces) if reset else state
            now = {name: inputs[name][t] for name in made.inputs}
            if learn:
                state, currents = learning(made, values, state, now, rate, decay)
            else:
                state, currents = made.step(False, self.compile)(values, state, now, {})
            outputs.append(state.x[made.output] if made.output in state.x else currents[made.output])
        return Trajectory(torch.stack(outputs), state)

    def _learn(
        self, made: Program, values: Tree, state: State, now: Tree, rate: Tensor, decay: Tensor | None
    ) -> tuple[State, Mapping[str, Tensor]]:
        """Take one step and follow the gradient of its inner loss."""

        def inner(w: Tree) -> tuple[Tensor, tuple[State, Mapping[str, Tensor]]]:
            new, currents = made.step(self.uses_rule)(values, State(state.x, w, state.traces), now, {})
            return 0.5 * new.x[self._objective].square().sum(), (new, currents)  # type: ignore[attr-defined]

        slopes, (new, currents) = _slopes(inner, state.w)
        m: Tensor | float = new.x[f"{self.modulator}.x"].unsqueeze(-1) if self.modulator else 1.0  # (batch, 1, 1)
        moved = {}
        for label in (projection.label for projection in self.network.plastic):
            value = new.w[label]
            if decay is not None:
                value = value - decay * m * state.w[label]
            if (slope := slopes[label]) is not None:
                value = value - rate * m * slope
            moved[label] = made.limits[label](values, value)
        return State(new.x, {**new.w, **moved}, new.traces), currents


@lru_cache(maxsize=32)
def _compiled_step(learner: OnlineLearner) -> Callable[..., tuple[State, Mapping[str, Tensor]]]:
    """Return a learner's compiled step, made once."""
    return compiled(learner._learn)


def _slopes(
    inner: Callable[[Tree], tuple[Tensor, tuple[State, Mapping[str, Tensor]]]], w: Tree
) -> tuple[Mapping[str, Tensor | None], tuple[State, Mapping[str, Tensor]]]:
    """Return the gradient of an inner loss with respect to ``w``, and what the loss's step made besides."""
    if torch.compiler.is_compiling():
        return torch.func.grad(inner, has_aux=True)(w)
    outer = torch.is_grad_enabled()
    with torch.enable_grad():
        # A view of its own for this step: the same tensor may have acted in steps before, where nothing learned,
        # and the gradient must not reach them. No detach, which would drop the tangents of forward mode.
        own = {k: v.view_as(v).requires_grad_() for k, v in w.items()}
        loss, (new, currents) = inner(own)
        found = torch.autograd.grad(loss, [*own.values()], create_graph=outer, allow_unused=True)
    if not outer:  # nobody differentiates further
        new = State(*({name: _without_graph(value) for name, value in tree.items()} for tree in new))
        currents = {name: _without_graph(value) for name, value in currents.items()}
    return dict(zip(own, found, strict=True)), (new, currents)


def _without_graph(value: Tensor) -> Tensor:
    """Detach from reverse mode and keep the tangent of forward mode, which ``detach`` would drop."""
    tangent = unpack_dual(value).tangent
    return value.detach() if tangent is None else make_dual(value.detach(), tangent.detach())
