"""What makes a comparison unfair, refused by name: other information, classes, splits or normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from ..errors import SpecificationError
from ..learners import Learner
from ..tasks.base import Task

__all__ = ["check_fair"]

#: Settings of a task that decide which classes or images are on which side.
SPLIT = (
    *("seed", "split_seed", "split_scheme", "rotations", "n_classes", "n_instances", "n_held_out", "n_validation"),
    *("validation", "test", "path"),
)
#: Settings that say how much is asked, not what is known.
ASKED = ("n_query", "shuffle_labels")


def check_fair(arms: Mapping[str, tuple[Learner, Task]], task: Task) -> None:
    """Refuse a comparison whose learners did not have the same to learn from.

    Parameters
    ----------
    arms : mapping of str to (Learner, Task)
        Every learner by its name, with the task that it was trained on.
    task : Task
        On which all are compared.

    Raises
    ------
    SpecificationError
        If a learner was trained on classes that are tested (the share is named), on another split, on other
        information (another task, more shots, less noise), or sees queries through a normalisation that others do not
        have.
    """
    if hasattr(task, "assert_disjoint"):
        task.assert_disjoint()
    for name, (_, trained) in arms.items():
        if type(trained) is not type(task):
            raise SpecificationError(
                f"unequal information: '{name}' was trained on {type(trained).__name__}, the comparison is on "
                f"{type(task).__name__}; compare learners of one task"
            )
        _check_classes(name, trained, task)
        different = _differences(trained, task)
        split = [text for field, text in different.items() if field in SPLIT]
        if split:
            raise SpecificationError(
                f"different splits: '{name}' was trained with {', '.join(split)}; train all learners with one split"
            )
        if different:
            raise SpecificationError(
                f"unequal information: '{name}' was trained with {', '.join(different.values())}; train all learners "
                "on the same support"
            )
    _check_normalisation({name: learner for name, (learner, _) in arms.items()})


def _differences(trained: Task, task: Task) -> dict[str, str]:
    """Return the settings that differ, in words."""
    found = {}
    for field in fields(task):  # type: ignore[arg-type]
        here, there = getattr(task, field.name), getattr(trained, field.name)
        if field.name not in ASKED and not _same(here, there):
            found[field.name] = f"{field.name} {_short(there)} (compared: {_short(here)})"
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and bool((a == b).all())
    return bool(a == b) if type(a) is type(b) else a == b


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_classes(name: str, trained: Task, task: Task) -> None:
    origins = getattr(task, "origins", None)
    if origins is None:
        return
    seen = [trained.origins(split) for split in ("train", "validation")]  # type: ignore[attr-defined]
    known, tested = torch.cat(seen).unique(), task.origins("test").unique()  # type: ignore[attr-defined]
    shared = tested[torch.isin(tested, known)]
    # The same number may name something else where what is numbered is drawn from another seed.
    if len(shared) and getattr(trained, "seed", None) == getattr(task, "seed", None):
        share = 100 * len(shared) / len(tested)
        kind = getattr(task, "divides", "classes")
        raise SpecificationError(
            f"overlapping {kind}: '{name}' was trained or selected on {share:.0f} % of the {kind} of the test (such as "
            f"{int(shared[0])}); train it again with the split of the comparison"
        )


def _check_normalisation(learners: Mapping[str, Learner]) -> None:
    kinds: dict[str, str] = {}
    for name, learner in learners.items():
        trunk = getattr(learner, "trunk", None)
        if trunk is not None:
            kinds[name] = trunk.norm
    if len({*kinds.values()}) > 1:
        found = ", ".join(f"'{name}' by {kind}" for name, kind in kinds.items())
        more = " (transductive: queries see each other)" if "transductive" in kinds.values() else ""
        raise SpecificationError(f"different normalisation: {found}{more}; give all trunks the same norm")
