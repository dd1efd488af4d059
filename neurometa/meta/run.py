"""A finished (or loaded) run: what was learned, by which settings, and how it went."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..learners import Learner
from ..outer import Outer
from ..spec import Network
from ..tasks.base import Task
from ..torch_engine.params import constrain_leaf
from ..tree import Tree
from .folder import RunFolder
from .settings import build

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
        Iterations done.
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


def load_run(path: str | os.PathLike[str], which: str = "best", device: torch.device | str | None = None) -> Run:
    """Read a run folder back.

    Parameters
    ----------
    path : path
        The run folder.
    which : {"best", "last"}
        Checkpoint: best on validation (or the last where there was none), or the last.
    device : optional
        Where the parameters go.

    Returns
    -------
    Run
        With learner, task and outer algorithm rebuilt from the folder's settings; nothing stored is executed.

    Raises
    ------
    RunError
        If the folder is not a run, is damaged, or was made with a user's own classes.
    """
    folder = RunFolder(path)
    config = folder.config()
    record = folder.load("last", device)
    params: dict[str, Tensor] = record["params"]
    if which == "best" and (folder.path / "best.pt").exists():
        params = folder.load("best", device)["params"]
    return Run(
        learner=build("learner", config.get("learner", {})),
        task=build("task", config.get("task", {})),
        outer=build("outer", config.get("outer", {})),
        params=params,
        history=folder.metrics(),
        seed=int(config.get("seed", 0)),
        iteration=int(record["iteration"]),
        path=folder.path,
    )
