"""The figures of a report: scores, curves, lesions, conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..analysis.figures import COLOURS, log_scale, new_figure
from .blocks import Figure, show
from .tables import ordered

__all__ = ["curves", "forest", "generalisation", "lesions"]

_LINES = ("orange", "blue", "green", "red", "purple", "sky", "black")
_STYLES = ("-", "--", "-.", ":")
#: Errors above so many times the floor are not drawn in curves.
_CUT = 3
#: What is said of each axis.
_AXES = {
    "meta-iterations": "meta-iterations (validation tasks)",
    "presentations": "presentations in the task",
    "inner FLOPs": "operations spent on the task",
    "shots": "shots",
}


def forest(record: dict[str, Any]) -> Figure:
    """Every score with its interval, between floor and ceiling."""
    arms, score = ordered(record), record["score"]

    def draw() -> Any:
        figure, axes = new_figure(1, width=7.2, height=0.9 + 0.21 * len(arms))
        axis = axes[0, 0]
        for y, arm in enumerate(arms):
            mean, low, high = arm["score"]
            colour = COLOURS[{"learner": "blue"}.get(arm["role"], "grey")]
            colour = COLOURS["orange"] if arm["name"] == record["main"] else colour
            if low is not None:
                axis.plot([low, high], [y, y], color=colour, lw=2)
            axis.plot(mean, y, "o", ms=4.5, color=colour)
            # Beside the upper end, where no bar runs through it.
            axis.annotate(show(mean), (high or mean, y), textcoords="offset points", xytext=(6, -2), size=6.5)
        _known(axis, score, "v")
        axis.set_yticks(range(len(arms)), [arm["name"] for arm in arms], size=7)
        axis.set_ylim(len(arms) - 0.4, -0.6)
        axis.margins(x=0.12)
        axis.set_xlabel(f"{score['name']} ({'higher' if score['higher_is_better'] else 'lower'} is better)")
        if _spans([arm["score"][0] for arm in arms], 20):
            log_scale(axis)
        return figure

    said = "; ".join(f"{arm['name']} {show(arm['score'])}" for arm in arms)
    caption = f"Scores with 95 % intervals. Orange: {record['main']}; blue: other learners; grey: controls."
    return Figure("scores", caption, f"{score['name']}: {said}; floor {show(score['floor'])}.", draw)


def _known(axis: Any, score: dict[str, Any], which: str) -> None:
    """Draw floor and ceiling."""
    line = axis.axvline if which == "v" else axis.axhline
    line(score["floor"], color=COLOURS["grey"], lw=0.9, ls=":", label="floor")
    if score["ceiling"] is not None and score["ceiling"] > 0:
        line(score["ceiling"], color=COLOURS["grey"], lw=0.9, ls="--", label="ceiling")


def _spans(values: Sequence[float], factor: float) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and min(known) > 0 and max(known) > factor * min(known)


def curves(record: dict[str, Any]) -> Figure | None:
    """Learning and adaptation curves, a panel for each axis."""
    panels = {axis: found for axis, found in record.get("curves", {}).items() if found}
    if not panels:
        return None
    names = [arm["name"] for arm in ordered(record)]
    roles = {arm["name"]: arm["role"] for arm in record["arms"]}
    # What has gone wrong with too little to learn from would hide all that matters.
    score = record["score"]
    top = math.inf if score["higher_is_better"] or score["floor"] <= 0 else _CUT * score["floor"]
    beyond = {
        what
        for what, found in panels.items()
        if any(y is not None and y > top for c in found.values() for y in c["mean"])
    }
    competitors = [name for name in names if roles[name] == "learner"]

    def draw() -> Any:
        rows = -(-len(panels) // 2)
        figure, axes = new_figure(2, rows, width=7.2, height=2.7 * rows + 0.18 * -(-len(names) // 3))
        for axis, (what, found) in zip(axes.flat, panels.items(), strict=False):
            for name in reversed([n for n in names if n in found]):
                c, own = found[name], roles[name] == "learner"
                k = competitors.index(name) if own else 0
                colour = COLOURS[_LINES[k % len(_LINES)]] if own else COLOURS["grey"]
                style = _STYLES[k // len(_LINES) % 4] if own else _STYLES[names.index(name) % 4]
                axis.plot(c["x"], c["mean"], color=colour, ls=style, lw=1.4 if own else 0.7, label=name)
                if name == record["main"] and None not in c["low"]:
                    axis.fill_between(c["x"], c["low"], c["high"], color=colour, alpha=0.2, lw=0)
            _known(axis, score, "h")
            if _spans([x for c in found.values() for x in c["x"] if x], 15):
                log_scale(axis)
                axis.tick_params(axis="x", labelrotation=45 if what == "inner FLOPs" else 0)
            if what in beyond:
                axis.set_ylim(0, top)
            elif _spans([y for c in found.values() for y in c["mean"]], 30):
                log_scale(axis, "y")
            axis.set(xlabel=_AXES.get(what, what), ylabel=score["name"])
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        handles = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
        order = [n for n in (*names, "floor", "ceiling") if n in handles]
        figure.legend(
            [handles[n] for n in order], order, loc="outside lower center", ncols=3, fontsize=6, frameon=False
        )
        return figure

    main = record["main"]
    said = [
        f"{main} goes from {show(c['mean'][0])} at {c['x'][0]:,} to {show(c['mean'][-1])} at {c['x'][-1]:,} {what}"
        for what, found in panels.items()
        if (c := found.get(main)) and c["x"]
    ]
    caption = "Learning and adaptation. Thick: learners; thin grey: controls; dotted: floor; dashed grey: ceiling."
    if beyond:
        caption += f" Errors above {_CUT} times the floor are beyond the axis (they are in tables/curves.csv)."
    return Figure("curves", caption, "; ".join(said) + ".", draw)


def lesions(record: dict[str, Any]) -> Figure | None:
    """Differences that lesions make."""
    rows = [row for row in record.get("lesions", []) if row["difference"] is not None]
    if not rows:
        return None

    def draw() -> Any:
        figure, axes = new_figure(1, width=7.2, height=0.8 + 0.18 * len(rows))
        axis = axes[0, 0]
        for y, row in enumerate(rows):
            mean, low, high = row["difference"]
            colour = COLOURS["red" if row["hurts"] else "grey"]
            if low is not None:
                axis.plot([low, high], [y, y], color=colour, lw=2)
            axis.plot(mean, y, "o", ms=4, color=colour)
        axis.axvline(0, color=COLOURS["grey"], lw=0.7)
        axis.set_yticks(range(len(rows)), [row["name"] for row in rows], size=7)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel(f"{record['score']['name']}, minus as it is")
        return figure

    hurt = [f"{row['name']} {show(row['difference'], True)}" for row in rows if row["hurts"]]
    alt = f"{len(hurt)} of {len(rows)} changes hurt: {'; '.join(hurt)}."
    return Figure("lesions", "What the main learner needs. Red: hurts (95 % interval beyond 0).", alt, draw)


def generalisation(record: dict[str, Any]) -> Figure | None:
    """Scores in every condition, learners side by side."""
    found = record.get("generalisation")
    if not found:
        return None
    names = [a["name"] for a in ordered(record) if a["role"] == "learner" and a["name"] in found["rows"]]
    places = found["conditions"]

    def draw() -> Any:
        figure, axes = new_figure(1, width=7.2, height=3.2 + 0.16 * -(-len(names) // 3))
        axis = axes[0, 0]
        for k, name in enumerate(names):
            points = [(x, cell) for x, cell in enumerate(found["rows"][name]) if cell is not None]
            shift = (k - (len(names) - 1) / 2) * 0.7 / max(len(names), 1)
            colour, marker = COLOURS[_LINES[k % len(_LINES)]], "os^Dv<>P"[k % 8]
            beside = [at + shift for at, _ in points]
            axis.plot(beside, [cell[0] for _, cell in points], marker, ms=3.5, color=colour, label=name)
            for at, (_, (_, low, high)) in zip(beside, points, strict=True):
                if low is not None:
                    axis.plot([at, at], [low, high], color=colour, lw=1)
        for x, floor in enumerate(found["floors"]):
            if floor is not None:
                axis.plot([x - 0.45, x + 0.45], [floor, floor], color=COLOURS["grey"], lw=0.9, ls=":")
        axis.set_xticks(range(len(places)), places, size=6.5, rotation=30, ha="right")
        axis.set_ylabel(record["score"]["name"])
        if _spans([cell[0] for row in found["rows"].values() for cell in row if cell], 30):
            log_scale(axis, "y")
        figure.legend(loc="outside lower center", ncols=3, fontsize=6, frameon=False)
        return figure

    main = found["rows"].get(record["main"], [])
    said = "; ".join(f"{place} {show(cell)}" for place, cell in zip(places, main, strict=False) if cell is not None)
    caption = "Learners in conditions that they were not trained for; dotted: the floor of each."
    return Figure("generalisation", caption, f"{record['main']}: {said}.", draw)
