"""Fixed points of a recurrent population with frozen weights, before, in the middle of and after adaptation.

    python analysis/fixed_points.py --source runs/mine

Inputs stand at their mean over the episode.
"""

from __future__ import annotations

import numpy as np
import torch
from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis import figures
from neurometa.analysis.dynamics import fixed_points, frozen_map, lyapunov
from neurometa.analysis.sheet import Sheet

COLOURS = {"before": "grey", "in the middle": "orange", "after": "blue"}


def draw(source: Source) -> Drawn:
    """Draw the eigenvalues of the Jacobian at the fixed points."""
    recording, k = source.recording, source.settings.episode
    network = recording.network
    assert network is not None
    loops = [p.pre for p in network.projections if p.pre == p.post and not network[p.pre].spikes]
    if not loops:
        raise Unsuitable("no population projects to itself")
    name = loops[0]
    params = {key: value.double() for key, value in recording.params().items()}
    # what populations receive, trunk included, is their recorded activity
    inputs = {each: torch.from_numpy(recording.x[each][:, k].mean(0)).double() for each in network.inputs}
    x = recording.x[name][:, k]
    starts = torch.from_numpy(x[np.linspace(0, len(x) - 1, 24).astype(int)]).double()
    starts = starts + 0.3 * torch.randn(starts.shape, generator=torch.Generator().manual_seed(0)).double()
    sheet = Sheet(["spectrum", "exponent"], 2)
    left, right = sheet.panels
    circle = np.linspace(0, 2 * np.pi, 200)
    left.axis.plot(np.cos(circle), np.sin(circle), color=figures.COLOURS["grey"], lw=0.6)
    counts, exponents = {}, []
    for moment, step in zip(COLOURS, (0, len(x) // 2, -1), strict=True):
        w = {label: torch.from_numpy(recording.w[label][step, k]).double() for label in recording.w}
        step_of = frozen_map(network, params, inputs, w, (name,))
        found = fixed_points(step_of, starts)
        counts[moment] = (len(found.x), int(found.stable.sum()))
        if len(found.x):
            values = found.eigenvalues[0]
            left.points(
                f"{moment}: {len(found.x)} found, {counts[moment][1]} stable", values.real, values.imag, COLOURS[moment]
            )
        exponents.append(lyapunov(step_of, starts[0], 500))
    left.finish(f"a  Jacobian of {name}, first point", "real part", "imaginary part")
    left.axis.set_aspect("equal", "datalim")
    right.points("exponent", range(3), exponents, ms=6)
    right.guide(y=0)
    right.axis.set_xticks(range(3), list(COLOURS), size=7)
    right.finish("b  largest Lyapunov exponent", "weights of the moment", "per step", legend=False)
    said = "; ".join(f"{moment} {n} found, {stable} stable" for moment, (n, stable) in counts.items())
    return Drawn(sheet, f"Fixed points of {name} with frozen weights: {said}; points outside the circle are unstable.")


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
