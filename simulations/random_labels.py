"""Few-shot classification with random label maps over two layers of synapses that both change within an episode.

Which class has which label is new in every episode, so a network whose synapses stand still is at chance. There is no
trunk in front: pixels -> hidden -> labels, and within an episode a local rule or a gradient changes both layers, or the
last one alone. Where images are shown as they are, features can be learned once for all episodes, and reused. Where
each episode has its own order of the pixels, none can. What does a change of the first layer add in the two?

    python simulations/random_labels.py --preset default
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners import Learner, MetaSgdLearner, NoAdaptationLearner, PrototypeLearner
from neurometa.meta.evaluate import interval, score_run
from neurometa.tasks._fewshot import FewShot
from neurometa.tree import Tree

TASKS = {"glyphs": ("size",), "omniglot": (), "mnist": ()}
FIRST, LAST = "stimulus__layer0", "layer0__out"
BOTH = (f"{FIRST}.w", f"{LAST}.w")
PLACES = {"in place": False, "permuted": True}


class Arm(NamedTuple):
    """One row: outer learning rate, start of what it learns to adapt by, and what builds the learner.

    Both numbers were chosen among five to eight pairs (rates .001 to .03) by the validation classes of glyphs, with the
    pixels in place, and are used for everything else. What never adapts was not tuned.
    """

    lr: float
    start: float
    make: Callable[[FewShot, int, float], Learner]


def hebb(task: FewShot, n_hidden: int, alpha: float, layers: int = 2) -> Learner:
    """Return a network with Hebbian synapses, each with a plastic strength of its own; the label clamps the output."""
    network = nm.networks.multilayer(task.n_in, task.n_out, hidden=(n_hidden,), alpha=alpha)
    if layers == 1:
        found = (without_rule(p) if p.label == FIRST else p for p in network.projections)
        network = replace(network, projections=tuple(found))
    return nm.PlasticLearner(network)


def without_rule(p: nm.Projection) -> nm.Projection:
    """Return synapses that no rule changes, with the same start."""
    return replace(p, rule=None, efficacy="w", w=p.params["w0"], params={})


def delta(task: FewShot, n_hidden: int, eta: float) -> Learner:
    """Return a delta rule in both layers, a rate for each synapse; errors go back through fixed random synapses."""
    rule = nm.PlasticityRule("delta", dw="eta*pre*error_post", params={"eta": nm.Param(eta, per="synapse")})
    return nm.PlasticLearner(nm.networks.error_broadcast(task.n_in, task.n_out, rule=rule, hidden=(n_hidden,)))


def plain(task: FewShot, n_hidden: int) -> nm.Network:
    """Return the same two layers without a rule."""
    return nm.networks.mlp(task.n_in, task.n_out, hidden=(n_hidden,), transfer="tanh")


def gradient(
    task: FewShot, n_hidden: int, rate: float, layers: int = 2, steps: int = 1, single: bool = False
) -> Learner:
    """Return MAML with a learned rate over the synapses that a rule would change; or one step on each single image."""
    steps, minibatch = (task.n_way * task.n_shot, 1) if single else (steps, 0)
    return nm.GradientLearner(
        plain(task, n_hidden), steps=steps, rate=rate, learn_rate=True, adapts=BOTH[-layers:], minibatch=minibatch
    )


def meta_sgd(task: FewShot, n_hidden: int, rate: float) -> Learner:
    """Return a gradient step with a learned rate for each synapse."""
    return MetaSgdLearner(plain(task, n_hidden), rate=rate, adapts=BOTH)


def prototypes(task: FewShot, n_hidden: int, scale: float) -> Learner:
    """Return a nearest mean over learned hidden activity; nothing changes in an episode."""
    return PrototypeLearner(plain(task, n_hidden), features="layer0", scale=scale)


def nothing_plastic(task: FewShot, n_hidden: int, start: float) -> Learner:
    """Return a network that is trained and never adapts."""
    return NoAdaptationLearner(plain(task, n_hidden))


ARMS = {
    "Hebb, both layers": Arm(0.01, 0.03, hebb),
    "Hebb, last layer": Arm(0.01, 0.03, partial(hebb, layers=1)),
    "delta, both layers, random feedback": Arm(0.01, 0.1, delta),
    "gradient, both layers (MAML)": Arm(0.03, 1.0, gradient),
    "gradient, both layers, 5 steps": Arm(0.03, 0.3, partial(gradient, steps=5)),
    "gradient, both layers, image by image": Arm(0.03, 0.1, partial(gradient, single=True)),
    "gradient, last layer (ANIL)": Arm(0.01, 1.0, partial(gradient, layers=1)),
    "gradient, both layers, rate per synapse (Meta-SGD)": Arm(0.03, 1.0, meta_sgd),
    "prototypes of hidden activity": Arm(0.03, 0.3, prototypes),
    "no plasticity (retrained)": Arm(0.01, 0.0, nothing_plastic),
}
MAIN, HEAD, DELTA, MAML, _, SINGLE, ANIL, *_ = ARMS


@dataclass(frozen=True)
class Settings:
    """Random label maps."""

    task: str = "glyphs"
    """glyphs (drawn from a seed), omniglot, mnist."""
    ways: int = 5
    """Classes in an episode."""
    shots: int = 1
    """Examples of each in the support."""
    pixels: tuple[str, ...] = tuple(PLACES)
    """in place, permuted (in an order of its own for each episode)."""
    size: int = 14
    """Height and width of a glyph, pixels."""
    hidden: int = 64
    """Hidden neurons."""
    seeds: int = 3
    """Independent runs; each has its own test episodes, shared by all rows, and intervals are over seeds."""
    iterations: int = 1000
    """Meta-iterations of every run."""
    episodes: int = 32
    """Episodes in each iteration, with 10 queries each."""
    test_episodes: int = 1000
    """Test episodes of each seed."""
    out: Path = Path("runs/random_labels")
    """Folder for runs, table and figure; an interrupted run is continued."""

    def __post_init__(self):
        if self.task not in TASKS:
            raise SpecificationError(unknown("task", self.task, TASKS))
        for name in self.pixels:
            if name not in PLACES:
                raise SpecificationError(unknown("pixels", name, PLACES))


SMOKE = Settings(
    size=8, hidden=8, seeds=2, iterations=2, episodes=4, test_episodes=20, out=Path("runs/random_labels-smoke")
)
PRESETS = {
    "smoke": SMOKE,
    "default": Settings(),
    "paper": Settings(hidden=256, seeds=10, iterations=20_000, out=Path("runs/random_labels-paper")),
}


def train(settings: Settings, task: FewShot, place: str, name: str) -> list[nm.Run]:
    """Meta-train one row for all seeds in one call; the parameters that are best on validation classes are kept."""
    arm, where = ARMS[name], (re.sub(r"\W+", "-", text).strip("-") for text in (place, name))
    with training_progress(f"{name}, {place}", task.score_name) as report:
        return nm.meta_train_seeds(
            arm.make(task, settings.hidden, arm.start),
            task,
            nm.Backprop(lr=arm.lr, schedule="cosine"),
            seeds=range(settings.seeds),
            n_iterations=settings.iterations,
            n_tasks=settings.episodes,
            validate_every=max(1, settings.iterations // 10),
            n_validation=min(500, settings.test_episodes),
            run_dir=settings.out.joinpath(settings.task, *where),
            resume=True,
            on_progress=report,
        )


def scores(settings: Settings, task: FewShot, runs: list[nm.Run], change: Callable | None = None) -> np.ndarray:
    """Return the mean test score of each seed, after a change of learner and parameters."""
    found = []
    for run in runs:
        learner, params = (run.learner, run.params) if change is None else change(run.learner, run.params)
        each = score_run(learner, params, task, n_episodes=settings.test_episodes, seed=run.seed, batch=250)
        found.append(float(each.mean()))
    return np.array(found)


def last_only(learner: Learner, params: Tree) -> tuple[Learner, Tree]:
    """Let the first layer stand still at the test."""
    if not isinstance(learner, nm.PlasticLearner):
        return replace(learner, adapts=(f"{LAST}.w",)), params
    name = next(name for name in (f"{FIRST}.alpha", f"{FIRST}.rule.eta") if name in params and params[name].numel() > 1)
    return learner, {**params, name: torch.zeros_like(params[name])}


def nothing(learner: Learner, params: Tree) -> tuple[Learner, Tree]:
    """Let both layers stand still at the test."""
    return NoAdaptationLearner(learner.network), params


def counts(task: FewShot, run: nm.Run, settings: Settings) -> list:
    """Return presentations in an episode, synapses that change in it, and numbers that the outer loop learned."""
    learner = run.learner
    layers = {FIRST: task.n_in * settings.hidden, LAST: settings.hidden * task.n_out}
    if isinstance(learner, nm.PlasticLearner):
        changing = sum(layers[projection.label] for projection in learner.network.plastic)
    else:
        changing = sum(layers[name.removesuffix(".w")] for name in getattr(learner, "adapts", ()))
    steps = getattr(learner, "steps", 0 if isinstance(learner, NoAdaptationLearner) else 1)
    learned = sum(run.params[name].numel() for name in learner.groups())
    return [steps * (getattr(learner, "minibatch", 0) or task.n_way * task.n_shot), changing, learned]


def one_place(settings: Settings, task: FewShot, place: str) -> tuple[dict[str, np.ndarray], list, list, float]:
    """Train and test all rows with the pixels in one kind of order.

    Returns scores of each seed, rows, learning curves, and seconds of training.
    """
    control = replace(task, shuffle_labels=True)
    table: dict[str, np.ndarray] = {}
    rows, curves, seconds = [], [], 0.0
    for name in ARMS:
        runs = train(settings, task, place, name)
        seconds += runs[0].history[-1]["seconds"]
        table[name] = scores(settings, task, runs)
        changing = counts(task, runs[0], settings)[1]
        both = changing > settings.hidden * task.n_out
        cells = [
            interval(table[name]),
            None if name == MAIN else interval(table[name] - table[MAIN]),
            interval(scores(settings, task, runs, last_only)) if both else None,
            interval(scores(settings, task, runs, nothing)) if changing else None,
            interval(scores(settings, control, runs)),
            *counts(task, runs[0], settings),
        ]
        rows.append((f"{place}: {name}", cells))
        curves.append([[(r["episodes"], r["validation"]) for r in run.history if "validation" in r] for run in runs])
    known = {**task.references(), "floor (best without support)": task.floor()}
    rows += [(f"{place}: {name}", [value] + [None] * 7) for name, value in known.items()]
    return table, rows, curves, seconds


def sentence(place: str, table: dict[str, np.ndarray], floor: float) -> str:
    """Say what is best, and what the first layer and the rule are worth, seed by seed."""

    def minus(first: str, second: str) -> str:
        mean, low, high = interval(100 * (table[first] - table[second]))
        return f"{first} minus {second} {mean:+.1f} points [{low:+.1f}, {high:+.1f}]"

    best = max(table, key=lambda name: table[name].mean())
    pairs = [(MAIN, HEAD), (MAML, ANIL), (MAIN, MAML), (DELTA, MAML), (DELTA, SINGLE)]
    compared = "; ".join(minus(*pair) for pair in pairs)
    return f"Pixels {place}: best is {best}, {table[best].mean():.3f} (floor {floor:.3f}). {compared}."


def main(settings: Settings) -> None:
    """Train and test all rows; write table and figure."""
    torch.set_num_threads(1)
    own = {name: getattr(settings, name) for name in TASKS[settings.task]}
    plain = nm.tasks.get(settings.task)(n_way=settings.ways, n_shot=settings.shots, n_query=10, **own)
    rows, findings, seconds = [], [], 0.0
    figure, axes = new_figure(2, rows=len(settings.pixels), height=3.0 * len(settings.pixels))
    looks = [(colour, style) for style in ("-", "--") for colour in COLOURS.values()]
    for place, (left, right) in zip(settings.pixels, axes, strict=True):
        task = replace(plain, permute_pixels=PLACES[place])
        table, found, curves, spent = one_place(settings, task, place)
        rows, seconds = rows + found, seconds + spent
        findings.append(sentence(place, table, task.floor()))
        for name, each, (colour, style) in zip(ARMS, curves, looks, strict=False):
            right.plot(*np.mean(each, 0).T, color=colour, ls=style, lw=1, label=name)
        drawn = [(name.partition(": ")[2], cells[0]) for name, cells in found]
        points = [(name, *(cell if isinstance(cell, tuple) else (cell, None, None))) for name, cell in drawn]
        plot_scores(left, points, task.score_name)
        left.set_title(f"{settings.ways}-way {settings.shots}-shot {settings.task}, pixels {place}")
        right.set(xlabel="training episodes of a seed", ylabel="validation accuracy")
        right.legend(fontsize=5, frameon=False)
    save_figure(figure, settings.out / "random_labels.png")
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title=f"Random label maps over two plastic layers ({settings.task})",
        question=f"""Accuracy on new classes (of MNIST: new images), {settings.ways}-way {settings.shots}-shot, pixels
        -> {settings.hidden} hidden neurons -> labels, no trunk; pixels in place, or in an order of its own for each
        episode, in which no feature of other episodes is of use. All rows see the same support: a local rule each of
        its images once, one after the other, a gradient step all of them at once (but for the row "image by image").
        Biases do not change in an episode. Learning rate and start of each row were chosen on validation classes, with
        the pixels in place.""",
        columns=[
            "accuracy",
            f"minus {MAIN}",
            "first layer fixed at the test",
            "both fixed at the test",
            "labels shuffled",
            "presentations",
            "synapses that change",
            "learned numbers",
        ],
        rows=rows,
        findings=findings,
        seeds=settings.seeds,
        seconds=seconds,
        figure="random_labels.png",
    )


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "random_labels.py")
