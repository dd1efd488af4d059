"""Plastic weights within an episode: synapses in the order of their change, before and after, drift and rank.

python analysis/weights.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, plastic, script

from neurometa.analysis.aligned import mean_interval
from neurometa.analysis.sheet import Sheet
from neurometa.analysis.weights import drift, effective_rank, sorted_by_change

MOST = 200  # rows of the heat map
FEW = 5  # so few synapses are drawn as curves
COLOURS = ("blue", "orange", "green", "red")


def draw(source: Source) -> Drawn:
    """Draw four views of the weights."""
    recording, time = source.recording, source.time
    label = plastic(recording)
    w = recording.w[label][()]
    one = w[:, source.settings.episode]
    order, rows = sorted_by_change(one)
    if len(order) > MOST:
        rows = rows[np.linspace(0, len(order) - 1, MOST).astype(int)]
    sheet = Sheet(["synapses", "histogram", "drift", "rank"], 2, 2)
    heat, histogram, moved, rank = sheet.panels
    if len(order) < FEW:
        for k, row in enumerate(one.reshape(len(one), -1).T):
            heat.line(f"synapse {k}", time, row, COLOURS[k])
        heat.finish(f"a  {label}, one episode", "time (ms)", "w")
    else:
        heat.image("synapse", rows, time, "change of w")
        heat.finish(f"a  {label}, one episode", "time (ms)", "synapse, by its change", legend=False)
    edges = np.histogram_bin_edges(w[[0, -1]], 40)
    for name, values, colour in (("first step", w[0], "grey"), ("last step", w[-1], "blue")):
        histogram.bars(name, edges, np.histogram(values, edges)[0] / values.size, colour)
    histogram.finish("b  before and after", "w", "share of synapses")
    for panel, values, title, y in (
        (moved, drift(w), "c  drift", "|change of w| / |w at the start|"),
        (rank, effective_rank(w), "d  effective rank", "directions in use"),
    ):
        mean, low, high = mean_interval(values.T)
        panel.line("mean over episodes", time, mean, low=low, high=high)
        panel.finish(title, "time (ms)", y, legend=False)
    if min(w.shape[2:]) == 1:
        rank.axis.set_visible(False)
        return Drawn(sheet, f"The weights of {label} move by {drift(w)[-1].mean():.1f} of their first length.")
    change = np.abs(one[-1] - one[0]).ravel()
    largest = np.sort(change)[::-1]
    share = largest[: max(1, len(largest) // 10)].sum() / max(largest.sum(), 1e-30)
    return Drawn(
        sheet,
        f"The tenth of the synapses of {label} that change most make {100 * share:.0f} % of all change in the episode; "
        f"the weights end with an effective rank of {effective_rank(w[-1]).mean():.1f} of {min(w.shape[2:])}.",
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
