"""A run folder: settings, checkpoints and metrics, written so that a kill at any moment loses nothing.

``config.json`` (what is run), ``last.pt`` (everything that continuing needs), ``best.pt`` (the parameters best on
validation), ``metrics.jsonl`` (one line per reported iteration). Checkpoints are replaced in one step, and read back
only if their checksum fits.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError
from ..files import reason, write_atomically
from .compare import differences
from .settings import completed

__all__ = ["RunFolder"]

_SEAL = 2 + 64  # bytes that `_seal` changes or adds: the comment's length, and the digits of a SHA-256


class RunFolder:
    """The files of one run.

    Parameters
    ----------
    path : path
        The folder; made on first write.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def create(self, config: dict[str, Any], resume: bool) -> bool:
        """Prepare the folder for a run; return whether there is a checkpoint to continue from.

        A folder of a run that never came to a checkpoint holds nothing to lose, and is used afresh.

        Parameters
        ----------
        config : dict
            Settings of the run, as ``json`` writes them.
        resume : bool
            Continue a run that is already there.

        Raises
        ------
        RunError
            If the folder holds a run with other settings, or one that was not asked to be continued.
        """
        config = json.loads(json.dumps(config))
        if self.has("last") or self.has("best"):
            found = differences(json.loads(json.dumps(completed(self.config()))), config)
            if found:
                more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
                raise RunError(
                    f"{self.path} holds a run of another configuration: {'; '.join(found[:4])}{more}; "
                    "choose another folder (--run), or the same settings to continue it"
                )
            if not resume:
                raise RunError(
                    f"{self.path} already holds this run; add --resume to continue it, or choose another folder (--run)"
                )
        for part in self.path.glob("*.part"):  # what a kill left of a write
            part.unlink(missing_ok=True)
        if self.has("last"):
            return True
        self._make()
        text = json.dumps(config, indent=1)
        write_atomically(self.path / "config.json", lambda file: file.write(text.encode()))
        self.rewind(0)
        return False

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {self.path}: {reason(error)}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other processes from training in it; a killed process leaves no lock behind.

        Raises
        ------
        RunError
            If another process is training in the folder.
        """
        self._make()
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"another process is training in {self.path}; wait for it or stop it first") from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(handle)

    def has(self, name: str) -> bool:
        """Whether there is a checkpoint of this name (``last`` or ``best``)."""
        return (self.path / f"{name}.pt").exists()

    def config(self) -> dict[str, Any]:
        """Read the settings of the run.

        Raises
        ------
        RunError
            If there are none, or they cannot be read.
        """
        path = self.path / "config.json"
        try:
            found = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                f"{self.path} is not a run folder (no config.json); make one with 'neurometa train'"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {reason(error)}") from None
        if not isinstance(found, dict):
            raise RunError(f"{path} holds no settings of a run")
        return found

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Write a checkpoint (``last`` or ``best``) atomically; metrics reported before it are on disk first."""
        buffer = io.BytesIO()  # so that a full disk is an OSError of Python, not an abort within torch
        torch.save(content, buffer)
        sealed = _seal(buffer.getvalue())
        with suppress(FileNotFoundError), open(self.path / "metrics.jsonl", "rb") as metrics:
            os.fsync(metrics.fileno())
        write_atomically(self.path / f"{name}.pt", lambda file: file.write(sealed))

    def load(self, name: str, device: torch.device | str | None = None) -> dict[str, Any]:
        """Read a checkpoint; tensors and plain values only, nothing in it is ever executed.

        Raises
        ------
        RunError
            If it is missing, damaged, or holds anything else.
        """
        path = self.path / f"{name}.pt"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RunError(f"{self.path} has no checkpoint {path.name}; train it with --resume") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {reason(error)}") from None
        try:
            if content != _seal(content[:-_SEAL] + b"\0\0"):
                raise ValueError("the checksum does not fit")  # torch itself does not look at checksums
            found = torch.load(io.BytesIO(content), weights_only=True, map_location=device or "cpu")
        except Exception:  # whatever a foreign file makes torch raise
            raise RunError(f"{path} is damaged, or not a checkpoint, and was not read; {self._way_out(name)}") from None
        params = found.get("params") if isinstance(found, dict) else None
        if not isinstance(params, dict) or not all(isinstance(leaf, torch.Tensor) for leaf in params.values()):
            raise RunError(f"{path} is not a checkpoint of a run")
        return found

    def _way_out(self, name: str) -> str:
        if name == "best":
            return "resume the training, which writes it anew, or take the last checkpoint (--checkpoint last)"
        if self.has("best"):
            return "best.pt beside it can be evaluated; to train again choose another folder (--run)"
        return "train again in another folder (--run)"

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``."""
        path = self.path / "metrics.jsonl"
        try:
            with open(path, "a") as file:
                file.write(_line(record))
        except OSError as error:
            raise RunError(f"cannot write {path}: {reason(error)}; the last checkpoint is untouched") from None

    def metrics(self) -> list[dict[str, Any]]:
        """Read ``metrics.jsonl``; a line cut off by a kill is left out."""
        path = self.path / "metrics.jsonl"
        records = []
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            with suppress(ValueError, RecursionError):
                record = json.loads(line)
                if isinstance(record, dict) and isinstance(record.get("iteration"), int):
                    records.append(record)
        return records

    def copy(self, target: Path) -> None:
        """Copy the files to a folder that is not there yet, all of them or none."""
        part = target.with_name(f"{target.name}.part")
        try:
            part.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "metrics.jsonl", "best.pt", "last.pt"):
                if (self.path / name).exists():
                    shutil.copyfile(self.path / name, part / name)
            part.rename(target)
        except OSError as error:
            raise RunError(f"cannot copy the run {self.path} to {target}: {reason(error)}") from None

    def rewind(self, iteration: int) -> None:
        """Drop metrics of later iterations, which the checkpoint does not hold yet, and lines that were cut off."""
        path = self.path / "metrics.jsonl"
        text = "".join(_line(record) for record in self.metrics() if record["iteration"] <= iteration)
        if (path.read_text(errors="replace") if path.exists() else "") != text:
            write_atomically(path, lambda file: file.write(text.encode()))


def _seal(archive: bytes) -> bytes:
    """Put the SHA-256 of a zip archive without comment into its comment, where every other reader ignores it."""
    comment = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment  # an archive ends with the comment's length


def _line(record: dict[str, Any]) -> str:
    """Write a record as one line of JSON; numbers that JSON does not have become null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain, allow_nan=False) + "\n"
