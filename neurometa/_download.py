"""Verified downloads (pooch), with a progress bar (rich); both are imported only when something is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._npz import reason
from .errors import DataError

__all__ = ["Bar", "download"]


def download(url: str, checksum: str, folder: Path, progress: bool | Any) -> Path:
    """Download one file and check it.

    Parameters
    ----------
    url : str
        The file.
    checksum : str
        Such as ``"md5:..."``.
    folder : Path
        Where it goes, under its own name.
    progress : bool or object
        True draws a `Bar`; an object with ``total``, ``update``, ``reset`` and ``close`` is used as one.

    Returns
    -------
    Path
        The file on disk.

    Raises
    ------
    DataError
        If the download fails or the checksum does not fit.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    bar = Bar(url.rsplit("/", 1)[-1]) if progress is True else progress
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16)
    try:
        return Path(pooch.retrieve(url, checksum, fname=url.rsplit("/", 1)[-1], path=folder, downloader=downloader))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot fetch {url} ({reason(error)}); try again, or give another base URL") from None
    finally:
        if bar:
            bar.close()


class Bar:
    """A progress bar as pooch wants it, drawn by rich on stderr."""

    def __init__(self, label: str):
        from rich.console import Console
        from rich.progress import DownloadColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:-1], DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._row = self._bar.add_task(label, total=None)
        self._bar.start()

    @property
    def total(self) -> float | None:
        """Size of the download in bytes."""
        return self._bar.tasks[self._row].total

    @total.setter
    def total(self, n: float | None) -> None:
        self._bar.update(self._row, total=n)

    def update(self, n: float) -> None:
        """Advance by ``n`` bytes."""
        self._bar.advance(self._row, n)

    def reset(self) -> None:
        """Go back to the start."""
        self._bar.reset(self._row)

    def close(self) -> None:
        """Stop drawing."""
        self._bar.stop()
