"""Spiking neurons that learn to name clusters from one example each, by a three-factor rule.

Which cluster has which label is new in every episode, so that synapses which stand still are at chance. A stimulus is a
current held for some milliseconds; integrate-and-fire neurons answer with a few spikes; synapses to the output keep an
eligibility trace of them, which an error of each output neuron turns into a change (e-prop, Bellec et al. 2020,
doi:10.1038/s41467-020-17236-y). The outer loop learns the rule's rate and time constants and every weight that does
not change within an episode, through the spikes, by surrogate gradients.

    python simulations/spiking_few_shot.py --preset default
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.learners import Learner
from neurometa.learners.base import GROUPS
from neurometa.meta.evaluate import interval, score_run
from neurometa.streams import generator
from neurometa.tasks import Task
from neurometa.tree import Tree


class Arm(NamedTuple):
    """One row: groups that the outer loop learns, and what builds the learner."""

    learn: tuple[str, ...]
    make: Callable[[Task, int, int], Learner]


def three_factor(task: Task, n_hidden: int, hold: int) -> nm.PlasticLearner:
    """Return spiking neurons whose synapses to the output follow e-prop.

    The time constants of the traces start at a few milliseconds, or what is left of one example is taught the label of
    the next; the rate starts where one example moves the answer by about one unit.
    """
    start = {
        "eta": nm.Param(3e-4, "positive"),
        "tau_m": nm.Param(4.0, "positive", minimum=1.0, unit="ms"),
        "tau_e": nm.Param(4.0, "positive", minimum=1.0, unit="ms"),
    }
    rule = replace(nm.rules.get("e_prop"), params=start)
    return nm.PlasticLearner(nm.networks.spiking(task.n_in, task.n_out, rule, n_hidden=n_hidden), hold=hold)


def fixed(p: nm.Projection) -> nm.Projection:
    """Return synapses that no rule changes, with the same start."""
    return replace(p, rule=None, efficacy="w", w=p.params["w0"], params={}, modulators={}) if p.rule else p


def nothing_plastic(task: Task, n_hidden: int, hold: int) -> nm.PlasticLearner:
    """Return the same spiking neurons without a rule."""
    network = three_factor(task, n_hidden, hold).network
    return nm.PlasticLearner(replace(network, projections=tuple(map(fixed, network.projections))), hold=hold)


def rate_delta(task: Task, n_hidden: int, hold: int) -> nm.PlasticLearner:
    """Return as many rate neurons; the synapses to the output follow the delta rule, each example lasts one step."""
    network = nm.networks.error_broadcast(task.n_in, task.n_out, hidden=(n_hidden,))
    still = (replace(p, rule=None) if p.post == "layer0" else p for p in network.projections)
    return nm.PlasticLearner(replace(network, projections=tuple(still)))


ARMS = {
    "three-factor rule, spikes": Arm(GROUPS, three_factor),
    "rule learned, other weights as drawn": Arm(("rule",), three_factor),
    "other weights learned, rule as it starts": Arm(("w0",), three_factor),
    "no plasticity (retrained)": Arm(GROUPS, nothing_plastic),
    "delta rule, rate neurons": Arm(GROUPS, rate_delta),
}
MAIN = next(iter(ARMS))
PLASTIC = "hidden__out"


@dataclass(frozen=True)
class Settings:
    """Spiking few-shot classification."""

    ways: int = 5
    """Clusters in an episode."""
    shots: int = 1
    """Examples of each in the support."""
    hidden: int = 128
    """Hidden neurons."""
    hold: int = 30
    """Steps of 1 ms for which an example is shown."""
    seeds: int = 3
    """Independent runs; each has its own test episodes, shared by all rows, and intervals are over seeds."""
    iterations: int = 200
    """Meta-iterations of every run."""
    episodes: int = 32
    """Episodes in each iteration, with 10 queries each."""
    lr: float = 0.01
    """Learning rate (Adam, falling to 0)."""
    test_episodes: int = 1000
    """Test episodes of each seed."""
    out: Path = Path("runs/spiking_few_shot")
    """Folder for runs, table and figure; an interrupted run is continued."""


SMOKE = Settings(
    hidden=8, hold=4, seeds=2, iterations=2, episodes=4, test_episodes=20, out=Path("runs/spiking_few_shot-smoke")
)
PRESETS = {
    "smoke": SMOKE,
    "default": Settings(),
    "paper": Settings(hidden=256, seeds=10, iterations=4000, out=Path("runs/spiking_few_shot-paper")),
}


def train(settings: Settings, task: Task, name: str) -> list[nm.Run]:
    """Meta-train one row for all seeds in one call; the parameters that are best on validation episodes are kept."""
    arm = ARMS[name]
    with training_progress(name, task.score_name) as report:
        return nm.meta_train_seeds(
            arm.make(task, settings.hidden, settings.hold),
            task,
            nm.Backprop(lr=settings.lr, schedule="cosine"),
            seeds=range(settings.seeds),
            n_iterations=settings.iterations,
            n_tasks=settings.episodes,
            learn=arm.learn,
            validate_every=max(1, settings.iterations // 10),
            n_validation=min(500, settings.test_episodes),
            run_dir=settings.out / re.sub(r"\W+", "-", name),
            resume=True,
            on_progress=report,
        )


def scores(settings: Settings, task: Task, runs: list[nm.Run], start: bool = False, plastic: bool = True) -> np.ndarray:
    """Return the mean test score of each seed: as trained, or as it was drawn; plastic or frozen."""
    found = []
    for run in runs:
        params: Tree = run.learner.init(generator(run.seed, "init")) if start else run.params
        each = score_run(
            run.learner, params, task, n_episodes=settings.test_episodes, seed=run.seed, batch=100, plastic=plastic
        )
        found.append(float(each.mean()))
    return np.array(found)


def spikes(task: Task, run: nm.Run) -> np.ndarray:
    """Return the spikes of the hidden neurons in the support of 100 test episodes, ``(time, episode, neuron)``."""
    support = task.sample(generator(run.seed, "spikes"), 100, "test").support
    with torch.no_grad():
        return run.learner.run(run.params, support, save=nm.Save(("x.hidden",)))["x.hidden"].numpy()


def main(settings: Settings) -> None:
    """Train and test all rows; write table and figure."""
    torch.set_num_threads(1)
    task = nm.tasks.get("gaussian_clusters")(n_way=settings.ways, n_shot=settings.shots, n_query=10)
    control = replace(task, shuffle_labels=True)
    figure, ((left, middle, right),) = new_figure(3, height=3.2)
    trained = {name: train(settings, task, name) for name in ARMS}
    table = {name: scores(settings, task, runs) for name, runs in trained.items()}
    main_runs, first = trained[MAIN], table[MAIN]
    rows = [(name, [interval(each), None if name == MAIN else interval(each - first)]) for name, each in table.items()]
    for (name, runs), colour in zip(trained.items(), COLOURS.values(), strict=False):
        curves = [[(r["episodes"], r["validation"]) for r in run.history if "validation" in r] for run in runs]
        middle.plot(*np.mean(curves, 0).T, color=colour, lw=1, label=name)
    others = {
        "before meta-learning": scores(settings, task, main_runs, start=True),
        "its rule switched off at the test": scores(settings, task, main_runs, plastic=False),
        "labels shuffled at the test": scores(settings, control, main_runs),
    }
    rows += [(f"{MAIN}: {name}", [interval(each), interval(each - first)]) for name, each in others.items()]
    known = {"floor (best without support)": task.floor(), "ceiling (ideal observer)": task.ceiling()}
    rows += [(name, [value, None]) for name, value in known.items()]
    points = [(name, *(cell if isinstance(cell, tuple) else (cell, None, None))) for name, (cell, _) in rows]
    plot_scores(left, points, task.score_name)
    middle.set(xlabel="training episodes of a seed", ylabel="validation accuracy")
    middle.legend(fontsize=6, frameon=False)
    fired = [spikes(task, run) for run in main_runs]
    step, neuron = fired[0][:, 0].nonzero()
    right.plot(step, neuron, ",", color=COLOURS["black"])
    for i in range(1, settings.ways * settings.shots):
        right.axvline(i * settings.hold - 0.5, color=COLOURS["grey"], lw=0.5)
    right.set(xlabel="time (ms), a new example at each line", ylabel="hidden neuron")
    save_figure(figure, settings.out / "spiking_few_shot.png")
    gap = (first - task.floor()) / (task.ceiling() - task.floor())
    learned = {
        name: [run.rule_values()[f"{PLASTIC}.rule.{name}"] for run in main_runs] for name in ("eta", "tau_m", "tau_e")
    }
    counted = interval(np.array([x.mean() * settings.hold for x in fired]))
    mean, low, high = interval(100 * gap)
    worth = interval(100 * (first - others["its rule switched off at the test"]))
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Spiking few-shot classification",
        question=f"""Accuracy on new Gaussian clusters in 16 dimensions, {settings.ways}-way {settings.shots}-shot.
        Stimulus (a current, {settings.hold} ms) -> {settings.hidden} integrate-and-fire neurons -> output, which
        integrates their spikes; the synapses between the last two follow dw = eta*error*elig, activity starts from
        rest at each example. The rate neurons (one step an example) have the same sizes and no spikes.""",
        columns=["accuracy", f"minus {MAIN}"],
        rows=rows,
        findings=[
            f"The learned rule closes {mean:.0f} % [{low:.0f}, {high:.0f}] of the gap between floor and ceiling and is "
            f"worth {worth[0]:.1f} points [{worth[1]:.1f}, {worth[2]:.1f}]: with it switched off at the test, the same "
            f"network answers from what it inherited. A hidden neuron spikes {counted[0]:.2f} "
            f"[{counted[1]:.2f}, {counted[2]:.2f}] times while an example is shown.",
            "Learned "
            + "; ".join(f"{name} {', '.join(f'{float(v):.3g}' for v in values)}" for name, values in learned.items())
            + " (one number for each seed; from 0.0003, 4 and 4 ms).",
        ],
        seeds=settings.seeds,
        seconds=sum(runs[0].history[-1]["seconds"] for runs in trained.values()),
        figure="spiking_few_shot.png",
    )


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "spiking_few_shot.py")
