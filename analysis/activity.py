"""Activity as a trajectory: principal components, and how many dimensions it uses.

python analysis/activity.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis import figures
from neurometa.analysis.dynamics import participation_ratio, pca
from neurometa.analysis.sheet import Sheet

COLOURS = ("blue", "orange", "green")
SHOWN = 40  # steps of a trajectory


def draw(source: Source) -> Drawn:
    """Draw the largest computed population in its components."""
    recording = source.recording
    network = recording.network
    names = [name for name in recording.x if network is not None and not network[name].is_input]
    names = [name for name in names if recording.x[name].shape[-1] > 2]
    if not names:
        raise Unsuitable("no population of three neurons or more has a recorded rate")
    name = max(names, key=lambda each: recording.x[each].shape[-1])
    x = recording.x[name][()]
    found = pca(x, 2)
    sheet = Sheet(["trajectories", "variance"], 2)
    left, right = sheet.panels
    for k, colour in zip(range(x.shape[1]), COLOURS, strict=False):
        left.line(f"episode {k}", *found.projected[:SHOWN, k].T, colour, marker="o", ms=2, lw=0.7)
        left.axis.plot(*found.projected[0, k], marker="s", ms=4, color=figures.COLOURS["black"])
    left.finish(f"a  {name} (square: first step)", "component 1", "component 2")
    total = np.cumsum(found.explained)
    right.line("cumulated", np.arange(1, len(total) + 1), total, marker="o", ms=2)
    right.finish("b  variance explained", "components", "share of the variance", legend=False)
    right.axis.set_ylim(0, 1.02)
    return Drawn(
        sheet,
        f"{name} uses {participation_ratio(x):.1f} of its {x.shape[-1]} dimensions (participation ratio); two "
        f"components hold {100 * total[1]:.0f} % of the variance.",
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
