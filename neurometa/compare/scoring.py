"""Every score of one learner: on test tasks, with shuffled labels, along its support, and in other conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..meta.evaluate import score_run
from ..meta.run import Run
from ..streams import generator
from ..tasks.base import Task
from .accounting import cost_of, inner_flops
from .conditions import conditions, default_counts, floor_of, prefix_scores, score_condition, shuffled_scores
from .episodes import first_presentations
from .plan import slug
from .store import Store

__all__ = ["SHOTS", "Scorer"]

#: Support examples of each class (or points) on the axis of shots.
SHOTS = (1, 2, 5, 10)


class Scorer:
    """Scores runs of one learner after another, each on the test tasks of its seed.

    Parameters
    ----------
    task : Task
        On which all are scored.
    n_episodes : int
        Test tasks of each run.
    seeds : sequence of int
        Seed of the test tasks for each run, in their order.
    store : Store
        Keeps what is done.

    Notes
    -----
    Units of every interval are the runs (seeds). A single run has none: its units are the test tasks.
    """

    def __init__(self, task: Task, n_episodes: int, seeds: Sequence[int], store: Store):
        self.task, self.n_episodes, self.seeds, self.store = task, n_episodes, tuple(seeds), store

    @property
    def over(self) -> str:
        """What intervals are taken over."""
        return "seeds" if len(self.seeds) > 1 else "tasks"

    def units(self, runs: Sequence[Run], score: Callable[[Run, int], np.ndarray | None]) -> list[float] | None:
        """Return one number for each unit, or None where a score is impossible."""
        found = [score(run, seed) for run, seed in zip(runs, self.seeds, strict=True)]
        if any(each is None for each in found):
            return None
        if len(found) == 1:
            return np.asarray(found[0], dtype=np.float64).tolist()
        return [float(np.mean(each)) for each in found]  # type: ignore[arg-type]

    def plain(self, name: str, runs: Sequence[Run]) -> list[float]:
        """Score the runs as they are."""

        def one(run: Run, seed: int) -> np.ndarray:
            return score_run(run.learner, run.params, self.task, n_episodes=self.n_episodes, seed=seed)

        return self.store.get(f"score-{slug(name)}", lambda: self.units(runs, one))

    def shuffled(self, name: str, runs: Sequence[Run]) -> list[float]:
        """Score the runs with support labels that say nothing about the queries."""

        def one(run: Run, seed: int) -> np.ndarray:
            return shuffled_scores(run.learner, run.params, self.task, n_episodes=self.n_episodes, seed=seed)

        return self.store.get(f"shuffled-{slug(name)}", lambda: self.units(runs, one))

    def cost(self, name: str, runs: Sequence[Run]) -> dict[str, Any]:
        """Count what the first run needs."""

        def count() -> dict[str, Any]:
            found = cost_of(runs[0].learner, runs[0].params, self.task)
            plain = {k: v for k, v in vars(found).items() if k != "flops"}
            return {**plain, "matmul_flops": found.flops.matmul, "elementwise_flops": found.flops.elementwise}

        return self.store.get(f"cost-{slug(name)}", count)

    def along(self, name: str, runs: Sequence[Run]) -> dict[str, list[Any]]:
        """Score after the first presentations: their numbers, the inner FLOPs that they took, and the units of each."""
        counts = default_counts(self.task)

        def all_of_them() -> dict[str, list[Any]]:
            each = [
                prefix_scores(run.learner, run.params, self.task, counts, n_episodes=self.n_episodes, seed=seed)
                for run, seed in zip(runs, self.seeds, strict=True)
            ]
            units = [
                self.units(runs, lambda run, seed, k=k: each[self.seeds.index(seed)][k])  # type: ignore[misc]
                for k in counts
            ]
            return {"counts": [*counts], "flops": [self._flops(runs[0], k) for k in counts], "units": units}

        return self.store.get(f"along-{slug(name)}", all_of_them)

    def _flops(self, run: Run, k: int) -> int:
        leaf = next(iter(run.params.values()))
        episode = self.task.sample(generator(0, "cost"), 3, "validation", device=leaf.device, dtype=leaf.dtype)
        return inner_flops(run.learner, run.params, first_presentations(episode, k), self.task).total

    def shots(self, name: str, runs: Sequence[Run]) -> dict[str, list[Any]]:
        """Score with more or fewer shots than trained, where the task has shots."""
        if "n_shot" not in {field.name for field in fields(self.task)}:  # type: ignore[arg-type]
            return {"counts": [], "units": []}
        counts = sorted({*SHOTS, self.task.n_shot})  # type: ignore[attr-defined]

        def with_shots(k: int) -> list[float] | None:
            task = replace(self.task, n_shot=k)  # type: ignore[type-var]
            return self.units(
                runs, lambda run, seed: score_run(run.learner, run.params, task, n_episodes=self.n_episodes, seed=seed)
            )

        return self.store.get(
            f"shots-{slug(name)}", lambda: {"counts": counts, "units": [with_shots(k) for k in counts]}
        )

    def elsewhere(self, name: str, runs: Sequence[Run]) -> list[list[float] | None]:
        """Score in every condition of the generalisation table."""

        def one(condition: Any) -> list[float] | None:
            options = {"n_episodes": self.n_episodes}
            return self.units(
                runs,
                lambda run, seed: score_condition(condition, run.learner, run.params, self.task, seed=seed, **options),
            )

        return self.store.get(f"elsewhere-{slug(name)}", lambda: [one(each) for each in conditions(self.task)])

    def places(self) -> tuple[list[str], list[float | None]]:
        """Return the conditions of the generalisation table and their floors."""
        found = conditions(self.task)
        return [each.name for each in found], [floor_of(each, self.task) for each in found]
