"""Name handwritten characters after seeing each once, by gradient meta-learning: MAML, ANIL, Reptile and NIL.

Finn's network (four 3x3 convolutions of 64 channels and stride 2, each normalised; one linear layer) is meta-trained
on Omniglot, 5-way 1-shot, and tested on characters that it never saw (Finn et al. 2017, arXiv:1703.03400: 98.7 %;
Nichol et al. 2018, arXiv:1803.02999: Reptile 95.39 %, transductive 97.68 %).

Published code normalises the queries of a task together, so that they tell each other what is being asked. That column
is called transductive here. In the other column queries are normalised by the statistics of the support set, which is
the same information that every other learner has.

    python simulations/omniglot_maml.py --preset default
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners.prototype import PrototypeLearner
from neurometa.meta.evaluate import interval, score_run
from neurometa.outer.reptile import Reptile
from neurometa.tasks.omniglot import Omniglot

LEARNERS = ("maml", "maml-support", "anil", "reptile")
SHOWN = {"reptile": "reptile (on 10 shots)"}


@dataclass(frozen=True)
class Settings:
    """Omniglot 5-way 1-shot by gradient meta-learning."""

    learners: tuple[str, ...] = LEARNERS
    """maml and anil train with transductive normalisation, maml-support without; reptile. NIL is tested on maml."""
    iterations: int = 8_000
    """Meta-iterations of each."""
    tasks: int = 32
    """Tasks in each iteration (Reptile: 5)."""
    rate: float = 0.4
    """Inner rate of MAML and ANIL."""
    steps: int = 1
    """Inner steps in training."""
    test_steps: int = 3
    """Inner steps in the test."""
    lr: float = 2e-3
    """Learning rate of the outer loop (Adam, cosine)."""
    channels: tuple[int, ...] = (64, 64, 64, 64)
    """Channels of the convolutions."""
    precision: str = "bfloat16"
    """Arithmetic of the convolutions: bfloat16 or input (float32)."""
    compile: bool = True
    """Compile the two loops of MAML (about a minute, then twice as fast)."""
    split_seed: int = 0
    """Seed of the choice of 1100 training, 100 validation and 423 test characters; their rotations are classes too."""
    test_tasks: int = 2000
    """Test tasks, the same for all."""
    threads: int = 1
    """Torch threads."""
    run_dir: Path = Path("runs/omniglot-maml")
    """Folder for runs, table and figure; an interrupted run is continued."""

    def __post_init__(self):
        for name in self.learners:
            if name not in LEARNERS:
                raise SpecificationError(unknown("learner", name, LEARNERS))


PRESETS = {
    "smoke": Settings(
        iterations=3, tasks=2, channels=(4, 4), compile=False, test_tasks=20, run_dir=Path("runs/omniglot-maml-smoke")
    ),
    "default": Settings(),
    "paper": Settings(iterations=60_000, lr=1e-3, run_dir=Path("runs/omniglot-maml-paper")),
}


def build(settings: Settings, name: str, task: Omniglot) -> tuple[nm.GradientLearner, nm.GradientLearner]:
    """Return a learner as it trains and as it is tested."""
    norm = "support" if name == "maml-support" else "transductive"
    trunk = nm.ConvTrunk(task.image_shape, settings.channels, norm=norm, precision=settings.precision)
    network = nm.networks.mlp(trunk.n_features, task.n_out, hidden=())
    if name == "reptile":
        learner = nm.GradientLearner(network, trunk, steps=5, rate=1e-3, order=1, inner="adam", minibatch=10)
        return learner, replace(learner, steps=50, minibatch=5)
    adapts = ("stimulus__out.w", "one__out.w") if name == "anil" else ("*",)
    learner = nm.GradientLearner(network, trunk, steps=settings.steps, rate=settings.rate, adapts=adapts)
    compiled = settings.compile and name != "anil"  # the convolutions of ANIL are the same for all tasks
    return replace(learner, compile=compiled), replace(learner, steps=settings.test_steps)


def train(settings: Settings, name: str, learner: nm.GradientLearner, task: Omniglot) -> nm.Run:
    """Meta-train one learner; a folder with this run in it is continued."""
    reptile = name == "reptile"
    with training_progress(name, task.score_name) as report:
        return nm.meta_train(
            learner,
            replace(task, n_shot=10) if reptile else task,
            Reptile(lr=1.0) if reptile else nm.Backprop(lr=settings.lr, schedule="cosine", clip=10.0),
            n_iterations=settings.iterations,
            n_tasks=5 if reptile else settings.tasks,
            validate_every=max(1, settings.iterations // 16),
            n_validation=min(500, settings.test_tasks),
            run_dir=settings.run_dir / name,
            resume=True,
            on_progress=report,
        )


def test(settings: Settings, learner: nm.GradientLearner | PrototypeLearner, run: nm.Run, task: Omniglot) -> dict:
    """Return accuracy with its interval in the two columns."""
    found = {}
    for norm in ("transductive", "support"):
        tested = replace(learner, trunk=replace(learner.trunk, norm=norm))
        scores = score_run(tested, run.params, task, n_episodes=settings.test_tasks, batch=100)
        found[norm] = interval(scores)
    return found


def main(settings: Settings) -> None:
    """Train and test every learner, write table and figure."""
    torch.set_num_threads(settings.threads)
    task = Omniglot(split_seed=settings.split_seed, n_held_out=423, n_validation=100, n_query=5)
    rows: dict[str, dict] = {}
    curves = {}
    for name in settings.learners:
        learner, tested = build(settings, name, task)
        run = train(settings, name, learner, task)
        curves[name] = [record for record in run.history if "validation" in record]
        rows[name] = test(settings, tested, run, task) | {"seconds": run.history[-1]["seconds"]}
        if name in ("maml", "maml-support"):
            nil = PrototypeLearner(learner.network, learner.trunk, distance="cosine")
            run.params |= {k: v for k, v in nil.init(torch.Generator()).items() if k.startswith("learner.")}
            rows[f"nil on {name}"] = test(settings, nil, run, task)
    floor, pixels = task.floor(), task.references()["pixel nearest neighbour"]
    norms = ("transductive", "support")
    table = [(SHOWN.get(n, n), [*(r[norm] for norm in norms), _minutes(r.get("seconds"))]) for n, r in rows.items()]
    save_result(
        settings.run_dir,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Omniglot, 5-way 1-shot: gradient meta-learning",
        question=f"""Finn's network on 1,100 training, 100 validation and 423 test characters with their rotations;
        {settings.iterations:,} iterations of {settings.tasks} tasks, inner rate {settings.rate:g}, {settings.steps}
        inner step in training and {settings.test_steps} in the test; accuracy on {settings.test_tasks:,} test tasks of
        5 queries. Published code normalises the queries of a task together (transductive); in the other column they are
        normalised by the support set, which is all that other learners have. maml and anil train transductively,
        maml-support by the support set; NIL compares the features of a network and changes nothing.""",
        columns=["transductive", "by the support set", "training"],
        rows=[
            *table,
            ("pixel nearest neighbour", [pixels, pixels, None]),
            ("floor (chance)", [floor, floor, None]),
        ],
        findings=[],
        published="""MAML .987 +- .004 and Reptile .9768, both transductive, one query of each class, after 60,000 and
        100,000 iterations.""",
        seeds=1,
        seconds=sum(row.get("seconds", 0.0) for row in rows.values()),
        figure="omniglot_maml.png",
        digits=4,
        over="tasks",
    )
    figure, axes = new_figure(2, width=7.2, height=2.6)
    for colour, (name, curve) in zip(("blue", "green", "orange", "red"), curves.items(), strict=False):
        minutes, scores = [r["seconds"] / 60 for r in curve], [100 * (1 - r["validation"]) for r in curve]
        axes[0, 0].plot(minutes, scores, color=COLOURS[colour], lw=1, label=SHOWN.get(name, name))
    axes[0, 0].set(xlabel="training time (minutes)", ylabel="validation error (%)", yscale="log", title="a  learning")
    axes[0, 0].legend(fontsize=6, frameon=False)
    drawn = [(f"{name}, {norm}", *rows[name][norm]) for name in rows for norm in norms]
    plot_scores(axes[0, 1], [*drawn, ("pixel nearest neighbour", pixels, None, None)], "accuracy")
    axes[0, 1].set_title("b  test characters")
    save_figure(figure, settings.run_dir / "omniglot_maml.png")


def _minutes(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "omniglot_maml.py")
