"""The exceptions that neurometa raises for input that it cannot use.

All of them are `ValueError`s, and every message says what was found, what is allowed and, where there is one
answer, what to type.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "EngineError",
    "ExpressionError",
    "NeurometaError",
    "RecordingError",
    "RunError",
    "SpecificationError",
    "TrainingError",
    "unknown",
]


class NeurometaError(ValueError):
    """Base class of every error in this package."""


class ExpressionError(NeurometaError):
    """Equation text that is not in the grammar."""


class SpecificationError(NeurometaError):
    """A description, or an option of one, that cannot be built."""


class EngineError(NeurometaError):
    """A valid description that an engine cannot run, or inputs that do not fit it."""


class DataError(NeurometaError):
    """Data that are missing, damaged or unusable."""


class RunError(NeurometaError):
    """A run folder that cannot be read, written or continued."""


class RecordingError(NeurometaError):
    """A recording that cannot be made, or a file that is none, is damaged, or is too new."""


class TrainingError(NeurometaError):
    """Training that cannot go on (for example a loss that is not finite)."""


def unknown(kind: str, found: str, allowed: Iterable[str]) -> str:
    """Return the message for an unknown name: what was found, what is allowed, the nearest match.

    Parameters
    ----------
    kind : str
        What the name should have been, such as ``"rule"``.
    found : str
        The name as typed.
    allowed : iterable of str
        Every name that would have been accepted.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> unknown("rule", "ojja", ["hebb", "oja"])
    "unknown rule 'ojja' (did you mean 'oja'?); allowed: hebb, oja"
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(found, names, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {kind} '{found}'{hint}; allowed: {', '.join(names) or 'none'}"
