"""What a rule saw and did, one row for a synapse and a step, from a run or a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import SpecificationError, unknown
from ..learners import PlasticLearner
from ..meta.run import Run
from ..record import Recording
from ..record.capture import capture
from ..spec import Network, Projection
from ..spec.rule import split_variable
from ..streams import generator
from ..tasks.base import Part

__all__ = ["Samples", "plastic_projection", "samples_of", "samples_of_recording", "samples_of_run", "thinned"]

#: Samples that are kept; more bring nothing but time.
MOST = 40_000


@dataclass(frozen=True, eq=False)
class Samples:
    """What a rule saw and did, one row for a synapse and a step.

    Attributes
    ----------
    values : dict of str to ndarray
        Name in a rule's text -> ``(samples,)``.
    dw : (samples,)
        Change of ``w`` per ms; of a ``step`` rule, in one step.
    blocks : (samples,)
        Episode of each.
    """

    values: dict[str, np.ndarray]
    dw: np.ndarray
    blocks: np.ndarray


def plastic_projection(network: Network, label: str | None) -> Projection:
    """Return a plastic projection of rates; None is the only one."""
    plastic = {p.label: p for p in network.plastic}
    if label is None:
        if len(plastic) != 1:
            raise SpecificationError(f"there are {len(plastic)} plastic projections: {', '.join(plastic)}; name one")
        (label,) = plastic
    if label not in plastic:
        raise SpecificationError(unknown("plastic projection", label, plastic))
    rule = plastic[label].rule
    assert rule is not None
    if rule.has_events:
        raise SpecificationError(f"rule '{rule.name}' changes w at spikes; a change per step is distilled only")
    return plastic[label]


def samples_of(network: Network, projection: Projection, kept: Mapping[str, np.ndarray], part: Part) -> Samples:
    """Return what a rule saw and did.

    Parameters
    ----------
    network, projection
        Where.
    kept : mapping of str to ndarray
        Name as in `Save` -> ``(time, episode, ...)``, at every step; ``w`` has one step more, its start, or begins at
        the second step if that is not known.
    part : Part
        Flags of the sequence.

    Raises
    ------
    SpecificationError
        If something is not kept.
    """
    rule, label = projection.rule, projection.label
    assert rule is not None

    def get(name: str) -> np.ndarray:
        if name not in kept:
            raise SpecificationError(f"'{name}' is not kept, and the rule reads it; keep it (what=), or leave it out")
        return np.asarray(kept[name], dtype=np.float64)

    w = get(f"w.{label}")
    steps = len(get(f"x.{projection.post}"))
    begin = 1 + steps - len(w)  # 0 if the start is known, else 1
    order = ["one", *(p.name for p in network.populations)]
    late = order.index(projection.pre) >= order.index(projection.post) and not _heard_late(network, projection)
    learn = np.asarray(part.learn.cpu(), dtype=bool)
    reset = np.asarray(part.reset.cpu(), dtype=bool)
    hold = steps // len(learn)
    learn = np.repeat(learn, hold)
    reset = np.repeat(reset, hold) & (np.arange(steps) % hold == 0)
    use = np.flatnonzero(learn & ~(reset & late))
    targets = [assignment.target for assignment in rule.assignments["step"]]
    stale = {name for name in rule.traces if name in targets and targets.index("w") < targets.index(name)}
    use = use[use >= max(begin, 1 if late or stale else 0)]
    before, after = w[use - begin], w[use - begin + 1]
    shape = before.shape  # (time, episode, post, pre)

    def side(name: str, axis: int, lag: int = 0) -> np.ndarray:
        population, variable = name.split(".")
        if population == "one":
            return np.ones(shape)
        value = get(f"{variable}.{population}")[use - lag]
        return np.broadcast_to(np.expand_dims(value, 5 - axis), shape)

    values = {"pre": side(f"{projection.pre}.x", 3, int(late)), "post": side(f"{projection.post}.x", 2), "w": before}
    for name in rule.variables:
        variable, where = split_variable(name) or ("", "")
        if variable and variable != "x":
            owner = projection.pre if where == "pre" else projection.post
            values[name] = side(f"{owner}.{variable}", 3 if where == "pre" else 2)
    for name in rule.modulators:
        value = get(f"x.{projection.modulators[name]}")[use]
        values[name] = np.broadcast_to(value[..., None], shape)
    for name in rule.traces:
        value = get(f"traces.{label}.{name}")[use - (name in stale)]  # a step rule may read what it assigns later
        if value.ndim == 3:
            axes = rule.trace_axes[name]
            value = value[..., None] if axes == {"post"} else value[:, :, None]
        values[name] = np.broadcast_to(value, shape)
    blocks = np.broadcast_to(np.arange(shape[1])[None, :, None, None], shape)
    dw = (after - before) / (1.0 if rule.step else network.dt)
    inside = np.ones(shape, dtype=bool)
    if rule.bounds is not None and all(isinstance(b, int | float) for b in rule.bounds):
        low, high = (float(b) for b in rule.bounds)  # type: ignore[arg-type]
        inside = (after > low) & (after < high)
    return Samples({n: v[inside] for n, v in values.items()}, dw[inside], blocks[inside])


def _heard_late(network: Network, projection: Projection) -> bool:
    """Whether a projection's current is added up after all populations have updated."""
    target = network[projection.post]
    return projection.into in target.phases[True][0] and projection.into not in target.phases[False][0]


def thinned(samples: Samples, seed: int) -> Samples:
    """Return at most `MOST` samples, drawn without replacement."""
    if len(samples.dw) <= MOST:
        return samples
    mine = np.sort(np.random.default_rng(seed).choice(len(samples.dw), MOST, replace=False))
    return Samples({n: v[mine] for n, v in samples.values.items()}, samples.dw[mine], samples.blocks[mine])


def samples_of_run(run: Run, label: str | None, n: int, seed: int, split: str) -> tuple[Projection, Samples]:
    """Run episodes of a run, and return projection and samples."""
    learner = run.learner
    if not isinstance(learner, PlasticLearner):
        raise SpecificationError(f"{type(learner).__name__} has no rule to distil; a PlasticLearner has")
    projection = plastic_projection(learner.network, label)
    leaf = next(iter(run.params.values()))
    episode = run.task.sample(generator(seed, f"distil {split}"), n, split, device=leaf.device, dtype=leaf.dtype)
    found = capture(learner, run.params, episode, run.task, generator(seed, "distil noise"), ("*",))
    kept = {name: value.cpu().numpy() for name, value in found.kept.items()}
    kept |= {f"x.{name}": value.cpu().numpy() for name, value in found.spikes.items()}
    kept |= {f"w.{name}": value.cpu().numpy() for name, value in found.weights.items()}
    return projection, samples_of(learner.network, projection, kept, found.episode.support)


def samples_of_recording(recording: Recording, label: str | None) -> tuple[Projection, Samples]:
    """Return projection and samples of a recording that has every step."""
    network = recording.network
    if network is None:
        raise SpecificationError(f"{recording.files[0]} has no network")
    if int(recording.plan.get("step", 1)) != 1:
        raise SpecificationError(f"{recording.files[0]} has every {recording.plan['step']} steps; every one is needed")
    projection = plastic_projection(network, label)
    kept = {f"{kind}.{name}": v[()] for kind in ("x", "w", "traces") for name, v in getattr(recording, kind).items()}
    kept |= {name: v[()] for name, v in recording.variables.items()}
    return projection, samples_of(network, projection, kept, recording.episode().support)
