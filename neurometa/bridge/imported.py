"""Live Brian2 objects as a description: ``from_brian2``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..brian2_engine._brian2 import load, plain_numpy
from ..errors import SpecificationError
from ..spec import Network, PlasticityRule, Population, Projection
from ..torch_engine.params import unconstrain
from ..tree import Tree
from .neurons import Neurons
from .synapses import Wiring

__all__ = ["Imported", "ImportedSynapses", "from_brian2"]


@dataclass(frozen=True)
class ImportedSynapses:
    """What one Synapses object became.

    Attributes
    ----------
    projection : Projection
        With its rule.
    rule : PlasticityRule or None
        The same rule.
    values : dict of str to ndarray
        Parameters by their names in a network, in ms, mV, nA, uS.
    renamed : dict of str to str
        Brian2's names that could not be kept -> ours.
    """

    projection: Projection
    rule: PlasticityRule | None
    values: dict[str, np.ndarray]
    renamed: dict[str, str]


@dataclass(frozen=True)
class Imported:
    """What a Brian2 network became.

    Attributes
    ----------
    network : Network
        The description.
    params : dict of str to Tensor
        Stored leaves, in double precision: weights, delays and constants as they are now.
    spikes : dict of str to (times, indices)
        Spikes of every SpikeGeneratorGroup: steps and neurons.
    renamed : dict of str to str
        Brian2's names that could not be kept, as ``"object.name"`` -> ours.
    """

    network: Network
    params: Tree
    spikes: dict[str, tuple[np.ndarray, np.ndarray]]
    renamed: dict[str, str]

    def inputs(self, n_steps: int) -> dict[str, Tensor]:
        """Return the spikes of every SpikeGeneratorGroup as inputs ``(n_steps, 1, n)``.

        Other input groups, such as a PoissonGroup, have no spikes of their own here: add them.
        """
        found = {}
        for name, (steps, neurons) in self.spikes.items():
            sequence = np.zeros((n_steps, 1, self.network[name].size))
            kept = steps < n_steps
            sequence[steps[kept], 0, neurons[kept]] = 1.0
            found[name] = torch.from_numpy(sequence)
        return found


def from_brian2(
    objects: Any, *, weight: str | Mapping[str, str] = "w", namespace: Mapping[str, Any] | None = None
) -> Any:
    r"""Turn a Brian2 model into a description that both engines run and that can be meta-learned.

    Parameters
    ----------
    objects : Network, Synapses or iterable of Brian2 objects
        A whole network, or one Synapses object for its rule. Import it before it has run.
    weight : str or mapping of str to str
        Name of the plastic variable; or name of a Synapses object -> name.
    namespace : mapping, optional
        Constants that the objects do not have in a namespace of their own; default: the caller's variables, as for
        Brian2's ``run``.

    Returns
    -------
    Imported or ImportedSynapses
        Of a network; of one Synapses object.

    Raises
    ------
    EngineError
        If brian2 is not installed.
    SpecificationError
        If there is something that has no counterpart: what was found, what is allowed, what to type.

    Notes
    -----
    Numbers are in ms, mV, nA, uS, nF, Mohm and 1/ms, so that formulas hold as they stand. Monitors are left out. Names
    that are reserved here are changed: ``tau_pre`` becomes ``pre_tau``, a variable ``x`` becomes ``x_var``.

    Examples
    --------
    >>> import neurometa as nm
    >>> import brian2 as b2
    >>> spikes = b2.SpikeGeneratorGroup(2, [0, 1], [1, 4]*b2.ms, name="source")
    >>> neurons = b2.NeuronGroup(1, "dv/dt = -v/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact",
    ...                          name="target")
    >>> synapses = b2.Synapses(spikes, neurons, "w : 1\ndpre/dt = -pre/tau : 1 (event-driven)",
    ...     on_pre="v_post += w\npre += 0.1", on_post="w = clip(w + pre, 0, 2)", name="plastic",
    ...     namespace={"tau": 20*b2.ms})
    >>> synapses.connect()
    >>> synapses.w = 0.8
    >>> found = nm.from_brian2([spikes, neurons, synapses])
    >>> print(found.network["target"].update["dv/dt"], "|", found.network.projections[0].rule.on_post)
    -v / 10.0 | w = clip(w + pre_var, 0, 2)
    >>> end = nm.simulate(found.network, found.params, found.inputs(100)).final
    >>> end.w["plastic"].numpy().round(4)
    array([[[0.8856, 0.8995]]])
    """
    b2 = load()
    frame = sys._getframe(1)
    around = {**frame.f_globals, **frame.f_locals} if namespace is None else dict(namespace)
    with plain_numpy(b2):
        if isinstance(objects, b2.Synapses):
            return _one(b2, objects, weight, around)
        return _whole(b2, objects.objects if isinstance(objects, b2.Network) else objects, weight, around)


def _weight(weight: str | Mapping[str, str], synapses: Any) -> str:
    return weight if isinstance(weight, str) else weight.get(synapses.name, "w")


def _dt(objects: Iterable[Any]) -> float:
    found = {float(f"{float(one.clock.dt) * 1e3:.12g}") for one in objects}
    if len(found) != 1:
        raise SpecificationError(f"the objects have the time steps {sorted(found)} ms; allowed: one for all")
    return found.pop()


def _one(b2: Any, synapses: Any, weight: str | Mapping[str, str], around: Mapping[str, Any]) -> ImportedSynapses:
    dt = _dt([synapses])
    source, target = (Neurons(b2, _group(b2, group), around, dt) for group in (synapses.source, synapses.target))
    wiring = Wiring(b2, synapses, source, target, around, _weight(weight, synapses), dt)
    projection = wiring.finish({target.group.name: wiring.code.written})[0]
    return ImportedSynapses(projection, projection.rule, wiring.values, wiring.names.changed)


def _group(b2: Any, group: Any) -> Any:
    if isinstance(group, b2.Subgroup):
        raise SpecificationError(
            f"'{group.source.name}[{group.start}:{group.stop}]' is a part of a group; allowed: whole groups"
        )
    return group


def _whole(b2: Any, objects: Iterable[Any], weight: str | Mapping[str, str], around: Mapping[str, Any]) -> Imported:
    groups, synapses = _sorted(b2, objects)
    if not groups:
        raise SpecificationError("there is no group of neurons among the objects; pass groups and Synapses together")
    dt = _dt([*groups, *synapses])
    neurons = {group.name: Neurons(b2, group, around, dt) for group in groups}
    wirings = []
    for one in synapses:
        for group in (_group(b2, one.source), _group(b2, one.target)):
            if group.name not in neurons:
                raise SpecificationError(f"Synapses '{one.name}' needs '{group.name}', which is not among the objects")
        ends = neurons[one.source.name], neurons[one.target.name]
        wirings.append(Wiring(b2, one, *ends, around, _weight(weight, one), dt))
    written: dict[str, set[str]] = {}
    for wiring in wirings:
        written.setdefault(wiring.target.group.name, set()).update(wiring.code.written)
    projections = [projection for wiring in wirings for projection in wiring.finish(written)]
    order = sorted(neurons.values(), key=lambda one: not one.is_input)
    populations: list[Population] = [one.population(written.get(one.group.name, ())) for one in order]
    network = Network(populations, projections, dt=dt, name="imported")  # type: ignore[arg-type]
    values = {name: value for wiring in wirings for name, value in wiring.values.items()}
    values |= {f"{one.label}.{name}": value for one in order for name, value in one.values.items()}
    spikes = {one.label: _spikes(one.group, dt) for one in order if isinstance(one.group, b2.SpikeGeneratorGroup)}
    renamed = {f"{part.group.name}.{old}": new for part in order for old, new in part.names.changed.items()}
    renamed |= {f"{part.synapses.name}.{old}": new for part in wirings for old, new in part.names.changed.items()}
    renamed |= {part.group.name: part.label for part in order if part.label != part.group.name}
    renamed |= {part.synapses.name: part.label for part in wirings if part.label != part.synapses.name}
    return Imported(network, _stored(network, values), spikes, renamed)


def _sorted(b2: Any, objects: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Return groups and Synapses; refuse by name what is neither and does something."""
    groups, synapses = [], []
    for one in objects:
        kind = type(one).__name__
        if isinstance(one, b2.Subgroup):
            _group(b2, one)
        if isinstance(one, b2.Synapses):
            synapses.append(one)
        elif isinstance(one, b2.NeuronGroup | b2.SpikeGeneratorGroup | b2.PoissonGroup):
            groups.append(one)
        elif not isinstance(one, b2.SpikeMonitor | b2.EventMonitor | b2.StateMonitor | b2.PopulationRateMonitor):
            raise SpecificationError(
                f"'{one.name}' is a {kind}, which is not taken; allowed: NeuronGroup, SpikeGeneratorGroup, "
                "PoissonGroup, Synapses, and monitors, which are left out"
            )
        for part in one.contained_objects if isinstance(one, b2.Group) else ():
            if type(part).__name__ == "CodeRunner":
                raise SpecificationError(
                    f"'{one.name}' has run_regularly code ('{part.name}'); allowed: equations, threshold, reset, "
                    "on_pre and on_post"
                )
    return groups, synapses


def _spikes(group: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and neurons of a group's spikes; rounded as Brian2 does."""
    if np.any(np.asarray(group.period_) > 0):
        raise SpecificationError(f"SpikeGeneratorGroup '{group.name}' has a period; allowed: spikes listed once")
    times = np.asarray(group._spike_time, dtype=np.float64) * 1e3
    return (times / dt + 1e-3).astype(int), np.asarray(group._neuron_index, dtype=int)


def _stored(network: Network, values: Mapping[str, np.ndarray]) -> Tree:
    """Return every leaf as it is stored."""
    found = {}
    for name, leaf in network.leaves.items():
        value = np.broadcast_to(values[name] if name in values else float(leaf.param.init), leaf.shape)  # type: ignore[arg-type]
        found[name] = unconstrain(leaf.param, torch.from_numpy(np.array(value)))
    return found
