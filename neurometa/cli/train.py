"""``neurometa train`` and ``neurometa evaluate``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ..errors import SpecificationError
from ..learners import Learner
from ..meta.evaluate import evaluate
from ..meta.run import Run, load_run
from ..meta.settings import options_of
from ..meta.train import meta_train
from ..record.plan import RecordPlan, in_words
from ..record.recorder import Recorder
from ..tasks.base import Task, check_split
from . import choose
from .output import print_json, print_table
from .progress import training_progress

__all__ = ["Evaluate", "Train", "assemble"]


def assemble(
    task: Task, network: str, rule: str, learner: str, trunk: str, given: dict[str, dict[str, str]]
) -> Learner:
    """Build a learner for a task from what a user typed."""
    front = choose.trunk_for(task, trunk, given["trunk"])
    n_in = front.n_features if front else task.n_in
    cls = choose.learner_class(learner)
    if "network" in {field.name for field in fields(cls)}:  # type: ignore[arg-type]
        first: dict[str, Any] = {"network": choose.build_network(network, n_in, task.n_out, rule, given["network"])}
    elif rule or given["network"]:
        raise SpecificationError(f"learner '{learner}' has no network with a rule; leave --rule and network.* out")
    else:
        first = {"n_in": n_in, "n_out": task.n_out}
    first["trunk"] = front
    return cls(**first, **options_of("learner", cls, given["learner"], tuple(first)))


@dataclass
class Train:
    """Meta-train a network on a task and keep the run in a folder.

    Names are those that `neurometa tasks`, `networks`, `rules` and `learners` list. Each may also be PATH.py:NAME (the
    file is executed), and a rule may be typed as its equation:
    neurometa train --task volatility --network tracker --rule "dw = m*pre*error_post"
    """

    task: str = "glyphs"
    """Where episodes come from."""
    network: str = "modulated"
    """What is trained."""
    rule: str = ""
    """Plasticity rule: a name, PATH.py:NAME, or an equation; default: the network's own."""
    learner: str = "plastic"
    """How the network adapts within a task."""
    outer: str = "backprop"
    """How what is learned improves over tasks: a name, or PATH.py:NAME."""
    trunk: str = "auto"
    """Feature extractor: auto (conv before images), conv or none."""
    run_dir: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder; default: runs/TASK-NETWORK-SEED."""
    iterations: int = 1000
    """Meta-iterations."""
    tasks: int = 64
    """Tasks in each iteration."""
    lr: float | None = None
    """Learning rate of the outer algorithm; default: its own (backprop: .001, with Adam)."""
    schedule: str | None = None
    """Learning rate over the run: cosine (falls to 0 at the end; the default) or constant."""
    clip: float | None = None
    """Largest norm of the meta-gradient; default: 1, and 0 is no clipping."""
    learn: tuple[str, ...] = ("w0", "rule", "modulator", "trunk")
    """Groups that are meta-learned; the rest keeps its initial values."""
    seed: int = 0
    """Seed of everything random."""
    validate_every: int = 100
    """Iterations between validations; the best parameters are kept. 0: never."""
    checkpoint_every: int | None = None
    """Iterations between checkpoints; default: every 30 seconds."""
    record: str = ""
    """Record episodes while training: default (4 episodes every 50 iterations), or words such as
    "what=x.*,w.* episodes=8 every=100 step=5 cap=5GB compress=true"; `neurometa recording` reads them."""
    set: tuple[str, ...] = ()
    """Further options, such as task.n_way=20 network.n_hidden=32 learner.compile=true trunk.precision=bfloat16."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    device: str = ""
    """Torch device, such as cuda; default: torch's own."""
    float64: bool = False
    """Compute in double precision."""
    resume: bool = False
    """Continue the run in the folder."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Train, then print where the run is and what was learned."""
        choose.use_data_root(self.data_root)
        given = choose.options(self.set)
        cls = choose.task_class(self.task)
        task = cls(**options_of("task", cls, given["task"]))
        learner = assemble(task, self.network, self.rule, self.learner, self.trunk, given)
        stem = "-".join(part.rpartition(":")[2] for part in (self.task, self.network))
        folder = self.run_dir or Path("runs") / f"{stem}-{self.seed}"
        typed = {"lr": self.lr, "schedule": self.schedule, "clip": self.clip}
        outer = choose.make_outer(self.outer, typed, given["outer"])
        recorder = Recorder(RecordPlan.parse(self.record), on_forecast=self._expect) if self.record else None
        with training_progress("meta-training", task.score_name, self.json) as report:
            run = meta_train(
                learner,
                task,
                outer,
                n_iterations=self.iterations,
                n_tasks=self.tasks,
                seed=self.seed,
                learn=self.learn,
                validate_every=self.validate_every,
                run_dir=folder,
                resume=self.resume,
                checkpoint_every=self.checkpoint_every,
                on_progress=report,
                observer=recorder,
                device=choose.device(self.device),
                dtype=torch.double if self.float64 else None,
            )
        self._tell(run, folder)
        return 0

    def _expect(self, size: int, files: int) -> None:
        """Tell how large the recording will be."""
        if not self.json:
            print(f"recording: {in_words(size)} in {files} files expected", file=sys.stderr)

    def _tell(self, run: Run, folder: Path) -> None:
        """Print where the run is and what was learned."""
        if self.json:
            summary: dict[str, Any] = {"run": str(folder), "iterations": self.iterations, "rule": run.rule_values()}
            scores = [record["validation"] for record in run.history if record.get("validation") is not None]
            best = (max if run.task.higher_is_better else min)(scores, default=None)
            print_json({**summary, "loss": run.history[-1]["loss"] if run.history else None, "validation": best})
            return
        print(f"run folder: {folder}")
        for name, value in run.rule_values().items():
            print(f"  {name} = {value:.4g}")
        print(f"next: neurometa evaluate {folder}")


@dataclass
class Evaluate:
    """Score a run on held-out test tasks, beside its floor, its ceiling and itself without plasticity."""

    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    episodes: int = 2000
    """Test tasks."""
    seed: int | None = None
    """Seed of the test tasks; default: the run's."""
    split: str = "test"
    """train, validation or test."""
    checkpoint: str = "best"
    """best (on validation) or last."""
    task: str = ""
    """PATH.py:NAME of the task, where the run was made with one of your own (the file is executed)."""
    learner: str = ""
    """PATH.py:NAME of the learner, likewise."""
    outer: str = ""
    """PATH.py:NAME of the outer algorithm, likewise."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    device: str = ""
    """Torch device; default: torch's own."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the table."""
        choose.use_data_root(self.data_root)
        check_split(self.split)
        for name, value, least in (("episodes", self.episodes, 2), ("seed", self.seed or 0, 0)):
            if value < least:
                raise SpecificationError(f"--{name} is {value}; it must be {least} or more")
        run = load_run(
            self.run_dir,
            self.checkpoint,
            choose.device(self.device),
            task=choose.task_class(self.task) if self.task else None,
            learner=choose.learner_class(self.learner) if self.learner else None,
            outer=choose.outer_class(self.outer) if self.outer else None,
        )
        if not self.json:
            print(f"scoring {self.episodes} {self.split} tasks ...", file=sys.stderr)
        table = evaluate(run, n_episodes=self.episodes, seed=self.seed, split=self.split)
        if self.json:
            plain = {"run": str(self.run_dir), "iteration": run.iteration, "rule": run.rule_values()}
            print_json({**plain, "split": self.split, **table.as_dict()})
        else:
            print_table(f"{self.run_dir}: {type(run.task).__name__}, {self.split} tasks", table)
        return 0
