"""From an episode as it went to what a file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..learners import Learner
from ..provenance import commit_of, environment
from ..recording import SCHEMA, Array, Attribute, Content
from ..spec import Network
from ..tasks.base import Part, Task, batch_axis
from ..tree import Tree
from .capture import Captured, hold_of

__all__ = ["QUANTILES", "content_of", "network_of", "texts_of"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Magic number and version of the SONATA format, which the spikes follow.
SONATA: dict[str, Attribute] = {"magic": 0x0A7A, "version": np.array([0, 1], dtype=np.uint32)}


def network_of(learner: Learner) -> Network | None:
    """Return a learner's network description, if it has one."""
    found = getattr(learner, "network", None)
    return found if isinstance(found, Network) else None


def texts_of(learner: Learner, settings: Mapping[str, Any], plan: Mapping[str, Any], params: Tree) -> dict[str, str]:
    """Return the descriptions that every file of a recording holds."""
    network, leaf = network_of(learner), next(iter(params.values()))
    where = {**environment(), "device": leaf.device.type, "dtype": str(leaf.dtype)}
    texts = {"settings": json.dumps(settings), "plan": json.dumps(plan), "environment": json.dumps(where)}
    return texts | ({"network": network.to_json()} if network else {})


class _Builder:
    """Collects dimensions and arrays; a dimension has one length."""

    def __init__(self) -> None:
        self.dims: dict[str, np.ndarray] = {}
        self.arrays: dict[str, Array] = {}

    def dim(self, name: str, coordinate: np.ndarray | int) -> str:
        """Declare a dimension by its coordinate, or its length; return its name."""
        self.dims.setdefault(name, np.arange(coordinate) if isinstance(coordinate, int) else coordinate)
        return name

    def add(self, path: str, dims: tuple[str, ...], data: Tensor | np.ndarray, **attributes: Any) -> None:
        """Add an array; booleans become bytes, which netCDF has."""
        array = data.detach().cpu().numpy() if isinstance(data, Tensor) else data
        array = array.astype(np.uint8) if array.dtype == bool else array
        for name, length in zip(dims, array.shape, strict=True):
            self.dim(name, length)
        self.arrays[path] = Array(dims, array, attributes)


def content_of(
    captured: Captured,
    learner: Learner,
    task: Task,
    params: Mapping[str, Tensor],
    *,
    texts: Mapping[str, str],
    seed: int,
    stream: str,
    iteration: int,
    first_episode: int = 0,
    float16: bool = False,
) -> Content:
    """Return what the file of one recorded batch holds.

    Parameters
    ----------
    captured : Captured
        The batch as it went.
    learner, task, params
        What ran, on what, with which meta-parameters.
    texts : mapping of str to str
        From `texts_of`.
    seed, stream : int, str
        Seed and name of the generator that the batch used; an asterisk stands for the iteration.
    iteration : int
        Meta-iteration before which the parameters were these.
    first_episode : int
        Number of the first episode, where a recording has several files.
    float16 : bool
        Keep trajectories in half precision.
    """
    built, network = _Builder(), network_of(learner)
    batch, dt = captured.output.shape[1], network.dt if network else 1.0
    hold = hold_of(learner)
    built.dim("episode", np.arange(first_episode, first_episode + batch))
    built.dim("iteration", np.array([iteration]))
    built.add("episode_iteration", ("episode",), np.full(batch, iteration))
    if network is not None and captured.steps:
        built.dim("time", np.array(captured.steps) * dt)
        _trajectories(built, captured, network, dt, float16)
    for name, value in captured.adapted.items():
        built.add(f"adapted/{name}", ("episode", *(f"{name}_{k}" for k in range(value.ndim - 1))), value)
    _parameters(built, params, network)
    _episode(built, captured, dt * hold)
    scored = captured.episode.scored
    built.add("loss", ("episode",), task.loss(captured.output, scored))
    built.add("score", ("episode",), task.score(captured.output, scored), measure=task.score_name)
    attributes: dict[str, Attribute] = {
        "schema": SCHEMA,
        "kind": "neurometa recording",
        "neurometa": _version(),
        "commit": _commit(),
        "seed": seed,
        "stream": stream,
        "dt": dt,
        "hold": hold,
        "complete": 1,
        **(SONATA if captured.spikes else {}),
    }
    groups: dict[str, dict[str, Any]] = {f"spikes/{name}": {"sorting": "by_time"} for name in captured.spikes}
    return Content(built.dims, built.arrays, attributes, dict(texts), groups)


def _trajectories(built: _Builder, captured: Captured, network: Network, dt: float, float16: bool) -> None:
    modulators = {name for p in network.projections for name in p.modulators.values()}
    modulators |= {name for p in network.populations for name in p.modulators.values()}
    for name, value in captured.kept.items():
        kind, _, rest = name.partition(".")
        value = value.half() if float16 and value.is_floating_point() else value
        label = rest.partition(".")[0]
        if kind == "w":
            built.add(f"w/{label}", ("time", "episode", f"{label}_post", f"{label}_pre"), value)
        elif kind == "traces":
            full = captured.weights[label].shape
            axes = [axis for axis in (2, 3) if value.shape[axis] == full[axis]]
            squeezed = value.flatten(2) if not axes else value.squeeze(5 - axes[0]) if len(axes) == 1 else value
            ends = tuple(f"{label}_{'post' if axis == 2 else 'pre'}" for axis in axes) or (f"{label}_all",)
            built.add(f"traces/{rest}", ("time", "episode", *ends), squeezed)
        else:
            path = f"x/{rest}" if kind == "x" else f"variables/{name}"
            role = {"role": "neuromodulator"} if kind == "x" and rest in modulators else {}
            built.add(path, ("time", "episode", f"{rest}_neuron"), value, **role)
    for name, fired in captured.spikes.items():
        step, episode, neuron = fired.nonzero(as_tuple=True)
        axis, path = (f"spike_{name}",), f"spikes/{name}"
        built.add(f"{path}/timestamps", axis, step.cpu().numpy() * dt, units="milliseconds")
        built.add(f"{path}/node_ids", axis, neuron.cpu().numpy().astype(np.uint64))
        built.add(f"{path}/episode", axis, built.dims["episode"][episode.cpu().numpy()])
    _summaries(built, captured.weights)


def _summaries(built: _Builder, weights: Tree) -> None:
    """Mean, norm and quantiles over synapses, of the weights and of their change since the kept step before."""
    for label, whole in weights.items():
        for kind, value in (("w", whole[1:]), ("dw", whole.diff(dim=0))):
            flat = value.flatten(2)
            place = [round(q * (flat.shape[-1] - 1)) for q in QUANTILES]
            built.add(f"summary/{label}.{kind}.mean", ("time", "episode"), flat.mean(-1))
            built.add(f"summary/{label}.{kind}.norm", ("time", "episode"), flat.norm(dim=-1))
            built.dim("quantile", np.array(QUANTILES))
            quantiles = flat.sort(-1).values[..., place]
            built.add(f"summary/{label}.{kind}.quantiles", ("time", "episode", "quantile"), quantiles)


def _parameters(built: _Builder, params: Mapping[str, Tensor], network: Network | None) -> None:
    """Add meta-parameters as they are stored, axes of length 1 left out; their shape is an attribute."""
    leaves = network.leaves if network else {}
    for name, leaf in params.items():
        owner = name.partition(".")[0]
        names: tuple[str, ...] = tuple(f"{name}_{axis}" for axis in range(leaf.ndim))
        if name in leaves and leaf.ndim == 2:
            names = (f"{owner}_post", f"{owner}_pre")
        elif name in leaves and leaf.ndim == 1:
            names = (f"{owner}_neuron",)
        sizes = dict(zip(names, leaf.shape, strict=True))
        long = {n: size for n, size in sizes.items() if size > 1}
        named = tuple(
            n if built.dims.get(n) is None or len(built.dims[n]) == size else f"{name}_{n}" for n, size in long.items()
        )
        shape = json.dumps(list(leaf.shape))
        built.add(f"params/{name}", ("iteration", *named), leaf.reshape(1, *long.values()), shape=shape)


def _episode(built: _Builder, captured: Captured, dt: float) -> None:
    support, query, info = captured.episode
    parts: list[tuple[str, Part]] = [("support", support), *([("query", query)] if query is not None else [])]
    for kind, part in parts:
        time, root = f"{kind}_time", f"episode_data/{kind}"
        built.dim(time, np.arange(len(part.target)) * dt)
        for name, value in part.inputs.items():
            built.add(f"{root}/inputs/{name}", (time, "episode", f"{name}_input"), value)
        for name, value in part.world.items():
            built.add(f"{root}/world/{name}", (time, "episode", f"{name}_world"), value)
        built.add(f"{root}/target", (time, "episode", "answer"), part.target)
        built.add(f"{root}/weight", (time, "episode"), part.weight)
        built.add(f"{root}/learn", ("iteration", time), part.learn[None])
        built.add(f"{root}/reset", ("iteration", time), part.reset[None])
    for name, value in info.items():
        axis = batch_axis(value, captured.output.shape[1])
        dims = [f"info_{name}_{k}" for k in range(value.ndim)]
        dims[axis] = "episode"
        built.add(f"episode_data/info/{name}", tuple(dims), value)
    answered = f"{parts[-1][0]}_time"
    width = "answer" if captured.output.shape[-1] == support.target.shape[-1] else "output_unit"
    built.add("output", (answered, "episode", width), captured.output)


def _version() -> str:
    from .. import __version__

    return __version__


def _commit() -> str:
    """Return the commit of the package, where it runs from a checkout."""
    root = Path(__file__).parents[2]
    return commit_of(root) if (root / "pyproject.toml").exists() else ""
