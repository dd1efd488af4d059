"""One training run: its plan, its state, and what can be done with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch

from ..errors import RunError, SpecificationError, TrainingError, unknown
from ..learners import Learner
from ..learners.base import GROUPS
from ..outer import Outer, Problem
from ..streams import Streams, generator
from ..tasks.base import Episode, Task, tile
from ..tree import Tree, spread
from .folder import RunFolder
from .observe import Observer
from .run import Run
from .settings import describe
from .state import alike, plain, rebuilt

__all__ = ["Loop", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What is trained and how; the fields are arguments of `meta_train`.

    Raises
    ------
    SpecificationError
        If a number is out of range or a learned group does not exist.
    """

    learner: Learner
    task: Task
    outer: Outer
    n_iterations: int
    n_tasks: int
    seed: int
    learn: tuple[str, ...]
    validate_every: int
    n_validation: int
    device: torch.device | str | None
    dtype: torch.dtype | None
    fresh_validation: bool = False
    until: Callable[[Sequence[Mapping[str, Any]]], bool] | None = None

    def __post_init__(self):
        for group in self.learn:
            if group not in GROUPS:
                raise SpecificationError(unknown("learned group", group, GROUPS))
        least = {"n_iterations": 1, "n_tasks": 1, "n_validation": 1, "validate_every": 0, "seed": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < minimum:
                raise SpecificationError(f"{name} is {value}; it must be a whole number, {minimum} or more")
        if self.until and not self.validate_every:
            raise SpecificationError("until is asked after each validation; give validate_every too")

    def config(self) -> dict[str, Any]:
        """Return the plan as what ``json`` writes; the device may change from one session to the next."""
        strategies = {kind: describe(kind, getattr(self, kind)) for kind in ("learner", "task", "outer")}
        names = ("n_iterations", "n_tasks", "seed", "learn", "n_validation", "validate_every")
        found = {**strategies, **{name: getattr(self, name) for name in names}, "dtype": str(self.dtype)}
        return {**found, "fresh_validation": True} if self.fresh_validation else found


class Mark(NamedTuple):
    """A state that training can return to; trees are never changed in place, so that it holds no copies."""

    learned: Tree
    state: Any
    streams: dict[str, torch.Tensor]
    iteration: int
    losses: tuple[float, ...]


class Loop:
    """State of one training run.

    Parameters
    ----------
    plan : Plan
        What is trained.
    folder : RunFolder, optional
        Where it is kept.

    Raises
    ------
    SpecificationError
        If nothing is left to learn.
    """

    def __init__(self, plan: Plan, folder: RunFolder | None):
        self.plan, self.folder = plan, folder
        self.streams = Streams(plan.seed)
        for name in ("init", "tasks", "noise", "outer"):
            self.streams[name]  # made now, so that every mark holds all of them
        params = plan.learner.init(self.streams["init"], device=plan.device, dtype=plan.dtype)
        groups = plan.learner.groups()
        self.learned: Tree = {name: leaf for name, leaf in params.items() if groups.get(name) in plan.learn}
        self.fixed: Tree = {name: leaf for name, leaf in params.items() if name not in self.learned}
        if not self.learned:
            found = ", ".join(sorted({*groups.values()})) or "none"
            asked = ", ".join(plan.learn) or "none"
            raise SpecificationError(f"learn is {asked}: nothing is left to learn; this learner has the groups {found}")
        self.state: Any = plan.outer.init(self.learned)
        self.iteration, self.seconds = 0, 0.0
        self.score: float | None = None
        self.best: dict[str, Any] | None = None  # params, iteration, score
        self.losses: tuple[float, ...] = ()  # since the last report
        self.history: list[dict[str, Any]] = []
        self.satisfied = False  # what `until` said of the history
        self.observer: Observer | None = None
        self._before: Mark | None = None  # one iteration back: its parameters gave a finite loss

    @property
    def params(self) -> Tree:
        """All meta-parameters, learned or not."""
        return {**self.fixed, **self.learned}

    @property
    def finished(self) -> bool:
        """Whether every iteration is done, or enough of them."""
        return self.satisfied or self.iteration >= self.plan.n_iterations

    def restore(self, resume: bool) -> None:
        """Prepare the run folder, and continue from its checkpoint if there is one."""
        if self.folder is None or not self.folder.create(self.plan.config(), resume):
            return
        record = self.folder.load("last", self.plan.device)
        try:
            if not (alike(record["params"], self.params) and alike(record["state"], plain(self.state))):
                raise ValueError
            state = rebuilt(record["state"], self.state)
            self.streams.load_state_dict({name: value.cpu() for name, value in record["streams"].items()})
            self.iteration, self.seconds, self.score = record["iteration"], record["seconds"], record["score"]
            self.best, self.losses = record["best"], tuple(record["losses"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
            path = self.folder.path / "last.pt"
            raise RunError(f"{path} does not fit the settings beside it; choose another folder (--run)") from None
        self.learned = {name: record["params"][name] for name in self.learned}
        self.fixed = {name: record["params"][name] for name in self.fixed}
        self.state = state
        self.folder.rewind(self.iteration)
        self.history = self.folder.metrics()
        self._judge()
        self._repair_best()

    def _judge(self) -> None:
        """Ask whether training has reached what it was for."""
        if self.plan.until and self.history and "validation" in self.history[-1]:
            self.satisfied = bool(self.plan.until(self.history))

    def _repair_best(self) -> None:
        """Write ``best.pt`` anew if it is missing or damaged: ``last.pt`` holds it too."""
        if self.folder is None or self.best is None:
            return
        try:
            self.folder.load("best")
        except RunError:
            self.folder.save("best", self.best)

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics.

        Raises
        ------
        TrainingError
            If the loss or the gradient is not finite; the run goes back to the last parameters that were good, and
            these are kept.
        """
        mark = self.mark()
        episode = self.sample()
        if self.observer:
            self.observer.observe(self.iteration, self.params, episode)
        problem = self.problem(episode)
        return self.accept(mark, *self.plan.outer.step(self.learned, self.state, problem))

    def sample(self) -> Episode:
        """Draw the tasks of one iteration."""
        plan = self.plan
        return plan.task.sample(self.streams["tasks"], plan.n_tasks, "train", device=plan.device, dtype=plan.dtype)

    def accept(self, mark: Mark, learned: Tree, state: Any, metrics: dict[str, float]) -> dict[str, float]:
        """Take over what the outer algorithm made of one iteration; raise if it is not finite."""
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            self._give_up(bad[0], metrics[bad[0]], mark)
        self._before = mark
        self.learned, self.state = learned, state
        self.iteration += 1
        self.losses += (metrics["loss"],)
        return metrics

    def problem(self, episode: Episode) -> Problem:
        """Return what the outer algorithm sees of the episode."""
        plan, noise = self.plan, self.streams["noise"]

        def losses(params: Mapping[str, torch.Tensor], copies: int = 1) -> torch.Tensor:
            if copies == 1:
                return plan.learner.loss({**self.fixed, **params}, episode, plan.task, noise)
            each = params if plan.learner.takes_groups else spread(params, plan.n_tasks)  # (copies*batch, ...)
            return plan.learner.loss({**self.fixed, **each}, tile(episode, copies), plan.task, noise)

        def adapted(params: Mapping[str, torch.Tensor]) -> tuple[Tree, torch.Tensor]:
            if episode.query is None:
                outer, task = type(plan.outer).__name__, type(plan.task).__name__
                raise SpecificationError(f"{outer} needs a task with support and query; {task} is one sequence")
            whole = {**self.fixed, **params}
            fast = plan.learner.adapt(whole, episode.support, plan.task, noise)
            return fast, plan.task.loss(plan.learner.predict(whole, fast, episode.query, noise), episode.query)

        def truncated(params: Mapping[str, torch.Tensor], window: int) -> torch.Tensor:
            if "window" not in {field.name for field in fields(plan.learner)}:  # type: ignore[arg-type]
                raise SpecificationError(f"{type(plan.learner).__name__} cannot be truncated; use PlasticLearner")
            learner = replace(plan.learner, window=window)  # type: ignore[type-var]
            return learner.loss({**self.fixed, **params}, episode, plan.task, noise)

        return Problem(losses, self.iteration, plan.n_iterations, adapted, self.streams["outer"], truncated)

    def mark(self) -> Mark:
        """Return the present state, to which `accept` can go back."""
        return Mark(self.learned, self.state, self.streams.state_dict(), self.iteration, self.losses)

    def _give_up(self, name: str, value: float, mark: Mark) -> None:
        """Go back to the last parameters with a finite loss, keep them, and say so."""
        failed = self.iteration + 1
        good = self._before if name == "loss" and self._before else mark
        self.learned, self.state, streams, self.iteration, self.losses = good
        self.streams.load_state_dict(streams)
        self.checkpoint()
        if failed == 1:
            raise TrainingError(
                f"{name} is {value} at the first iteration, before anything was learned: this network, with the "
                "parameters it starts from, does not stay finite on this task"
            )
        kept = f" (run folder {self.folder.path})" if self.folder else ""
        raise TrainingError(
            f"{name} is {value} at iteration {failed}; the parameters after iteration {self.iteration}, the last that "
            f"were good, are kept{kept}; try a smaller learning rate, or a smaller clip above 0"
        )

    def validate(self) -> float:
        """Score the parameters on the validation tasks; where these stay the same, keep the best so far."""
        plan = self.plan
        number = f" {self.iteration}" if plan.fresh_validation else ""
        stream, noise = (generator(plan.seed, f"{purpose}{number}") for purpose in ("validation", "validation noise"))
        episode = plan.task.sample(stream, plan.n_validation, "validation", device=plan.device, dtype=plan.dtype)
        with torch.no_grad():
            output = plan.learner.respond(self.params, episode, plan.task, noise)
            score = float(plan.task.score(output, episode.scored).mean())
        sign = 1 if plan.task.higher_is_better else -1
        comparable = math.isfinite(score) and not plan.fresh_validation
        if comparable and (self.best is None or sign * score > sign * self.best["score"]):
            self.best = {"params": self.params, "iteration": self.iteration, "score": score}
            if self.folder:
                self.folder.save("best", self.best)
        self.score = score
        return score

    def report(self, metrics: Mapping[str, float]) -> None:
        """Record metrics; the loss is the mean since the last report."""
        counts = {"iteration": self.iteration, "episodes": self.iteration * self.plan.n_tasks}
        record = {**counts, "seconds": round(self.seconds, 3), **metrics}
        self.history.append({**record, "loss": math.fsum(self.losses) / len(self.losses)})
        self.losses = ()
        if self.folder:
            self.folder.append(self.history[-1])
        self._judge()

    def checkpoint(self) -> None:
        """Write everything that continuing needs."""
        if self.folder is None:
            return
        if self.observer:
            self.observer.flush()
        record = {name: getattr(self, name) for name in ("params", "iteration", "seconds", "score", "best", "losses")}
        self.folder.save("last", {**record, "state": plain(self.state), "streams": self.streams.state_dict()})

    def result(self) -> Run:
        """Return the run with its best parameters."""
        plan, path = self.plan, self.folder.path if self.folder else None
        best = self.best or {"params": self.params, "iteration": self.iteration}
        made = (best["params"], self.history, plan.seed, best["iteration"], path)
        return Run(plan.learner, plan.task, plan.outer, *made)
