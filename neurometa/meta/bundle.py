"""Many seeds in one batched call: every run is the one that its seed would have had alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from ..errors import SpecificationError
from ..learners import Learner
from ..learners.base import GROUPS
from ..outer import Backprop
from ..outer._descent import slopes_of
from ..spec import Network
from ..tasks.base import Task, join
from ..torch_engine.program import program
from ..tree import Tree, spread, stack
from .folder import RunFolder
from .loop import Loop, Plan
from .memory import keep_memory
from .run import Run
from .train import Progress, Stopped, check_intervals, drive, signals

__all__ = ["meta_train_seeds"]


def meta_train_seeds(
    learner: Learner,
    task: Task,
    outer: Backprop | None = None,
    *,
    seeds: Sequence[int] = tuple(range(5)),
    n_iterations: int = 1000,
    n_tasks: int = 64,
    learn: Iterable[str] = GROUPS,
    validate_every: int = 0,
    n_validation: int = 256,
    fresh_validation: bool = False,
    until: Callable[[Sequence[Mapping[str, Any]]], bool] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    report_every: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> list[Run]:
    """Meta-train one run per seed, all of them in one batched call per iteration.

    Seeds x tasks form the batch. Each run has its own parameters, tasks, validation, optimiser and run folder, and
    equals the run of `meta_train` with that seed to rounding (1e-12 per iteration in float64). It pays where a single
    run leaves the machine idle between small operations. A convolutional trunk gets a copy for every task this way,
    and is faster one seed after another.

    Parameters
    ----------
    learner, task : strategy
        As in `meta_train`.
    outer : Backprop, optional
        Other outer algorithms are refused.
    seeds : sequence of int
        Different seeds.
    run_dir : path, optional
        Holds one run folder per seed, ``seed-0`` and so on, each of which can be read, evaluated and resumed alone.
    n_iterations, n_tasks, learn, validate_every, n_validation, resume, checkpoint_every, report_every, on_progress
        As in `meta_train`; ``n_tasks`` is the number of tasks of each seed. After a kill, resuming with the same seeds
        gives the same result bit for bit, whichever of their checkpoints came first.
    fresh_validation, until
        As in `meta_train`; every seed is asked about its own records and finishes by itself.
    device, dtype
        Of parameters and episodes.

    Returns
    -------
    list of Run
        One run per seed, in the order of the seeds.

    Raises
    ------
    SpecificationError
        If a seed is given twice, or the network draws noise or starts per episode (the draws would depend on the
        other seeds).
    TrainingError, Stopped, RunError
        As in `meta_train`.
    """
    keep_memory()
    if not seeds or len({*seeds}) != len(seeds):
        raise SpecificationError(f"seeds is {tuple(seeds)}; give at least one seed, and each once")
    if outer is not None and not isinstance(outer, Backprop):
        raise SpecificationError(f"many seeds in one call need Backprop, not {type(outer).__name__}; use meta_train")
    network = getattr(learner, "network", None)
    if isinstance(network, Network):
        drawn = [*program(network).noisy, *(name for name, leaf in network.leaves.items() if leaf.param.per_episode)]
        if drawn:
            raise SpecificationError(f"network '{network.name}' draws {drawn[0]} within episodes; use meta_train")
    check_intervals(checkpoint_every, report_every)
    shared = (learner, task, outer or Backprop(), n_iterations, n_tasks)
    rest = (tuple(learn), validate_every, n_validation, device, dtype)
    folders = [RunFolder(os.path.join(run_dir, f"seed-{seed}")) if run_dir is not None else None for seed in seeds]
    plans = [Plan(*shared, seed, *rest, fresh_validation=fresh_validation, until=until) for seed in seeds]
    bundle = Bundle([Loop(plan, folder) for plan, folder in zip(plans, folders, strict=True)])
    with ExitStack() as held:
        for folder in folders:
            if folder is not None:
                held.enter_context(folder.locked())
        for loop in bundle.loops:
            loop.restore(resume)
        with signals() as caught:
            drive(bundle, caught, checkpoint_every, report_every or max(1, n_iterations // 200), on_progress)
    if caught:
        raise Stopped(f"stopped after iteration {bundle.iteration} of {n_iterations}", caught[0])
    return [loop.result() for loop in bundle.loops]


class Bundle:
    """Several training runs that go forward together.

    Runs that are ahead of others, as checkpoints after a kill may be, stay where they are until the rest has caught
    up, and take part in the call as passengers: each entry of the batch is computed as in an undisturbed run. Runs that
    finished early are passengers too, until the batch can be halved without them.

    Parameters
    ----------
    loops : list of Loop
        Runs that differ in their seeds only.
    """

    def __init__(self, loops: list[Loop]):
        self.loops = loops
        self.aboard = loops
        self.plan = loops[0].plan
        self.moved: list[tuple[Loop, dict[str, Any]]] = []

    @property
    def iteration(self) -> int:
        """Iterations that every run has done, of those that are not finished."""
        going = [loop.iteration for loop in self.loops if not loop.finished]
        return min(going) if going else max(loop.iteration for loop in self.loops)

    @property
    def finished(self) -> bool:
        """Whether every iteration is done."""
        return all(loop.finished for loop in self.loops)

    @property
    def score(self) -> float | None:
        """Mean of the last validation scores."""
        scores = [loop.score for loop in self.loops if loop.score is not None]
        return sum(scores) / len(scores) if scores else None

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return self.loops[0].seconds

    @seconds.setter
    def seconds(self, value: float) -> None:
        for loop in self.loops:
            loop.seconds = value

    def step(self) -> dict[str, float]:
        """Do one iteration of the runs that are behind; return the mean of their metrics."""
        now, n_tasks = self.iteration, self.plan.n_tasks
        self.aboard = aboard = self._board(now)
        behind = [loop for loop in aboard if loop.iteration == now and not loop.finished]
        marks = {id(loop): loop.mark() for loop in behind}
        drawn = {id(loop): loop.sample() for loop in behind}
        episode = join([drawn.get(id(loop), drawn[id(behind[0])]) for loop in aboard])
        learned = stack([loop.learned for loop in aboard])
        leaves = {name: leaf.requires_grad_() for name, leaf in learned.items()}
        each = leaves if self.plan.learner.takes_groups else spread(leaves, n_tasks)
        params = {**self._fixed(), **each} if len(aboard) > 1 else self._alone(leaves)
        losses = self.plan.learner.loss(params, episode, self.plan.task).view(len(aboard), n_tasks).mean(1)
        slopes = slopes_of(losses.sum(), leaves)
        self.moved = []
        for i, loop in enumerate(aboard):
            if id(loop) in marks:
                outer, problem = loop.plan.outer, loop.problem(drawn[id(loop)])
                step = outer.follow(loop.learned, loop.state, problem, losses[i], [g[i] for g in slopes])  # type: ignore[attr-defined]
                self.moved.append((loop, loop.accept(marks[id(loop)], *step)))
        return {name: sum(m[name] for _, m in self.moved) / len(self.moved) for name in self.moved[0][1]}

    def _board(self, now: int) -> list[Loop]:
        """Return the runs that take part in an iteration: it depends on nothing but when each run finished."""
        done = [loop for loop in self.loops if loop.finished and loop.iteration <= now]
        seats, needed = len(self.loops), len(self.loops) - len(done)
        while seats > 1 and (seats + 1) // 2 >= needed:
            seats = (seats + 1) // 2
        left = {id(loop) for loop in done[seats - needed :]}
        return [loop for loop in self.loops if id(loop) not in left]

    def _fixed(self) -> Tree:
        """Return what is not learned: once where all runs have the same, else an entry per task."""
        first: Tree = self.aboard[0].fixed
        found: Tree = {}
        for name, leaf in first.items():
            others = [loop.fixed[name] for loop in self.aboard]
            alike = all(torch.equal(leaf, other) for other in others[1:])
            each = {name: leaf} if alike else stack([{name: other} for other in others])
            found |= each if alike or self.plan.learner.takes_groups else spread(each, self.plan.n_tasks)
        return found

    def _alone(self, leaves: Tree) -> Tree:
        return {**self.aboard[0].fixed, **{name: leaf[0] for name, leaf in leaves.items()}}

    def validate(self) -> float:
        """Validate the runs that moved; return the mean score."""
        for loop, metrics in self.moved:
            metrics["validation"] = loop.validate()
        return sum(metrics["validation"] for _, metrics in self.moved) / len(self.moved)

    def report(self, metrics: dict[str, float]) -> None:
        """Let every run that moved record its own metrics."""
        for loop, own in self.moved:
            loop.report(own)

    def checkpoint(self) -> None:
        """Write the checkpoint of every run."""
        for loop in self.loops:
            loop.checkpoint()
