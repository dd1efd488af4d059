"""Sinusoid regression by MAML and its relatives: fit a sine of unknown amplitude and phase from five points.

A 40-40 network is meta-trained so that one gradient step (rate .01) on five points fits the sine, and tested after 1, 5
and 10 steps (Finn et al. 2017, arXiv:1703.03400: .67 / .38 / .35 after 70,000 iterations). All 25 tasks of an iteration
adapt in one batched call. `--learners` adds the relatives and the controls.

    python simulations/sinusoid_maml.py --preset default
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

import neurometa as nm
from neurometa.analysis.figures import log_scale, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners import Learner
from neurometa.meta.evaluate import Row, interval, score_run

LEARNERS = ("maml", "fomaml", "meta-sgd", "reptile", "fine-tune", "no-adaptation")


@dataclass(frozen=True)
class Settings:
    """Sinusoid, K = 5."""

    learners: tuple[str, ...] = ("maml",)
    """Of maml, fomaml, meta-sgd, reptile, fine-tune, no-adaptation."""
    iterations: int = 15_000
    """Meta-iterations."""
    tasks: int = 25
    """Tasks in each iteration."""
    shots: int = 5
    """Support points (and query points) of each task."""
    lr: float = 1e-3
    """Learning rate of the outer loop (Adam); Reptile moves by a tenth of the way, falling to 0."""
    rate: float = 0.01
    """Inner rate."""
    test_tasks: int = 600
    """Test tasks, the same for all."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Torch threads; the tensors are too small for more."""
    run_dir: Path = Path("runs/sinusoid")
    """Folder for the runs, the table and the figure; an interrupted run is continued."""

    def __post_init__(self):
        for name in self.learners:
            if name not in LEARNERS:
                raise SpecificationError(unknown("learner", name, LEARNERS))


PRESETS = {
    "smoke": Settings(learners=LEARNERS, iterations=20, test_tasks=50, run_dir=Path("runs/sinusoid-smoke")),
    "default": Settings(),
    "paper": Settings(iterations=70_000, run_dir=Path("runs/sinusoid-paper")),
}


def build(settings: Settings, name: str) -> Learner:
    """Return a learner as it trains."""
    network, rate = nm.networks.mlp(1, 1), settings.rate
    makers = {
        "maml": lambda: nm.GradientLearner(network, rate=rate),
        "fomaml": lambda: nm.GradientLearner(network, rate=rate, order=1),
        "meta-sgd": lambda: nm.learners.MetaSgdLearner(network, rate=rate),
        "reptile": lambda: nm.GradientLearner(network, rate=2 * rate, order=1, steps=5),
        "fine-tune": lambda: nm.learners.FineTuneLearner(network, rate=rate),
        "no-adaptation": lambda: nm.learners.NoAdaptationLearner(network),
    }
    return makers[name]()


def train(settings: Settings, name: str) -> nm.Run:
    """Meta-train one learner; a folder with this run in it is continued."""
    task = nm.tasks.Sinusoid(n_shot=settings.shots, n_query=settings.shots)
    outer = nm.outer.Reptile(lr=0.1) if name == "reptile" else nm.Backprop(lr=settings.lr, clip=10.0)
    with training_progress(name, task.score_name) as report:
        return nm.meta_train(
            build(settings, name),
            task,
            outer,
            n_iterations=settings.iterations,
            n_tasks=settings.tasks,
            seed=settings.seed,
            run_dir=settings.run_dir / name,
            resume=True,
            on_progress=report,
        )


def test(settings: Settings, name: str, run: nm.Run) -> dict[str, tuple[float, float, float]]:
    """Return the error with its interval after 1, 5 and 10 steps, or after as many as a learner can take.

    The rates of Meta-SGD are learned for one step, and diverge in more.
    """
    task = nm.tasks.Sinusoid(n_shot=settings.shots, n_query=50)
    found = {}
    for k in {"no-adaptation": (0,), "meta-sgd": (1,)}.get(name, (1, 5, 10)):
        learner = replace(run.learner, steps=k) if k else run.learner
        found[f"{k}"] = interval(score_run(learner, run.params, task, n_episodes=settings.test_tasks))
    return found


def main(settings: Settings) -> None:
    """Train, test, write table and figure."""
    torch.set_num_threads(settings.threads)
    floor = nm.tasks.Sinusoid(n_shot=settings.shots).floor()
    rows, table, seconds = [Row("floor (best without support)", floor)], [], 0.0
    for name in settings.learners:
        run = train(settings, name)
        found = test(settings, name, run)
        seconds += run.history[-1]["seconds"]
        rows += [Row(f"{name}, {k} step{'s' * (k != '1')}", *values) for k, values in found.items()]
        table.append((name, [found.get(k, found.get("0") if k == "1" else None) for k in ("1", "5", "10")]))
    save_result(
        settings.run_dir,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Sinusoid: MAML, its relatives and its controls",
        question=f"""Fit a sine of unknown amplitude and phase from {settings.shots} points with a 40-40 network;
        squared error after 1, 5 and 10 inner steps. {settings.iterations:,} iterations of {settings.tasks} tasks with
        one inner step (Reptile: five full-batch steps of {2 * settings.rate:g}), {settings.test_tasks} test tasks, the
        same for all. Rates of Meta-SGD are learned for one step; without adaptation there is no step.""",
        columns=["1 step", "5 steps", "10 steps"],
        rows=[*table, ("floor (best without support)", [floor, floor, floor])],
        findings=[],
        published="Finn et al. 2017, MAML, 70,000 iterations: .67, .38 and .35.",
        seeds=1,
        seconds=seconds,
        figure="sinusoid.png",
        over="tasks",
    )
    figure, axes = new_figure(1, width=3.6, height=1.2 + 0.18 * len(rows))
    plot_scores(axes[0, 0], [(row.name, row.mean, row.low, row.high) for row in rows], "squared error")
    log_scale(axes[0, 0])
    save_figure(figure, settings.run_dir / "sinusoid.png")


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "sinusoid_maml.py")
