"""Neuromodulators, errors and eligibility in one episode, and around events.

    python analysis/modulators.py --source runs/mine

Events are jumps of a hidden mean where the task has them, else rewards, else the first step at which a target is shown.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from _source import Drawn, Source, Unsuitable, plastic, script

import neurometa as nm
from neurometa.analysis.aligned import align
from neurometa.analysis.sheet import Sheet
from neurometa.errors import NeurometaError

COLOURS = ("blue", "orange", "green", "red")


def events_of(recording: nm.Recording) -> tuple[str, np.ndarray]:
    """Return the name of the events, and where they are, ``(time, episode)`` of the network's steps."""
    episode, hold = recording.episode(), int(recording.attributes["hold"])
    shown = episode.support.inputs
    if "jump" in episode.info:
        name, found = "a jump", episode.info["jump"].numpy() > 0
    elif "reward" in shown:
        name, found = "a reward", (shown["reward"] != 0).any(-1).numpy()
    else:
        taught = (
            shown["teach"][..., 0].numpy() > 0 if "teach" in shown else np.zeros(episode.support.target.shape[:2], bool)
        )
        name, found = "teaching begins", taught & ~np.vstack([np.zeros_like(taught[:1]), taught[:-1]])
    spaced = np.zeros((len(found) * hold, found.shape[1]), dtype=bool)
    spaced[::hold] = found
    return name, spaced


def signals(recording: nm.Recording) -> dict[str, np.ndarray]:
    """Return ``(time, episode)`` of modulators, the size of errors, and the size of eligibility traces."""
    network = recording.network
    found = {name: recording.modulators[name][()].mean(-1) for name in recording.modulators}
    if network is not None:
        found = {name: value for name, value in found.items() if not network[name].is_input}
    if "error" in recording.x:
        found["|error|"] = np.abs(recording.x["error"][()]).mean(-1)
    else:
        errors = [name for name in recording.variables if name.startswith("error.")]
        found |= {f"|{name}|": np.abs(recording.variables[name][()]).mean(-1) for name in errors}
    label = plastic(recording)
    for name in recording.traces:
        if name.startswith(f"{label}."):
            value = np.abs(recording.traces[name][()])
            found[f"|{name.partition('.')[2]}|"] = value.mean(tuple(range(2, value.ndim)))
    return found


def draw(source: Source) -> Drawn:
    """Draw one episode, and the mean around events."""
    recording = source.recording
    found = signals(recording)
    if not found:
        raise Unsuitable("no neuromodulator, error or trace is recorded")
    name, events = events_of(recording)
    sheet = Sheet(["episode", "events"], 2, height=2.8)
    left, right = sheet.panels
    span = int(min(len(source.time), 150))
    shown = list(zip(found.items(), COLOURS, strict=False))
    lags = max(1, min(20, len(source.time) // 4))
    said = ""
    for (signal, value), colour in shown:
        one = value[:span, source.settings.episode]
        left.line(signal, source.time[:span], one, colour)
        around = None
        for before in (min(5, lags), 0):  # an episode may begin with its event
            with suppress(NeurometaError):
                around = around or align(value, events, before, lags)
        if around is None:
            continue
        right.line(signal, around.lags * recording.dt, around.mean, colour, low=around.low, high=around.high)
        peak = int(np.argmax(around.mean))
        first = around.mean[around.lags < 0].mean() if around.lags[0] < 0 else around.mean[0]
        said = said or (
            f"{signal} is {first:.2f} {'before' if around.lags[0] < 0 else 'when'} {name} and at most "
            f"{around.mean[peak]:.2f}, {around.lags[peak]} steps after it (mean over {around.n} events)."
        )
    for step in np.flatnonzero(events[:span, source.settings.episode]):
        left.guide(x=source.time[step], ls=":")
    left.finish("a  one episode" + (f" (dotted: {name})" if events.any() else ""), "time (ms)", "mean over neurons")
    right.finish(f"b  around {name}", f"ms after {name}", "mean over events")
    if not right.rows:
        right.axis.set_visible(False)
    return Drawn(sheet, said or f"Signals of one episode; {name} never has enough steps around it.")


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
