"""Does a network learn when to learn? A neuromodulated synapse tracks a mean that jumps.

A delta-rule synapse predicts each observation. Its learning rate is a neuromodulator, computed by a small recurrent
network from the errors that it sees, and everything is meta-learned through whole episodes. Beside it stand the best
predictor without observations, the best fixed rate (retrained), and the exact Bayesian observer; and the same network
with its modulator clamped to its mean, taken from another episode, shifted in time, or turned upside down.

Behrens et al. 2007, doi:10.1038/nn1954; Nassar et al. 2010, doi:10.1523/JNEUROSCI.0822-10.2010.

    python simulations/volatility.py --preset default
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, log_scale, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.meta.evaluate import Row, finish, interval
from neurometa.spec.surgery import impose
from neurometa.streams import generator
from neurometa.tasks.volatility import Volatility, bayes


@dataclass(frozen=True)
class Settings:
    """Volatility: learned modulator against fixed rate and Bayesian observer."""

    seeds: int = 5
    """Independent runs; each has its own test episodes, and intervals are over seeds."""
    iterations: int = 500
    """Meta-iterations of the learned modulator."""
    tasks: int = 128
    """Episodes in each iteration."""
    test_episodes: int = 1000
    """Test episodes of each seed."""
    hidden: int = 32
    """Recurrent neurons that compute the modulator."""
    lr: float = 1e-2
    """Learning rate (Adam, cosine)."""
    shift: int = 10
    """Steps by which the shifted modulator comes late."""
    out: Path = Path("runs/volatility")
    """Folder for runs, table and figure; an interrupted run is continued."""


PRESETS = {
    "smoke": Settings(seeds=2, iterations=8, tasks=8, test_episodes=50, out=Path("runs/volatility-smoke")),
    "default": Settings(),
    "paper": Settings(seeds=10, iterations=3000, hidden=64, out=Path("runs/volatility-paper")),
}


def train(settings: Settings, seed: int, name: str, network: nm.Network, iterations: int, lr: float) -> nm.Run:
    """Meta-train one network; a folder with this run in it is continued."""
    with training_progress(f"{name}, seed {seed}") as report:
        return nm.meta_train(
            nm.PlasticLearner(network),
            Volatility(),
            nm.Backprop(lr=lr, schedule="cosine"),
            n_iterations=iterations,
            n_tasks=settings.tasks,
            seed=seed,
            run_dir=settings.out / f"{name}-{seed}",
            resume=True,
            on_progress=report,
        )


def weighted_correlation(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> float:
    """Return Pearson's r of two tensors under weights."""
    weight = weight / weight.sum()
    a, b = a - (weight * a).sum(), b - (weight * b).sum()
    return float((weight * a * b).sum() / ((weight * a * a).sum() * (weight * b * b).sum()).sqrt())


def test(
    settings: Settings, seed: int, learned: nm.Run, fixed: nm.Run
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Score everything on the test episodes of one seed; return scores and what the figure needs."""
    task = Volatility()
    episode = task.sample(generator(seed, "eval"), settings.test_episodes, "test")
    part, skip = episode.support, task.n_skip
    belief = bayes(episode.info["observation"])
    network = learned.learner.network
    imposed = nm.PlasticLearner(impose(network, "rate"))
    with torch.no_grad():
        trajectory = learned.learner.run(learned.params, part, save=nm.Save(("x.rate",)))
        m = trajectory["x.rate"]  # (time, batch, 1)
        mean = m[skip:].mean()
        changed = {
            "modulator clamped to its mean": mean.expand_as(m),
            "modulator of another episode": m.roll(1, dims=1),
            f"modulator {settings.shift} steps late": torch.cat(
                [mean.expand_as(m[: settings.shift]), m[: -settings.shift]]
            ),
            "modulator upside down": (2 * mean - m).clamp(0, 1),
        }
        outputs = {
            "learned modulator": trajectory.output,
            "best fixed rate (retrained)": fixed.learner.run(fixed.params, part).output,
        }
        for name, values in changed.items():
            outputs[name] = imposed.run(learned.params, part._replace(inputs={**part.inputs, "rate": values})).output
    outputs["Bayesian observer (exact)"] = belief.prediction[..., None]
    scores = {name: float(task.score(output, part).mean()) for name, output in outputs.items()}
    gap = scores["best fixed rate (retrained)"] - scores["Bayesian observer (exact)"]
    scores["gap closed"] = (scores["best fixed rate (retrained)"] - scores["learned modulator"]) / gap
    error = (episode.info["observation"] - belief.prediction)[skip:] ** 2
    scores["r with the observer's rate"] = weighted_correlation(m[skip:, :, 0], belief.rate[skip:], error)
    scores["fixed rate"] = fixed.rule_values()["cue.rule.eta"]
    drawn = {**episode.info, "m": m[..., 0], "gain": belief.gain, "learned": trajectory.output[..., 0]}
    return scores, {**drawn, "observer": belief.prediction}


def draw(settings: Settings, rows: list[Row], scores: list[dict[str, float]], data: dict[str, torch.Tensor]) -> None:
    """Draw one episode, the modulator around a jump, and the table."""
    figure, axes = new_figure(2, 2, width=7.2, height=4.8)
    jumps = data["jump"][60:160].sum(0)
    pick = int((jumps - 3).abs().argmin())  # an episode with about three jumps in view
    time = np.arange(60, 160)
    one = {name: value[60:160, pick].numpy() for name, value in data.items()}
    axis = axes[0, 0]
    axis.plot(time, one["observation"], ".", ms=2.5, color=COLOURS["grey"], label="observation")
    axis.plot(time, one["mean"], color=COLOURS["black"], lw=1, label="mean (hidden)")
    axis.plot(time, one["observer"], color=COLOURS["orange"], lw=1, label="Bayesian observer")
    axis.plot(time, one["learned"], color=COLOURS["blue"], lw=1, label="learned modulator")
    axis.set(xlabel="step", ylabel="value", title="a  one test episode")
    axis.legend(fontsize=6, frameon=False, ncols=2, loc="best")
    axis = axes[1, 0]
    axis.plot(time, one["gain"], color=COLOURS["orange"], lw=1, label="Bayesian observer (expected gain)")
    axis.plot(time, one["m"], color=COLOURS["blue"], lw=1, label="learned modulator m")
    axis.axhline(scores[0]["fixed rate"], color=COLOURS["grey"], lw=0.8, ls="--", label="best fixed rate")
    axis.set(xlabel="step", ylabel="learning rate", ylim=(0, 1), title="b  its learning rate")
    axis.legend(fontsize=6, frameon=False)
    axis = axes[0, 1]
    lags = np.arange(-5, 21)
    steps, episodes = torch.nonzero(data["jump"][30:-21] > 0, as_tuple=True)
    for name, colour, label in (("gain", "orange", "Bayesian observer"), ("m", "blue", "learned modulator m")):
        curve = [float(data[name][steps + 30 + lag, episodes].mean()) for lag in lags]
        axis.plot(lags, curve, color=COLOURS[colour], lw=1.2, label=label)
    axis.set(xlabel="steps after a jump", ylabel="mean learning rate", title="c  around a jump", ylim=(0, None))
    axis.legend(fontsize=6, frameon=False)
    r = np.mean([s["r with the observer's rate"] for s in scores])
    axis.annotate(
        f"r = {r:.2f} (weighted by squared error)", (0.98, 0.05), xycoords="axes fraction", ha="right", size=6
    )
    plot_scores(axes[1, 1], [(row.name, row.mean, row.low, row.high) for row in rows], "squared error")
    axes[1, 1].set_title(f"d  {len(scores)} seeds, 95 % interval")
    log_scale(axes[1, 1])
    save_figure(figure, settings.out / "volatility.png")


def main(settings: Settings) -> None:
    """Train, test, print the table, write table and figure."""
    scores: list[dict[str, float]] = []
    data: dict[str, torch.Tensor] = {}
    seconds = 0.0
    for seed in range(settings.seeds):
        network = nm.networks.tracker(1, 1, n_hidden=settings.hidden)
        plain = nm.networks.tracker(1, 1, rule=nm.rules.get("delta"))
        learned = train(settings, seed, "modulated", network, settings.iterations, settings.lr)
        fixed = train(settings, seed, "fixed", plain, max(settings.iterations // 4, 4), 0.05)
        one, drawn = test(settings, seed, learned, fixed)
        scores.append(one)
        seconds += learned.history[-1]["seconds"] + fixed.history[-1]["seconds"]
        data = data or drawn
    measures = ("gap closed", "r with the observer's rate", "fixed rate")
    names = [name for name in scores[0] if name not in measures]
    rows = [Row(name, *interval([s[name] for s in scores]), len(scores), "seeds") for name in names]
    rows = finish(Volatility(), rows).rows[:-1]  # the observer is a row of its own, on the same episodes
    paired = {name: interval([s[name] - s["learned modulator"] for s in scores]) for name in names[1:]}
    closed, r, rate = (interval([s[name] for s in scores]) for name in measures)
    table = [(row.name, [row.mean if row.low is None else (row.mean, row.low, row.high)]) for row in rows]
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Volatility: does a network learn when to learn?",
        question=f"""A mean jumps with probability .02 a step; observations scatter around it. Squared error of the
        prediction made before each observation against the hidden mean, the first 20 of 200 steps dropped. A delta-rule
        synapse whose learning rate is a modulator, computed by {settings.hidden} recurrent neurons that see its errors,
        beside the same synapse with the best fixed rate (retrained) and the exact Bayesian observer;
        {settings.test_episodes:,} test episodes a seed, shared by all rows.""",
        columns=["squared error", "paired difference to the learned modulator"],
        rows=[(name, [*cells, paired.get(name)]) for name, cells in table],
        findings=[
            f"The learned modulator closes {100 * closed[0]:.1f} % [{100 * closed[1]:.1f}, {100 * closed[2]:.1f}] of "
            "the gap between the best fixed rate and the observer.",
            f"Its correlation with the observer's learning rate, weighted by squared error, is {r[0]:.3f} [{r[1]:.3f}, "
            f"{r[2]:.3f}]; the best fixed rate is {rate[0]:.3f}.",
        ],
        seeds=settings.seeds,
        seconds=seconds,
        figure="volatility.png",
        digits=4,
    )
    with open(settings.out / "seeds.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(scores[0]))
        writer.writeheader()
        writer.writerows(scores)
    draw(settings, rows, scores, data)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "volatility.py")
