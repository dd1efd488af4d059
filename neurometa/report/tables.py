"""The tables of a report."""

from __future__ import annotations

from typing import Any

from .blocks import Cell, Table

__all__ = ["conditions", "cost", "extra", "lesions", "scores", "search", "values"]

_ORDER = {"learner": 0, "control": 1}


def ordered(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the main learner, then the other learners, then controls, the best first."""
    sign = -1 if record["score"]["higher_is_better"] else 1
    return sorted(
        record["arms"],
        key=lambda arm: (arm["name"] != record["main"], _ORDER.get(arm["role"], 2), sign * (arm["score"][0] or 0.0)),
    )


def scores(record: dict[str, Any]) -> Table:
    """Return scores, differences and the label control."""
    score, main = record["score"], record["main"]
    better = "higher" if score["higher_is_better"] else "lower"
    rows: list[tuple[str, list[Cell]]] = []
    for arm in ordered(record):
        d, s = arm.get("difference"), arm.get("shuffled")
        cells: list[Cell] = [arm["score"]]
        if d is None:
            cells += [None, None, None, "the main learner" if arm["name"] == main else None]
        else:
            cells += [[d["mean"], d["low"], d["high"]], _finite(d["effect"]), d["p_holm"], d["says"]]
        cells += [None if s is None else s["score"], _chance(s)]
        rows.append((arm["name"] + (" (control)" if arm["role"] == "control" else ""), cells))
    known = {**score.get("references", {}), "floor (best without support)": score["floor"]}
    if score["ceiling"] is not None:
        known["ceiling (ideal observer)"] = score["ceiling"]
    rows += [(name, [value, *[None] * 6]) for name, value in known.items()]
    minus = f"minus {main}"
    columns = ["learner", f"{score['name']} ({better} is better)", minus, "effect size", "p (Holm)", "which says"]
    caption = (
        f"Mean over {len(record['seeds'])} seeds of {record['test_episodes']:,} test tasks each and 95 % interval; "
        f"differences are paired."
        if record.get("over", "seeds") == "seeds"
        else f"One run of each on {record['test_episodes']:,} test tasks; intervals and differences over tasks."
    )
    return Table("scores", caption, [*columns, "labels shuffled", "at chance"], rows, (minus, "effect size"))


def _finite(value: float | None) -> float | None:
    return value if value is None or abs(value) < 1e6 else None


def _chance(shuffled: dict[str, Any] | None) -> str | None:
    known = None if shuffled is None else shuffled["at_chance"]
    return None if known is None else "yes" if known else "NO"


def cost(record: dict[str, Any]) -> Table:
    """Return what every learner needs."""
    rows: list[tuple[str, list[Cell]]] = []
    for arm in ordered(record):
        c = arm.get("cost") or {}
        memory, time = c.get("peak_bytes"), c.get("adaptation_seconds")
        cells: list[Cell] = [c.get(k) for k in ("meta_parameters", "frozen", "rule_parameters", "adapted_state")]
        cells += [c.get("presentations"), c.get("matmul_flops"), c.get("elementwise_flops")]
        cells += [None if memory is None else memory / 1e6, c.get("training_seconds")]
        rows.append((arm["name"], [*cells, None if time is None else 1e3 * time]))
    columns = ["learner", "meta-parameters", "frozen in a task", "of the rule", "adapted state", "presentations"]
    columns += [
        "FLOPs, products",
        "FLOPs, elementwise",
        "peak memory (MB)",
        "training (s a seed)",
        "adapting (ms a task)",
    ]
    return Table("cost", "What each learner needs; FLOPs are those of adapting to one task.", columns, rows)


def lesions(record: dict[str, Any]) -> Table | None:
    """Return scores with one thing taken away or changed at the test."""
    if not record.get("lesions"):
        return None
    rows: list[tuple[str, list[Cell]]] = [
        (row["name"], [row["score"], row["difference"], "yes" if row["hurts"] else None]) for row in record["lesions"]
    ]
    caption = f"{record['main']}, with one thing taken away or changed at the test; nothing is trained again."
    return Table(
        "lesions", caption, ["what", record["score"]["name"], "minus as it is", "hurts"], rows, ("minus as it is",)
    )


def conditions(record: dict[str, Any]) -> Table | None:
    """Return scores in other conditions than those of training."""
    found = record.get("generalisation")
    if not found:
        return None
    names = [arm["name"] for arm in ordered(record) if arm["name"] in found["rows"]]
    rows: list[tuple[str, list[Cell]]] = [(name, [*found["rows"][name]]) for name in names]
    rows.append(("floor (best without support)", [*found["floors"]]))
    caption = "Scores in conditions that no learner was trained for; empty where a learner cannot be put into one."
    return Table("generalisation", caption, ["learner", *found["conditions"]], rows)


def extra(record: dict[str, Any]) -> list[Table]:
    """Return further tables of the record, such as the allocation table."""
    found = []
    for table in record.get("tables", []):
        signed = tuple(column for column in table["columns"] if column.startswith("minus"))
        rows = [(name, cells) for name, cells in table["rows"]]
        name = "-".join(table["title"].lower().split())
        found.append(Table(name, table["note"], [table["title"], *table["columns"]], rows, signed))
    return found


def search(record: dict[str, Any]) -> Table | None:
    """Return what random search chose."""
    names = list(dict.fromkeys(key for arm in record["arms"] for key in arm.get("chosen", {})))
    if not names:
        return None
    rows: list[tuple[str, list[Cell]]] = [
        (arm["name"], [len(arm["trials"]), *(arm["chosen"].get(key) for key in names)]) for arm in ordered(record)
    ]
    caption = "Random search on validation tasks of a further seed: trials of each learner, and the values of the best."
    return Table("search", caption, ["learner", "trials", *names], rows)


def values(rows: list[tuple[str, list[Cell]]]) -> Table:
    """Return the learned values of the rule."""
    caption = "Learned values over seeds; of parameters with many entries, their mean."
    return Table("rule", caption, ["parameter", "mean", "lowest seed", "highest seed", "entries"], rows)
