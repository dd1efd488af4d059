"""Running a network over a sequence: resets, what to keep, checkpointed and compiled steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.utils.checkpoint import checkpoint

from ..errors import EngineError
from ..spec import Network
from ..trajectory import Save, State, Trajectory
from .program import Program, program

__all__ = ["Respond", "places", "run", "simulate"]

CHUNK = 1000
Flags = bool | Tensor | Sequence[bool]
#: What a step's output ``(batch, n_out)`` brings about: input population -> activity ``(batch, n)`` of the next step.
Respond = Callable[[int, Tensor], Mapping[str, Tensor]]
#: State after some steps, inputs that the last brought about; of every step its output, what is kept, and its inputs.
Segment = tuple[State, Mapping[str, Tensor], list[Tensor], list[list[Tensor]], list[dict[str, Tensor]]]


def simulate(
    network: Network,
    params: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    *,
    learn: Flags = True,
    reset: Flags = False,
    state: State | None = None,
    noise: Mapping[str, Tensor] | None = None,
    stream: torch.Generator | None = None,
    save: Save | None = None,
    checkpoint_every: int | None = None,
    window: int | None = None,
    compile: bool = False,
    respond: Respond | None = None,
) -> Trajectory:
    """Run a network over a sequence of inputs, differentiably.

    Parameters
    ----------
    network : Network
        The description.
    params : mapping of str to Tensor
        Stored leaves; any may carry a batch axis in front, so that one call runs many rules.
    inputs : mapping of str to Tensor
        Input population -> ``(time, batch, n)``. Entries that the network does not have are left out.
    learn : bool or (time,)
        Where the plasticity rules run; elsewhere weights and traces stand still.
    reset : bool or (time,)
        Where activity goes back to its start before the step; weights and traces are kept.
    state : State, optional
        Continue from here; default: `start`.
    noise : mapping of str to Tensor, optional
        Population -> ``(time, batch, n)`` for texts that read ``noise``; drawn from ``stream`` by default.
    stream : torch.Generator, optional
        CPU generator for noise and for starts that are drawn per episode.
    save : Save, optional
        What to keep besides the output.
    checkpoint_every : int, optional
        Keep activations of each ``checkpoint_every``-th step only and recompute the rest in the backward pass;
        about ``sqrt(time)`` is a good value.
    window : int, optional
        Take the state as a constant at every ``window``-th step, so that gradients reach back no further than that
        (truncated back-propagation; what is computed stays the same).
    compile : bool
        Compile the step with ``torch.compile``.
    respond : callable, optional
        Closes the loop: ``respond(t, output)`` is asked after every step but the last, and what it returns replaces
        these inputs of step ``t + 1``. It must give the same answer to the same output, for it is asked again where
        steps are recomputed.

    Returns
    -------
    Trajectory
        Output ``(time, batch, n_out)``, the final state, what the plan kept, and the inputs as they became if the loop
        was closed.

    Raises
    ------
    EngineError
        If an input is missing or has another shape.

    Notes
    -----
    Where no step learns and activity is reset at equal distances, the items between resets are independent: they are
    answered at once, on an axis of their own, unless a plan keeps the trajectory.
    """
    made = program(network)
    return run(
        made,
        params,
        inputs,
        learn=learn,
        reset=reset,
        state=state,
        noise=noise,
        stream=stream,
        save=save,
        checkpoint_every=checkpoint_every,
        window=window,
        compile=compile,
        respond=respond,
    )


def run(
    made: Program,
    params: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    *,
    learn: Flags = True,
    reset: Flags = False,
    state: State | None = None,
    noise: Mapping[str, Tensor] | None = None,
    stream: torch.Generator | None = None,
    save: Save | None = None,
    checkpoint_every: int | None = None,
    window: int | None = None,
    compile: bool = False,
    respond: Respond | None = None,
) -> Trajectory:
    """Run a program: `simulate`, for callers inside a compiled function, which cannot look a program up."""
    first = _check_inputs(made, inputs)
    n_steps, batch = first.shape[:2]
    learns, resets = _flags(learn, n_steps, "learn"), _flags(reset, n_steps, "reset")
    noise = _noise(made, noise, stream, first)
    sequences = {name: inputs[name] for name in made.inputs}
    period = _period(resets)
    dual = any(unpack_dual(leaf).tangent is not None for leaf in params.values())
    if dual:
        params, sequences, noise = _with_tangents(params), _with_tangents(sequences), _with_tangents(noise)
    if state is None:
        state = made.start(params, batch, stream, first)
        state = State(*map(_with_tangents, state)) if dual else state
        rest = state.x
    else:
        rest = made.activity(params, batch, stream, first) if any(resets) else {}
    if save is None and respond is None and not any(learns) and period < n_steps and made.foldable:
        return _answer(made, params, sequences, noise, period, state._replace(x=rest), compile)
    values = made.prepare(params, like=first)
    keep = _Keeper(made.network, save, state)
    steps = {flag: made.step(flag, compile) for flag in (False, True) if flag in learns}

    def segment(state: State, new: Mapping[str, Tensor], begin: int, end: int) -> Segment:
        outputs, kept, shown = [], [], []
        for t in range(begin, end):
            if resets[t]:
                state = State(rest, state.w, state.traces)
            if window and t and t % window == 0:
                state = State(*({name: value.detach() for name, value in tree.items()} for tree in state))
            now = {name: sequence[t] for name, sequence in sequences.items()}
            if respond is not None:
                now |= new
                shown.append(now)
            state, currents = steps[learns[t]](values, state, now, {name: value[t] for name, value in noise.items()})
            outputs.append(_output(made, state, currents))
            if respond is not None and t + 1 < n_steps:
                new = _check_new(made, respond(t, outputs[-1]), outputs[-1])
                new = _with_tangents(new) if dual else new
            if keep.wants(t):
                kept.append(keep(state, currents))
        return state, new, outputs, kept, shown

    new: Mapping[str, Tensor] = {}
    shown: list[dict[str, Tensor]] = []
    outputs: list[Tensor] = []
    kept: list[list[Tensor]] = []
    length = checkpoint_every or min(n_steps, CHUNK)
    for begin in range(0, n_steps, length):
        end = min(begin + length, n_steps)
        if checkpoint_every and torch.is_grad_enabled():
            found: Segment = checkpoint(segment, state, new, begin, end, use_reentrant=False)  # type: ignore[assignment]
        else:
            found = segment(state, new, begin, end)
        state, new, new_outputs, new_kept, new_shown = found
        outputs.append(torch.stack(new_outputs))  # many small tensors would take much more memory
        kept += new_kept
        shown += new_shown
    saved = (
        {name: torch.stack(column) for name, column in zip(keep.names, zip(*kept, strict=True), strict=True)}
        if kept
        else {}
    )
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    seen = {name: torch.stack([now[name] for now in shown]) for name in made.inputs} if shown else {}
    return Trajectory(output, state, saved, tuple(t for t in range(n_steps) if keep.wants(t)), seen)


def _with_tangents(tree: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give every tensor a tangent, 0 where it has none: a product of one with and one without is very slow in torch."""
    found = {}
    for name, value in tree.items():
        whole = unpack_dual(value).tangent is not None
        found[name] = value if whole else make_dual(value.contiguous(), torch.zeros_like(value.contiguous()))
    return found


def places(network: Network, state: State) -> dict[str, tuple[str, str]]:
    """Return what a plan may keep: its name in `Save` -> where it is found, in the state or among the currents."""
    found: dict[str, tuple[str, str]] = {}
    known = {p.name for p in network.populations}
    for key in state.x:
        population, variable = key.split(".")
        if population in known:
            found[f"{variable}.{population}"] = ("x", key)
    for each in network.populations:
        if not each.is_input:
            found |= {f"{v}.{each.name}": ("current", f"{each.name}.{v}") for v in each.inputs}
    found |= {f"w.{key}": ("w", key) for key in state.w}
    return found | {f"traces.{key}": ("traces", key) for key in state.traces}


class _Keeper:
    """Chooses what a plan keeps from the state and the currents of a step."""

    def __init__(self, network: Network, save: Save | None, state: State):
        self.places = places(network, state)
        self.names = save.choose(list(self.places)) if save else []
        self.every = save.every if save else 0

    def wants(self, t: int) -> bool:
        return bool(self.every) and t % self.every == 0

    def __call__(self, state: State, currents: Mapping[str, Tensor]) -> list[Tensor]:
        found: dict[str, Any] = {"x": state.x, "w": state.w, "traces": state.traces, "current": currents}
        return [found[kind][key] for kind, key in (self.places[name] for name in self.names)]


def _output(made: Program, state: State, currents: Mapping[str, Tensor]) -> Tensor:
    return state.x[made.output] if made.output in state.x else currents[made.output]


def _answer(made, params, sequences, noise, period, state, compile) -> Trajectory:
    """Answer independent items at once: ``(time, batch, n)`` becomes ``(period, batch, items, n)``.

    Every item starts from ``state``, whose activity is that at rest.
    """

    def fold(sequence: Tensor) -> Tensor:
        return sequence.unflatten(0, (-1, period)).permute(1, 2, 0, 3)  # (period, batch, items, n)

    folded = {name: fold(sequence) for name, sequence in sequences.items()}
    folded_noise = {name: fold(value) for name, value in noise.items()}
    first = next(iter(folded.values()))  # (period, batch, items, n)
    n_items = first.shape[2]
    values = made.prepare(params, items=True, like=first)
    state = state._replace(x={key: v.unsqueeze(1).expand(-1, n_items, -1) for key, v in state.x.items()})
    step = made.step(False, compile)
    outputs = []
    for t in range(period):
        now = {name: sequence[t] for name, sequence in folded.items()}
        state, currents = step(values, state, now, {name: value[t] for name, value in folded_noise.items()})
        outputs.append(_output(made, state, currents))
    stacked = torch.stack(outputs)  # (period, batch, items, n_out)
    last = state._replace(x={key: v[:, -1] for key, v in state.x.items()})
    return Trajectory(stacked.permute(2, 0, 1, 3).flatten(0, 1), last)


def _period(resets: Sequence[bool]) -> int:
    """Return the distance between resets where it is always the same and divides the time; else the whole time."""
    places = [t for t, flag in enumerate(resets) if flag]
    if not places or places[0] != 0:
        return len(resets)
    gaps = {b - a for a, b in zip(places, [*places[1:], len(resets)], strict=True)}
    return gaps.pop() if len(gaps) == 1 else len(resets)


def _flags(flags: Flags, n_steps: int, name: str) -> list[bool]:
    if isinstance(flags, bool):
        return [flags] * n_steps
    found = [bool(flag) for flag in (flags.tolist() if isinstance(flags, Tensor) else flags)]
    if len(found) != n_steps:
        raise EngineError(f"{name} has {len(found)} steps, the inputs have {n_steps}")
    return found


def _check_inputs(made: Program, inputs: Mapping[str, Tensor]) -> Tensor:
    wanted = made.inputs
    if not wanted:
        raise EngineError(f"network '{made.network.name}' has no input population; give one an empty update")
    shapes = set()
    for name, size in wanted.items():
        if name not in inputs:
            raise EngineError(f"input '{name}' is missing; network '{made.network.name}' reads {', '.join(wanted)}")
        sequence = inputs[name]
        if sequence.ndim != 3 or sequence.shape[-1] != size:
            raise EngineError(f"input '{name}' has shape {tuple(sequence.shape)}; allowed: (time, batch, {size})")
        shapes.add(tuple(sequence.shape[:2]))
    if len(shapes) != 1:
        raise EngineError(f"inputs differ in (time, batch): {sorted(shapes)}")
    return inputs[next(iter(wanted))]


def _check_new(made: Program, new: Mapping[str, Tensor], output: Tensor) -> dict[str, Tensor]:
    """Return the inputs that a closed loop gives, of those that the network reads."""
    found = {name: value for name, value in new.items() if name in made.inputs}
    for name, value in found.items():
        if value.shape != (len(output), made.inputs[name]):
            raise EngineError(
                f"respond gives '{name}' the shape {tuple(value.shape)}; allowed: ({len(output)}, {made.inputs[name]})"
            )
    return found


def _noise(
    made: Program, noise: Mapping[str, Tensor] | None, stream: torch.Generator | None, like: Tensor
) -> dict[str, Tensor]:
    found = {}
    for name, size in made.noisy.items():
        if noise is not None and name in noise:
            found[name] = noise[name]
        elif stream is not None:
            found[name] = torch.randn((*like.shape[:2], size), generator=stream, dtype=like.dtype).to(like.device)
        else:
            raise EngineError(f"population '{name}' reads noise; pass noise= or stream=")
    return found
