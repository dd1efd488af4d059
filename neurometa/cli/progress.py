"""Progress of long work, drawn on the error stream so that results on standard output stay clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..meta.train import Progress as Report

__all__ = ["error_console", "training_progress"]


def error_console() -> Console:
    """Return a console on the error stream."""
    return Console(stderr=True)


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
                console.print(f"{label}: {_text(report, score_name)}", highlight=False, soft_wrap=True)

        yield line
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bar:
        job = bar.add_task(label, total=None, text="")

        def draw(report: Report) -> None:
            text = _text(report, score_name)
            bar.update(job, total=report.n_iterations, completed=report.iteration, text=text)

        yield draw


def _text(report: Report, score_name: str) -> str:
    score = "" if report.score is None else f"  validation {score_name} {report.score:.3f}"
    left = int(report.seconds_left)
    return (
        f"{report.iteration}/{report.n_iterations}  loss {report.loss:.4f}{score}  "
        f"{report.episodes_per_second:,.0f} episodes/s  {left // 60}:{left % 60:02d} left"
    )
