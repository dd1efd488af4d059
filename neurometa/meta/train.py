"""The outer loop: sample tasks, improve the meta-parameters, keep a record that survives a kill."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from ..errors import SpecificationError, TrainingError
from ..learners import Learner
from ..learners.base import GROUPS
from ..outer import Backprop, Outer
from ..tasks.base import Task
from .folder import RunFolder
from .loop import Loop, Plan
from .memory import keep_memory
from .observe import Observer, observed
from .run import Run

__all__ = ["Progress", "Stopped", "check_intervals", "drive", "meta_train", "signals"]

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
    fresh_validation: bool = False,
    until: Callable[[Sequence[Mapping[str, Any]]], bool] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    report_every: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    observer: Observer | None = None,
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
        Seed of the streams ``init``, ``tasks``, ``noise`` and ``validation``; 0 or more.
    learn : iterable of {"w0", "rule", "modulator", "trunk"}
        Groups that are learned; the rest keeps its initial values.
    validate_every : int
        Score ``n_validation`` fixed validation tasks every so many iterations and keep the best parameters; 0: never.
    n_validation : int
        Number of validation tasks.
    fresh_validation : bool
        Draw new validation tasks each time. Scores then cannot be compared one with another, so the last parameters are
        kept, not the best.
    until : callable, optional
        Asked after each validation with the records so far (those of validations have the key ``validation``); where it
        returns True, training is finished.
    run_dir : path, optional
        Folder for settings, checkpoints and metrics.
    resume : bool
        Continue the run in ``run_dir``; the result is bit for bit that of an undisturbed run on the same machine,
        versions, threads and compile setting. A finished run is returned at once, and its folder is left as it is.
    checkpoint_every : int, optional
        Iterations between checkpoints; default: every 30 seconds.
    report_every : int, optional
        Iterations between records; default: about 200 records a run.
    on_progress : callable, optional
        Called with a `Progress` after every iteration.
    observer : Observer, optional
        Sees every iteration, such as a `Recorder`; the result is the same bit for bit.
    device, dtype
        Of parameters and episodes.

    Returns
    -------
    Run
        The learned parameters and the history.

    Raises
    ------
    TrainingError
        If the loss or its gradient is not finite; the last good parameters are kept as a checkpoint.
    Stopped
        After Ctrl-C or SIGTERM; the checkpoint is written. A second signal stops at once, at the checkpoint before.
    RunError
        If the folder cannot be used.
    """
    keep_memory()
    plan = Plan(
        learner,
        task,
        outer or Backprop(),
        n_iterations,
        n_tasks,
        seed,
        tuple(learn),
        validate_every,
        n_validation,
        device,
        dtype,
        fresh_validation,
        until,
    )
    check_intervals(checkpoint_every, report_every)
    folder = RunFolder(run_dir) if run_dir is not None else None
    loop = Loop(plan, folder)
    with observed(observer, loop, run_dir), folder.locked() if folder else nullcontext():
        loop.restore(resume)
        with signals() as caught:
            drive(loop, caught, checkpoint_every, report_every or max(1, n_iterations // 200), on_progress)
    if caught:
        where = f"; nothing is lost, resume continues it (run folder {folder.path})" if folder else ""
        raise Stopped(f"stopped after iteration {loop.iteration} of {n_iterations}{where}", caught[0])
    return loop.result()


def check_intervals(checkpoint_every: int | None, report_every: int | None) -> None:
    """Refuse a number of iterations between checkpoints or records that is below 1."""
    for name, every in {"checkpoint_every": checkpoint_every, "report_every": report_every}.items():
        if every is not None and every < 1:
            raise SpecificationError(f"{name} is {every}; it must be 1 or more")


def drive(
    loop: Any,
    caught: list[int],
    checkpoint_every: int | None,
    report_every: int,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Iterate a loop (or what acts like one) to the end, or until a signal was caught."""
    plan, first, seconds_before = loop.plan, loop.iteration, loop.seconds
    begun_at = saved_at = time.monotonic()
    while not loop.finished and not caught:
        metrics = loop.step()
        done = loop.iteration
        if plan.validate_every and (done % plan.validate_every == 0 or loop.finished):
            metrics["validation"] = loop.validate()
        now = time.monotonic()
        loop.seconds = seconds_before + now - begun_at
        if done % report_every == 0 or loop.finished or "validation" in metrics:
            loop.report(metrics)
        if on_progress:
            rate = (done - first) / max(now - begun_at, 1e-9)
            left = (plan.n_iterations - done) / rate
            on_progress(Progress(done, plan.n_iterations, metrics["loss"], loop.score, rate * plan.n_tasks, left))
        due = done % checkpoint_every == 0 if checkpoint_every else now - saved_at > CHECKPOINT_SECONDS
        if due or loop.finished or caught:
            loop.checkpoint()
            saved_at = time.monotonic()


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM for the end of the iteration; a second one acts at once. Ignored ones stay so."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: old for number, old in handlers.items() if old not in (signal.SIG_IGN, None)}

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
