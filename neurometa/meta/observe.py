"""Who wants to see a training run from the inside, without changing it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ..tasks.base import Episode

if TYPE_CHECKING:
    from .loop import Loop, Plan

__all__ = ["Observer", "observed"]


class Observer(ABC):
    """Sees the tasks and parameters of every iteration. It must draw from no stream of the run."""

    @abstractmethod
    def begin(self, plan: Plan, run_dir: Path | None) -> None:
        """Prepare for a run, before anything of it is written; raise to refuse it."""

    @abstractmethod
    def observe(self, iteration: int, params: Mapping[str, Tensor], episode: Episode) -> None:
        """See the tasks of an iteration (counted from 0) and the parameters before its step."""

    @abstractmethod
    def flush(self) -> None:
        """Put on disk what was seen: a checkpoint follows, and a run that is continued from it shows nothing again."""

    @abstractmethod
    def end(self, complete: bool) -> None:
        """Finish; ``complete`` says whether the run came to its end."""


@contextmanager
def observed(observer: Observer | None, loop: Loop, run_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """Let an observer see a loop while the block runs."""
    if observer is None:
        yield
        return
    observer.begin(loop.plan, Path(run_dir) if run_dir is not None else None)
    loop.observer = observer
    try:
        yield
    except BaseException:
        observer.end(False)
        raise
    observer.end(loop.finished)
