"""What a learner costs: numbers learned, numbers that a task changes, presentations, operations, memory, time.

torch's counter of operations sees matrix products and convolutions only, and nothing of a plastic update. Elementwise
operations are therefore counted at the same place, where torch dispatches them, so that a rule's equation, a gradient
step and a gated cell are counted by one measure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..errors import SpecificationError
from ..learners import Learner
from ..learners._gradient import InnerLoop
from ..learners._synaptic import SynapticLearner
from ..learners.no_adaptation import NoAdaptationLearner
from ..learners.recurrent import RecurrentLearner
from ..spec import Network
from ..streams import generator
from ..tasks.base import Episode, Part, Task, first, responder
from ..torch_engine.simulate import simulate
from ..tree import Tree

__all__ = ["Cost", "Flops", "cost_of", "inner_flops", "presentations"]

#: Tagged as elementwise by torch, but moving numbers only.
_MOVES = {"clone", "_to_copy", "copy_", "alias"}
#: Operations that add up or normalise: one operation for each element that goes in.
_REDUCTIONS = {"sum", "mean", "_softmax", "_log_softmax", "amax", "logsumexp", "cumsum", "linalg_vector_norm"}


class Flops(NamedTuple):
    """Operations of one task, those of matrix products and convolutions apart."""

    matmul: int
    elementwise: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.matmul + self.elementwise


@dataclass(frozen=True)
class Cost:
    """What one learner needs on one task.

    Attributes
    ----------
    meta_parameters : int
        Numbers that the outer loop learns.
    frozen : int
        Of these, numbers outside the group ``rule`` that stay as they are within a task.
    rule_parameters : int
        Of these, numbers of the group ``rule``: coefficients, rates, plastic strengths.
    adapted_state : int
        Numbers per task that hold what was learned in the support. With a query part, all that the learner carries over
        to the queries (synapses, traces, memory, prototypes); in one sequence, its synapses, traces and, where activity
        goes on from step to step, activity.
    presentations : int
        Support items shown, times how often each.
    flops : Flops
        Operations that adapting to one task takes; in one sequence, of the whole pass. Every multiplication, addition,
        comparison and function call counts one for each element of its result; a sum, one for each element that goes
        in.
    peak_bytes : int
        Largest memory that tensors take at once, above what was there before, in a loss and its gradient over 64 tasks.
    adaptation_seconds : float
        Time that one task of 64 takes to adapt to (one sequence: to go through), without gradients of the outer loop.
    """

    meta_parameters: int
    frozen: int
    rule_parameters: int
    adapted_state: int
    presentations: int
    flops: Flops
    peak_bytes: int
    adaptation_seconds: float


def cost_of(learner: Learner, params: Mapping[str, Tensor], task: Task, *, n_tasks: int = 64, seed: int = 0) -> Cost:
    """Measure what a learner costs on a task.

    Parameters
    ----------
    learner, params, task
        What is measured, on validation tasks.
    n_tasks : int
        Tasks at once where memory and time are measured.
    seed : int
        Of the tasks.
    """
    learner = _plain(learner)
    like = next(iter(params.values()))
    stream = generator(seed, "cost")
    episode = task.sample(stream, n_tasks, "validation", device=like.device, dtype=like.dtype)
    groups = learner.groups()
    learned = {name: params[name].numel() for name in groups}
    changed = _changed(learner)
    blind = isinstance(learner, NoAdaptationLearner) and episode.query is not None
    rule = sum(n for name, n in learned.items() if groups[name] == "rule")
    frozen = sum(n for name, n in learned.items() if groups[name] != "rule" and name not in changed)
    return Cost(
        meta_parameters=sum(learned.values()),
        frozen=frozen,
        rule_parameters=rule,
        adapted_state=_adapted_state(learner, params, first(episode, 1), task),
        presentations=0 if blind else presentations(learner, episode.support),
        flops=inner_flops(learner, params, episode, task),
        peak_bytes=_peak_bytes(learner, params, episode, task),
        adaptation_seconds=_seconds(learner, params, episode, task) / n_tasks,
    )


def presentations(learner: Learner, support: Part) -> int:
    """Return how many support items a learner is shown, one that is shown twice counted twice."""
    n = len(support.target)
    if isinstance(learner, InnerLoop):
        return learner.steps * (min(learner.minibatch, n) or n)
    return n


def inner_flops(learner: Learner, params: Mapping[str, Tensor], episode: Episode, task: Task) -> Flops:
    """Return the operations that one more task takes to adapt to.

    Counted as the difference between three tasks and two, so that what all tasks share (a constraint, an efficacy that
    never changes) is not counted.

    Parameters
    ----------
    learner, params, task
        What is counted. Nothing is compiled.
    episode : Episode
        At least three tasks.
    """
    learner = _plain(learner)
    if episode.support.target.shape[1] < 3:
        raise SpecificationError(f"inner_flops needs 3 tasks at least, {episode.support.target.shape[1]} given")
    if isinstance(learner, NoAdaptationLearner) and episode.query is not None:
        return Flops(0, 0)
    counts = []
    for n in (2, 3):
        some, each = first(episode, n), params
        if isinstance(learner, RecurrentLearner):  # torch's fused cells cannot be looked into; those of a task each can
            each = {name: leaf.expand(n, *leaf.shape) for name, leaf in params.items()}
        with torch.no_grad(), FlopCounterMode(display=False) as products, _Elementwise() as rest:
            _adapt(learner, each, some, task)
        counts.append((products.get_total_flops(), rest.count))
    return Flops(*(b - a for a, b in zip(*counts, strict=True)))


class _Elementwise(TorchDispatchMode):
    """Counts elementwise operations and reductions as torch dispatches them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _REDUCTIONS:
            self.count += max(_sizes(args), default=0)
        elif torch.Tag.pointwise in func.tags and name not in _MOVES:
            self.count += max(_sizes(found), default=0)
        return found


def _sizes(tree: Any) -> list[int]:
    return [leaf.numel() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _plain(learner: Learner) -> Learner:
    """Return the learner without compilation, which would hide what is done."""
    return replace(learner, compile=False) if getattr(learner, "compile", False) else learner  # type: ignore[type-var]


def _adapt(learner: Learner, params: Mapping[str, Tensor], episode: Episode, task: Task) -> Any:
    """Adapt to the support; in one sequence, go through it."""
    stream = generator(0, "cost noise")
    if episode.query is None:
        return learner.respond(params, episode, task, stream)
    return learner.adapt(params, episode.support, task, stream)


def _changed(learner: Learner) -> set[str]:
    """Return the learned leaves that are the start of what a task changes."""
    if isinstance(learner, InnerLoop):
        return {*learner._adapted}  # type: ignore[attr-defined]
    if isinstance(learner, SynapticLearner):
        return {f"{p.label}.w" for p in learner.network.plastic}
    return set()


def _adapted_state(learner: Learner, params: Mapping[str, Tensor], episode: Episode, task: Task) -> int:
    with torch.no_grad():
        if episode.query is not None:
            fast: Tree = learner.adapt(params, episode.support, task, generator(0, "cost noise"))
            statistics = [n for n in fast if n.startswith("trunk.") and n.endswith((".mean", ".variance"))]
            return sum(leaf.numel() for name, leaf in fast.items() if name not in statistics)
        if isinstance(learner, RecurrentLearner):
            return learner.n_memory
        network = getattr(learner, "network", None)
        if not isinstance(network, Network):
            return 0
        part, respond = episode.support, responder(task, episode.support)
        if isinstance(learner, SynapticLearner):
            state = learner.run(params, part, generator(0, "cost noise"), respond=respond).final
        else:
            options: dict[str, Any] = {"learn": False, "reset": part.reset, "stream": generator(0, "cost noise")}
            state = simulate(network, params, part.inputs, respond=respond, **options).final
        held = [*state.w.values(), *state.traces.values()]
        if not bool(part.reset.all()):
            held += [value for name, value in state.x.items() if name.partition(".")[0] not in (*network.inputs, "one")]
        return sum(value[0].numel() for value in held)


def _peak_bytes(learner: Learner, params: Mapping[str, Tensor], episode: Episode, task: Task) -> int:
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in params.items()}

    def gradient() -> None:
        loss = learner.loss(leaves, episode, task, generator(0, "cost noise")).sum()
        if loss.requires_grad:
            torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)

    device = next(iter(leaves.values())).device
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        gradient()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes two lines about itself
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True) as profile:
        gradient()
    result: Any = profile.profiler.kineto_results  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in result.events() if event.name() == "[memory]")
    return int(np.cumsum([0, *(n for _, n in changes)]).max())


def _seconds(learner: Learner, params: Mapping[str, Tensor], episode: Episode, task: Task, repeats: int = 5) -> float:
    """Return the median time of adapting, after one that is not counted."""
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            began = time.perf_counter()
            _adapt(learner, params, episode, task)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))
