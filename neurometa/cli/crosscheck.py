"""``neurometa crosscheck RUN`` and ``neurometa verify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.table import Table as RichTable

from ..brian2_engine._brian2 import load
from ..crosscheck import Crosscheck, crosscheck, precision
from ..errors import EngineError, RunError
from ..learners import PlasticLearner
from ..meta.run import load_run
from ..streams import generator
from ..tasks.base import Episode, Task
from ..torch_engine.trunk import apply_trunk
from ..verify import Check, verify
from .output import print_json
from .progress import error_console

__all__ = ["CrosscheckRun", "Verify", "held_out", "in_brian2"]


@dataclass
class CrosscheckRun:
    """Run a trained network's held-out episodes again in Brian2, and compare every variable at every step.

    Both engines compute in float64 from the same text. Exits with 1 if they disagree. For a run trained in float32 a
    second comparison holds the float32 trajectory against the float64 one.
    """

    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    episodes: int = 2
    """Held-out episodes, side by side."""
    seed: int = 0
    """Seed of the episodes."""
    replay: bool = False
    """Give Brian2 the recorded activity and compare weights and traces only."""
    tolerance: float = 1e-10
    """Allowed difference, relative to each variable's largest absolute value."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Compare; return 1 on disagreement."""
        run = load_run(self.run_dir)
        learner, params = run.learner, {name: value.detach().cpu() for name, value in run.params.items()}
        if not isinstance(learner, PlasticLearner):
            raise RunError(
                f"{self.run_dir} was trained with {type(learner).__name__}; crosscheck runs the plastic learner"
            )
        leaf = next(iter(params.values()))
        inputs, learn, reset = held_out(learner, params, run.task, self.episodes, self.seed)
        # Both engines get the same features: the trunk is no part of the comparison.
        compared = partial(crosscheck, learner.network, params, inputs, learn=learn, reset=reset, seed=self.seed)
        found = [compared(replay=self.replay, tolerance=self.tolerance)]
        if leaf.dtype != torch.double and not self.replay:
            found.append(precision(learner.network, params, inputs, learn=learn, reset=reset, seed=self.seed))
        agrees = all(one.agrees for one in found)
        if self.json:
            print_json({"run": str(self.run_dir), "agrees": agrees, "checks": [one.as_dict() for one in found]})
        else:
            for one in found:
                print_crosscheck(one)
        return 0 if agrees else 1


def held_out(
    learner: PlasticLearner, params: Mapping[str, torch.Tensor], task: Task, n: int, seed: int
) -> tuple[dict[str, torch.Tensor], list[bool], list[bool]]:
    """Return held-out episodes as one sequence for both engines, with the flags of its steps.

    Inputs are those that the network's answers brought about, and what the trunk makes of images.
    """
    leaf = next(iter(params.values()))
    episode = task.sample(generator(seed, "crosscheck"), n, "test", dtype=leaf.dtype)
    with torch.no_grad():
        inputs, learn, reset = whole(learner.realise(params, episode, task))
        if learner.trunk is not None:
            inputs["stimulus"] = apply_trunk(learner.trunk, params, inputs["stimulus"])
    return inputs, learn, reset


def in_brian2(learner: PlasticLearner, params: Mapping[str, torch.Tensor], task: Task, seed: int) -> Crosscheck | None:
    """Compare both engines on two held-out episodes; None where Brian2 is not there."""
    try:
        load()
    except EngineError:
        return None
    params = {name: value.detach().cpu() for name, value in params.items()}
    inputs, learn, reset = held_out(learner, params, task, 2, seed)
    return crosscheck(learner.network, params, inputs, learn=learn, reset=reset, seed=seed)


def whole(episode: Episode) -> tuple[dict[str, torch.Tensor], list[bool], list[bool]]:
    """Return an episode as one sequence: support, then query from rest; with the flags of both."""
    parts = [part for part in (episode.support, episode.query) if part is not None]
    names = parts[0].inputs
    inputs = {name: torch.cat([part.inputs[name] for part in parts]).cpu() for name in names}
    learn = [flag for part in parts for flag in part.learn.tolist()]
    reset = [bool(flag) or t == 0 for part in parts for t, flag in enumerate(part.reset.tolist())]
    return inputs, learn, reset


def print_crosscheck(found: Crosscheck) -> None:
    """Print one comparison as a coloured table."""
    table = RichTable(box=None, pad_edge=False, title_justify="left")
    table.title = (
        f"{found.mode}: {found.n_episodes} episodes of {found.n_steps} steps; a perturbation of 1e-15 stays below the "
        f"tolerance for {found.horizon} steps"
    )
    for heading in ("variable", "largest difference", "allowed", "first step above", ""):
        table.add_column(heading)
    for row in found.rows:
        colour, word = ("green", "agrees") if row.agrees else ("red", "DIFFERS")
        first = "-" if row.first is None else str(row.first)
        table.add_row(row.name, f"{row.largest:.2e}", f"{row.allowed:.0e}", first, f"[{colour}]{word}[/]")
    Console().print(table, highlight=False)
    print("agrees" if found.agrees else "DISAGREES")


@dataclass
class Verify:
    """Measure what is claimed, here: library rules in both engines, closed forms, known phenomena (a minute or two)."""

    slow: bool = False
    """Phenomena of minutes of simulated time too: inhibitory balance, a thousand synapses (3 to 6 minutes more)."""
    json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print a line per check; return 1 if one fails."""
        console = error_console()

        def show(check: Check) -> None:
            if not self.json:
                console.print(f"{'ok  ' if check.passed else 'FAIL'} {check.name}", highlight=False, soft_wrap=True)

        checks = verify(show, self.slow)
        passed = all(check.passed for check in checks)
        if self.json:
            print_json({"passed": passed, "checks": [{**vars(check), "passed": check.passed} for check in checks]})
            return 0 if passed else 1
        table = RichTable(box=None, pad_edge=False)
        for heading in ("check", "measured", "allowed", ""):
            table.add_column(heading)
        for check in checks:
            word = "[green]ok[/]" if check.passed else "[red]FAIL[/]"
            table.add_row(check.name, f"{check.measured:.1e}", f"{check.allowed:.1e}".replace(".0e", "e"), word)
        Console().print(table, highlight=False)
        return 0 if passed else 1
