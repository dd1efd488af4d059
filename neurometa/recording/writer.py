"""A thread that writes files while the simulation goes on."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from ..errors import NeurometaError, RecordingError
from .image import write
from .layout import Content

__all__ = ["Writer"]

Item = tuple[Path, Content] | None


class Writer:
    """Writes contents in the order in which they are put, each as one whole file.

    What goes wrong is raised by the next `put`, and at the latest by `close`; files written before stay as they are.

    Parameters
    ----------
    compress : bool
        See `image`.
    capacity : int
        Contents that may wait; `put` waits for room.
    """

    def __init__(self, compress: bool = False, capacity: int = 4):
        self.compress = compress
        self._queue: queue.Queue[Item] = queue.Queue(capacity)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def put(self, path: Path, content: Content) -> None:
        """Hand over a content, whose arrays nobody changes any more.

        Raises
        ------
        RecordingError
            If an earlier one could not be written.
        """
        self._raise()
        self._queue.put((path, content))

    def flush(self) -> None:
        """Wait until everything is written; raise what went wrong."""
        self._queue.join()
        self._raise()

    def close(self) -> None:
        """Flush, and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        error = self._error
        if isinstance(error, NeurometaError):
            raise RecordingError(str(error))
        if error is not None:
            raise RecordingError(f"the recording could not be written: {error!r}") from error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is None:  # what is put after an error is dropped
                    write(*item, self.compress)
            except BaseException as error:
                self._error = error
            finally:
                self._queue.task_done()
