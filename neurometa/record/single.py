"""Recording episodes of a run as one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..errors import RecordingError
from ..meta.run import Run
from ..meta.settings import describe
from ..recording import Content, write
from ..streams import generator
from ..tasks.base import Episode, check_split, first
from ..trajectory import Save
from .capture import capture
from .content import content_of, texts_of
from .plan import RecordPlan
from .recorder import check_cap, forecast

__all__ = ["record"]


def record(
    path: str | os.PathLike[str],
    run: Run,
    episode: Episode | None = None,
    save: Save | None = None,
    *,
    plan: RecordPlan | None = None,
    split: str = "test",
    seed: int | None = None,
    overwrite: bool = False,
    on_forecast: Callable[[int], None] | None = None,
) -> Path:
    """Run episodes through a trained learner and write everything in them to an HDF5 file.

    Parameters
    ----------
    path : path
        The file, such as ``cue.h5``.
    run : Run
        What was trained.
    episode : Episode, optional
        A batch of tasks; default: ``plan.episodes`` of the run's task.
    save : Save, optional
        Instead of the plan's ``what`` and ``step``.
    plan : RecordPlan, optional
        What is kept, and the cap.
    split, seed
        Of the default batch; the seed is the run's where it is not given.
    overwrite : bool
        Replace a file that is there.
    on_forecast : callable, optional
        Called with the expected number of bytes before anything is written.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecordingError
        If the file is there already, cannot be written, or would be above the cap.
    EngineError
        If a pattern matches nothing.

    Examples
    --------
    >>> record("cue.h5", run, save=Save(("x.*", "w.stimulus__out")))  # doctest: +SKIP
    """
    plan, path = plan or RecordPlan(), Path(path)
    what, step = (save.what, save.every) if save is not None else (plan.what, plan.step)
    if path.is_file() and not overwrite:
        raise RecordingError(
            f"{path} is there already; choose another name, or replace it (overwrite=True, --overwrite)"
        )
    check_split(split)
    seed = run.seed if seed is None else seed
    if episode is None:
        leaf = next(iter(run.params.values()))
        stream = generator(seed, "recorded tasks")
        episode = run.task.sample(stream, plan.episodes, split, device=leaf.device, dtype=leaf.dtype)
    strategies = {kind: describe(kind, getattr(run, kind)) for kind in ("learner", "task", "outer")}
    settings = {**strategies, "seed": run.seed, "split": split, "iteration": run.iteration}
    asked = {**asdict(plan), "what": what, "step": step}
    texts = texts_of(run.learner, settings, asked, run.params)

    def content(shown: Episode) -> Content:
        captured = capture(run.learner, run.params, shown, run.task, generator(seed, "record"), what, step)
        return content_of(
            captured,
            run.learner,
            run.task,
            run.params,
            texts=texts,
            seed=seed,
            stream="record",
            iteration=run.iteration,
            float16=plan.float16,
        )

    n = episode.support.target.shape[1]
    expected = forecast(content(first(episode, min(n, 2))), n, plan.compress)
    check_cap(expected, plan.cap, "record fewer episodes, fewer steps (step, --every) or less (what)")
    if on_forecast:
        on_forecast(expected)
    write(path, content(episode), plan.compress)
    return path
