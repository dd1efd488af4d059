"""A laboratory for learning rules: written once, as an equation; meta-learned, compared, cross-checked, recorded.

The names below are loaded on first use, so that ``import neurometa`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import compare, crosscheck, distil, learners, networks, outer, perturb, record, report, rules, tasks
    from .bridge import from_brian2
    from .learners import GradientLearner, PlasticLearner
    from .meta.bundle import meta_train_seeds
    from .meta.evaluate import evaluate
    from .meta.run import Run, load_run
    from .meta.train import meta_train
    from .outer import Backprop
    from .record import Recorder, Recording, RecordPlan, open_recording
    from .spec import (
        MLP,
        ConvTrunk,
        Delays,
        Listed,
        Network,
        Normal,
        Orthogonal,
        Pairs,
        Param,
        PerEpisode,
        PlasticityRule,
        Population,
        Projection,
        Random,
        Spikes,
        Sum,
        Trace,
        Uniform,
    )
    from .streams import Streams
    from .torch_engine import init_params, make_step, simulate, start
    from .trajectory import Save, State, Trajectory

__version__ = "0.1.0"

_SOURCES = {
    "bridge": ("from_brian2",),
    "learners": ("GradientLearner", "PlasticLearner"),
    "meta": ("Run", "evaluate", "load_run", "meta_train", "meta_train_seeds"),
    "outer": ("Backprop",),
    "record": ("RecordPlan", "Recorder", "Recording", "open_recording"),
    "spec": (
        "MLP",
        "ConvTrunk",
        "Delays",
        "Listed",
        "Network",
        "Normal",
        "Orthogonal",
        "Pairs",
        "Param",
        "PerEpisode",
        "PlasticityRule",
        "Population",
        "Projection",
        "Random",
        "Spikes",
        "Sum",
        "Trace",
        "Uniform",
    ),
    "streams": ("Streams",),
    "torch_engine": ("init_params", "make_step", "simulate", "start"),
    "trajectory": ("Save", "State", "Trajectory"),
}
_FOLDERS = (
    *("compare", "crosscheck", "distil", "learners", "networks", "outer", "perturb", "record", "report", "rules"),
    "tasks",
)
_WHERE = {name: module for module, names in _SOURCES.items() for name in names}

__all__ = [
    "MLP",
    "Backprop",
    "ConvTrunk",
    "Delays",
    "GradientLearner",
    "Listed",
    "Network",
    "Normal",
    "Orthogonal",
    "Pairs",
    "Param",
    "PerEpisode",
    "PlasticLearner",
    "PlasticityRule",
    "Population",
    "Projection",
    "Random",
    "RecordPlan",
    "Recorder",
    "Recording",
    "Run",
    "Save",
    "Spikes",
    "State",
    "Streams",
    "Sum",
    "Trace",
    "Trajectory",
    "Uniform",
    "compare",
    "crosscheck",
    "distil",
    "evaluate",
    "from_brian2",
    "init_params",
    "learners",
    "load_run",
    "make_step",
    "meta_train",
    "meta_train_seeds",
    "networks",
    "open_recording",
    "outer",
    "perturb",
    "record",
    "report",
    "rules",
    "simulate",
    "start",
    "tasks",
]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f".{name}", __name__)
    if name in _WHERE:
        return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module 'neurometa' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
