"""Learning curves of one or several seeds: loss and validation score over episodes, with their interval.

    python analysis/learning.py --source runs/mine

A folder that holds one run folder for each seed (``seed-0``, ``seed-1``, ...) gives a mean and its 95 % interval.
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, script

import neurometa as nm
from neurometa.analysis.aligned import mean_interval
from neurometa.analysis.figures import log_scale
from neurometa.analysis.sheet import Sheet


def draw(source: Source) -> Drawn:
    """Draw loss and validation score."""
    folder = source.settings.source
    seeds = sorted(path for path in folder.glob("seed-*") if (path / "config.json").is_file())
    runs = [nm.load_run(path) for path in seeds] or [source.run]
    task = runs[0].task
    sheet = Sheet(["loss", "score"], 2)
    for panel, key, label in zip(sheet.panels, ("loss", "validation"), ("loss", task.score_name), strict=True):
        curves = [[(r["episodes"], r[key]) for r in run.history if r.get(key) is not None] for run in runs]
        n = min(map(len, curves))
        if n == 0:
            if key == "loss":
                raise Unsuitable(f"{folder} has no history")
            panel.axis.set_visible(False)
            continue
        values = np.array([curve[:n] for curve in curves])
        mean, low, high = mean_interval(values[:, :, 1])
        ends = {"low": low, "high": high} if len(runs) > 1 else {}
        panel.line(f"mean of {len(runs)} seeds" if seeds else key, values[0, :, 0], mean, **ends)
        if key == "validation":
            for name, level, colour in (("floor", task.floor(), "grey"), ("ceiling", task.ceiling(), "orange")):
                if level is not None:
                    panel.line(name, values[0, [0, -1], 0], [level, level], colour, ls="--")
        if not task.higher_is_better and values[:, :, 1].min() > 0:
            log_scale(panel.axis, "y")
        panel.finish(f"{'validation' if key == 'validation' else 'meta-training'}", "episodes", label)
    first, last = (float(np.mean([run.history[k]["loss"] for run in runs])) for k in (0, -1))
    return Drawn(
        sheet, f"The meta-training loss went from {first:.3g} to {last:.3g}; dashed lines are floor and ceiling."
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
