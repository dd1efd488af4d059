"""``neurometa record RUN`` and ``neurometa recording info|validate|replay|repack|nwb FILE``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import RecordingError, SpecificationError
from ..meta.run import load_run
from ..record.plan import RecordPlan, bytes_of, in_words
from ..record.reading import open_recording
from ..record.single import record
from ..record.upkeep import repack, validate
from . import choose
from .output import print_json

__all__ = ["LookAfter", "RecordRun"]


@dataclass
class RecordRun:
    """Run held-out episodes through a trained learner and write everything in them to one HDF5 file.

    It opens in xarray, pynapple, h5web, HDFView and whatever else reads HDF5, and holds rules, parameters and episodes,
    so that `neurometa recording replay` can run it again from the file alone.
    """

    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    out: Path | None = None
    """The file; default: recording.h5 in the run folder."""
    episodes: int = 4
    """Episodes, side by side."""
    what: str = ""
    """Patterns such as "x.*,w.stimulus__hidden"; default: activity, plastic weights and traces."""
    every: int = 1
    """Time steps between kept values; spikes are always kept."""
    split: str = "test"
    """train, validation or test."""
    seed: int | None = None
    """Seed of the episodes; default: the run's."""
    checkpoint: str = "best"
    """best (on validation) or last."""
    float16: bool = False
    """Keep trajectories in half precision."""
    compress: bool = False
    """gzip; smaller, and about twenty times slower to write."""
    cap: str = "2GB"
    """A recording that would be larger is refused before anything is computed."""
    overwrite: bool = False
    """Replace a file that is there."""
    task: str = ""
    """PATH.py:NAME of the task, where the run was made with one of your own (the file is executed)."""
    learner: str = ""
    """PATH.py:NAME of the learner, likewise."""
    outer: str = ""
    """PATH.py:NAME of the outer algorithm, likewise."""
    data_root: Annotated[Path | None, tyro.conf.arg(name="data-root")] = None
    """Folder of the data; default: NEUROMETA_DATA, or a cache folder of the user."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Record, then print what the file holds."""
        choose.use_data_root(self.data_root)
        if self.seed is not None and self.seed < 0:
            raise SpecificationError(f"--seed is {self.seed}; it must be 0 or more")
        what = tuple(part.strip() for part in self.what.split(",") if part.strip())
        plan = RecordPlan(
            what, self.episodes, step=self.every, cap=bytes_of(self.cap), float16=self.float16, compress=self.compress
        )
        run = load_run(
            self.run_dir,
            self.checkpoint,
            task=choose.task_class(self.task) if self.task else None,
            learner=choose.learner_class(self.learner) if self.learner else None,
            outer=choose.outer_class(self.outer) if self.outer else None,
        )

        def tell(expected: int) -> None:
            if not self.json:
                print(f"{in_words(expected)} expected ...", file=sys.stderr)

        path = self.out or self.run_dir / "recording.h5"
        record(path, run, plan=plan, split=self.split, seed=self.seed, overwrite=self.overwrite, on_forecast=tell)
        with open_recording(path, verify=False) as made:
            if self.json:
                print_json({"recording": str(path), "bytes": made.nbytes, "episodes": made.n_episodes})
            else:
                print(made)
                print(f"next: neurometa recording replay {path}")
        return 0


@dataclass
class LookAfter:
    """Look at recordings, check, replay, repack or convert them.

    FILE is a recording, the folder of a recorded training, or a run folder that holds one.

    info: what it holds.  validate: read every byte and say what is wrong.  replay: run it again from the file alone and
    compare.  repack: write it as one file (--out).  nwb: write one episode as NWB (--out, --episode).
    """

    action: tyro.conf.Positional[Literal["info", "validate", "replay", "repack", "nwb"]]
    """What to do."""
    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """Recording, folder of a recorded training, or run folder."""
    out: Path | None = None
    """What repack and nwb write."""
    compress: bool = False
    """repack: gzip."""
    overwrite: bool = False
    """repack: replace a file that is there."""
    episode: int = 0
    """nwb: place of the episode in the recording."""
    learner: str = ""
    """replay: PATH.py:NAME of the learner, where the run was made with one of your own (the file is executed)."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Do it; return 1 if a recording is not whole or does not replay."""
        return getattr(self, f"_{self.action}")()

    def _info(self) -> int:
        with open_recording(self.path) as found:
            if self.json:
                names = {path: list(found.variable(path).shape) for path in found.source.names}
                print_json(
                    {"files": len(found.files), "bytes": found.nbytes, "episodes": found.n_episodes, "variables": names}
                )
            else:
                print(found)
        return 0

    def _validate(self) -> int:
        problems = validate(self.path)
        if self.json:
            print_json({"recording": str(self.path), "problems": problems})
        else:
            print("\n".join(problems) if problems else f"{self.path}: whole")
        return 1 if problems else 0

    def _replay(self) -> int:
        learner = choose.learner_class(self.learner) if self.learner else None
        with open_recording(self.path) as found:
            done = [found.replay(int(iteration), learner) for iteration in found.iterations]
        agrees = all(each.agrees for each in done)
        if self.json:
            rows = [{"iteration": r.iteration, "largest": r.largest, "allowed": r.allowed} for r in done]
            print_json({"recording": str(self.path), "agrees": agrees, "replays": rows})
        else:
            for each in done:
                print(each)
        return 0 if agrees else 1

    def _repack(self) -> int:
        path = repack(self.path, self._target(), compress=self.compress, overwrite=self.overwrite)
        return self._wrote(path)

    def _nwb(self) -> int:
        with open_recording(self.path) as found:
            return self._wrote(found.to_nwb(self._target(), self.episode))

    def _target(self) -> Path:
        if self.out is None:
            raise RecordingError(f"{self.action} writes a file; say which: --out PATH")
        return self.out

    def _wrote(self, path: Path) -> int:
        size = path.stat().st_size
        if self.json:
            print_json({"file": str(path), "bytes": size})
        else:
            print(f"{path}: {in_words(size)}")
        return 0
