"""What is compared, on what, with which budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SpecificationError, unknown
from ..learners import Learner
from ..learners.base import GROUPS
from ..meta.settings import describe
from ..outer import Backprop, Outer
from ..spec.base import check_choice
from ..tasks.base import Task

__all__ = ["ROLES", "Arm", "Plan", "slug"]

ROLES = ("learner", "control", "allocation")


@dataclass(frozen=True)
class Arm:
    """One learner of a comparison.

    Attributes
    ----------
    make : callable
        ``make(**values) -> Learner``; called without values it gives the learner at its own settings.
    search : mapping of str to (float, float)
        What random search draws, log-uniform between two positive numbers: arguments of ``make``, and ``lr``, the
        learning rate of the outer algorithm. Without anything there is nothing to choose, and no trial is made.
    outer : Outer
        How it is meta-trained.
    learn : tuple of str
        Groups that are meta-learned.
    role : {"learner", "control", "allocation"}
        What it stands for: a competitor, the main learner retrained without one of its parts, or one of the
        combinations of learned and frozen groups.
    """

    make: Callable[..., Learner]
    search: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    outer: Outer = field(default_factory=lambda: Backprop(lr=3e-3, schedule="cosine"))
    learn: tuple[str, ...] = GROUPS
    role: str = "learner"

    def __post_init__(self):
        check_choice(self.role, ROLES, "Arm: role")
        for name, (low, high) in self.search.items():
            if not 0 < low < high:
                raise SpecificationError(f"Arm: search {name} is ({low}, {high}); give (low, high), both above 0")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison: the first question, the learners, and one budget for all.

    Attributes
    ----------
    name, title, question : str
        For the report; the name is that of the folder.
    task : Task
        Where episodes come from. Every seed has its own test tasks, which all learners share.
    arms : mapping of str to Arm
        Learners by the names that people read. Controls that can be worked out from ``main`` are added to them.
    main, rival : str
        The learned rule, and the learner that it is compared with first: the verdict is about these two, and was
        declared before the numbers were seen.
    seeds : tuple of int
        Independent runs of every arm; at least 5 for a claim.
    iterations, tasks : int
        Meta-iterations of every arm, and tasks in each.
    trials, trial_iterations : int
        Random-search trials of every arm, on one further seed, scored on validation tasks.
    validation_episodes, test_episodes : int
        Validation tasks, and test tasks of each seed.
    margin : float
        Declared margin of non-inferiority, in units of the score.
    without : tuple of str
        Retrained controls to leave out; see `compare.controls.CONTROLS`. ``("all",)`` leaves out all of them.
    allocation : bool
        Train every combination of learned and frozen groups of the main learner, too.
    search_seed : int
        Seed of the search; must not be one of ``seeds``.
    """

    name: str
    title: str
    question: str
    task: Task
    arms: Mapping[str, Arm]
    main: str
    rival: str
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    iterations: int = 500
    tasks: int = 64
    trials: int = 4
    trial_iterations: int = 100
    validation_episodes: int = 256
    test_episodes: int = 1000
    margin: float = 0.01
    without: tuple[str, ...] = ()
    allocation: bool = False
    search_seed: int = 1000

    def __post_init__(self):
        for field_name in ("main", "rival"):
            if getattr(self, field_name) not in self.arms:
                raise SpecificationError(unknown(f"{field_name} learner", getattr(self, field_name), self.arms))
        least = {"iterations": 1, "tasks": 1, "trials": 0, "trial_iterations": 1, "validation_episodes": 1}
        for field_name, minimum in {**least, "test_episodes": 2, "search_seed": 0}.items():
            value = getattr(self, field_name)
            if not isinstance(value, int) or value < minimum:
                raise SpecificationError(f"plan: {field_name} is {value}; it must be a whole number from {minimum} on")
        if not self.seeds or len({*self.seeds}) < len(self.seeds) or self.search_seed in self.seeds:
            raise SpecificationError(
                f"plan: seeds is {self.seeds}; give each once, and not {self.search_seed}, which the search uses"
            )
        if self.margin <= 0:
            raise SpecificationError(f"plan: margin is {self.margin}; it must be above 0")
        if len({slug(name) for name in self.arms}) < len(self.arms):
            raise SpecificationError(f"plan: two learners share a folder name: {', '.join(map(slug, self.arms))}")

    def config(self) -> dict[str, Any]:
        """Return the plan as what ``json`` writes, without its words and with every learner at its own settings."""
        plain = {k: v for k, v in vars(self).items() if k not in ("task", "arms", "title", "question")}
        arms = {
            name: {
                "name": name,
                "learner": describe("learner", arm.make()),
                "outer": describe("outer", arm.outer),
                "search": {k: [*v] for k, v in arm.search.items()},
                "learn": [*arm.learn],
                "role": arm.role,
            }
            for name, arm in self.arms.items()
        }
        return {**plain, "task": describe("task", self.task), "arms": arms}


def slug(name: str) -> str:
    """Return a name as that of a folder.

    Examples
    --------
    >>> slug("delta rule, random feedback")
    'delta-rule-random-feedback'
    """
    return re.sub(r"[^\w.]+", "-", name).strip("-.").lower()
