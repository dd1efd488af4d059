"""A finished (or loaded) run: what was learned, by which settings, and how it went."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError
from ..learners import Learner
from ..outer import Outer
from ..spec import Network
from ..spec.base import check_choice
from ..streams import generator
from ..tasks.base import Task
from ..torch_engine.params import constrain_leaf
from ..tree import Tree
from .folder import RunFolder
from .settings import build
from .state import alike

__all__ = ["Run", "load_run"]


@dataclass
class Run:
    """Result of meta-training.

    Attributes
    ----------
    learner, task, outer : strategy
        What was trained, on what, and how.
    params : dict of str to Tensor
        Meta-parameters, as stored: best on validation where there was validation, else the last.
    history : list of dict
        One record per report: ``iteration``, ``episodes``, ``loss``, ``seconds``, and ``validation`` where measured.
    seed : int
        Seed of every stream.
    iteration : int
        Iterations after which the parameters were taken.
    path : Path, optional
        The run folder.
    """

    learner: Learner
    task: Task
    outer: Outer
    params: Tree
    history: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0
    iteration: int = 0
    path: Path | None = None

    def values(self) -> Tree:
        """Return every network parameter as people mean it (constrained)."""
        network = getattr(self.learner, "network", None)
        if not isinstance(network, Network):
            return dict(self.params)
        return {n: constrain_leaf(leaf.param, self.params[n]) for n, leaf in network.leaves.items() if n in self.params}

    def rule_values(self) -> dict[str, float]:
        """Return the learned rule: each value of the group ``rule`` by name, constrained (its mean if it has many)."""
        network = getattr(self.learner, "network", None)
        leaves: Mapping[str, Any] = network.leaves if isinstance(network, Network) else {}
        return {
            name: float(v.mean())
            for name, v in self.values().items()
            if name in leaves and leaves[name].group == "rule"
        }


def load_run(
    path: str | os.PathLike[str],
    which: str = "best",
    device: torch.device | str | None = None,
    *,
    learner: type[Learner] | Learner | None = None,
    task: type[Task] | Task | None = None,
    outer: type[Outer] | Outer | None = None,
) -> Run:
    """Read a run folder back.

    Parameters
    ----------
    path : path
        The run folder.
    which : {"best", "last"}
        Checkpoint: best on validation (or the last where there was none), or the last.
    device : optional
        Where the parameters go.
    learner, task, outer : optional
        Of a run that was made with a user's own class: the class, which gets the stored settings, or the object.
        Nothing that is stored is ever executed.

    Returns
    -------
    Run
        With learner, task and outer algorithm rebuilt from the folder's settings.

    Raises
    ------
    SpecificationError
        If there is no such kind of checkpoint.
    RunError
        If the folder is not a run, is damaged, or was made with a user's own classes that are not given.
    """
    check_choice(which, ("best", "last"), "checkpoint")
    folder = RunFolder(path)
    config = folder.config()
    made = build("learner", config.get("learner"), learner)
    own_task = build("task", config.get("task"), task)
    own_outer = build("outer", config.get("outer"), outer)
    seed = config.get("seed")
    if not isinstance(seed, int) or seed < 0:
        raise RunError(f"{folder.path / 'config.json'} holds no seed")
    name = which if folder.has(which) else "last"
    record = folder.load(name, device)
    wanted = made.init(generator(seed, "init"))
    if not alike(record["params"], wanted, dtypes=False) or not isinstance(record.get("iteration"), int):
        raise RunError(f"{folder.path / name}.pt does not fit the settings beside it (config.json)")
    return Run(made, own_task, own_outer, record["params"], folder.metrics(), seed, record["iteration"], folder.path)
