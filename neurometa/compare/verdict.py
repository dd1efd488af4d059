"""What the numbers say, in sentences that are made from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.paired import Paired, holm, not_inferior, paired, probability
from ..meta.evaluate import interval
from ..tasks.base import Task

__all__ = ["differences_to", "judge_shuffled", "sentences", "triple"]


def triple(values: Sequence[float] | None) -> list[float | None] | None:
    """Return mean and interval, with None where it is not known."""
    if values is None:
        return None
    return [number if math.isfinite(number) else None for number in interval(values)]


def differences_to(
    main: str, units: Mapping[str, Sequence[float]], margin: float, higher: bool, over: str
) -> dict[str, dict[str, Any]]:
    """Return the paired difference of every learner to the main one, corrected for their number (Holm).

    ``noninferior`` says whether the main learner is shown to be worse than this one by less than the margin.
    """
    others = [name for name in units if name != main]
    found = {name: paired(units[name], units[main]) for name in others}
    corrected = dict(zip(others, holm([found[name].p for name in others]), strict=True))
    return {
        name: {
            **{k: v if math.isfinite(v) else None for k, v in difference._asdict().items() if k != "n"},
            "p_holm": float(corrected[name]) if math.isfinite(corrected[name]) else None,
            "noninferior": not_inferior(_swapped(difference), margin, higher),
            "says": _says(main, difference, corrected[name], margin, higher),
        }
        for name, difference in found.items()
    }


def _swapped(d: Paired) -> Paired:
    return Paired(-d.mean, -d.high, -d.low, -d.effect, d.p, d.n)


def _says(main: str, difference: Paired, p: float, margin: float, higher: bool) -> str:
    """Say which is better, or that this is not shown."""
    if math.isnan(p):
        return "one run: nothing is known"
    better = (difference.mean > 0) == higher
    if p < 0.05:
        return f"better than {main}" if better else f"worse than {main}"
    if not_inferior(_swapped(difference), margin, higher):
        return f"no difference shown; {main} is not worse by {margin:g}"
    return "no difference shown"


def judge_shuffled(units: Mapping[str, Sequence[float]], task: Task) -> dict[str, dict[str, Any]]:
    """Tell for every learner whether it is at chance when labels say nothing (t test, Holm over learners).

    Where labels are classes, chance is the floor, and both sides count. Where they are values, those of another episode
    mislead, so a learner that trusts them is worse than the floor; it must not be better.
    """
    classes = task.score_name == "accuracy"
    side = "two-sided" if classes else ("greater" if task.higher_is_better else "less")
    corrected = holm([probability(values, task.floor(), side) for values in units.values()])
    return {
        name: {
            "score": triple(values),
            "p_holm": float(p) if math.isfinite(p) else None,
            "at_chance": bool(p >= 0.05) if math.isfinite(p) else None,
        }
        for (name, values), p in zip(units.items(), corrected, strict=True)
    }


def sentences(
    task: Task,
    main: str,
    rival: str,
    margin: float,
    units: Mapping[str, Sequence[float]],
    differences: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, str],
    over: str,
) -> tuple[str, list[str]]:
    """Return the verdict on main learner and rival in one sentence, and what else is found."""
    first, d = _score(units[main]), differences[rival]
    names = f"{main} scores {first}, {rival} {_score(units[rival])}"
    gap = _gap(-d["mean"], *(None if d[k] is None else -d[k] for k in ("high", "low")))
    n = len(units[main])
    limits = "" if over == "seeds" else "; this is about these runs, not about the methods"
    direction = "higher" if task.higher_is_better else "lower"
    tail = f"({task.score_name}, {direction} is better; {n} {over}, paired{limits})"
    p = d["p_holm"]
    if p is None:
        said = f"{names}: a single run says nothing about the methods"
    elif p < 0.05:
        wins = (d["mean"] < 0) == task.higher_is_better
        said = f"{names}: {main if wins else rival} is better, {main} minus {rival} {gap}, p (Holm) = {p:.2g}"
    elif d["noninferior"]:
        said = f"{names}: no difference is shown, and {main} is not worse by the margin of {margin:g}; {gap}"
    else:
        said = f"{names}: no difference is shown, {gap}; whether {main} is worse by {margin:g} stays open"
    return f"{said} {tail}.", [*_controls(task, main, differences, roles), *_range(task, main, units)]


def _controls(
    task: Task, main: str, differences: Mapping[str, Mapping[str, Any]], roles: Mapping[str, str]
) -> list[str]:
    """Say which learners and controls the main learner beats, and which it does not."""
    found = []
    for role, word in (("learner", "other learners"), ("control", "its retrained controls")):
        names = [name for name in differences if roles[name] == role]
        groups: dict[str, list[str]] = {"better": [], "open": [], "worse": []}
        for name in names:
            d = differences[name]
            known = d["p_holm"] is not None and d["p_holm"] < 0.05
            main_better = (d["mean"] < 0) == task.higher_is_better
            groups["open" if not known else "better" if main_better else "worse"].append(name)
        if not names:
            continue
        parts = [
            f"{verb}: {_list(groups[key])}"
            for key, verb in (("better", "beats"), ("worse", "is beaten by"), ("open", "is not told apart from"))
            if groups[key]
        ]
        found.append(f"Of {word}, {main} {'. It '.join(parts)} (Holm, level .05).")
    return found


def _range(task: Task, main: str, units: Mapping[str, Sequence[float]]) -> list[str]:
    """Say where the main learner lies between floor and ceiling."""
    floor, ceiling = task.floor(), task.ceiling()
    if ceiling is None or ceiling == floor:
        return []
    mean, low, high = interval(100 * (np.asarray(units[main]) - floor) / (ceiling - floor))
    ends = f" [{low:.1f}, {high:.1f}]" if math.isfinite(low) else ""
    return [f"{main} closes {mean:.1f} %{ends} of the way from the floor ({floor:.4g}) to the ceiling ({ceiling:.4g})."]


def _score(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.4g}" + (f" [{low:.4g}, {high:.4g}]" if math.isfinite(low) else "")


def _gap(mean: float, low: float | None, high: float | None) -> str:
    return f"{mean:+.3g}" + (f" [{low:+.3g}, {high:+.3g}]" if low is not None and high is not None else "")


def _list(names: Sequence[str]) -> str:
    """Join names, some of which have commas of their own."""
    return "; ".join(names)
