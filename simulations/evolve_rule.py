"""Evolve a learning rule, and nothing else: synapses start from random weights that are drawn anew in every episode.

Points of five Gaussian clusters are shown once each with labels that are new in every episode, and new points are to be
named. What is evolved is the rule `dw = eta*(A*pre*post + B*pre + C*post + D)` of one layer of synapses, with
coefficients of its own for every synapse (Najarro & Risi 2020, arXiv:2007.02686). Beside it stand the same rule with
one set of coefficients for all synapses, Hebb's rule with one tuned rate, and a network without plasticity whose
weights are evolved; and the floor, the ideal observer, and an observer who knows the centres. Two versions of the task:
plain, and with further inputs that tell nothing, so that a rule is better if it has inherited which inputs to ignore.

    python simulations/evolve_rule.py --preset default
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import COLOURS, new_figure, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.learners import Learner
from neurometa.meta.evaluate import interval, score_run
from neurometa.outer.evolution import Evolution
from neurometa.spec import Normal, Param, PerEpisode, Uniform
from neurometa.tasks.gaussian_clusters import GaussianClusters


@dataclass(frozen=True)
class Settings:
    """Evolution of an ABCD rule on Gaussian clusters with random label maps."""

    seeds: int = 3
    """Independent runs; each has its own test episodes, and intervals are over seeds."""
    first_seed: int = 10
    """The first of these; population and rates were chosen with seed 0."""
    generations: int = 1000
    """Generations of all arms but Hebb's rule."""
    short: int = 200
    """Generations of Hebb's rule, whose one rate needs no more."""
    population: int = 128
    """Candidates in each generation, all in one batched call."""
    episodes: int = 32
    """Episodes in each generation, the same for all candidates."""
    sigma: float = 0.1
    """Standard deviation of the candidates about their centre."""
    lr: float = 0.05
    """Learning rate of the centre (Adam, cosine)."""
    distractors: int = 16
    """Inputs that tell nothing, in the second version of the task; 1 or more."""
    test_episodes: int = 2000
    """Test episodes of each seed."""
    out: Path = Path("runs/evolve_rule")
    """Folder for runs, table and figure; an interrupted run is continued."""


PRESETS = {
    "smoke": Settings(
        seeds=2,
        generations=10,
        short=4,
        population=64,
        episodes=4,
        test_episodes=100,
        out=Path("runs/evolve_rule-smoke"),
    ),
    "default": Settings(),
    "paper": Settings(seeds=10, generations=3000, population=256, out=Path("runs/evolve_rule-paper")),
}
ABCD, SHARED, HEBB, STATIC = "ABCD, per synapse", "ABCD, shared", "Hebb, one tuned rate", "static weights"
ARMS = {ABCD: "blue", SHARED: "orange", HEBB: "green", STATIC: "red"}
#: One set of coefficients for all synapses, drawn as those of each synapse are: nothing says that it should be Hebb's.
ONE_SET = replace(
    nm.rules.get("abcd_shared"),
    params={"eta": Param(0.1, "positive"), **dict.fromkeys("ABCD", Param(Normal(0.0, 0.1)))},
)
ONE_RATE = nm.PlasticityRule("hebb_rate", dw="eta*pre*post", params={"eta": Param(0.1, "positive")})


def build(task: GaussianClusters, name: str) -> Learner:
    """Return what is evolved: a rule over weights that are drawn in each episode, or weights without a rule."""
    if name == STATIC:
        return nm.learners.NoAdaptationLearner(nm.networks.mlp(task.n_in, task.n_out, hidden=()))
    rule = {ABCD: nm.rules.get("abcd"), SHARED: ONE_SET, HEBB: ONE_RATE}[name]
    network = nm.networks.associative(task.n_in, task.n_out, rule=rule)
    head, clamp = network.projections
    head = replace(head, efficacy="w", params={}, w=Param(PerEpisode(Uniform(-0.1, 0.1))))
    return nm.PlasticLearner(replace(network, projections=(head, clamp)))


def train(settings: Settings, task: GaussianClusters, name: str, seed: int) -> nm.Run:
    """Evolve one arm; a folder with this run in it is continued."""
    generations = settings.short if name == HEBB else settings.generations
    kind = f"{'distractors' if task.n_distractor else 'plain'}-{name.replace(', ', '-').replace(' ', '-').lower()}"
    with training_progress(f"{kind}, seed {seed}", task.score_name) as report:
        return nm.meta_train(
            build(task, name),
            task,
            Evolution(population=settings.population, sigma=settings.sigma, lr=settings.lr, schedule="cosine"),
            n_iterations=generations,
            n_tasks=settings.episodes,
            seed=seed,
            validate_every=max(generations // 20, 1),
            n_validation=500,
            run_dir=settings.out / f"{kind}-{seed}",
            resume=True,
            on_progress=report,
        )


def coefficients(run: nm.Run) -> dict[str, np.ndarray]:
    """Return eta times each coefficient of an evolved rule, ``(out, in)``."""
    values = {name.rpartition(".")[2]: value.numpy() for name, value in run.values().items() if ".rule." in name}
    return {name: values["eta"] * values[name] for name in "ABCD"}


def test(settings: Settings, task: GaussianClusters, runs: list[nm.Run]) -> dict[str, list[float]]:
    """Return the accuracy of each seed on its test episodes, and under the controls."""

    def accuracy(task: GaussianClusters, plastic: bool = True) -> list[float]:
        options = {"n_episodes": settings.test_episodes, "plastic": plastic}
        return [float(score_run(r.learner, r.params, task, seed=r.seed, **options).mean()) for r in runs]

    lesion = {"off": accuracy(task, plastic=False)} if runs[0].learner.plastic else {}
    return {"on": accuracy(task), "shuffled": accuracy(replace(task, shuffle_labels=True)), **lesion}


def draw(settings: Settings, tasks: dict[str, GaussianClusters], runs: dict[tuple[str, str], list[nm.Run]]) -> None:
    """Draw accuracy over generations for both tasks, and the coefficients of the evolved rule."""
    figure, axes = new_figure(3, width=7.2, height=2.6)
    for axis, letter, (kind, task) in zip(axes[0], "ab", tasks.items(), strict=False):
        for name, colour in ARMS.items():
            curves = [
                [(r["iteration"], r["validation"]) for r in run.history if "validation" in r]
                for run in runs[kind, name]
            ]
            x, y = np.mean(curves, 0).T
            axis.plot(x, y, color=COLOURS[colour], lw=1, label=name)
        for value, style, label in ((task.ceiling(), "--", "ideal observer"), (task.floor(), ":", "floor")):
            axis.axhline(value, color=COLOURS["grey"], lw=0.8, ls=style, label=label)
        axis.set(xlabel="generation", ylabel="validation accuracy", ylim=(0.15, 0.9), title=f"{letter}  {kind}")
    axes[0, 0].legend(fontsize=6, frameon=False, loc="center right")
    axis, (kind, task) = axes[0, 2], [*tasks.items()][-1]
    found = [coefficients(run) for run in runs[kind, ABCD]]
    groups, labels = [], []
    for name in "ABCD":
        whole = np.stack([each[name] for each in found])  # (seed, out, in)
        groups += [whole[..., : task.n_dim].ravel(), whole[..., task.n_dim :].ravel()]
        labels += [f"{name}", f"{name}\ndistr."]
    drawn = axis.boxplot(groups, whis=(5, 95), showfliers=False, widths=0.6, medianprops={"color": COLOURS["black"]})
    for i, line in enumerate(drawn["boxes"]):
        line.set_color(COLOURS["grey" if i % 2 else "blue"])
    axis.axhline(0, color=COLOURS["grey"], lw=0.5)
    axis.set_xticks(range(1, len(labels) + 1), labels, size=6)
    axis.set(ylabel="eta times coefficient", title=f"c  evolved rule, {len(found)} seeds")
    save_figure(figure, settings.out / "evolve_rule.png")


def verdict(kind: str, task: GaussianClusters, found: dict[str, dict[str, list[float]]]) -> str:
    """Say what one version of the task showed; differences are paired by seed."""
    share, low, high = interval(shares(task, found[ABCD]["on"]))
    head = f"{kind[0].upper()}{kind[1:]}: the rule evolved per synapse closes {share:.0f} % [{low:.0f}, {high:.0f}]"
    said = [f"{head} of the gap between floor and ideal observer"]
    for other in (SHARED, HEBB):
        mean, low, high = interval([100 * (a - b) for a, b in zip(found[ABCD]["on"], found[other]["on"], strict=True)])
        said.append(f"minus {other}: {mean:+.1f} points [{low:+.1f}, {high:+.1f}]")
    away = max(abs(100 * (value - task.floor())) for value in found[STATIC]["on"])
    return "; ".join([*said, f"no seed of the static weights is further than {away:.1f} points from chance"]) + "."


def describe(task: GaussianClusters, runs: list[nm.Run]) -> str:
    """Say what the rule has become, on inputs that tell and on those that do not."""
    found = [coefficients(run) for run in runs]
    said = []
    for side, cut in {"inputs that tell": slice(task.n_dim), "distractors": slice(task.n_dim, None)}.items():
        values = {name: np.stack([each[name][:, cut] for each in found]) for name in "ABCD"}
        said.append(f"{side}: " + ", ".join(f"{n} {v.mean():+.3f} (sd {v.std():.3f})" for n, v in values.items()))
    return f"The evolved rule, eta times coefficient, mean over synapses and seeds; {'; '.join(said)}."


def shares(task: GaussianClusters, accuracies: list[float]) -> list[float]:
    """Return how much of the gap between floor and ideal observer is closed, in %."""
    return [100 * (value - task.floor()) / (task.ceiling() - task.floor()) for value in accuracies]


def main(settings: Settings) -> None:
    """Evolve and test all arms on both versions of the task; write table and figure."""
    torch.set_num_threads(1)
    plain, noisy = GaussianClusters(), GaussianClusters(n_distractor=settings.distractors)
    tasks = {"plain": plain, f"{settings.distractors} distractors": noisy}
    runs: dict[tuple[str, str], list[nm.Run]] = {}
    rows, findings = [], []
    numbers = range(settings.first_seed, settings.first_seed + settings.seeds)
    for kind, task in tasks.items():
        found = {}
        for name in ARMS:
            runs[kind, name] = [train(settings, task, name, seed) for seed in numbers]
            found[name] = scores = test(settings, task, runs[kind, name])
            run, off = runs[kind, name][0], scores.get("off")
            evolved = sum(run.params[leaf].numel() for leaf in run.learner.groups())
            controls = [interval(off) if off else None, interval(scores["shuffled"])]
            cells = [interval(scores["on"]), interval(shares(task, scores["on"])), *controls, evolved]
            rows.append((f"{kind}: {name}", cells))
        findings.append(verdict(kind, task, found))
    for name, value in {"ideal observer": plain.ceiling(), **plain.references(), "floor": plain.floor()}.items():
        rows.append((f"both: {name}", [value, *shares(plain, [value]), None, None, None]))
    draw(settings, tasks, runs)
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="A learning rule evolved over random weights",
        question=f"""Five Gaussian clusters in {plain.n_dim} dimensions, places and labels new in each episode, one
        example each; {settings.test_episodes} held-out episodes per seed. Weights are drawn anew from U(-.1, .1) in
        each episode, so that only the rule is inherited. All arms: evolution strategy, {settings.population} candidates
        in one call; coefficients start at N(0, .1), so that the sign has to be found. With distractors,
        {settings.distractors} further inputs tell nothing; their standard deviation is {noisy.distractor:g}, that of
        the others 1.4 over all clusters.""",
        columns=["accuracy", "% of the gap", "plasticity off", "labels shuffled", "evolved numbers"],
        rows=rows,
        findings=[*findings, describe(noisy, runs[[*tasks][-1], ABCD])],
        seeds=settings.seeds,
        seconds=sum(run.history[-1]["seconds"] for group in runs.values() for run in group),
        figure="evolve_rule.png",
        published="none for this task: Najarro & Risi 2020 evolve such rules for a car race and a walking robot.",
    )


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "evolve_rule.py")
