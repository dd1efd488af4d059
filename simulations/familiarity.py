"""Have I seen this before? Which sign of plasticity a network needs to know, and which it finds.

In a stream of random vectors every one may come back once, a fixed number of steps (the lag) later, and a feed-forward
network with one plastic layer (HebbFF) says of each whether it is familiar. Synapses that coincidence weakens
(anti-Hebbian) or strengthens (Hebbian) are trained to criterion, beside an LSTM; then the sign is left free, starting
at 0, positive or negative. What was trained at one lag is tested at others.

Tyulmankov, Yang & Abbott 2022, doi:10.1016/j.neuron.2021.11.009.

    python simulations/familiarity.py --preset default
    python simulations/familiarity.py --preset default --arms anti-hebb --lags 6
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, log_scale, new_figure, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import Cell, save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners import Learner
from neurometa.meta.evaluate import interval, score_run
from neurometa.networks.hebb_ff import signed_hebb
from neurometa.spec import Param
from neurometa.tasks.familiarity import Familiarity

#: Arm -> what it is called, and the colour of its lines.
ARMS = {
    "anti-hebb": ("anti-Hebbian", "blue"),
    "hebb": ("Hebbian", "red"),
    "lstm": ("LSTM", "black"),
    "free-zero": ("free sign, from 0", "grey"),
    "free-plus": ("free sign, from +5/d", "orange"),
    "free-minus": ("free sign, from -5/d", "green"),
}
#: Sign with which eta starts.
STARTS = {"anti-hebb": -1, "hebb": 1, "free-zero": 0, "free-plus": 1, "free-minus": -1}
#: (arm, lag) -> iterations that were published, of one run each.
PUBLISHED = {
    ("anti-hebb", 3): 1590,
    ("hebb", 3): 17_180,
    ("lstm", 3): 28_960,
    ("anti-hebb", 6): 3490,
    ("hebb", 6): 28_690,
    ("lstm", 6): 261_440,
}
ETA = "stimulus__hidden.rule.eta"
COLUMNS = (
    "iterations to criterion",
    "published",
    "samples to criterion",
    "eta*d at the end",
    "negative at the end",
    "test accuracy",
    "plasticity off",
)


@dataclass(frozen=True)
class Settings:
    """Continual familiarity: HebbFF with imposed and with free sign, and LSTM."""

    arms: tuple[str, ...] = tuple(ARMS)
    """anti-hebb, hebb, lstm, free-zero, free-plus, free-minus; several processes may share a folder."""
    lags: tuple[int, ...] = (3, 6)
    """Steps to a repetition at which arms are trained."""
    free_lags: tuple[int, ...] = (3,)
    """The same for arms whose sign is free."""
    seeds: int = 3
    """Independent runs; each has its own test streams."""
    free_seeds: int = 10
    """The same for arms whose sign is free."""
    size: int = 100
    """Length of a stimulus d, and number of hidden neurons."""
    steps: int = 200
    """Stimuli in a stream; one stream is one iteration."""
    iterations: int = 60_000
    """Most iterations of a run with imposed sign."""
    free_iterations: int = 6000
    """The same where the sign is free."""
    lstm_iterations: int = 300_000
    """The same for the LSTM."""
    criterion: float = 0.998
    """Mean accuracy on the last five monitored streams at which training ends."""
    monitor_every: int = 10
    """Iterations between monitored streams, which are always new."""
    lr: float = 1e-3
    """Learning rate (Adam)."""
    test_lags: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20)
    """Lags of the test."""
    test_streams: int = 20
    """Test streams of each seed and lag."""
    threads: int = 1
    """Torch threads."""
    out: Path = Path("runs/familiarity")
    """Folder for runs, table and figure; an interrupted run is continued."""

    def __post_init__(self):
        for name in self.arms:
            if name not in ARMS:
                raise SpecificationError(unknown("arm", name, ARMS))


PRESETS = {
    "smoke": Settings(
        lags=(1,),
        free_lags=(1,),
        seeds=2,
        free_seeds=2,
        size=20,
        steps=8,
        iterations=10,
        free_iterations=10,
        lstm_iterations=10,
        criterion=0.65,
        monitor_every=1,
        test_lags=(1, 2),
        test_streams=5,
        out=Path("runs/familiarity-smoke"),
    ),
    "default": Settings(),
    "paper": Settings(seeds=10, iterations=300_000, out=Path("runs/familiarity-paper")),
}


def build(settings: Settings, arm: str) -> Learner:
    """Return the learner of an arm; eta starts at 5/d, as published, with the sign of the arm."""
    if arm == "lstm":
        return nm.learners.RecurrentLearner(settings.size, 1, settings.size, "lstm")
    eta = 5 / settings.size
    if arm.startswith("free"):
        rule = replace(signed_hebb, params=signed_hebb.params | {"eta": Param(STARTS[arm] * eta)})
    else:
        name, sign = arm.replace("-", "_"), "+" if STARTS[arm] > 0 else "-"
        params = signed_hebb.params | {"eta": Param(eta, "positive")}
        rule = replace(signed_hebb, name=name, step=f"w = lam*w {sign} eta*pre*post", params=params)
    return nm.PlasticLearner(nm.networks.hebb_ff(settings.size, 1, rule, settings.size, "sigmoid"))


def task_of(settings: Settings, lag: int) -> Familiarity:
    """Return the task at a lag."""
    return Familiarity(lag=lag, n_dim=settings.size, n_steps=settings.steps)


def monitored(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the accuracies on the last five monitored streams."""
    return list(islice((record["validation"] for record in reversed(history) if "validation" in record), 5))


def reached(settings: Settings, history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the criterion is met; .998 are two errors in five streams of 200."""
    last = monitored(history)
    return len(last) == 5 and float(np.mean(last)) >= settings.criterion - 1e-6  # accuracies are float32


def train(settings: Settings, arm: str, lag: int) -> list[nm.Run]:
    """Meta-train an arm at a lag, one run a seed; folders with these runs in them are continued."""
    free, kind = arm.startswith("free"), arm.partition("-")[0]
    limit = {"free": settings.free_iterations, "lstm": settings.lstm_iterations}.get(kind, settings.iterations)
    seeds, folder = range(settings.free_seeds if free else settings.seeds), settings.out / f"{arm}-{lag}"
    options = {
        "n_iterations": limit,
        "n_tasks": 1,
        "validate_every": settings.monitor_every,
        "n_validation": 1,
        "fresh_validation": True,
        "until": lambda history: reached(settings, history),
        "resume": True,
    }
    strategies = build(settings, arm), task_of(settings, lag), nm.Backprop(lr=settings.lr, clip=0.0)
    name = f"{ARMS[arm][0]}, lag {lag}"
    if arm != "lstm":
        with training_progress(name, "accuracy") as report:
            return nm.meta_train_seeds(*strategies, seeds=seeds, run_dir=folder, on_progress=report, **options)
    runs = []
    for seed in seeds:  # torch's own LSTM takes one network, and is faster than three at once step by step
        with training_progress(f"{name}, seed {seed}", "accuracy") as report:
            place = folder / f"seed-{seed}"
            runs.append(nm.meta_train(*strategies, seed=seed, run_dir=place, on_progress=report, **options))
    return runs


def test(settings: Settings, run: nm.Run, lag: int, plastic: bool = True) -> float:
    """Return the accuracy of a run on test streams of a lag."""
    n = settings.test_streams
    scores = score_run(run.learner, run.params, task_of(settings, lag), n_episodes=n, seed=run.seed, plastic=plastic)
    return float(scores.mean())


def lasted(settings: Settings, runs: Sequence[nm.Run]) -> list[int] | None:
    """Return the iterations to the criterion, if every run reached it."""
    return [run.iteration for run in runs] if all(reached(settings, run.history) for run in runs) else None


def strength(settings: Settings, run: nm.Run, arm: str) -> float:
    """Return eta*d, with its sign."""
    return run.rule_values()[ETA] * settings.size * (-1 if arm == "anti-hebb" else 1)


def row(settings: Settings, arm: str, lag: int, runs: Sequence[nm.Run]) -> tuple[str, list[Cell]]:
    """Return what the table says of an arm at a lag."""
    name, count = f"{ARMS[arm][0]}, lag {lag}", lasted(settings, runs)
    if count:
        needed: list[Cell] = [interval(count), interval([settings.steps * n for n in count])]
    else:
        limit, n = max(run.iteration for run in runs), sum(reached(settings, run.history) for run in runs)
        needed = [f"{n} of {len(runs)} within {limit:,}", f"{n} of {len(runs)} within {settings.steps * limit:,}"]
    scores = interval([test(settings, run, lag) for run in runs])
    published = PUBLISHED.get((arm, lag))
    if arm == "lstm":
        return name, [needed[0], published, needed[1], None, None, scores, None]
    ends = [strength(settings, run, arm) for run in runs]
    signs = f"{sum(end < 0 for end in ends)} of {len(ends)}" if arm.startswith("free") else None
    off = interval([test(settings, run, lag, plastic=False) for run in runs])
    return name, [needed[0], published, needed[1], interval(ends), signs, scores, off]


def spread(settings: Settings, runs: Sequence[nm.Run]) -> dict[int, tuple[float, float, float]]:
    """Return the accuracy at every test lag, with its interval over seeds."""
    return {lag: interval([test(settings, run, lag) for run in runs]) for lag in settings.test_lags}


def findings(
    settings: Settings,
    found: dict[tuple[str, int], list[nm.Run]],
    curves: dict[tuple[str, int], dict[int, tuple[float, float, float]]],
) -> list[str]:
    """Say what the numbers say."""
    said = []
    for (arm, lag), runs in found.items():
        base, count = found.get(("anti-hebb", lag)), lasted(settings, runs)
        if arm in ("hebb", "lstm") and base and count and (first := lasted(settings, base)):
            ratio = np.mean(count) / np.mean(first)
            known = (PUBLISHED.get((arm, lag)), PUBLISHED.get(("anti-hebb", lag)))
            text = f" (published: {known[0] / known[1]:.1f})" if known[0] and known[1] else ""
            said.append(f"Lag {lag}: {ARMS[arm][0]} takes {ratio:.1f} times the iterations of anti-Hebbian{text}.")
        if not count:
            n = sum(reached(settings, run.history) for run in runs)
            limit = max(run.iteration for run in runs)
            said.append(
                f"{ARMS[arm][0]}, lag {lag}: criterion reached by {n} of {len(runs)} runs within {limit:,} iterations."
            )
        if arm.startswith("free"):
            ends = [strength(settings, run, arm) for run in runs]
            said.append(
                f"{ARMS[arm][0]}, lag {lag}: {sum(end < 0 for end in ends)} of {len(ends)} end anti-Hebbian "
                f"(eta*d from {min(ends):+.2f} to {max(ends):+.2f})."
            )
    for (arm, lag), curve in curves.items():
        shown = ", ".join(f"{mean:.3f} at {at}" for at, (mean, _, _) in curve.items())
        said.append(f"{ARMS[arm][0]}, trained at lag {lag} only, test accuracy by lag: {shown}.")
    return said


def draw(
    settings: Settings,
    found: dict[tuple[str, int], list[nm.Run]],
    curves: dict[tuple[str, int], dict[int, tuple[float, float, float]]],
) -> str:
    """Draw learning, the signs that were found, and generalisation."""
    figure, (axes,) = new_figure(3, height=2.8)
    styles = dict(zip(dict.fromkeys((*settings.lags, *settings.free_lags)), cycle(("-", "--", ":"))))
    for (arm, lag), runs in found.items():
        name, colour = ARMS[arm][0], COLOURS[ARMS[arm][1]]
        for run in runs:
            x, y = np.array([(r["iteration"], r["validation"]) for r in run.history if "validation" in r]).T
            width = min(5, len(y))
            mean = np.convolve(y, np.full(width, 1 / width), "valid")
            label = f"{name}, lag {lag}" if run is runs[0] else None
            axes[0].plot(x[width - 1 :], mean, color=colour, ls=styles[lag], lw=0.6, label=label)
        if arm != "lstm":
            at = list(ARMS).index(arm) + 0.2 * list(styles).index(lag)
            ends = [strength(settings, run, arm) for run in runs]
            axes[1].plot([at] * len(ends), ends, "o", ms=3, alpha=0.6, color=colour)
            axes[1].plot(at, 5 * STARTS[arm], "_", ms=9, color=COLOURS["black"])
    axes[0].set(xlabel="iterations", ylabel="accuracy, last five streams", title="a  learning")
    log_scale(axes[0])
    axes[0].axhline(2 / 3, color=COLOURS["grey"], lw=0.6, ls=":")
    axes[1].axhline(0, color=COLOURS["grey"], lw=0.6, ls=":")
    axes[1].set(ylabel="eta*d", title="b  from the start (line) to the end")
    axes[1].set_xticks(range(len(ARMS)), [name for name, _ in ARMS.values()], rotation=40, ha="right", size=6)
    for (arm, lag), curve in curves.items():
        mean, low, high = np.array([*curve.values()]).T
        options = {"color": COLOURS[ARMS[arm][1]], "ls": styles[lag], "label": f"{ARMS[arm][0]}, trained at {lag}"}
        axes[2].plot([*curve], mean, marker="o", ms=2.5, lw=1, **options)
        axes[2].fill_between([*curve], low, high, color=options["color"], alpha=0.15, lw=0)
    floor = [task_of(settings, lag).floor() for lag in settings.test_lags]
    axes[2].plot(settings.test_lags, floor, color=COLOURS["grey"], lw=0.8, ls=":", label="floor (always new)")
    axes[2].set(xlabel="lag at the test", ylabel="test accuracy", title="c  other lags", ylim=(0.4, 1.02))
    for axis in axes[::2]:
        axis.legend(fontsize=5, frameon=False)
    return save_figure(figure, settings.out / "familiarity.png").name


def main(settings: Settings) -> None:
    """Train, test, write result and figure."""
    torch.set_num_threads(settings.threads)
    asked = [
        (arm, lag) for arm in settings.arms for lag in (settings.free_lags if arm.startswith("free") else settings.lags)
    ]
    found = {key: train(settings, *key) for key in asked}
    curves = {key: spread(settings, runs) for key, runs in found.items() if not key[0].startswith("free")}
    rows = [row(settings, *key, runs) for key, runs in found.items()]
    for lag in dict.fromkeys(lag for _, lag in asked):
        task = task_of(settings, lag)
        rows.append((f"floor (always new), lag {lag}", [None] * 5 + [task.floor(), None]))
    rows.append(("ceiling (ideal observer)", [None] * 5 + [1.0, None]))
    seconds = sum(
        sum(each) if arm == "lstm" else max(each)  # seeds in one call share their time
        for (arm, _), runs in found.items()
        for each in [[run.history[-1]["seconds"] for run in runs]]
    )
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Continual familiarity",
        question=f"""Is a stimulus familiar? Each of a stream of {settings.steps} random vectors of {settings.size}
            components is, with probability 1/2, the one of a fixed lag before, if that one was new. One stream is one
            iteration, Adam {settings.lr:g} without clipping, as published; no rate was tuned. A run ends where the mean
            accuracy on five new streams, one every {settings.monitor_every} iterations, is {settings.criterion:g} or
            more. {settings.size} hidden neurons or LSTM units; eta starts at 5/d as published, lam at .95 through a
            sigmoid (published: at .99, clamped to 0 to 1), so that lam moves more slowly.
            {settings.test_streams} test streams a seed; {settings.free_seeds} seeds where the sign is free.""",
        columns=COLUMNS,
        rows=rows,
        findings=findings(settings, found, curves),
        published="""Tyulmankov et al. 2022, one run each: iterations to the same criterion are in the table.""",
        seeds=settings.seeds,
        seconds=seconds,
        figure=draw(settings, found, curves),
    )


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "familiarity.py")
