"""``neurometa distil RUN``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..distil import Distilled, Rerun, distil, rerun
from ..errors import SpecificationError
from ..files import write_atomically
from ..learners import PlasticLearner
from ..meta.run import Run, load_run
from . import choose
from .crosscheck import in_brian2
from .output import print_json, print_rows

__all__ = ["Distil"]


@dataclass
class Distil:
    """Write down in a short equation what a learned rule does, and see whether the equation does the same.

    Sparse regression over products of pre, post, w and whatever else the rule reads, on what it did in training
    episodes; terms are kept that are found again and again in halves of them. The equation is then run in the rule's
    place on test tasks, and in Brian2.
    """

    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    projection: str = ""
    """Plastic projection; may be left out if there is one."""
    variables: str = ""
    """Variables of the terms, such as "pre,post,w"; default: all that the rule reads."""
    power: int = 2
    """Highest power of pre, post and w; anything else has powers 0 and 1."""
    threshold: float = 0.05
    """A term is dropped whose contribution is below this share of the change."""
    limit: float = 0.8
    """Least share of the halves in which a term has to be found."""
    episodes: int = 32
    """Training episodes that are looked at."""
    test_episodes: int = 500
    """Test tasks on which rule and equation are scored."""
    seed: int = 0
    """Of episodes and halves."""
    out: Path | None = None
    """A Python file for the rule, which --rule FILE:rule then takes."""
    checkpoint: str = "best"
    """best (on validation) or last."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Distil, run again, print."""
        choose.use_data_root(self.data_root)
        for name, value, least in (("episodes", self.episodes, 4), ("test-episodes", self.test_episodes, 2)):
            if value < least:
                raise SpecificationError(f"--{name} is {value}; it must be {least} or more")
        run = load_run(self.run_dir, self.checkpoint)
        found = distil(
            run,
            self.projection or None,
            variables=tuple(part.strip() for part in self.variables.split(",") if part.strip()),
            power=self.power,
            threshold=self.threshold,
            limit=self.limit,
            n_episodes=self.episodes,
            seed=self.seed,
        )
        if self.out is not None:
            if self.out.suffix != ".py":
                raise SpecificationError(f"--out is {self.out}; it must end in .py")
            text = PYTHON.format(name=found.rule.name, run=self.run_dir, json=found.rule.to_json())
            write_atomically(self.out, lambda file: file.write(text.encode()))
        again = rerun(run, found, n_episodes=self.test_episodes, seed=self.seed)
        apart = self._in_brian2(run, found)
        if self.json:
            rows = [
                dict(zip(("term", "coefficient", "low", "high", "probability"), row, strict=True))
                for row in found.rows()
            ]
            print_json(
                {
                    "run": str(self.run_dir),
                    "projection": found.projection,
                    "equation": found.equation,
                    "terms": rows,
                    "told_by_others": dict(found.told),
                    "r2": found.r2,
                    "r2_validation": found.r2_test,
                    "r2_trajectory": again.r2,
                    "brian2": apart,
                    **{name: list(getattr(again, name)) for name in ("original", "distilled", "frozen", "difference")},
                }
            )
        else:
            self._print(run, found, again, apart)
        return 0

    def _in_brian2(self, run: Run, found: Distilled) -> float | None:
        """Return how far both engines are apart with the equation, or None without Brian2."""
        assert isinstance(run.learner, PlasticLearner)
        checked = in_brian2(found.learner(run.learner), found.params(run.learner, run.params), run.task, self.seed)
        return None if checked is None else checked.largest

    def _print(self, run: Run, found: Distilled, again: Rerun, apart: float | None) -> None:
        rows = [(t, f"{c:.4g}", f"[{low:.4g}, {high:.4g}]", f"{p:.2f}") for t, c, low, high, p in found.rows()]
        assert isinstance(run.learner, PlasticLearner)
        old = next(p.rule for p in run.learner.network.plastic if p.label == found.projection)
        name = old.name if old is not None else ""
        print(found.equation)
        print_rows(
            f"{found.projection}, rule '{name}': {len(rows)} of {len(found.terms)} terms",
            ("term", "coefficient", "95 % interval", "found in"),
            rows,
        )
        for term, others in list(found.told.items())[:8]:
            said = f"cannot be told from {' + '.join(others)}" if others else "was always 0, or given by the others"
            print(f"  {term} {said}")
        if len(found.told) > 8:
            print(f"  and {len(found.told) - 8} more terms that the data cannot tell apart (--json names them)")
        print(
            f"R2 of dw {found.r2:.4f}, on validation episodes {found.r2_test:.4f}, of trajectories of w {again.r2:.4f}"
        )
        scores = [(label, getattr(again, key)) for label, key in SCORES.items()]
        print_rows(
            f"{self.test_episodes} test tasks",
            ("", again.score_name, "95 % interval"),
            [(label, f"{v.mean:.4f}", f"[{v.low:.4f}, {v.high:.4f}]") for label, v in scores],
        )
        if apart is not None:
            print(f"in Brian2: largest difference {apart:.1e}")
        else:
            print("in Brian2: not installed here", file=sys.stderr)
        if self.out is not None:
            print(f"next: neurometa train --rule {self.out}:rule")
        elif found.rule.traces or found.rule.step:
            print("next: add --out rule.py, then: neurometa train --rule rule.py:rule")
        else:
            print(f'next: neurometa train --rule "{found.equation}"')


PYTHON = '''"""{name}, as neurometa distil {run} found it."""

import neurometa as nm

rule = nm.PlasticityRule.from_json(
    r"""{json}"""
)
'''
SCORES = {
    "rule": "original",
    "equation": "distilled",
    "equation minus rule, paired": "difference",
    "synapses frozen": "frozen",
}
