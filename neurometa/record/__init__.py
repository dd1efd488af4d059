"""Recording runs, reading recordings, replaying them: ``nm.record(...)`` is the function `record`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

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


class _CallableModule(ModuleType):
    """``nm.record(...)`` and ``from neurometa.record import record`` are the same function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return record(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
