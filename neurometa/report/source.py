"""The record of a comparison, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import NeurometaError, RunError
from ..files import reason
from ..meta.run import Run, load_run

__all__ = ["FORMAT", "main_runs", "read_record"]

#: Version of ``result.json`` that this code reads.
FORMAT = 1
_NEEDED = ("name", "title", "question", "score", "main", "seeds", "verdict", "findings", "arms")


def read_record(folder: Path) -> dict[str, Any]:
    """Read ``result.json`` of a comparison.

    Raises
    ------
    RunError
        If it is not there, damaged, or of a newer version.
    """
    path = folder / "result.json"
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} holds no comparison (no result.json); make one with 'neurometa compare'") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {reason(error)}; type the 'neurometa compare' command again") from None
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise RunError(f"{path} is not the record of a comparison; make one with 'neurometa compare'")
    if record["format"] > FORMAT:
        raise RunError(f"{path} has format {record['format']}, this version reads up to {FORMAT}; upgrade neurometa")
    missing = [name for name in _NEEDED if name not in record]
    if missing or not all(isinstance(arm, dict) and "name" in arm for arm in record["arms"]):
        raise RunError(
            f"{path} is incomplete ({', '.join(missing) or 'arms'}); type the 'neurometa compare' command again"
        )
    return record


def main_runs(folder: Path, record: dict[str, Any]) -> list[Run]:
    """Return the runs of the main learner that are in the folder, in the order of the seeds; none is no error."""
    arm: dict[str, Any] = next((arm for arm in record["arms"] if arm["name"] == record["main"]), {})
    found = []
    for seed in record["seeds"]:
        place = folder / str(arm.get("runs") or "runs") / f"seed-{seed}"
        try:
            if place.is_dir() and place.resolve().is_relative_to(folder.resolve()):
                found.append(load_run(place))
        except NeurometaError:  # a user's own classes, or a damaged folder: the report goes without
            continue
    return found
