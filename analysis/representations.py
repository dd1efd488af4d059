"""How alike the representations of populations are: CKA, Procrustes distance and RSA, over steps and episodes.

python analysis/representations.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis.sheet import Sheet
from neurometa.analysis.similarity import cka, procrustes, rsa

MOST = 400  # stimuli; distances between all pairs of them are compared


def draw(source: Source) -> Drawn:
    """Draw a matrix for each measure."""
    recording = source.recording
    names = [name for name in recording.x if recording.x[name].shape[-1] > 1]
    flat = {name: recording.x[name][()].reshape(-1, recording.x[name].shape[-1]) for name in names}
    names = [name for name in names if flat[name].std() > 0]
    if len(names) < 2:
        raise Unsuitable("fewer than two populations of two neurons or more are recorded")
    n = len(flat[names[0]])
    mine = np.random.default_rng(0).permutation(n)[:MOST]
    # a little noise for silent moments, whose correlation would not be a number
    noise = np.random.default_rng(1)
    small = {name: flat[name][mine] + 1e-6 * noise.normal(size=flat[name][mine].shape) for name in names}
    sheet = Sheet(["cka", "procrustes", "rsa"], 3)
    shown = (
        ("a  CKA", cka, "1 is alike"),
        ("b  Procrustes", procrustes, "angle, 0 is alike"),
        ("c  RSA", rsa, "rank correlation"),
    )
    for panel, (title, measure, label) in zip(sheet.panels, shown, strict=True):
        matrix = [[measure(small[a], small[b]) for b in names] for a in names]
        panel.image("row", matrix, np.arange(len(names)), label, signed=measure is rsa)
        panel.axis.set_xticks(range(len(names)), names, rotation=60, size=6)
        panel.axis.set_yticks(range(len(names)), names, size=6)
        panel.finish(title, "", "", legend=False)
        if measure is cka:
            pairs = {(a, b): matrix[i][j] for i, a in enumerate(names) for j, b in enumerate(names) if i < j}
    (a, b), value = max(pairs.items(), key=lambda item: item[1])
    return Drawn(sheet, f"{a} and {b} represent steps and episodes most alike: CKA {value:.2f}.")


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
