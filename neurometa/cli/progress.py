"""Progress of long work, drawn on the error stream so that results on standard output stay clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ..meta.train import Progress as Report

__all__ = ["error_console", "say", "training_progress"]

WIDE = 120  # columns from which there is room for a bar


def error_console() -> Console:
    """Return a console on the error stream."""
    return Console(stderr=True)


def say(text: str) -> None:
    """Write a line to the error stream as it is."""
    error_console().print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def training_progress(label: str, score_name: str = "score", quiet: bool = False) -> Iterator[Callable[[Report], None]]:
    """Draw a bar with loss, validation score, episodes per second and time left; yields the callback to report to.

    Where the error stream is no terminal, a plain line is written at every tenth of the work.
    """
    console = error_console()
    if quiet:
        yield lambda report: None
        return
    if not console.is_terminal:
        shown = [0]

        def line(report: Report) -> None:
            tenth = 10 * report.iteration // report.n_iterations
            if tenth > shown[0]:
                shown[0] = tenth
                say(f"{label}: {_text(report, score_name)}")

        yield line
        return
    wide = console.width >= WIDE
    bar = (BarColumn(bar_width=20),) if wide else ()
    text = TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True))
    label_column = TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True))
    with Progress(label_column, *bar, text, console=console, refresh_per_second=4) as drawn:
        job = drawn.add_task(escape(label), total=None, text="")

        def draw(report: Report) -> None:
            said = _text(report, score_name) if wide else _short(report)
            drawn.update(job, total=report.n_iterations, completed=report.iteration, text=said)

        yield draw


def _text(report: Report, score_name: str) -> str:
    score = "" if report.score is None else f"  validation {score_name} {report.score:.3f}"
    return (
        f"{report.iteration}/{report.n_iterations}  loss {report.loss:.4f}{score}  "
        f"{report.episodes_per_second:,.0f} episodes/s  {_time(report.seconds_left)} left"
    )


def _short(report: Report) -> str:
    """Return what fits beside a label on a terminal of 80 columns."""
    score = "" if report.score is None else f" score {report.score:.3f}"
    return (
        f"{report.iteration}/{report.n_iterations} loss {report.loss:.3f}{score} "
        f"{report.episodes_per_second:,.0f} episodes/s {_time(report.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    """Return a time as people read it.

    Examples
    --------
    >>> _time(61.2), _time(36_001)
    ('1:01', '10:00:01')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
