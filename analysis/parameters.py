"""Parameters of rules over meta-iterations, from what was recorded while training.

python analysis/parameters.py --source runs/mine      # trained with --record default
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis.sheet import Sheet
from neurometa.torch_engine import constrain

COLOURS = ("blue", "orange", "green", "red", "grey", "black")


def draw(source: Source) -> Drawn:
    """Draw the constrained value of every scalar of a rule."""
    recording = source.training
    network = recording.network
    assert network is not None
    names = [
        name
        for name, leaf in network.leaves.items()
        if leaf.group == "rule" and f"params/{name}" in recording.source.names
    ]
    if not names:
        raise Unsuitable("the network has no rule with parameters")
    each = [constrain(network, recording.params(int(k))) for k in recording.iterations]
    values = {name: np.array([float(v[name].mean()) for v in each]) for name in names}
    moved = sorted(names, key=lambda name: -np.ptp(values[name]) / (abs(values[name][0]) + 1e-6))[: len(COLOURS)]
    sheet = Sheet(["value", "relative"], 2)
    left, right = sheet.panels
    for name, colour in zip(moved, COLOURS, strict=False):
        left.line(name, recording.iterations, values[name], colour)
        if abs(values[name][0]) > 0.05 * np.abs(values[name]).max():  # else there is nothing to be relative to
            right.line(name, recording.iterations, values[name] / values[name][0], colour)
    left.finish("a  parameters of rules", "meta-iteration", "value")
    right.finish("b  relative to the start", "meta-iteration", "value / first value", legend=False)
    right.axis.set_visible(bool(right.rows))
    first = moved[0]
    return Drawn(sheet, f"{first} moved most for its size, from {values[first][0]:.3g} to {values[first][-1]:.3g}.")


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
