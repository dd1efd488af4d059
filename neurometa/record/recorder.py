"""Recording a training run: every so many iterations, a few of its episodes are run once more and written to a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from ..errors import RecordingError
from ..meta.loop import Plan
from ..meta.observe import Observer
from ..recording import Content, Source, Writer, image, shards, stored_bytes, write_index
from ..streams import generator
from ..tasks.base import Episode, first
from .capture import capture
from .content import content_of, texts_of
from .plan import RecordPlan, in_words

__all__ = ["Recorder", "check_cap", "forecast"]


def forecast(content: Content, episodes: int, compress: bool = False) -> int:
    """Return how many bytes a file has that holds so many episodes, by the example of one that holds some.

    Spikes, and what compression saves, are taken to be as in the example; the rest is exact.
    """
    whole, n = len(image(content, compress)), len(content.dims["episode"])
    if compress or episodes == n:
        return round(whole * episodes / n)

    def stored(times: float) -> int:
        total = 0
        for array in content.arrays.values():
            grows = [name == "episode" or name.startswith("spike_") for name in array.dims]
            pairs = zip(array.data.shape, grows, strict=True)
            shape = [round(size * times) if grow else size for size, grow in pairs]
            total += stored_bytes(array.dims, shape, array.data.itemsize)
        return total

    return whole + stored(episodes / n) - stored(1)


def check_cap(expected: int, cap: int, ways: str) -> None:
    """Refuse a recording whose forecast is above the cap.

    Raises
    ------
    RecordingError
        With both numbers and the ways to make it smaller.
    """
    if expected > cap:
        raise RecordingError(
            f"the recording would have {in_words(expected)}, and the cap is {in_words(cap)}; {ways}, or raise the cap"
        )


class Recorder(Observer):
    """Observer that records a training run: ``nm.meta_train(..., observer=nm.Recorder())``.

    Each recorded iteration is a file of its own in ``<run folder>/recording``, written by a thread and put into place
    in one step, so that a kill at any moment leaves every file whole. At the end ``index.h5`` shows all of them as one.

    Parameters
    ----------
    plan : RecordPlan, optional
        What to keep.
    folder : path, optional
        Where; default: ``recording`` in the run folder.
    on_forecast : callable, optional
        Called before training with the expected bytes and number of files.

    Attributes
    ----------
    expected : int
        Forecast in bytes, known once training begins.
    """

    def __init__(
        self,
        plan: RecordPlan | None = None,
        folder: str | Path | None = None,
        on_forecast: Callable[[int, int], None] | None = None,
    ):
        self.plan, self.on_forecast = plan or RecordPlan(), on_forecast
        self.folder = Path(folder) if folder is not None else None
        self.expected = 0
        self._texts: dict[str, str] = {}
        self._writer: Writer | None = None
        self._training: Plan | None = None

    def begin(self, plan: Plan, run_dir: Path | None) -> None:
        """Rehearse one file, tell how large all will be, and refuse what is above the cap."""
        if self.folder is None:
            if run_dir is None:
                raise RecordingError("a recording needs a folder; pass run_dir= to meta_train, or Recorder(folder=)")
            self.folder = run_dir / "recording"
        self._training = plan
        params = plan.learner.init(generator(plan.seed, "init"), device=plan.device, dtype=plan.dtype)
        self._texts = texts_of(plan.learner, plan.config(), asdict(self.plan), params)
        stream = generator(plan.seed, "rehearsal")
        episode = plan.task.sample(stream, plan.n_tasks, "train", device=plan.device, dtype=plan.dtype)
        each = forecast(self._content(0, params, episode), self.n_episodes, self.plan.compress)
        self.expected = each * self.n_files
        ways = "record fewer episodes, less often (every=), fewer steps (step=) or less (what=)"
        check_cap(self.expected, self.plan.cap, ways)
        self._check_folder(self.folder)
        self._writer = Writer(self.plan.compress)
        if self.on_forecast:
            self.on_forecast(self.expected, self.n_files)

    @property
    def n_episodes(self) -> int:
        """Episodes in each file."""
        return min(self.plan.episodes, self._of_training.n_tasks)

    @property
    def n_files(self) -> int:
        """Files of a whole run."""
        return -(-self._of_training.n_iterations // self.plan.every)

    @property
    def _of_training(self) -> Plan:
        assert self._training is not None, "begin comes first"
        return self._training

    def _check_folder(self, folder: Path) -> None:
        """Refuse a folder with recordings of another run or by another plan; remove what a kill left of a write."""
        for part in folder.glob("*.part"):
            part.unlink(missing_ok=True)
        for path in shards(folder)[:1]:
            source = Source(path)
            try:
                same = all(json.loads(source.texts[k]) == json.loads(self._texts[k]) for k in ("plan", "settings"))
            finally:
                source.close()
            if not same:
                raise RecordingError(f"{folder} holds recordings of another run or by another plan; move it away first")

    def observe(self, iteration: int, params: Mapping[str, Tensor], episode: Episode) -> None:
        """Record the iteration if it is its turn and is not recorded yet."""
        if iteration % self.plan.every:
            return
        assert self.folder is not None and self._writer is not None, "begin comes first"
        path = self.folder / f"{iteration:08d}.h5"
        if not path.exists():  # a run that is resumed does the same iterations once more
            self._writer.put(path, self._content(iteration, params, episode))

    def _content(self, iteration: int, params: Mapping[str, Tensor], episode: Episode) -> Content:
        plan, training = self.plan, self._of_training
        shown = first(episode, self.n_episodes)
        stream = generator(training.seed, f"record {iteration}")
        args = training.learner, params, shown, training.task, stream
        return content_of(
            capture(*args, plan.what, plan.step),
            training.learner,
            training.task,
            params,
            texts=self._texts,
            seed=training.seed,
            stream="record *",
            iteration=iteration,
            first_episode=iteration // plan.every * self.n_episodes,
            float16=plan.float16,
        )

    def flush(self) -> None:
        """Wait until the thread has written everything."""
        if self._writer is not None:
            self._writer.flush()

    def end(self, complete: bool) -> None:
        """Wait for the files and write the index."""
        if self._writer is not None and self.folder is not None:
            self._writer.close()
            if shards(self.folder):
                write_index(self.folder, complete)
