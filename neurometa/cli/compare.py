"""``neurometa compare``: learners under one protocol, trained by a plan or taken as finished runs."""

from __future__ import annotations

import shlex
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ..compare import Comparison, Plan, compare, plans
from ..errors import SpecificationError
from ..meta.run import Run, load_run
from ..report import report
from . import choose
from .output import print_json, print_rows
from .plan_file import read_plan
from .progress import say, training_progress

__all__ = ["Compare", "progress_of"]


@dataclass
class Compare:
    """Compare learned plasticity with gradient meta-learning, fairly, and write a report.

    SUBJECT is a plan: a name from the list that the command prints without one, PATH.toml, or PATH.py:NAME (the file
    is executed). Every learner gets the same random search on validation tasks, is trained on every seed, and is scored
    on test tasks that all share, beside its controls. Or SUBJECT is two or more finished run folders. The same command
    after a kill goes on where it was.

    neurometa compare volatility --preset default
    neurometa compare runs/rule runs/maml
    """

    subject: tyro.conf.Positional[tuple[str, ...]] = ()
    """A plan, or two or more run folders; nothing lists the plans."""
    preset: str = "default"
    """Size of a plan of the library: smoke, default or paper."""
    out: Path | None = None
    """Folder of the comparison; default: runs/compare/NAME-PRESET."""
    seeds: int | None = None
    """Number of seeds, in place of the plan's."""
    iterations: int | None = None
    """Meta-iterations of every learner, in place of the plan's."""
    trials: int | None = None
    """Random-search trials of every learner, in place of the plan's; 0: settings as they are."""
    episodes: int | None = None
    """Test tasks of each seed; default: the plan's, or 1000."""
    main: str = ""
    """Of run folders: the learner that the verdict is about; default: the first."""
    margin: float = 0.01
    """Of run folders: margin of non-inferiority, declared before you look."""
    quick: bool = False
    """Leave out lesions, curves and generalisation."""
    threads: int = 1
    """Torch threads; the tensors are usually too small for more."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Compare, print the table, write the report."""
        choose.use_data_root(self.data_root)
        if not self.subject:
            rows = [(name, plans.get(name).title) for name in plans.names()]
            print_rows("plans: neurometa compare NAME --preset smoke|default|paper", ("name", "title"), rows)
            return 0
        torch.set_num_threads(self.threads)
        watch, step = progress_of(self.json)
        options: dict[str, Any] = {"watch": watch, "on_step": step, "thorough": not self.quick}
        options["command"] = shlex.join(["neurometa", "compare", *_words(self)])
        if len(self.subject) > 1 or (Path(self.subject[0]) / "config.json").exists():
            found = self._finished(options)
        else:
            plan, preset = self._plan()
            folder = self.out or Path("runs/compare") / (f"{plan.name}-{preset}" if preset else plan.name)
            found = compare(plan, out=folder, preset=preset, **options)
        return self._tell(found)

    def _finished(self, options: dict[str, Any]) -> Comparison:
        runs: dict[str, Run] = {}
        for text in self.subject:
            name = Path(text).name
            if name in runs:
                raise SpecificationError(f"two run folders are named '{name}'; rename one")
            runs[name] = load_run(text)
        folder = self.out or Path("runs/compare") / "-".join(runs)
        more: dict[str, Any] = {"n_episodes": self.episodes or 1000, "main": self.main, "margin": self.margin}
        return compare(runs, out=folder, **more, **options)

    def _plan(self) -> tuple[Plan, str]:
        """Return the plan that was typed, and its preset where it has any."""
        text, preset = self.subject[0], ""
        if text.endswith(".toml"):
            plan = read_plan(Path(text))
        elif ".py" in text:
            plan = choose.choose(text, "plan", plans.get)
            if not isinstance(plan, Plan):
                raise SpecificationError(f"'{text}' is a {type(plan).__name__}, not a Plan")
        else:
            plan, preset = plans.get(text, self.preset), self.preset
        if not preset and self.preset != "default":
            plan, preset = plans.sized(plan, self.preset), self.preset
        changes: dict[str, Any] = {"iterations": self.iterations, "trials": self.trials, "test_episodes": self.episodes}
        if self.seeds is not None:
            first = plan.seeds[0]
            changes["seeds"] = tuple(range(first, first + max(self.seeds, 0)))
        return replace(plan, **{k: v for k, v in changes.items() if v is not None}), preset

    def _tell(self, found: Comparison) -> int:
        assert found.folder is not None
        paths = report(found.folder)
        if self.json:
            print_json({**found.record, "report": str(paths.html)})
            return 0
        print(found)
        print(f"\nreport: {paths.html}\nrecord: {found.folder / 'result.json'}")
        return 0


def _words(command: Compare) -> list[str]:
    """Return the command line that gives this comparison; where it is kept is left out."""
    words = [*command.subject]
    if command.preset != "default" or (len(words) == 1 and ".py" not in words[0] and not words[0].endswith(".toml")):
        words += ["--preset", command.preset]
    for name in ("seeds", "iterations", "trials", "episodes"):
        if getattr(command, name) is not None:
            words += [f"--{name}", str(getattr(command, name))]
    if len(command.subject) > 1:
        words += ["--main", command.main] if command.main else []
        words += ["--margin", f"{command.margin:g}"] if command.margin != 0.01 else []
    return [*words, *(["--quick"] if command.quick else [])]


def progress_of(quiet: bool) -> tuple[Any, Any]:
    """Return what draws meta-training, and what says which step comes next, on the error stream."""
    place = [""]

    def step(text: str, done: int, total: int) -> None:
        place[0] = f"[{done + 1}/{total}] "
        if not quiet and not text.startswith("training"):
            say(f"{place[0]}{text}")

    def watch(label: str) -> AbstractContextManager[Any]:
        return training_progress(f"{place[0]}{label}", quiet=quiet)

    sys.stderr.flush()
    return watch, step
