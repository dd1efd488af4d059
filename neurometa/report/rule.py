"""What the main learner learned: its equation with its values, the surface of its rule, one episode of its synapses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..analysis.figures import COLOURS, new_figure
from ..analysis.latex import equations
from ..analysis.learned import rule_leaves
from ..analysis.rule_card import dw_surface
from ..analysis.rule_figure import plot_surface
from ..errors import NeurometaError
from ..learners import PlasticLearner
from ..meta.run import Run
from ..spec import Projection
from ..streams import generator
from ..tasks.base import responder
from ..torch_engine.params import constrain_leaf
from ..trajectory import Save
from . import tables
from .blocks import Block, Cell, Figure, Text, show

__all__ = ["learned_rule"]

#: Synapses that are drawn of an episode.
SHOWN = 8


def learned_rule(runs: Sequence[Run]) -> list[Block]:
    """Return the blocks about the rule of the main learner; none where it has none."""
    if not runs or not isinstance(runs[0].learner, PlasticLearner):
        return []
    learner = runs[0].learner
    blocks: list[Block] = []
    for projection in {p.rule.name: p for p in learner.network.plastic if p.rule}.values():
        assert projection.rule is not None
        blocks += [Text(text, "code") for text, _ in equations(projection.rule)]
        blocks += [Text(f"efficacy = {projection.efficacy}", "code")] if projection.efficacy != "w" else []
        blocks.append(Text(f"Locality: {projection.rule.locality}."))
    rows = _values(runs)
    if rows:
        blocks.append(tables.values(rows))
    surface = _surface(runs[0], learner.network.plastic[0])
    return [*blocks, *([surface] if surface else []), *_episode(runs[0], learner)]


def _values(runs: Sequence[Run]) -> list[tuple[str, list[Cell]]]:
    """Return every learned value of the group ``rule``, over seeds."""
    network = runs[0].learner.network  # type: ignore[attr-defined]
    names = [name for name, leaf in network.leaves.items() if leaf.group == "rule" and leaf.param.learned]
    rows: list[tuple[str, list[Cell]]] = []
    for name in names:
        param = network.leaves[name].param
        each = [float(constrain_leaf(param, run.params[name]).mean()) for run in runs if name in run.params]
        if each:
            unit = f" ({param.unit})" if param.unit else ""
            entries = runs[0].params[name].numel()
            rows.append((name + unit, [float(np.mean(each)), min(each), max(each), entries]))
    return rows


def _surface(run: Run, projection: Projection) -> Figure | None:
    """Return the change of a synapse over the activity of its neurons, at the learned values."""
    rule = projection.rule
    assert rule is not None
    try:
        found = dw_surface(rule, leaves=rule_leaves(run.params, projection.label))
    except NeurometaError:  # the rule needs a network of its own, such as one with spikes
        return None

    def draw() -> Any:
        figure, axes = new_figure(3, len(found.levels), width=7.2, height=0.6 + 2.0 * len(found.levels))
        image = plot_surface(axes, found)
        if image is not None:
            figure.colorbar(image, ax=axes, shrink=0.8, label="dw").ax.tick_params(labelsize=7)
        return figure

    finite = found.dw[np.isfinite(found.dw)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    third = f" at {found.factor} = {', '.join(f'{v:g}' for v in found.levels)}" if found.factor else ""
    alt = f"Change of a synapse over pre- and postsynaptic activity{third}: from {show(low)} to {show(high)}."
    held = "".join(f"; {name} held at {value:g}" for name, value in found.held.items())
    caption = f"The learned rule of {projection.label}, seed {run.seed}: dw over the activity of both neurons{held}."
    return Figure("rule-surface", caption, alt, draw)


def _episode(run: Run, learner: PlasticLearner) -> list[Block]:
    """Return synapses and modulators over one test episode."""
    network, like = learner.network, next(iter(run.params.values()))
    episode = run.task.sample(generator(run.seed, "eval"), 2, "test", device=like.device, dtype=like.dtype)
    part, label = episode.support, network.plastic[0].label
    names = [n for n in dict.fromkeys(n for p in network.plastic for n in p.modulators.values()) if n != "one"]
    names = [n for n in names if not network[n].is_input]
    save = Save((f"w.{label}", *(f"x.{n}" for n in names)))
    with torch.no_grad():
        found = learner.run(
            run.params, part, generator(run.seed, "eval noise"), save, respond=responder(run.task, part)
        )
    w = found[f"w.{label}"][:, 0].flatten(1).cpu().numpy()  # (time, synapses)
    moved = np.argsort(-np.ptp(w, axis=0), kind="stable")[:SHOWN]
    m = {name: found[f"x.{name}"][:, 0].cpu().numpy() for name in names}  # (time, neurons)

    def draw() -> Any:
        figure, axes = new_figure(1, 1 + bool(m), width=7.2, height=2.0 * (1 + bool(m)))
        time = np.arange(1, len(w) + 1)
        axes[0, 0].plot(time, w[:, moved], lw=0.9, marker="." if len(w) < 30 else None)
        axes[0, 0].set(ylabel=f"w of {label}")
        for (name, values), colour in zip(m.items(), ("orange", "blue", "green", "red"), strict=False):
            axes[1, 0].plot(time, values.mean(1), lw=1, color=COLOURS[colour], label=name)
        if m:
            axes[1, 0].legend(fontsize=6, frameon=False)
            axes[1, 0].set(ylabel="modulator")
        axes[-1, 0].set(xlabel="step of the network")
        return figure

    alt = f"{len(moved)} synapses over {len(w)} steps, weights from {show(float(w.min()))} to {show(float(w.max()))}"
    alt += "".join(f"; {name} from {show(float(v.min()))} to {show(float(v.max()))}" for name, v in m.items())
    what = "the synapses that changed most" if w.shape[1] > SHOWN else "its synapses"
    caption = f"One test episode of seed {run.seed} while it is learned: {what}{' and modulators' if m else ''}."
    return [Figure("episode", caption, f"{alt}.", draw)]
