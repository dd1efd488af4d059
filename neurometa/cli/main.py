"""The command ``neurometa``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from .compare import Compare
from .crosscheck import CrosscheckRun, Verify
from .distil import Distil
from .export import Export
from .lists import Data, Learners, Networks, Rules, Tasks
from .perturb import Perturb
from .quickstart import Quickstart
from .record import LookAfter, RecordRun
from .report import Report
from .script import guarded, parse, replace_unprintable
from .train import Evaluate, Train

__all__ = ["main"]

DESCRIPTION = """A laboratory for learning rules.

Write a plasticity rule once, as an equation; meta-learn it over thousands of tasks at once, and read how it does
beside its floor, its ceiling and its controls. Start with: neurometa quickstart"""


def _command(kind: type, name: str) -> Any:
    return Annotated[kind, tyro.conf.subcommand(name, description=inspect.getdoc(kind) or "")]


Command = (
    _command(Quickstart, "quickstart")
    | _command(Train, "train")
    | _command(Evaluate, "evaluate")
    | _command(Compare, "compare")
    | _command(Report, "report")
    | _command(CrosscheckRun, "crosscheck")
    | _command(Verify, "verify")
    | _command(Export, "export")
    | _command(RecordRun, "record")
    | _command(LookAfter, "recording")
    | _command(Distil, "distil")
    | _command(Perturb, "perturb")
    | _command(Rules, "rules")
    | _command(Tasks, "tasks")
    | _command(Networks, "networks")
    | _command(Learners, "learners")
    | _command(Data, "data")
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; default: the process's.

    Returns
    -------
    int
        As `guarded` gives it; ``--help`` raises ``SystemExit(0)``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from .. import __version__

        print(f"neurometa {__version__}")
        return 0
    return guarded(lambda: parse(Command, given or ["--help"], "neurometa", description=DESCRIPTION).run())


def main() -> None:
    """Entry point of the console script."""
    replace_unprintable()
    sys.exit(run())


if __name__ == "__main__":
    main()
