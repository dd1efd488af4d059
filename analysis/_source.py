"""What every script reads: a run folder, or a recording; and how it leaves its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import neurometa as nm
from neurometa.analysis.sheet import Sheet
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.record import RecordPlan, open_recording

__all__ = ["Drawn", "Settings", "Source", "Unsuitable", "plastic", "script"]


class Unsuitable(NeurometaError):
    """The figure is not for this run, and the message says why."""


class Drawn(NamedTuple):
    """A figure, and one sentence on what to see in it."""

    sheet: Sheet
    sentence: str


@dataclass(frozen=True)
class Settings:
    """A figure of a run folder or a recording."""

    source: Path = Path("runs/quickstart")
    """Run folder, as `neurometa train` made it, or a recording."""
    out: Path = Path("runs/figures")
    """Folder for PNG, SVG and CSV."""
    episode: int = 0
    """Episode that is shown where one is."""
    episodes: int = 64
    """Test episodes that are recorded of a run folder."""


class Source:
    """A run and a recording of its test episodes; of a recording alone there is no run.

    Parameters
    ----------
    settings : Settings
        Where from, and where a recording that is made on the way is put.
    """

    def __init__(self, settings: Settings):
        self.settings = settings

    @cached_property
    def run(self) -> nm.Run:
        """The run."""
        if not (self.settings.source / "config.json").is_file():
            raise Unsuitable(f"{self.settings.source} is no run folder, which this figure needs")
        return nm.load_run(self.settings.source)

    @cached_property
    def recording(self) -> nm.Recording:
        """The recording; of a run folder one with everything is made of test episodes."""
        if not (self.settings.source / "config.json").is_file():
            return open_recording(self.settings.source)
        path = self.settings.out / "episodes.h5"
        plan = RecordPlan(("*",), episodes=self.settings.episodes)
        nm.record(path, self.run, plan=plan, overwrite=True)
        return open_recording(path, verify=False)

    @cached_property
    def training(self) -> nm.Recording:
        """What was recorded while training."""
        if not (self.settings.source / "recording").is_dir():
            raise Unsuitable(f"{self.settings.source} was not recorded while training (train --record default)")
        return open_recording(self.settings.source / "recording")

    @property
    def time(self) -> np.ndarray:
        """Time of kept values, ms."""
        return self.recording.time


def plastic(recording: nm.Recording) -> str:
    """Return the plastic projection with most synapses."""
    if not recording.w:
        raise Unsuitable("the recording has no weights")
    return max(recording.w, key=lambda name: int(np.prod(recording.w[name].shape[2:])))


def script(draw: Callable[[Source], Drawn], file: str, doc: str) -> None:
    """Run one figure as a program."""
    name = Path(file).stem

    def main(settings: Any) -> None:
        drawn = draw(Source(settings))
        print(f"{drawn.sheet.save(settings.out, name)}: {drawn.sentence}")

    run_script({"default": Settings()}, main, doc, Path(file).name)
