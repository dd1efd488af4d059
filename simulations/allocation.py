"""Where meta-knowledge lives: weights, learning rule and neuromodulator, learned or frozen in every combination.

What the outer loop learns has three parts (Doya 2002, doi:10.1016/S0893-6080(02)00044-8): w0 (initial weights and every
synapse that does not change within a task), the rule (its coefficients), and the modulator (the synapses that compute
it). All eight combinations of learned and frozen are trained; what is frozen keeps the values it was drawn with. Beside
them stand gradient meta-learning on the same synapses (MAML), a hybrid of rule and gradient, floor and ceiling.

Two tasks: volatility (predict a mean that jumps) and cue-reward (remember what each of five cues was worth).

    python simulations/allocation.py --preset default
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

import neurometa as nm
from neurometa.analysis.figures import log_scale, new_figure, plot_scores, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners import Learner
from neurometa.meta.evaluate import Row, interval, score_run
from neurometa.meta.folder import RunFolder
from neurometa.streams import Streams
from neurometa.tasks.base import Task
from neurometa.tasks.volatility import bayes

GROUPS = ("w0", "rule", "modulator")
SHOWN = {"w0": "w0 part", "rule": "rule", "modulator": "modulator"}
ALL, NONE = "+".join(GROUPS), "nothing learned"


@dataclass(frozen=True)
class Settings:
    """Allocation tables."""

    tasks: tuple[str, ...] = ("volatility", "cue_reward")
    """volatility, cue_reward."""
    seeds: int = 5
    """Independent runs; each has its own test episodes, shared by all rows, and intervals are over seeds."""
    iterations: int = 400
    """Meta-iterations of every run on volatility; twice as many on cue-reward, whose episodes are ten times shorter."""
    episodes: int = 64
    """Episodes in each iteration."""
    test_episodes: int = 1000
    """Test episodes of each seed."""
    hidden: int = 32
    """Neurons of the hidden population."""
    lr: float = 1e-2
    """Learning rate (Adam, cosine)."""
    out: Path = Path("runs/allocation")
    """Folder for runs, tables and figure; an interrupted run is continued."""

    def __post_init__(self):
        for name in self.tasks:
            if name not in BUILDERS:
                raise SpecificationError(unknown("task", name, BUILDERS))


def rule(eta: float) -> nm.PlasticityRule:
    """Return a three-factor delta rule with decay."""
    params = {"eta": nm.Param(eta, "positive"), "decay": nm.Param(0.001, "positive")}
    return nm.PlasticityRule("three_factor", dw="eta*m*pre*error_post - decay*w", params=params)


def predictor(n_hidden: int) -> nm.Network:
    """Build the network for volatility: a plastic synapse and a recurrent population predict together.

    The recurrent population sees the errors. Its weights, and those from it to the prediction, are w0: they alone
    could learn to average in their activity. The modulator reads the same population.
    """
    fixed = nm.Param(1.0, learned=False)
    error = {"x": "m_teach*(target - predicted)"}
    return nm.Network(
        (
            *(nm.Population(name, 1) for name in ("stimulus", "target", "teach")),
            nm.Population(
                "prediction",
                1,
                {"x": "drive", "error": "m_teach*(target - drive)"},
                inputs=("drive", "target"),
                modulators={"teach": "teach"},
            ),
            nm.Population("error", 1, error, inputs=("target", "predicted"), modulators={"teach": "teach"}),
            nm.Population("hidden", n_hidden, "tanh(drive)"),
            nm.Population("rate", 1, "sigmoid(drive)"),
        ),
        (
            nm.Projection("stimulus", "prediction", name="plastic", rule=rule(1.0), modulators={"m": "rate"}),
            nm.Projection("hidden", "prediction", w=nm.Param(0.0, per="synapse")),
            nm.Projection("target", "prediction", into="target", w=fixed),
            nm.Projection("target", "error", into="target", w=fixed),
            nm.Projection("prediction", "error", into="predicted", w=fixed),
            nm.Projection("error", "hidden", w=nm.Param(nm.Normal(0.0, 1.0), per="synapse")),
            nm.Projection("hidden", "hidden"),
            nm.Projection("one", "hidden", w=nm.Param(nm.Normal(0.0, 0.5), per="synapse")),
            nm.Projection("hidden", "rate", w=nm.Param(0.0, per="synapse")),
            nm.Projection("one", "rate", w=nm.Param(0.0)),
        ),
        output="prediction.x",
        name="predictor",
    )


def volatility(settings: Settings) -> tuple[Task, Learner, Learner, Learner]:
    """Return the task, the plastic learner, MAML taken step by step, and the hybrid."""
    network = predictor(settings.hidden)
    online = {"objective": "prediction.error", "rate": 0.2}
    return (
        nm.tasks.Volatility(),
        nm.PlasticLearner(network),
        nm.learners.OnlineGradientLearner(network, **online),
        nm.learners.HybridLearner(network, **online),
    )


def cue_reward(settings: Settings) -> tuple[Task, Learner, Learner, Learner]:
    """Return the task, the plastic learner, MAML with five steps on the whole support set, and the hybrid."""
    task = nm.tasks.CueReward()
    network = nm.networks.modulated(task.n_in, 1, rule=rule(0.05), n_hidden=settings.hidden, transfer="linear")
    plain = nm.networks.mlp(task.n_in, 1, hidden=(settings.hidden,), transfer="tanh")
    return (
        task,
        nm.PlasticLearner(network),
        nm.GradientLearner(plain, steps=5, rate=0.1, learn_rate=True),
        nm.learners.HybridLearner(network, objective="out.error", rate=0.02),
    )


BUILDERS = {"volatility": volatility, "cue_reward": cue_reward}
PRESETS = {
    "smoke": Settings(seeds=2, iterations=3, episodes=4, test_episodes=20, hidden=4, out=Path("runs/allocation-smoke")),
    "default": Settings(),
    "paper": Settings(seeds=10, iterations=4000, hidden=64, lr=3e-3, out=Path("runs/allocation-paper")),
}


def scores(settings: Settings, name: str, title: str, task: Task, learner: Learner, learn: tuple[str, ...]) -> list:
    """Meta-train one row for all seeds in one call, and return its mean test score for each seed."""
    parameters = []
    if learn:
        iterations = settings.iterations * (2 if name == "cue_reward" else 1)
        with training_progress(f"{name}, {title}") as report:
            runs = nm.meta_train_seeds(
                learner,
                task,
                nm.Backprop(lr=settings.lr, schedule="cosine"),
                seeds=range(settings.seeds),
                n_iterations=iterations,
                n_tasks=settings.episodes,
                learn=learn,
                run_dir=settings.out / name / title.replace(" ", "-"),
                resume=True,
                on_progress=report,
            )
        parameters = [run.params for run in runs]
    else:
        parameters = [learner.init(Streams(seed)["init"]) for seed in range(settings.seeds)]
    each = [
        score_run(learner, params, task, n_episodes=settings.test_episodes, seed=seed, batch=500)
        for seed, params in enumerate(parameters)
    ]
    return [float(values.mean()) for values in each]


def ceilings(settings: Settings, task: Task) -> list[float] | None:
    """Return the exact observer's score on the test episodes of each seed, where it can be run."""
    if not isinstance(task, nm.tasks.Volatility):
        return None
    found = []
    for seed in range(settings.seeds):
        stream, values = Streams(seed)["eval"], []
        for begin in range(0, settings.test_episodes, 500):
            episode = task.sample(stream, min(500, settings.test_episodes - begin), "test")
            values.append(task.score(bayes(episode.info["observation"]).prediction[..., None], episode.scored))
        found.append(float(torch.cat(values).mean()))
    return found


def main_effects(table: dict[str, list[float]], best: list[float]) -> dict[str, tuple[float, float, float]]:
    """Return, for each group, how much of the gap between nothing and ceiling closes when it is learned.

    The mean over the four pairs of combinations that differ in this group alone (the main effect of a 2 x 2 x 2
    design), with its interval over seeds.
    """
    gap = np.array(table[NONE]) - np.array(best)
    found = {}
    for group in GROUPS:
        sign = {name: 1 if group in name.split("+") else -1 for name in combinations()}
        effect = sum(-sign[name] * np.array(table[name]) for name in sign) / 4
        found[group] = interval(100 * effect / gap)
    return found


def combinations() -> dict[str, tuple[str, ...]]:
    """Return the eight combinations by their titles."""
    flags = product((False, True), repeat=len(GROUPS))
    chosen = [tuple(g for g, on in zip(GROUPS, each, strict=True) if on) for each in flags]
    return {"+".join(groups) or NONE: groups for groups in chosen}


def sentence(name: str, effects: dict[str, tuple[float, float, float]], table: dict[str, list[float]]) -> str:
    """Say where the meta-knowledge lives."""
    order = sorted(effects, key=lambda group: -effects[group][0])
    parts = [f"the {SHOWN[g]} closes {effects[g][0]:.0f} % [{effects[g][1]:.0f}, {effects[g][2]:.0f}]" for g in order]
    alone = min(GROUPS, key=lambda group: float(np.mean(table[group])))
    share = 100 * (np.mean(table[NONE]) - np.mean(table[alone])) / (np.mean(table[NONE]) - np.mean(table[ALL]))
    return (
        f"{name}: averaged over what else is learned, learning {parts[0]}, {parts[1]} and {parts[2]} of the gap "
        f"between nothing learned and ceiling; the {SHOWN[alone]} alone reaches {share:.0f} % of what all three do."
    )


def one_table(settings: Settings, name: str) -> tuple[list[Row], list[tuple[float, float, float] | None], str]:
    """Train and test everything on one task; return rows, paired differences to all three, and what they say."""
    task, plastic, maml, hybrid = BUILDERS[name](settings)
    table = {t: scores(settings, name, t, task, plastic, learn) for t, learn in combinations().items()}
    table["MAML"] = scores(settings, name, "MAML", task, maml, GROUPS)
    table["hybrid"] = scores(settings, name, "hybrid", task, hybrid, GROUPS)
    observer = ceilings(settings, task)
    best = observer or [float(task.ceiling() or 0.0)] * settings.seeds
    rows = [Row(t, *interval(values), len(values), "seeds") for t, values in table.items()]
    rows.append(Row("floor (best without support)", task.floor()))
    rows.append(Row("ceiling (ideal observer)", *(interval(best) if observer else (best[0],))))
    others = {t: interval(np.array(values) - np.array(table[ALL])) for t, values in table.items() if t != ALL}
    return rows, [others.get(row.name) for row in rows], sentence(name, main_effects(table, best), table)


def main(settings: Settings) -> None:
    """Make a table per task and one figure."""
    torch.set_num_threads(1)
    figure, axes = new_figure(len(settings.tasks), width=3.6 * len(settings.tasks), height=3.6)
    rows: dict[str, list] = {}
    findings = []
    for axis, name, letter in zip(axes[0], settings.tasks, "ab", strict=False):
        found, paired, said = one_table(settings, name)
        for row, difference in zip(found, paired, strict=True):
            rows.setdefault(row.name, []).extend(
                [row.mean if row.low is None else (row.mean, row.low, row.high), difference]
            )
        findings.append(said)
        plot_scores(axis, [(row.name, row.mean, row.low, row.high) for row in found], "squared error")
        axis.set_title(f"{letter}  {name.replace('_', '-')}, {settings.seeds} seeds")
        log_scale(axis)
    first = [RunFolder(path.parent) for path in sorted(settings.out.glob("*/*/seed-0/metrics.jsonl"))]
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Allocation: where does the meta-knowledge live?",
        question=f"""What the outer loop learns has three parts: w0 (initial weights and every synapse that does not
        change within a task), the rule (rate and decay of `eta*m*pre*error_post - decay*w`), and the modulator (the
        synapses that compute `m`). What is frozen keeps the values it was drawn with. Squared error on
        {settings.test_episodes:,} test episodes a seed, shared by all rows, and the paired difference to learning all
        three. MAML takes five steps on the whole support set of cue-reward (50 presentations, where a rule sees ten),
        and one step an observation on volatility.""",
        columns=[c for name in settings.tasks for c in (name.replace("_", "-"), "paired difference")],
        rows=[*rows.items()],
        findings=findings,
        seeds=settings.seeds,
        seconds=sum(folder.metrics()[-1]["seconds"] for folder in first),
        figure="allocation.png",
        digits=4,
    )
    save_figure(figure, settings.out / "allocation.png")


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "allocation.py")
