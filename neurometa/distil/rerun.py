"""The equation in place of the rule: whether it does the same, and still solves the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..errors import SpecificationError
from ..learners import PlasticLearner
from ..meta.evaluate import interval, score_run
from ..meta.run import Run
from ..record.capture import capture
from ..streams import generator
from .search import Distilled

__all__ = ["Rerun", "rerun"]


class Interval(NamedTuple):
    """Mean and ends of the 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Rerun:
    """The equation beside the rule that it stands for.

    Attributes
    ----------
    score_name : str
        What the task measures.
    original, distilled, frozen : Interval
        Test scores with the rule, with the equation, and with the synapses frozen; over tasks.
    difference : Interval
        Equation minus rule, paired.
    r2 : float
        Share of the variance of the weights' trajectories (their change since the start) that the equation gives.
    """

    score_name: str
    original: Interval
    distilled: Interval
    frozen: Interval
    difference: Interval
    r2: float


def rerun(run: Run, found: Distilled, *, n_episodes: int = 500, seed: int = 0, batch: int = 100) -> Rerun:
    """Run the network with the equation in place of its rule, on test tasks that both get.

    Parameters
    ----------
    run : Run
        What was distilled.
    found : Distilled
        The equation.
    n_episodes : int
        Test tasks.
    seed : int
        Of the tasks.
    batch : int
        Tasks that are simulated together.

    Raises
    ------
    SpecificationError
        If the run has no rule.
    """
    learner = run.learner
    if not isinstance(learner, PlasticLearner):
        raise SpecificationError(f"{type(learner).__name__} has no rule")
    other, params = found.learner(learner), found.params(learner, run.params)
    leaf = next(iter(run.params.values()))

    def score(made: PlasticLearner, values: Mapping[str, Tensor], plastic: bool = True) -> np.ndarray:
        return score_run(
            made,
            values,
            run.task,
            n_episodes=n_episodes,
            seed=seed,
            batch=batch,
            plastic=plastic,
            device=leaf.device,
            dtype=leaf.dtype,
        )

    rule, equation = score(learner, run.params), score(other, params)
    frozen = score(learner, run.params, plastic=False)
    stream = generator(seed, "rerun")
    episode = run.task.sample(stream, min(batch, n_episodes), "test", device=leaf.device, dtype=leaf.dtype)
    name = f"w.{found.projection}"
    courses = []
    for made, values in ((learner, run.params), (other, params)):
        captured = capture(made, values, episode, run.task, generator(seed, "rerun noise"), (name,))
        whole = captured.weights[found.projection].cpu().numpy().astype(np.float64)
        courses.append(whole[1:] - whole[:1])
    rest = ((courses[0] - courses[1]) ** 2).sum()
    r2 = float(1 - rest / ((courses[0] - courses[0].mean()) ** 2).sum())
    original, distilled, still, difference = (Interval(*interval(v)) for v in (rule, equation, frozen, equation - rule))
    return Rerun(run.task.score_name, original, distilled, still, difference, r2)
