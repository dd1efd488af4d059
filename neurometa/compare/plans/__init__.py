"""Plans: every module in this folder is a comparison that a user may run by its name, in three sizes."""

import sys
from dataclasses import replace
from typing import Any

from ... import discover
from ...errors import SpecificationError, unknown
from ..plan import Plan

__all__ = ["PRESETS", "get", "names"]

#: Sizes of every plan.
PRESETS = ("smoke", "default", "paper")


def names() -> list[str]:
    """Return the names of all plans."""
    return discover.names(sys.modules[__name__])


def get(name: str, preset: str = "default") -> Plan:
    """Return a plan in one of its sizes.

    Parameters
    ----------
    name : str
        Name of a module in this folder.
    preset : {"smoke", "default", "paper"}
        ``smoke`` is a minute's test that everything runs; ``paper`` has twice the seeds and five times the training.
    """
    plan: Plan = discover.load(sys.modules[__name__], name, "plan")
    return sized(plan, preset)


def sized(plan: Plan, preset: str) -> Plan:
    """Return a plan in one of its sizes; ``default`` is the plan itself."""
    if preset not in PRESETS:
        raise SpecificationError(unknown("preset", preset, PRESETS))
    if preset == "smoke":
        small: dict[str, Any] = {
            "seeds": plan.seeds[:2],
            "iterations": 4,
            "tasks": 4,
            "trials": 1,
            "trial_iterations": 2,
        }
        return replace(plan, **small, validation_episodes=8, test_episodes=20)
    if preset == "paper":
        first, n = plan.seeds[0], 2 * len(plan.seeds)
        long: dict[str, Any] = {"iterations": 5 * plan.iterations, "trials": 4 * plan.trials}
        return replace(plan, seeds=tuple(range(first, first + n)), trial_iterations=5 * plan.trial_iterations, **long)
    return plan
