"""The outer loop: sample tasks, improve the meta-parameters, keep a record that survives a kill."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from ..errors import SpecificationError, TrainingError, unknown
from ..learners import Learner
from ..learners.base import GROUPS
from ..outer import Backprop, Outer, Problem
from ..streams import Streams, generator
from ..tasks.base import Task
from ..tree import Tree
from .folder import RunFolder
from .memory import keep_memory
from .run import Run
from .settings import describe

__all__ = ["Progress", "Stopped", "meta_train"]

CHECKPOINT_SECONDS = 30.0


class Progress(NamedTuple):
    """What `meta_train` reports after every iteration; rates and times count this session only."""

    iteration: int
    n_iterations: int
    loss: float
    score: float | None
    episodes_per_second: float
    seconds_left: float


class Stopped(TrainingError):
    """Training was asked to stop (Ctrl-C or SIGTERM) and left a checkpoint; ``signum`` says by which signal."""

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


def meta_train(
    learner: Learner,
    task: Task,
    outer: Outer | None = None,
    *,
    n_iterations: int = 1000,
    n_tasks: int = 64,
    seed: int = 0,
    learn: Iterable[str] = GROUPS,
    validate_every: int = 0,
    n_validation: int = 256,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    report_every: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Run:
    """Meta-learn what a learner leaves free, over many tasks.

    Parameters
    ----------
    learner, task, outer : strategy
        What adapts, to what, and how it is improved; ``outer`` defaults to `Backprop`.
    n_iterations, n_tasks : int
        Meta-iterations, and tasks in each.
    seed : int
        Seed of the streams ``init``, ``tasks``, ``noise`` and ``validation``.
    learn : iterable of {"w0", "rule", "modulator", "trunk"}
        Groups that are learned; the rest keeps its initial values.
    validate_every : int
        Score ``n_validation`` fixed validation tasks every so many iterations and keep the best parameters; 0: never.
    n_validation : int
        Number of validation tasks.
    run_dir : path, optional
        Folder for settings, checkpoints and metrics.
    resume : bool
        Continue the run in ``run_dir``; the result is bit for bit that of an undisturbed run on the same machine,
        versions, threads and compile setting.
    checkpoint_every : int, optional
        Iterations between checkpoints; default: every 30 seconds.
    report_every : int, optional
        Iterations between records; default: about 200 records a run.
    on_progress : callable, optional
        Called with a `Progress` after every iteration.
    device, dtype
        Of parameters and episodes.

    Returns
    -------
    Run
        The learned parameters and the history.

    Raises
    ------
    TrainingError
        If the loss or its gradient is not finite; the last good checkpoint stays.
    Stopped
        After Ctrl-C or SIGTERM; the checkpoint is written.
    RunError
        If the folder cannot be used.
    """
    keep_memory()
    outer = outer or Backprop()
    learn = tuple(learn)
    for group in learn:
        if group not in GROUPS:
            raise SpecificationError(unknown("learned group", group, GROUPS))
    if n_iterations < 1 or n_tasks < 1:
        raise SpecificationError(f"n_iterations is {n_iterations} and n_tasks {n_tasks}; both must be above 0")
    loop = _Loop(learner, task, outer, n_iterations, n_tasks, seed, learn, n_validation, run_dir, device, dtype)
    loop.restore(resume, {"validate_every": validate_every, "dtype": str(dtype)})
    report_every = report_every or max(1, n_iterations // 200)
    saved_at = begun_at = time.monotonic()
    first, seconds_before, losses, score = loop.iteration, loop.seconds, [], loop.score
    with _signals() as caught:
        while loop.iteration < n_iterations:
            metrics = loop.step()
            losses.append(metrics["loss"])
            now = time.monotonic()
            loop.seconds = seconds_before + now - begun_at
            done, last = loop.iteration, loop.iteration == n_iterations
            if validate_every and (done % validate_every == 0 or last):
                score = loop.validate()
                metrics["validation"] = score
            if done % report_every == 0 or last or "validation" in metrics:
                loop.report({**metrics, "loss": math.fsum(losses) / len(losses)})
                losses = []
            if on_progress:
                rate = (done - first) / max(now - begun_at, 1e-9)
                on_progress(
                    Progress(done, n_iterations, metrics["loss"], score, rate * n_tasks, (n_iterations - done) / rate)
                )
            due = done % checkpoint_every == 0 if checkpoint_every else now - saved_at > CHECKPOINT_SECONDS
            if due or last or caught:
                loop.checkpoint()
                saved_at = time.monotonic()
            if caught and not last:
                where = f"; continue with resume (run folder {loop.folder.path})" if loop.folder else ""
                raise Stopped(f"stopped after iteration {done} of {n_iterations}{where}", caught[0])
    return loop.result()


class _Loop:
    """State of one training run and what can be done with it."""

    def __init__(self, learner, task, outer, n_iterations, n_tasks, seed, learn, n_validation, run_dir, device, dtype):
        self.learner, self.task, self.outer = learner, task, outer
        self.n_iterations, self.n_tasks, self.seed, self.n_validation = n_iterations, n_tasks, seed, n_validation
        self.learn, self.device, self.dtype = learn, device, dtype
        self.folder = RunFolder(run_dir) if run_dir is not None else None
        self.streams = Streams(seed)
        params = learner.init(self.streams["init"], device=device, dtype=dtype)
        groups = learner.groups()
        self.learned: Tree = {name: leaf for name, leaf in params.items() if groups.get(name) in learn}
        self.fixed: Tree = {name: leaf for name, leaf in params.items() if name not in self.learned}
        if not self.learned:
            found = ", ".join(sorted({*groups.values()}))
            raise SpecificationError(f"learn={learn} leaves nothing to learn; this learner has the groups {found}")
        self.state: Any = outer.init(self.learned)
        self.iteration, self.seconds = 0, 0.0
        self.score: float | None = None
        self.best: tuple[float, Tree] | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def params(self) -> Tree:
        return {**self.fixed, **self.learned}

    def restore(self, resume: bool, extra: dict[str, Any]) -> None:
        if self.folder is None:
            return
        config = {
            "learner": describe("learner", self.learner),
            "task": describe("task", self.task),
            "outer": describe("outer", self.outer),
            "n_iterations": self.n_iterations,
            "n_tasks": self.n_tasks,
            "seed": self.seed,
            "learn": list(self.learn),
            "n_validation": self.n_validation,
            **extra,
        }
        if not self.folder.create(config, resume):
            return
        record = self.folder.load("last", self.device)
        self.learned = {name: record["params"][name] for name in self.learned}
        self.fixed = {name: record["params"][name] for name in self.fixed}
        self.state = type(self.state)(*record["state"])
        self.streams.load_state_dict({k: v.cpu() for k, v in record["streams"].items()})
        self.iteration, self.seconds, self.score = record["iteration"], record["seconds"], record["score"]
        if record["best"] is not None:
            self.best = (record["best"], self.folder.load("best", self.device)["params"])
        self.folder.rewind(self.iteration + 1)
        self.history = self.folder.metrics()

    def step(self) -> dict[str, Any]:
        episode = self.task.sample(self.streams["tasks"], self.n_tasks, "train", device=self.device, dtype=self.dtype)

        def losses(params):
            return self.learner.loss({**self.fixed, **params}, episode, self.task, self.streams["noise"])

        problem = Problem(losses, self.iteration, self.n_iterations)
        learned, state, metrics = self.outer.step(self.learned, self.state, problem)
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            if self.folder:
                self.checkpoint()  # the parameters before this step are good
            where = f" (checkpoint of iteration {self.iteration} in {self.folder.path})" if self.folder else ""
            raise TrainingError(
                f"{bad[0]} is {metrics[bad[0]]} at iteration {self.iteration + 1}; the parameters before it are "
                f"kept{where}; try a smaller learning rate or clip"
            )
        self.learned, self.state = learned, state
        self.iteration += 1
        return metrics

    def validate(self) -> float:
        stream = generator(self.seed, "validation")
        episode = self.task.sample(stream, self.n_validation, "validation", device=self.device, dtype=self.dtype)
        noise = generator(self.seed, "validation noise")
        with torch.no_grad():
            output = self.learner.respond(self.params, episode, self.task, noise)
            self.score = float(self.task.score(output, episode.scored).mean())
        sign = 1 if self.task.higher_is_better else -1
        if self.best is None or sign * self.score > sign * self.best[0]:
            self.best = (self.score, {name: leaf.clone() for name, leaf in self.params.items()})
            if self.folder:
                self.folder.save("best", {"params": self.best[1], "iteration": self.iteration, "score": self.score})
        return self.score

    def report(self, metrics: dict[str, Any]) -> None:
        counts = {
            "iteration": self.iteration,
            "episodes": self.iteration * self.n_tasks,
            "seconds": round(self.seconds, 3),
        }
        self.history.append({**counts, **metrics})
        if self.folder:
            self.folder.append(self.history[-1])

    def checkpoint(self) -> None:
        if self.folder is None:
            return
        record = {
            "params": self.params,
            "state": tuple(self.state),
            "streams": self.streams.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "score": self.score,
            "best": self.best[0] if self.best else None,
        }
        self.folder.save("last", record)

    def result(self) -> Run:
        params = self.best[1] if self.best else self.params
        path = self.folder.path if self.folder else None
        return Run(self.learner, self.task, self.outer, params, self.history, self.seed, self.iteration, path)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM for the end of the iteration; a second one acts at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number, frame):
        caught.append(number)
        signal.signal(number, previous[number])

    for number in previous:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
