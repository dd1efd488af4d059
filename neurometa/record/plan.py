"""What is recorded of a training run, and how much of it is too much."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from ..errors import RecordingError, unknown

__all__ = ["GIGABYTE", "RecordPlan", "bytes_of", "in_words"]

GIGABYTE = 10**9
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class RecordPlan:
    """Plan of a recording. Summaries of all plastic weights are always kept.

    Attributes
    ----------
    what : tuple of str
        Patterns as in `Save`; empty: activity of all populations (neuromodulators among them), plastic weights, traces.
    episodes : int
        Episodes of each recorded iteration: the first of its batch.
    every : int
        Meta-iterations between recordings.
    step : int
        Time steps between kept values; spikes are always kept.
    cap : int
        Bytes; a forecast above it is refused before anything is computed.
    float16 : bool
        Keep what `what` names in half precision.
    compress : bool
        gzip 1 after a shuffle of bytes.
    """

    what: tuple[str, ...] = ()
    episodes: int = 4
    every: int = 50
    step: int = 1
    cap: int = 2 * GIGABYTE
    float16: bool = False
    compress: bool = False

    def __post_init__(self):
        for name in ("episodes", "every", "step", "cap"):
            if getattr(self, name) < 1:
                raise RecordingError(f"plan of a recording: {name} is {getattr(self, name)}; it must be 1 or more")

    @classmethod
    def parse(cls, text: str) -> RecordPlan:
        """Read a plan as it is typed: ``default``, or ``what=x.*,w.* episodes=8 every=100 step=5 cap=5GB``.

        Raises
        ------
        RecordingError
            Naming what is not understood, and what is allowed.

        Examples
        --------
        >>> RecordPlan.parse("what=x.*,w.a__b every=100 cap=5GB")
        RecordPlan(what=('x.*', 'w.a__b'), episodes=4, every=100, step=1, cap=5000000000, float16=False, compress=False)
        """
        kinds = {field.name: field.default for field in fields(cls)}
        given: dict[str, Any] = {}
        for word in text.split():
            if word == "default":
                continue
            name, equals, value = word.partition("=")
            if not equals or name not in kinds:
                raise RecordingError(f"plan of a recording: {unknown('option', name, (*kinds, 'default'))}")
            given[name] = _read(name, value, kinds[name])
        return cls(**given)


def _read(name: str, value: str, default: object) -> object:
    if name == "what":
        return tuple(part for part in value.split(",") if part)
    if name == "cap":
        return bytes_of(value)
    allowed = {"true": True, "false": False} if isinstance(default, bool) else None
    if allowed is not None and value in allowed:
        return allowed[value]
    if allowed is None and value.isdigit():
        return int(value)
    kind = "a whole number" if allowed is None else "true or false"
    raise RecordingError(f"plan of a recording: {name} is '{value}'; it must be {kind}")


def bytes_of(text: str) -> int:
    """Read a number of bytes, such as ``500MB``, ``2GB`` or ``1000000``.

    Examples
    --------
    >>> bytes_of("1.5 GB")
    1500000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b?)", text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise RecordingError(f"'{text}' is no number of bytes; type one such as 500MB or 2GB")
    return round(float(match[1]) * _UNITS[match[2]])


def in_words(size: float) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> in_words(1_400_000)
    '1.4 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
