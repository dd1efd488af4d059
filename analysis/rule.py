"""A learned rule: its surface dw(pre, post) at levels of the third factor, or its spike-timing window.

python analysis/rule.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, plastic, script

from neurometa.analysis.learned import rule_leaves
from neurometa.analysis.rule_card import dw_surface
from neurometa.analysis.rule_figure import plot_surface
from neurometa.analysis.sheet import Sheet
from neurometa.analysis.timing import LAGS, spike_timing


def draw(source: Source) -> Drawn:
    """Draw the surface of a rule of rates, window and frequency curve of one of spikes."""
    recording = source.recording
    label = plastic(recording)
    assert recording.network is not None
    rule = next(p.rule for p in recording.network.plastic if p.label == label)
    if rule is None:
        raise Unsuitable(f"{label} has no rule")
    leaves = rule_leaves(recording.params(), label)
    if rule.has_events:
        found = spike_timing(rule, leaves)
        sheet = Sheet(["window", "frequency"], 2)
        window, curve = sheet.panels
        window.line(f"w = {found.w[1]:.2g}", found.lags, found.window[1])
        window.finish("a  window of one pair", "post after pre (ms)", "dw")
        for lag, change, colour in zip(LAGS, found.curve, ("blue", "orange"), strict=True):
            curve.line(f"{lag:+d} ms", found.rates, change, colour, marker="o", ms=3)
        curve.finish("b  60 pairings", "pairings per second (Hz)", "dw")
        best = int(np.argmax(np.abs(found.window[1])))
        return Drawn(
            sheet,
            f"The learned {rule.name} changes w most at {found.lags[best]:+g} ms, by {found.window[1, best]:.3g}.",
        )
    surface = dw_surface(rule, leaves=leaves)
    levels = len(surface.levels)
    names = [f"{surface.factor or 'dw'} {level:g}, w {w:g}" for level in surface.levels for w in surface.w]
    sheet = Sheet(names, 3, levels, height=1.9)
    axes = np.array([panel.axis for panel in sheet.panels]).reshape(levels, 3)
    for axis in axes.flat:
        axis.tick_params(labelsize=6)
    image = plot_surface(axes, surface)
    bar = sheet.figure.colorbar(image, ax=axes.ravel().tolist())
    bar.set_label("dw per ms", size=7)
    bar.ax.tick_params(labelsize=6)
    for k, panel in enumerate(sheet.panels):
        z = surface.dw[k // 3, k % 3]
        for i, post in enumerate(surface.post):
            panel.note(f"post {post:.3g}", surface.pre, z[i])
    held = f" (with {', '.join(f'{k} = {v:g}' for k, v in surface.held.items())})" if surface.held else ""
    place = np.unravel_index(np.nanargmax(np.abs(surface.dw)), surface.dw.shape)
    what = f"{surface.factor} = {surface.levels[place[0]]:g}, " if surface.factor else ""
    return Drawn(
        sheet,
        f"The learned {rule.name} of {label}{held} changes w most at {what}w = {surface.w[place[1]]:g}, "
        f"post = {surface.post[place[2]]:.2g}, pre = {surface.pre[place[3]]:.2g}: by {surface.dw[place]:.3g} per ms.",
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
