"""Random search and meta-training of every learner, with the same budget and on the same streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import SpecificationError, TrainingError
from ..meta.bundle import meta_train_seeds
from ..meta.run import Run
from ..meta.train import Progress, meta_train
from ..outer import Backprop, Outer
from ..spec import Network
from ..streams import generator
from ..torch_engine.program import program
from .plan import Arm, Plan, slug
from .store import Store

__all__ = ["Watch", "drawn_values", "search", "train"]

#: Opened with the label of a piece of training, gives what is called with a `Progress` (or None).
Watch = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]
#: Validations in a run: points of the learning curve.
POINTS = 10


def silent(label: str) -> AbstractContextManager[None]:
    """Watch nothing."""
    return nullcontext()


def drawn_values(plan: Plan, name: str, arm: Arm) -> list[dict[str, float]]:
    """Return the values of every trial: log-uniform in the range of each, from the stream of this learner's name."""
    stream = generator(plan.search_seed, f"search {name}")
    drawn = torch.rand(plan.trials, len(arm.search), generator=stream, dtype=torch.double).tolist()
    return [
        {key: low * (high / low) ** u for (key, (low, high)), u in zip(arm.search.items(), row, strict=True)}
        for row in drawn
    ]


def search(plan: Plan, name: str, arm: Arm, store: Store, watch: Watch = silent) -> list[dict[str, Any]]:
    """Try every drawn set of values on one further seed; return them with their validation score.

    The score is nan (null) where training went wrong; such a trial counts.
    """
    if not arm.search or not plan.trials:
        return []

    def one(k: int, values: dict[str, float]) -> dict[str, Any]:
        learner, outer = _made(arm, values)
        where = store.folder / "search" / slug(name) / f"trial-{k}" if store.folder else None
        try:
            with watch(f"{name}, trial {k + 1} of {plan.trials}") as report:
                run = meta_train(
                    learner,
                    plan.task,
                    outer,
                    n_iterations=plan.trial_iterations,
                    n_tasks=plan.tasks,
                    seed=plan.search_seed,
                    learn=arm.learn,
                    validate_every=plan.trial_iterations,
                    n_validation=plan.validation_episodes,
                    run_dir=where,
                    resume=True,
                    on_progress=report,
                )
            score: float | None = run.history[-1]["validation"]
        except TrainingError as error:
            if type(error) is not TrainingError:  # it was asked to stop
                raise
            score = None
        return {**values, "score": score if score is not None and math.isfinite(score) else None}

    trials = enumerate(drawn_values(plan, name, arm))
    return [store.get(f"trial-{slug(name)}-{k}", partial(one, k, values)) for k, values in trials]


def chosen(plan: Plan, name: str, trials: list[dict[str, Any]]) -> dict[str, float]:
    """Return the values of the best trial on validation tasks; of equal ones the first."""
    if not trials:
        return {}
    sign = 1 if plan.task.higher_is_better else -1
    known = [trial for trial in trials if trial["score"] is not None]
    if not known:
        raise TrainingError(f"'{name}': none of {len(trials)} trials stayed finite; search lower values of lr")
    best = max(known, key=lambda trial: sign * trial["score"])
    return {key: value for key, value in best.items() if key != "score"}


def train(plan: Plan, name: str, arm: Arm, values: dict[str, float], folder: Path | None, watch: Watch) -> list[Run]:
    """Meta-train every seed, all in one batched call where that is possible; the best on validation are kept.

    Parameters
    ----------
    plan, name, arm
        What is trained.
    values : dict
        Chosen by `search`.
    folder : Path, optional
        Holds one run folder for each seed; finished or interrupted ones are continued.
    watch : callable
        As in `compare`.

    Returns
    -------
    list of Run
        In the order of the seeds.
    """
    learner, outer = _made(arm, values)
    options: dict[str, Any] = {
        "n_iterations": plan.iterations,
        "n_tasks": plan.tasks,
        "learn": arm.learn,
        "validate_every": max(1, plan.iterations // POINTS),
        "n_validation": plan.validation_episodes,
        "resume": True,
    }
    if batched(learner, outer) and len(plan.seeds) > 1:
        with watch(f"{name}, {len(plan.seeds)} seeds") as report:
            more = {"seeds": plan.seeds, "run_dir": folder, "on_progress": report}
            return meta_train_seeds(learner, plan.task, outer, **options, **more)  # type: ignore[arg-type]
    found = []
    for seed in plan.seeds:
        with watch(f"{name}, seed {seed}") as report:
            where = folder / f"seed-{seed}" if folder else None
            own: dict[str, Any] = {"seed": seed, "run_dir": where, "on_progress": report}
            found.append(meta_train(learner, plan.task, outer, **options, **own))
    return found


def batched(learner: Any, outer: Outer) -> bool:
    """Whether many seeds can be trained in one call, and a convolutional trunk does not make that slower."""
    if type(outer) is not Backprop or getattr(learner, "trunk", None) is not None:
        return False
    network = getattr(learner, "network", None)
    if network is None:
        return True
    if not isinstance(network, Network):
        return False
    return not program(network).noisy and not any(leaf.param.per_episode for leaf in network.leaves.values())


def seconds_of(runs: list[Run], together: bool) -> float:
    """Return the training time of one seed: seeds of one call share theirs."""
    each = [run.history[-1]["seconds"] for run in runs]
    return max(each) / len(runs) if together else sum(each) / len(runs)


def _made(arm: Arm, values: dict[str, float]) -> tuple[Any, Outer]:
    own = {key: value for key, value in values.items() if key != "lr"}
    outer = arm.outer
    if "lr" in values:
        try:
            outer = replace(outer, lr=values["lr"])  # type: ignore[type-var,call-arg]
        except TypeError:
            raise SpecificationError(f"Arm: {type(outer).__name__} has no lr to search") from None
    return arm.make(**own), outer
