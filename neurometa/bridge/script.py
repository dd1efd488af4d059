"""A network with its parameters and one episode as a Brian2 script that needs nothing else."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..brian2_engine._brian2 import load, plain_numpy
from ..brian2_engine.build import Model
from ..brian2_engine.simulate import _arrays, _noises, _set_activity, _set_synapses
from ..brian2_engine.texts import CPP
from ..brian2_engine.values import activity, constrained, flags, sequences, start
from ..errors import EngineError
from ..spec import Network, Population, Projection
from ..trajectory import State
from .recorder import Handle, Recorder
from .written import FUNCTIONS, LEARNED, SOURCES, mlp_lines

__all__ = ["brian2_script"]

HEADER = '''"""{title}

Needs numpy and brian2 only. Written by neurometa; the arrays are in {arrays}, beside this file.

Neurons of the {batch} episode(s) lie side by side: neuron number episode*size + k. Times are in ms, everything else is
a plain number. In a population v_<name> is a variable, a_<name> a parameter, fed the input of this step; c<k> is what
projection number k carries, d<k> what it delivers. In a projection w is the plastic weight, eff the efficacy that the
network uses, t_<name> a trace, p_<name> and r_<name> parameters of the projection and of its rule.
Operations run in the order in which they stand here: each has a slot of the schedule for itself. A formula is given a
new name first (new_v_x, l0) because Brian2 may reorder arithmetic that is assigned to a variable.
"""

from pathlib import Path

import numpy as np
from brian2 import (
    Clock, Function, Network, NetworkOperation, NeuronGroup, Synapses, linked_var, ms, prefs
)

prefs.codegen.target = "numpy"
prefs.codegen.loop_invariant_optimisations = False  # keep the arithmetic as it is written
data = np.load(Path(__file__).with_name("{arrays}"), allow_pickle=False)
objects, schedule = [], ["feed"]


def next_is(operation):
    """Let an operation run after everything above."""
    schedule.append(f"slot{{len(schedule)}}")
    operation.when = schedule[-1]


def each_step(group, code):
    """Run code on a group once a step, after everything above."""
    schedule.append(f"slot{{len(schedule)}}")
    objects.append(group.run_regularly(code, when=schedule[-1], clock=network_clock))
'''

FEED = '''
# Inputs of every step
step = 0


def feed():
    """Set this step's inputs{more}."""
    global step
{body}
    step += 1


objects.append(NetworkOperation(feed, clock=network_clock, when="feed", name="feed"))

network = Network(objects)
network.schedule = [*schedule, "start", "groups", "thresholds", "synapses", "resets", "end"]
network.run({n_steps} * {dt!r} * ms, namespace={{}})
'''

RESULT = '''

def weights(synapses, shape, place):
    """Return the weights as (episode, post, pre); 0 where there is no synapse."""
    found = np.zeros(shape)
    found[tuple(place)] = synapses.w
    return found


w = {{
{weights}
}}
if __name__ == "__main__":
    for name, found in w.items():
        expected = data["expected_" + name]
        largest = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3)
        print(name, found.shape, "largest relative difference from the torch engine:", largest)
'''


def brian2_script(
    network: Network,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    learn: bool | Sequence[bool] = True,
    reset: bool | Sequence[bool] = False,
    noise: Mapping[str, Any] | None = None,
    state: State | None = None,
    expected: Mapping[str, Any] | None = None,
    arrays: str = "network.npz",
) -> tuple[str, dict[str, np.ndarray]]:
    """Write a network, its parameters and an episode as a script.

    Parameters
    ----------
    network, params, inputs, learn, reset, noise, state
        As for the engines.
    expected : mapping of str to array, optional
        Projection -> weights at the end, ``(batch, post, pre)``, with which the script compares its own.
    arrays : str
        Name of the file of arrays, which lies beside the script.

    Returns
    -------
    source : str
        The script.
    data : dict of str to ndarray
        What belongs into the file of arrays.

    Raises
    ------
    EngineError
        If brian2 is not installed, or cannot express something.

    Examples
    --------
    >>> import torch
    >>> from neurometa import Streams, init_params, networks
    >>> network = networks.associative(n_in=3, n_out=2)
    >>> params = init_params(network, Streams(0)["init"])
    >>> inputs = {name: torch.rand(4, 1, size) for name, size in network.inputs.items()}
    >>> source, data = brian2_script(network, params, inputs)
    >>> "neurometa" in source.split("import", 1)[1], source.count("NeuronGroup(") > 3
    (False, True)
    """
    b2 = load()
    fed = sequences(network, inputs)
    n_steps, batch = next(iter(fed.values())).shape[:2]
    learns, resets = flags(learn, n_steps, "learn"), flags(reset, n_steps, "reset")
    noises = _noises(network, noise or {}, (n_steps, batch))
    if any(resets[1:]) and any(p.delay for p in network.projections):
        raise EngineError("Brian2's queues of delayed spikes are not emptied by a reset; export an episode without one")
    with plain_numpy(b2), np.errstate(all="ignore"):
        values = constrained(network, params, batch)
        recorder = Recorder(b2, *_labels(network, batch))
        for name, line in mlp_lines(network, values, recorder.arrays):
            recorder.functions[name] = line
        model: Any = _Written(recorder, network, values, batch)
        beginning = start(network, values, batch) if state is None else _arrays(state)
        recorder.write("\n# Where everything starts")
        _set_activity(model, beginning.x, 0)
        _set_synapses(model, beginning)
        body = _feed(model, recorder, fed, noises, learns, resets, activity(network, values, batch))
        b2.Network(*(one._real for one in model.objects))  # else Brian2 warns that they were never used
    text = "\n".join(recorder.lines)
    used = [name for name in CPP if re.search(rf"\b{name}\(", text)]
    more = ", noise" if noises else ""
    parts = [
        HEADER.format(title=f"Network '{network.name}' in Brian2.", arrays=arrays, batch=batch),
        FUNCTIONS.format(
            definitions="\n".join(SOURCES[name] for name in used),
            table=", ".join(f'"{name}": {"brian_" + name}' for name in used),
        ),
        *([LEARNED] if recorder.functions else []),
        text,
        FEED.format(
            more=more,
            body="\n".join(f"    {line}" for line in body),
            n_steps=n_steps,
            dt=network.dt,
        ),
    ]
    shown = {p.label: model for p in network.plastic}
    for projection in network.plastic:
        recorder.arrays[f"places_{projection.label}"] = np.stack(model.places[projection.label])
        if expected is not None:
            recorder.arrays[f"expected_{projection.label}"] = np.asarray(expected[projection.label])
    lines = [
        f'    "{label}": weights({model.synapses[label]._text}, {model.shape(p)}, data["places_{label}"]),'
        for label, p in zip(shown, network.plastic, strict=True)
    ]
    result = RESULT if expected is not None else RESULT.split("if __name__")[0]
    return "\n".join([*parts, result.format(weights="\n".join(lines))]), recorder.arrays


#: Names that the script itself uses.
_TAKEN = (
    "Clock Function Network NetworkOperation NeuronGroup Path Synapses brian_function data each_step expected feed "
    "found functions inputs largest learn learned_function linked_var ms name network network_clock next_is noise np "
    "objects prefs schedule step w weights"
).split()


def _labels(network: Network, batch: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return the script's variables and comments by Brian2 name."""
    taken = set(_TAKEN) | set(keyword.kwlist) | set(dir(builtins))
    names, comments = {"population_one": "one"}, {"population_one": "The constant 1, source of biases"}
    for k, population in enumerate(network.populations):
        kind = "input population" if population.is_input else "population"
        names[f"population_{k}"] = f"{population.name}_neurons" if population.name in taken else population.name
        comments[f"population_{k}"] = f"The {kind} '{population.name}'; number of neurons: {population.size}"
    for k, projection in enumerate(network.projections):
        names[f"projection_{k}"] = f"{projection.pre}_to_{projection.post}_{k}"
        rule = f", plastic by the rule '{projection.rule.name}'" if projection.rule else ""
        comments[f"projection_{k}"] = (
            f"Projection number {k}, '{projection.label}', from '{projection.pre}' to '{projection.post}'{rule}"
        )
    return names, comments


class _Written(Model):
    """The objects of the other engine, with a comment above every part of a step."""

    def _population(self, population: Population, late: bool = False) -> None:
        if not late or population.phases[1][1]:
            again = ", once all populations have updated" if late else ""
            self.b2.write(f"\n# Each step: '{population.name}'{again}")
        super()._population(population, late)

    def _sums(self, projection: Projection) -> None:
        if projection.rule and projection.rule.sums:
            self.b2.write(f"\n# Each step: sums that the rule of '{projection.label}' reads")
        super()._sums(projection)

    def _rule(self, projection: Projection) -> None:
        self.b2.write(f"\n# Each step: the rule of '{projection.label}'")
        super()._rule(projection)

    def _deliver(self) -> None:
        if any(self.network.delivers(p) for p in self.network.projections):
            self.b2.write("\n# Each step: spikes arrive; deliveries, on_pre, on_post, and resets at the end")
        super()._deliver()


def _feed(
    model: Model,
    recorder: Recorder,
    fed: Mapping[str, np.ndarray],
    noises: Mapping[str, np.ndarray],
    learns: Sequence[bool],
    resets: Sequence[bool],
    rest: Mapping[str, np.ndarray],
) -> list[str]:
    """Return the lines of the operation that runs before each step."""
    lines: list[str] = []
    if any(resets):
        kept, recorder.lines = recorder.lines, []
        _set_activity(model, rest, 0)
        recorder.arrays["reset"] = np.array(resets)
        lines = ['if data["reset"][step]:  # activity goes back to its start', *(f"    {x}" for x in recorder.lines)]
        recorder.lines = kept
    for kind, table, variable, found in (("input", "inputs", "fed", fed), ("noise", "noise", "noise", noises)):
        for name, sequence in found.items():
            recorder.arrays[f"{kind}_{name}"] = sequence
            group: Handle = model.groups[name]
            lines.append(f'{group._text}.{variable} = {table}["{name}"][step].ravel()')
        entries = ", ".join(f'"{name}": data["{kind}_{name}"]' for name in found)
        if found:
            recorder.write(f"{table} = {{{entries}}}  # (time, episode, neuron)")
    if model.network.plastic:
        recorder.arrays["learn"] = np.array(learns, dtype=float)
        recorder.write('learn = data["learn"]  # where the rules are on')
    for projection in model.network.plastic:
        lines.append(f"{model.synapses[projection.label]._text}.learning = learn[step]")
    return lines
