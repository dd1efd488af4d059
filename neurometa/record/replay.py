"""Running what a recording holds once more, from nothing but the recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RecordingError
from ..learners import Learner
from ..learners._synaptic import SynapticLearner
from ..meta.settings import build
from ..provenance import environment
from ..streams import generator
from .capture import Captured, capture

__all__ = ["Replay", "replay"]

#: What is promised where something that decides about bits is different, relative to a variable's largest value.
LOOSE = {"torch.float32": 1e-5, "torch.float64": 1e-12}
#: Half precision keeps 11 bits.
HALF = 2.0**-10


@dataclass(frozen=True)
class Replay:
    """Outcome of a replay.

    Attributes
    ----------
    captured : Captured
        The episodes, run again.
    iteration : int
        Meta-iteration of the recorded batch.
    differences : dict of str to float
        Variable -> largest difference from the recording, relative to its largest absolute value.
    allowed : float
        0 where equality bit for bit is promised.
    reasons : tuple of str
        Why it is not, in words.
    """

    captured: Captured
    iteration: int
    differences: Mapping[str, float]
    allowed: float
    reasons: tuple[str, ...]

    @property
    def largest(self) -> float:
        """The largest difference of any variable."""
        return max(self.differences.values(), default=0.0)

    @property
    def agrees(self) -> bool:
        """Whether every variable is as close as is promised."""
        return self.largest <= self.allowed

    def __str__(self) -> str:
        found = "bit for bit the recording" if self.largest == 0 else f"within {self.largest:.1e} of the recording"
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        promised = "bit for bit" if self.allowed == 0 else f"{self.allowed:.0e}{why}"
        word = "agrees" if self.agrees else "DISAGREES"
        return f"iteration {self.iteration}: {found}; promised: {promised}: {word}"


def replay(recording: Any, iteration: int | None = None, learner: type[Learner] | Learner | None = None) -> Replay:
    """Rebuild learner, parameters and episodes from a recording, run them, and compare.

    The batch is the recorded one, as a whole. On the same machine, with the same versions and threads, the result is
    the same bit for bit; elsewhere to 1e-5 in float32 and 1e-12 in float64.

    Parameters
    ----------
    recording : Recording
        Open.
    iteration : int, optional
        Which recorded meta-iteration; default: the last.
    learner : class or object, optional
        Of a run that was made with a user's own learner; nothing that is stored is ever executed.

    Raises
    ------
    RecordingError
        If the learner has no trajectory.
    RunError
        If the learner is not part of this package and is not given.
    """
    made = build("learner", recording.settings.get("learner"), learner)
    if not isinstance(made, SynapticLearner):
        raise RecordingError(f"{type(made).__name__} has no trajectory to replay; its recording holds what it changed")
    params, episode = recording.params(iteration), recording.episode(iteration)
    place = recording.iterations.tolist().index(iteration) if iteration is not None else -1
    number = int(recording.iterations[place])
    device = recording.environment.get("device", "cpu")
    if device != "cpu" and torch.cuda.is_available():
        params = {name: leaf.to(device) for name, leaf in params.items()}
        episode = _moved(episode, device)
    plan = recording.plan
    name = str(recording.attributes["stream"])
    stream = generator(recording.seed, name.replace("*", str(number)))
    captured = capture(made, params, episode, None, stream, tuple(plan["what"]), int(plan["step"]))
    mine = np.flatnonzero(recording.variable("episode_iteration")[:] == number)
    span = slice(int(mine[0]), int(mine[-1]) + 1)
    differences = dict(_differences(recording, captured, span))
    here = {**environment(), "device": next(iter(params.values())).device.type}
    there = recording.environment
    decisive = ("machine", "torch", "threads", "device")
    reasons = [f"{key} {there.get(key)} there, {here[key]} here" for key in decisive if there.get(key) != here[key]]
    allowed = LOOSE.get(there.get("dtype", ""), 1e-5) if reasons else 0.0
    if plan.get("float16"):
        reasons.append("kept in half precision")
        allowed = HALF
    return Replay(captured, number, differences, allowed, tuple(reasons))


def _moved(episode: Any, device: str) -> Any:
    def of(part: Any) -> Any:
        inputs = {name: value.to(device) for name, value in part.inputs.items()}
        world = {name: value.to(device) for name, value in part.world.items()}
        rest = {name: getattr(part, name).to(device) for name in ("target", "weight", "learn", "reset")}
        return part._replace(inputs=inputs, world=world, **rest)

    return episode._replace(
        support=of(episode.support), query=None if episode.query is None else of(episode.query), info={}
    )


def _differences(recording: Any, captured: Captured, span: slice) -> Any:
    """Yield name and relative difference of everything that was run."""
    yield "output", _relative(recording.variable("output")[:, span], captured.output)
    for name, value in captured.kept.items():
        kind, _, rest = name.partition(".")
        folder = {"x": recording.x, "w": recording.w, "traces": recording.traces}.get(kind)
        found = recording.variables[name] if folder is None else folder[rest]
        yield name, _relative(found[:, span], value)
    for population, fired in captured.spikes.items():
        there = recording.spikes(population)
        mine = (there.episode >= recording.variable("episode")[span.start]) & (
            there.episode <= recording.variable("episode")[span.stop - 1]
        )
        step, episode, neuron = (each.cpu().numpy() for each in fired.nonzero(as_tuple=True))
        numbers = recording.variable("episode")[span][episode]
        now = (step * recording.dt, neuron, numbers)
        same = all(np.array_equal(a, b[mine]) for a, b in zip(now, there, strict=True))
        yield f"spikes.{population}", 0.0 if same else 1.0


def _relative(there: np.ndarray, here: Tensor) -> float:
    """Return the largest difference, relative to the largest absolute value; not a number where only one is."""
    now = here.cpu().numpy().reshape(there.shape)
    if there.dtype == np.float16:
        now = now.astype(np.float16)
    if np.array_equal(there, now, equal_nan=True):
        return 0.0
    a, b = there.astype(np.float64), now.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(a)
    scale = float(np.abs(a[finite]).max(initial=0.0)) or 1.0
    return float(np.abs(a - b)[finite].max(initial=0.0)) / scale
