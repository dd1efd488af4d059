"""A run folder: settings, checkpoints and metrics, written so that a kill at any moment loses nothing.

``config.json`` (what is run), ``last.pt`` and ``best.pt`` (atomic checkpoints, tensors and numbers only),
``metrics.jsonl`` (one line per reported iteration).
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError

__all__ = ["RunFolder", "write_atomically"]

_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError, TypeError)


def write_atomically(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file through a temporary one: afterwards the old or the new file is there, whole.

    Raises
    ------
    RunError
        If the file cannot be written (target not writable, disk full, size limit); the old file is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunError(f"cannot write {path}: {reason}; what was there before is untouched") from None


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
        if (self.path / "config.json").exists():
            found = self.config()
            differing = _differences(found, config)
            if differing:
                raise RunError(
                    f"{self.path} holds a run of another configuration ({'; '.join(differing[:3])}); "
                    "choose another folder or use the same settings"
                )
            if (self.path / "last.pt").exists() and not resume:
                raise RunError(
                    f"{self.path} already holds this run; add --resume to continue it, or choose another folder"
                )
            return (self.path / "last.pt").exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {self.path}: {error.strerror}") from None
        text = json.dumps(config, indent=1)
        write_atomically(self.path / "config.json", lambda file: file.write(text.encode()))
        return False

    def config(self) -> dict[str, Any]:
        """Read the settings of the run."""
        path = self.path / "config.json"
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            raise RunError(
                f"{self.path} is not a run folder (no config.json); make one with 'neurometa train'"
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise RunError(f"{path} holds no settings")
        return found

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Write a checkpoint (``last`` or ``best``) atomically."""
        write_atomically(self.path / f"{name}.pt", lambda file: torch.save(content, file))

    def load(self, name: str, device: torch.device | str | None = None) -> dict[str, Any]:
        """Read a checkpoint; tensors and plain values only, nothing in it is ever executed."""
        path = self.path / f"{name}.pt"
        try:
            found = torch.load(path, weights_only=True, map_location=device or "cpu")
        except FileNotFoundError:
            raise RunError(f"{self.path} has no checkpoint {path.name}; train it with --resume") from None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from None
        except _DAMAGE:
            raise RunError(
                f"{path} is damaged and cannot be read; delete it to start again from the other checkpoint"
            ) from None
        if not isinstance(found, dict) or "params" not in found:
            raise RunError(f"{path} is not a checkpoint of a run")
        return found

    def append(self, record: dict[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``."""
        try:
            with open(self.path / "metrics.jsonl", "a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror}") from None

    def metrics(self) -> list[dict[str, Any]]:
        """Read ``metrics.jsonl``; a line cut off by a kill is left out."""
        path = self.path / "metrics.jsonl"
        records = []
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    def rewind(self, iteration: int) -> None:
        """Drop metrics of iterations that the checkpoint does not hold yet."""
        kept = [record for record in self.metrics() if record["iteration"] < iteration]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_atomically(self.path / "metrics.jsonl", lambda file: file.write(text.encode()))


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Name the settings that differ, as ``path: old -> new``."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for key in sorted({*a, *b}) for d in _differences(a.get(key), b.get(key), f"{path}.{key}".strip("."))]
    if a == b:
        return []
    short = [text if len(text) <= 30 else text[:27] + "..." for text in (json.dumps(a), json.dumps(b))]
    return [f"{path}: {short[0]} -> {short[1]}"]
