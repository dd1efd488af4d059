"""``neurometa perturb RUN``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import Progress

from ..meta.run import load_run
from ..perturb import perturb
from . import choose
from .output import print_json, print_rows
from .progress import error_console

__all__ = ["Perturb"]


@dataclass
class Perturb:
    """Score a trained run with one thing changed at a time, to see what it needs.

    Plasticity off, synapses cut, modulators clamped, exchanged, late or upside down, populations silenced, noise, and
    the rule transplanted; all on the same test tasks, with the paired difference to the run as it is.
    """

    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    lesions: tuple[float, ...] = (0.1, 0.3, 0.5)
    """Shares of the plastic synapses that are cut."""
    shift: int = 5
    """Steps by which modulators come late."""
    noise: float = 0.5
    """Noise on the stimulus, in its standard deviations."""
    episodes: int = 1000
    """Test tasks."""
    seed: int = 0
    """Seed of the test tasks."""
    checkpoint: str = "best"
    """best (on validation) or last."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print the table."""
        choose.use_data_root(self.data_root)
        run = load_run(self.run_dir, self.checkpoint)
        console = error_console()
        with Progress(console=console, disable=self.json or not console.is_terminal) as bar:
            job = bar.add_task("perturbing", total=None)
            rows = perturb(
                run,
                lesions=self.lesions,
                shift=self.shift,
                noise=self.noise,
                n_episodes=self.episodes,
                seed=self.seed,
                on_progress=lambda done, total: bar.update(job, completed=done, total=total),
            )
        if self.json:
            print_json({"run": str(self.run_dir), "rows": [vars(row) for row in rows]})
            return 0
        better = "higher" if run.task.higher_is_better else "lower"
        print_rows(
            f"{self.run_dir}: {self.episodes} test tasks; {run.task.score_name}, {better} is better",
            ("", f"{run.task.score_name}, 95 % interval", "minus as it is, paired"),
            [(row.name, words(row.score), words(row.difference, "+") + " hurts" * row.hurts) for row in rows],
        )
        return 0


def words(interval: tuple[float, float, float] | None, sign: str = "") -> str:
    """Return an interval as text."""
    return "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}]".format(*interval, s=sign) if interval else ""
