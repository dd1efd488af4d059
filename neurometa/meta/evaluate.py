"""Scores on test tasks, with their interval, and beside them the floor, the ceiling and the controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..analysis.aligned import mean_interval
from ..errors import SpecificationError
from ..learners import Learner
from ..streams import generator
from ..tasks.base import Episode, Part, Task, check_split
from .memory import keep_memory
from .run import Run

__all__ = ["Row", "Table", "ablate", "evaluate", "interval", "score_run"]


@dataclass(frozen=True)
class Row:
    """One line of a table: a name, a mean and its 95 % interval.

    ``over`` says what the interval is taken over: ``episodes`` of one run, ``seeds``, or nothing (a known value).
    """

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    over: str = ""

    @property
    def spread(self) -> str:
        """The interval as text; empty where there is none."""
        known = self.low is not None and self.high is not None and math.isfinite(self.high - self.low)
        return f"  [{self.low:.4f}, {self.high:.4f}]" if known else ""


@dataclass(frozen=True)
class Table:
    """Scores with floor and ceiling.

    Attributes
    ----------
    score_name : str
        What is measured.
    higher_is_better : bool
        Its direction.
    rows : list of Row
        Learners and controls, then references, floor and ceiling.
    """

    score_name: str
    higher_is_better: bool
    rows: list[Row] = field(default_factory=list)

    def __getitem__(self, name: str) -> Row:
        """Return a row by its name."""
        found = {row.name: row for row in self.rows}
        if name not in found:
            raise KeyError(f"no row '{name}'; there are {', '.join(found)}")
        return found[name]

    def __str__(self) -> str:
        """Return the table as text."""
        width = max(len(row.name) for row in self.rows)
        better = "higher" if self.higher_is_better else "lower"
        lines = [f"{'':{width}}  {self.score_name} ({better} is better), 95 % interval"]
        for row in self.rows:
            counted = f"  n = {row.n} {row.over}" if row.n else ""
            lines.append(f"{row.name:{width}}  {row.mean:.4f}{row.spread}{counted}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the table as what ``json`` writes."""
        rows = []
        for row in self.rows:
            plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(row).items()}
            rows.append({k: v for k, v in plain.items() if v not in (None, "") or k == "mean"})
        return {"score": self.score_name, "higher_is_better": self.higher_is_better, "rows": rows}


def interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the t interval with ``n - 1`` degrees of freedom.

    Parameters
    ----------
    values : sequence of float
        Independent values; of a single one the ends are not known (nan).
    level : float
        Probability that the interval covers the expectation.

    Examples
    --------
    >>> [round(v, 3) for v in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean, low, high = mean_interval(np.asarray(values), level)
    return float(mean), float(low), float(high)


def ablate(episode: Episode) -> Episode:
    """Return the episode with plasticity off throughout: what the network does when nothing adapts."""

    def off(part: Part) -> Part:
        return part._replace(learn=torch.zeros_like(part.learn))

    return episode._replace(support=off(episode.support), query=None if episode.query is None else off(episode.query))


def score_run(
    learner: Learner,
    params: Mapping[str, Tensor],
    task: Task,
    *,
    n_episodes: int = 1000,
    seed: int = 0,
    split: str = "test",
    batch: int = 200,
    plastic: bool = True,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> np.ndarray:
    """Score a learner on its own seeded tasks.

    Parameters
    ----------
    learner, params, task
        What is scored, on what.
    n_episodes : int
        Number of tasks.
    seed : int
        Seed of the tasks; the same seed gives every learner the same tasks.
    split : str
        Usually ``"test"``.
    batch : int
        Tasks at once.
    plastic : bool
        False switches every rule off (alpha = 0 at test).
    device, dtype
        Of the episodes; must be the parameters'.

    Returns
    -------
    ndarray
        Score of every task, ``(n_episodes,)``.

    Raises
    ------
    SpecificationError
        If a number is out of range, or there is no such split.
    """
    check_split(split)
    for name, value, least in (("n_episodes", n_episodes, 1), ("batch", batch, 1), ("seed", seed, 0)):
        if value < least:
            raise SpecificationError(f"{name} is {value}; it must be {least} or more")
    stream, noise = generator(seed, "eval"), generator(seed, "eval noise")
    scores = []
    with torch.no_grad():
        for begin in range(0, n_episodes, batch):
            episode = task.sample(stream, min(batch, n_episodes - begin), split, device=device, dtype=dtype)
            episode = episode if plastic else ablate(episode)
            output = learner.respond(params, episode, task, noise)
            scores.append(task.score(output, episode.scored))
    return torch.cat(scores).double().cpu().numpy()


def evaluate(
    run: Run, *, n_episodes: int = 1000, seed: int | None = None, split: str = "test", controls: bool = True
) -> Table:
    """Score a run on held-out tasks, with its control, floor and ceiling.

    Parameters
    ----------
    run : Run
        From `meta_train` or `load_run`.
    n_episodes : int
        Test tasks.
    seed : int, optional
        Seed of the test tasks; default: the run's.
    split : str
        Usually ``"test"``.
    controls : bool
        Add the run with its plasticity switched off, and the references that the task knows.

    Returns
    -------
    Table
        Mean and 95 % interval over episodes. Across seeds, take the seed as the unit (`interval`).
    """
    keep_memory()
    leaf = next(iter(run.params.values()))
    options: dict[str, Any] = {"n_episodes": n_episodes, "seed": run.seed if seed is None else seed, "split": split}
    options |= {"device": leaf.device, "dtype": leaf.dtype}
    rows = []
    for name, plastic in {"learned": True, "plasticity off (alpha = 0)": False}.items():
        if plastic or (controls and run.learner.plastic):
            scores = score_run(run.learner, run.params, run.task, plastic=plastic, **options)
            rows.append(Row(name, *interval(scores), len(scores), "episodes"))
    if controls:
        rows += [Row(name, value) for name, value in run.task.references().items()]
    return finish(run.task, rows)


def finish(task: Task, rows: list[Row]) -> Table:
    """Close a table with the task's floor and ceiling."""
    rows = [*rows, Row("floor (best without support)", task.floor())]
    ceiling = task.ceiling()
    if ceiling is not None:
        rows.append(Row("ceiling (ideal observer)", ceiling))
    return Table(task.score_name, task.higher_is_better, rows)
