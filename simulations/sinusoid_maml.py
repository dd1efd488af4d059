"""Sinusoid regression by MAML: fit a sine of unknown amplitude and phase from five points, in a few gradient steps.

A 40-40 network is meta-trained so that one gradient step (rate .01) on five points fits the sine, and tested after 1, 5
and 10 steps (Finn et al. 2017, arXiv:1703.03400: .67 / .38 / .35 after 70,000 iterations). All 25 tasks of an iteration
adapt in one batched call.

    python simulations/sinusoid_maml.py --preset default
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import neurometa as nm
from neurometa.cli.progress import training_progress
from neurometa.cli.script import run_script
from neurometa.meta.evaluate import interval, score_run
from neurometa.meta.folder import write_atomically


@dataclass(frozen=True)
class Settings:
    """Sinusoid, K = 5."""

    iterations: int = 15_000
    """Meta-iterations."""
    tasks: int = 25
    """Tasks in each iteration."""
    shots: int = 5
    """Support points (and query points) of each task."""
    order: int = 2
    """2: MAML; 1: first-order MAML."""
    lr: float = 1e-3
    """Learning rate of the outer loop (Adam)."""
    rate: float = 0.01
    """Inner rate."""
    test_tasks: int = 600
    """Test tasks."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Torch threads; the tensors are too small for more."""
    run_dir: Path = Path("runs/sinusoid")
    """Folder for the run and the table; an interrupted run is continued."""


PRESETS = {
    "smoke": Settings(iterations=20, test_tasks=50, run_dir=Path("runs/sinusoid-smoke")),
    "default": Settings(),
    "paper": Settings(iterations=70_000, run_dir=Path("runs/sinusoid-paper")),
}


def main(settings: Settings) -> None:
    """Train, test after 1, 5 and 10 steps, write the table."""
    torch.set_num_threads(settings.threads)
    task = nm.tasks.Sinusoid(n_shot=settings.shots, n_query=settings.shots)
    learner = nm.GradientLearner(nm.networks.mlp(1, 1), rate=settings.rate, order=settings.order)
    with training_progress("MAML", task.score_name) as report:
        run = nm.meta_train(
            learner,
            task,
            nm.Backprop(lr=settings.lr, clip=10.0),
            n_iterations=settings.iterations,
            n_tasks=settings.tasks,
            seed=settings.seed,
            run_dir=settings.run_dir,
            resume=True,
            on_progress=report,
        )
    print(f"trained for {run.history[-1]['seconds']:.0f} s")
    test = replace(task, n_query=50)
    rows = {"floor (best without support)": {"mean": task.floor()}}
    for steps in (1, 5, 10):
        scores = score_run(replace(learner, steps=steps), run.params, test, n_episodes=settings.test_tasks)
        mean, low, high = interval(scores)
        rows[f"after {steps} steps"] = {"mean": mean, "low": low, "high": high}
    for name, row in rows.items():
        spread = f"  [{row['low']:.3f}, {row['high']:.3f}]" if "low" in row else ""
        print(f"{name:30} {row['mean']:.3f}{spread}")
    content = json.dumps({"rows": rows, "seconds": run.history[-1]["seconds"]}, indent=1)
    write_atomically(settings.run_dir / "table.json", lambda file: file.write(content.encode()))


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "sinusoid_maml.py")
