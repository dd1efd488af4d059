"""Recording runs, reading recordings, replaying them: ``nm.record(...)`` is the function `record`."""

from __future__ import annotations

from ..callable_module import make_callable
from .plan import RecordPlan
from .reading import Recording, Spikes, open_recording
from .recorder import Recorder
from .replay import Replay, replay
from .single import record
from .upkeep import repack, validate
from .variable import Variable

__all__ = [
    "RecordPlan",
    "Recorder",
    "Recording",
    "Replay",
    "Spikes",
    "Variable",
    "open_recording",
    "record",
    "repack",
    "replay",
    "validate",
]


make_callable(__name__, record)
