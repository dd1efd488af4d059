"""The protocol, from a plan or from finished runs to one record of everything that was found."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..analysis.paired import paired
from ..errors import SpecificationError, TrainingError
from ..files import write_atomically
from ..learners import PlasticLearner
from ..learners._gradient import InnerLoop
from ..meta.evaluate import Row, Table, finish, interval
from ..meta.folder import RunFolder
from ..meta.memory import keep_memory
from ..meta.run import Run
from ..meta.train import Stopped
from ..perturb import perturb
from ..provenance import commit_of, environment
from ..streams import generator
from ..tasks.base import Task
from .accounting import presentations
from .controls import allocation, retrained
from .episodes import first_presentations
from .fairness import check_fair
from .plan import Arm, Plan, slug
from .scoring import Scorer
from .store import Store
from .training import Watch, batched, chosen, search, seconds_of, silent, train
from .verdict import differences_to, judge_shuffled, sentences, triple

__all__ = ["FORMAT", "Comparison", "compare"]

#: Version of the record ``result.json``.
FORMAT = 1
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    record : dict
        Everything, as it stands in ``result.json``.
    table : Table
        Score of every learner with its interval, floor and ceiling.
    folder : Path, optional
        Where it is kept.
    """

    record: dict[str, Any]
    table: Table
    folder: Path | None = None

    def __str__(self) -> str:
        """Return verdict and table."""
        lines = [self.record["verdict"], "", str(self.table), ""]
        main = self.record["main"]
        lines.append(f"minus {main}, paired over {self.record['over']}; p corrected for their number (Holm)")
        width = max(len(arm["name"]) for arm in self.record["arms"])
        for arm in self.record["arms"]:
            if d := arm["difference"]:
                ends = "" if d["low"] is None else f"  [{d['low']:+.4f}, {d['high']:+.4f}]"
                p = "" if d["p_holm"] is None else f"  p = {d['p_holm']:.3g}"
                lines.append(f"{arm['name']:{width}}  {d['mean']:+.4f}{ends}{p}  {d['says']}")
        return "\n".join([*lines, *self.record["findings"]])


def compare(
    subject: Plan | Mapping[str, Run | Sequence[Run]],
    task: Task | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    n_episodes: int = 1000,
    seed: int | None = None,
    main: str = "",
    rival: str = "",
    margin: float = 0.01,
    thorough: bool = True,
    title: str = "",
    question: str = "",
    command: str = "",
    preset: str = "",
    watch: Watch = silent,
    on_step: Step | None = None,
) -> Comparison:
    """Compare learners on the same held-out tasks, with the same information and budget, with controls.

    Parameters
    ----------
    subject : Plan, or mapping of str to Run or sequence of Run
        A plan is trained first: random search on validation, then every learner and every retrained control that fits,
        on every seed. Finished runs are taken as they are: one for each learner, or as many seeds of each.
    task : Task, optional
        Of finished runs: where they are compared; default: the task of the first.
    out : path, optional
        Folder of the comparison. What is in it is not done again, so the same call after a kill gives the numbers that
        an undisturbed one would have given.
    n_episodes, seed : int
        Of finished runs: test tasks of each seed, and their seed where each learner has one run (default: that of the
        first run). Several runs of a learner are tested each on the tasks of its own seed.
    main, rival : str
        Of finished runs: whom the verdict is about; default: the first two.
    margin : float
        Of finished runs: declared margin of non-inferiority.
    thorough : bool
        Also lesions, curves and generalisation.
    title, question, command, preset : str
        For the record.
    watch : callable
        ``watch(label)`` opens a context that gives the callback for a `Progress` of meta-training.
    on_step : callable, optional
        Called with what is done next, and the numbers of steps done and in all.

    Returns
    -------
    Comparison
        Differences are paired over seeds. With one run of each learner they are paired over tasks, and hold for these
        runs, not for the methods.

    Raises
    ------
    SpecificationError
        If the comparison would not be fair, or does not fit together.
    RunError
        If the folder holds another comparison.
    """
    keep_memory()
    store = Store(out)
    if isinstance(subject, Plan):
        arms: Mapping[str, Arm]
        runs, arms, extra = _trained(subject, store, watch, on_step)
        plan, scorer = subject, Scorer(subject.task, subject.test_episodes, subject.seeds, store)
        failed = extra["failed"]
    else:
        runs = {name: [one] if isinstance(one, Run) else [*one] for name, one in subject.items()}
        plan, scorer = _finished(runs, task, n_episodes, seed, main, rival, margin, title, question, store)
        arms, extra, failed = plan.arms, {"trials": {}, "chosen": {}, "seconds": {}}, {}
    check_fair({name: (each[0].learner, each[0].task) for name, each in runs.items()}, plan.task)
    began = time.monotonic()
    record = _assess(plan, runs, arms, scorer, extra, thorough, on_step)
    facts = {"command": command, "preset": preset, "commit": commit_of(Path(__file__).parent)}
    spent = sum(extra["seconds"].values()) * len(scorer.seeds)
    record |= {**facts, "versions": environment(), "failed": failed, "settings": plan.config()}
    record["seconds"] = store.get("seconds", lambda: round(spent + time.monotonic() - began, 1))
    record["commit"] = store.get("commit", lambda: record["commit"])
    text = json.dumps(record, indent=1, allow_nan=False)
    record = json.loads(text)  # what is returned is what is read back
    if store.folder is not None:
        write_atomically(store.folder / "result.json", lambda file: file.write(text.encode()))
    return Comparison(record, _table(plan, record, scorer.over), store.folder)


def _trained(
    plan: Plan, store: Store, watch: Watch, on_step: Step | None
) -> tuple[dict[str, list[Run]], dict[str, Arm], dict[str, Any]]:
    """Search and train every learner of a plan; what a control cannot do is kept as a reason."""
    arms = {**plan.arms, **_matched(plan), **retrained(plan), **(allocation(plan) if plan.allocation else {})}
    first = {name: (arm.make(), plan.task) for name, arm in arms.items()}
    check_fair(first, plan.task)
    store.open(plan.config())
    runs: dict[str, list[Run]] = {}
    extra: dict[str, Any] = {"trials": {}, "chosen": {}, "seconds": {}, "failed": {}}
    for k, (name, arm) in enumerate(arms.items()):
        if on_step:
            on_step(f"training {name}", k, len(arms))
        try:
            if arm.role == "allocation":
                values, trials = extra["chosen"][plan.main], []
            else:
                trials = search(plan, name, arm, store, watch)
                values = chosen(plan, name, trials)
            folder = store.folder / "runs" / slug(name) if store.folder else None
            runs[name] = train(plan, name, arm, values, folder, watch)
        except TrainingError as error:
            if isinstance(error, Stopped) or name in (plan.main, plan.rival):
                raise
            extra["failed"][name] = str(error)
            continue
        together = batched(runs[name][0].learner, arm.outer) and len(plan.seeds) > 1
        extra["trials"][name], extra["chosen"][name] = trials, values
        extra["seconds"][name] = seconds_of(runs[name], together)
    return runs, {name: arms[name] for name in runs}, extra


def _matched(plan: Plan) -> dict[str, Arm]:
    """Return the gradient learners that see the support more often than the main one, with as many presentations."""
    part = plan.task.sample(generator(0, "cost"), 1, "train").support
    own, found = presentations(plan.arms[plan.main].make(), part), {}
    for name, arm in plan.arms.items():
        learner = arm.make()
        count = presentations(learner, part)
        if isinstance(learner, InnerLoop) and count > own:
            steps = max(1, learner.steps * own // count)

            def make(arm: Arm = arm, steps: int = steps, **values: Any) -> Any:
                return replace(arm.make(**values), steps=steps)  # type: ignore[type-var]

            if presentations(make(), part) <= own:
                found[f"{name}, presentations matched"] = replace(arm, make=make)
    return {name: arm for name, arm in found.items() if all(arm.make() != a.make() for a in plan.arms.values())}


def _finished(
    runs: Mapping[str, list[Run]],
    task: Task | None,
    n_episodes: int,
    seed: int | None,
    main: str,
    rival: str,
    margin: float,
    title: str,
    question: str,
    store: Store,
) -> tuple[Plan, Scorer]:
    """Return the plan that finished runs amount to, and what scores them."""
    if len(runs) < 2:
        raise SpecificationError(f"compare needs two learners at least, {len(runs)} given")
    names, first = [*runs], next(iter(runs.values()))
    counts = {name: len(each) for name, each in runs.items()}
    if len({*counts.values()}) > 1 or not first:
        found = ", ".join(f"{n} of '{name}'" for name, n in counts.items())
        raise SpecificationError(f"compare needs as many runs of every learner, found {found}")
    seeds = [run.seed for run in first]
    for name, each in runs.items():
        if len(first) > 1 and [run.seed for run in each] != seeds:
            raise SpecificationError(
                f"runs of '{name}' have the seeds {[run.seed for run in each]}, those of '{names[0]}' {seeds}; "
                "compare runs of the same seeds, in the same order"
            )
    seeds = [seed if seed is not None else first[0].seed] if len(first) == 1 else seeds
    chosen_main, chosen_rival = main or names[0], rival or next(n for n in names if n != (main or names[0]))
    arms = {name: Arm(lambda run=each[0]: run.learner, outer=each[0].outer) for name, each in runs.items()}  # type: ignore[misc]
    plan = Plan(
        name="runs",
        title=title or " against ".join((chosen_main, chosen_rival)),
        question=question,
        task=task or first[0].task,
        arms=arms,
        main=chosen_main,
        rival=chosen_rival,
        seeds=tuple(seeds),
        test_episodes=n_episodes,
        margin=margin,
        search_seed=max(seeds) + 1000,
    )
    # The same runs by their parameters: other ones in this folder would be mixed with old scores.
    prints = {name: [_fingerprint(run) for run in each] for name, each in runs.items()}
    store.open({**plan.config(), "parameters": prints})
    if store.folder is not None:
        for name, each in runs.items():
            for run, of in zip(each, seeds, strict=True):
                _keep(run, store.folder / "runs" / slug(name) / f"seed-{of}")
    return plan, Scorer(plan.task, n_episodes, seeds, store)


def _keep(run: Run, folder: Path) -> None:
    """Copy a run into the folder of the comparison, which then holds all that its report needs."""
    if run.path is not None and not folder.exists():
        RunFolder(run.path).copy(folder)


def _fingerprint(run: Run) -> float:
    return float(sum(leaf.double().abs().sum() for leaf in run.params.values()))


def _assess(
    plan: Plan,
    runs: Mapping[str, list[Run]],
    arms: Mapping[str, Arm],
    scorer: Scorer,
    extra: Mapping[str, Any],
    thorough: bool,
    on_step: Step | None,
) -> dict[str, Any]:
    """Score everything and put it into one record."""
    task, compared = plan.task, [name for name in runs if arms[name].role != "allocation"]
    units, shuffled, along, shots, elsewhere, costs = ({} for _ in range(6))  # type: ignore[var-annotated]
    for k, name in enumerate(runs):
        if on_step:
            on_step(f"testing {name}", k, len(runs))
        units[name] = scorer.plain(name, runs[name])
        if name not in compared:
            continue
        costs[name] = scorer.cost(name, runs[name])
        shuffled[name] = scorer.shuffled(name, runs[name])
        if thorough:
            along[name] = scorer.along(name, runs[name])
            shots[name] = scorer.shots(name, runs[name])
            elsewhere[name] = scorer.elsewhere(name, runs[name])
    over, higher = scorer.over, task.higher_is_better
    mine = {name: units[name] for name in compared}
    differences = differences_to(plan.main, mine, plan.margin, higher, over)
    roles = {name: arms[name].role for name in runs}
    chance = judge_shuffled(shuffled, task)
    verdict, findings = sentences(task, plan.main, plan.rival, plan.margin, mine, differences, roles, over)
    findings.append(_chance_sentence(chance))
    score: dict[str, Any] = {"name": task.score_name, "higher_is_better": higher}
    score |= {"floor": task.floor(), "ceiling": task.ceiling(), "references": task.references()}
    record: dict[str, Any] = {"format": FORMAT, "name": plan.name, "title": plan.title, "question": plan.question}
    record |= {"score": score, "main": plan.main, "rival": plan.rival, "margin": plan.margin, "over": over}
    record |= {"seeds": [*scorer.seeds], "test_episodes": scorer.n_episodes, "verdict": verdict, "findings": findings}
    record["arms"] = [
        {
            "name": name,
            "role": roles[name],
            "kind": type(runs[name][0].learner).__name__,
            "score": triple(units[name]),
            "per_seed": units[name] if over == "seeds" else None,
            "difference": differences.get(name),
            "shuffled": chance[name],
            "cost": {**costs[name], "training_seconds": extra["seconds"].get(name)},
            "chosen": extra["chosen"].get(name, {}),
            "trials": extra["trials"].get(name, []),
            "runs": f"runs/{slug(name)}",
        }
        for name in compared
    ]
    record["lesions"] = _lesions(plan, runs[plan.main], scorer, on_step) if thorough else []
    record["curves"] = _curves(task, runs, compared, along, shots)
    if thorough:
        names, floors = scorer.places()
        rows = {name: [triple(each) for each in found] for name, found in elsewhere.items()}
        record["generalisation"] = {"conditions": names, "floors": floors, "rows": rows}
    record["tables"] = _allocation(plan, units, roles)
    return record


def _chance_sentence(chance: Mapping[str, Mapping[str, Any]]) -> str:
    wrong = [name for name, each in chance.items() if each["at_chance"] is False]
    if wrong:
        return (
            f"With shuffled labels NOT at chance: {', '.join(wrong)}; there is a leak, or a test that happened to fail."
        )
    if any(each["at_chance"] is None for each in chance.values()):
        return "With shuffled labels: a single run of each, not judged."
    everybody = "both" if len(chance) == 2 else f"all {len(chance)}"
    return f"With shuffled labels {everybody} learners are at chance (Holm over learners)."


def _lesions(plan: Plan, runs: Sequence[Run], scorer: Scorer, on_step: Step | None) -> list[dict[str, Any]]:
    """Return what the main learner scores with one thing taken away or changed at the test."""
    if not isinstance(runs[0].learner, PlasticLearner) or not runs[0].learner.network.plastic:
        return []
    if on_step:
        on_step(f"lesions of {plan.main}", 0, 1)

    def lesioned() -> list[list[Any]]:
        each = [
            perturb(run, n_episodes=scorer.n_episodes, seed=seed) for run, seed in zip(runs, scorer.seeds, strict=True)
        ]
        return [[[row.name, row.score, row.difference, row.hurts] for row in rows] for rows in each]

    found, higher = scorer.store.get("lesions", lesioned), plan.task.higher_is_better
    if len(found) == 1:
        return [{"name": n, "score": [*s], "difference": d and [*d], "hurts": h} for n, s, d, h in found[0]]
    rows = []
    for each in zip(*found, strict=True):
        scores = [score[0] for _, score, _, _ in each]
        against = None if each[0][2] is None else interval([difference[0] for _, _, difference, _ in each])
        hurts = against is not None and (against[2] < 0 if higher else against[1] > 0)
        rows.append({"name": each[0][0], "score": triple(scores), "difference": against and [*against], "hurts": hurts})
    return rows


def _curves(
    task: Task,
    runs: Mapping[str, list[Run]],
    names: Sequence[str],
    along: Mapping[str, Any],
    shots: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Return the curves: axis -> learner -> x, mean and interval."""
    episode = task.sample(generator(0, "cost"), 1, "train")
    found: dict[str, dict[str, Any]] = {"meta-iterations": {}, "presentations": {}, "inner FLOPs": {}, "shots": {}}
    for name in names:
        history = [[r for r in run.history if r.get("validation") is not None] for run in runs[name]]
        times = [r["iteration"] for r in history[0]]
        if times and all([r["iteration"] for r in each] == times for each in history):
            points = [[each[k]["validation"] for each in history] for k in range(len(times))]
            found["meta-iterations"][name] = _curve(times, points)
        if name in along:
            parts = [first_presentations(episode, k).support for k in along[name]["counts"]]
            shown = [presentations(runs[name][0].learner, part) for part in parts]
            found["presentations"][name] = _curve(shown, along[name]["units"])
            found["inner FLOPs"][name] = _curve(along[name]["flops"], along[name]["units"])
        if name in shots and shots[name]["counts"]:
            found["shots"][name] = _curve(shots[name]["counts"], shots[name]["units"])
    return {axis: curves for axis, curves in found.items() if curves}


def _curve(x: Sequence[float], points: Sequence[Sequence[float] | None]) -> dict[str, Any]:
    known = [(at, triple(values)) for at, values in zip(x, points, strict=True) if values is not None]
    columns = zip(*(ends for _, ends in known if ends is not None), strict=True)
    return {"x": [at for at, _ in known], **dict(zip(("mean", "low", "high"), map(list, columns), strict=False))}


def _allocation(plan: Plan, units: Mapping[str, Sequence[float]], roles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the table of learned and frozen groups."""
    names = [name for name in units if roles[name] == "allocation"]
    if not names:
        return []
    rows: list[Any] = [[f"everything learned ({plan.main})", [triple(units[plan.main]), None]]]
    for name in names:
        d = paired(units[name], units[plan.main])
        against = [d.mean, *(v if math.isfinite(v) else None for v in (d.low, d.high))]
        rows.append([name, [triple(units[name]), against]])
    note = "What is not learned keeps the values that it was drawn with. All have the values that search chose for all."
    columns = [plan.task.score_name, f"minus {plan.main}"]
    return [{"title": "Where the meta-knowledge lives", "note": note, "columns": columns, "rows": rows}]


def _table(plan: Plan, record: Mapping[str, Any], over: str) -> Table:
    n = len(record["seeds"]) if over == "seeds" else record["test_episodes"]
    rows = []
    for arm in record["arms"]:
        mean, low, high = arm["score"]
        rows.append(Row(arm["name"], mean, low, high, n, over))
    rows += [Row(name, value) for name, value in record["score"]["references"].items()]
    return finish(plan.task, rows)
