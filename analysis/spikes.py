"""Spikes: a raster, rates, irregularity of intervals, and correlations.

python analysis/spikes.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis.sheet import Sheet
from neurometa.analysis.spike_trains import correlation, cv, fano, lv, rate
from neurometa.record.exchange import trains


def draw(source: Source) -> Drawn:
    """Draw the largest spiking population."""
    recording, k = source.recording, source.settings.episode
    if not recording.spiking or recording.network is None:
        raise Unsuitable("no population spikes")
    name = max(recording.spiking, key=lambda each: recording.network[each].size if recording.network else 0)
    duration = recording.variable("support_time").shape[0] * recording.dt * int(recording.attributes["hold"])
    every = [trains(recording, name, e) for e in range(recording.n_episodes)]  # [episode][neuron]
    one = every[k]
    sheet = Sheet(["raster", "rates", "irregularity", "correlation"], 2, 2, height=2.3)
    raster, rates, irregular, together = sheet.panels
    times = np.concatenate(one)
    raster.points("spikes", times, np.repeat(np.arange(len(one)), [len(t) for t in one]), "black", marker="|", ms=3)
    raster.finish(f"a  {name}, one episode", "time (ms)", "neuron", legend=False)
    mean = np.array([[rate(train, duration) for train in episode] for episode in every])
    edges = np.histogram_bin_edges(mean.mean(0), 20)
    rates.bars("neurons", edges, np.histogram(mean.mean(0), edges)[0])
    rates.finish("b  mean rates", "rate (Hz)", "neurons", legend=False)
    for label, measure, colour in (("CV", cv, "blue"), ("LV", lv, "orange")):
        values = np.array([measure(train) for episode in every for train in episode])
        values = values[np.isfinite(values)]
        if len(values):
            edges = np.linspace(0, 2, 21)
            irregular.bars(label, edges, np.histogram(values, edges)[0] / len(values), colour)
    irregular.finish("c  intervals (1: Poisson)", "CV, LV", "share of trains")
    found = [correlation(episode, duration, duration / 10) for episode in every[:20]]
    pairs = np.concatenate([c[np.triu_indices(len(c), 1)] for c in found])
    pairs = pairs[np.isfinite(pairs)]
    if len(pairs):
        edges = np.linspace(-1, 1, 21)
        together.bars("pairs", edges, np.histogram(pairs, edges)[0] / len(pairs))
    together.finish("d  counts in tenths of the episode", "correlation of two neurons", "share of pairs", legend=False)
    counts = np.array([[len(train) for train in episode] for episode in every])
    factors = [fano(counts[:, n]) for n in range(counts.shape[1])]
    return Drawn(
        sheet,
        f"{name} spikes at {mean.mean():.1f} Hz; the Fano factor of its counts over episodes is "
        f"{np.nanmean(factors):.2f}, the mean correlation of two neurons {pairs.mean() if len(pairs) else np.nan:.2f}.",
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
