"""Transitive inference: a plastic network is told that A > B, B > C, C > D and D > E. It chooses B over D.

Five new items in every episode, in a hidden order. Twenty trials show neighbours and tell the outcome; then every pair
is shown once, and nothing is told. Between trials activity starts from rest, so that only synapses can remember. They
change by the retroactive rule: a neuromodulator that the network computes itself, positive or negative, turns the
eligibility of the trial into change (a short version of Miconi & Kay 2025, doi:10.1038/s41593-024-01852-8).

Controls: plasticity off, and the neuromodulator of another episode, at the test; retrained, the same network without
plasticity and a GRU with as many parameters, whose activity goes on from trial to trial.

    python simulations/transitive_inference.py --preset default
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import neurometa as nm
from neurometa import rules
from neurometa.analysis.figures import COLOURS, new_figure, save_figure
from neurometa.cli.progress import training_progress
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import SpecificationError, unknown
from neurometa.learners import Learner
from neurometa.learners.no_adaptation import NoAdaptationLearner
from neurometa.learners.recurrent import RecurrentLearner, n_hidden_for
from neurometa.meta.evaluate import ablate, interval
from neurometa.spec.surgery import impose
from neurometa.streams import generator
from neurometa.tasks.base import Episode, responder
from neurometa.tasks.transitive_inference import TransitiveInference

ARMS = {
    "plastic": "plastic",
    "frozen": "no plasticity, activity goes on",
    "gru": "GRU, activity goes on",
}


@dataclass(frozen=True)
class Settings:
    """Transitive inference by a network with neuromodulated synapses, a short version."""

    arms: tuple[str, ...] = tuple(ARMS)
    """Of plastic, frozen, gru."""
    seeds: int = 3
    """Independent runs; each has its own test episodes, shared by all arms, and intervals are over seeds."""
    iterations: int = 1500
    """Meta-iterations."""
    tasks: int = 32
    """Episodes in each iteration."""
    items: int = 5
    """Items of an episode, 5 to 12."""
    train_trials: int = 20
    """Trials with neighbours, which are followed by their outcome."""
    hidden: int = 32
    """Hidden neurons; the GRU has as many as fit the same number of parameters."""
    lr: float = 3e-3
    """Learning rate (Adam, falling to 0)."""
    test_episodes: int = 2000
    """Test episodes of each seed."""
    threads: int = 1
    """Torch threads."""
    out: Path = Path("runs/transitive_inference")
    """Folder for runs, table and figure; an interrupted run is continued."""

    def __post_init__(self):
        for name in self.arms:
            if name not in ARMS:
                raise SpecificationError(unknown("arm", name, ARMS))
        if self.items < 5:
            raise SpecificationError(f"items is {self.items}; allowed: 5 to 12; type --items 5")


PRESETS = {
    "smoke": Settings(
        seeds=2,
        iterations=2,
        tasks=4,
        train_trials=4,
        hidden=4,
        test_episodes=20,
        out=Path("runs/transitive_inference-smoke"),
    ),
    "default": Settings(),
    "paper": Settings(seeds=10, iterations=10_000, items=7, hidden=64, out=Path("runs/transitive_inference-paper")),
}


def task_of(settings: Settings, arm: str = "plastic") -> TransitiveInference:
    """Return the task; without plastic synapses activity is all that can remember, so it goes on."""
    return TransitiveInference(n_items=settings.items, n_train=settings.train_trials, rest=arm == "plastic")


def network(settings: Settings) -> nm.Network:
    """Return a recurrent network with a neuromodulator that hears the stimulus too, and may be negative.

    Plastic strengths, one for each postsynaptic neuron, start at 0 and may take either sign: each neuron finds on which
    side of the choice it is. Recurrent weights start small, because a synapse stamps in what its postsynaptic neuron
    does at the choice, which at first must not be a random function of the pair.
    """
    task = task_of(settings)
    rule = replace(rules.get("retroactive"), params={"eta": nm.Param(0.7, "fraction")})
    base = nm.networks.recurrent(task.n_in, task.n_out, rule, n_hidden=settings.hidden)
    silent = nm.Param(0.0, per="synapse")
    strengths = {
        "w0": nm.Param(nm.Normal(0.0, "0.1/sqrt(n_pre)"), per="synapse"),
        "alpha": nm.Param(0.0, per="post"),
    }
    signed = {"m_hidden": "gain*tanh(drive)"}
    populations = [replace(p, update=signed.get(p.name, p.update)) for p in base.populations]
    wires = [nm.Projection("stimulus", "m_hidden", w=nm.Param(nm.Normal(0.0, 0.5), per="synapse"))]
    for p in base.projections:
        changed = replace(p, params=strengths) if p.rule else p
        wires.append(replace(p, w=silent) if p.post == "m_hidden" or (p.pre, p.post) == ("one", "out") else changed)
    return replace(base, populations=tuple(populations), projections=tuple(wires), name="transitive_inference")


def build(settings: Settings, arm: str) -> Learner:
    """Return the learner of an arm."""
    plastic = nm.PlasticLearner(network(settings))
    if arm == "plastic":
        return plastic
    if arm == "frozen":
        return NoAdaptationLearner(plastic.network)
    task = task_of(settings)
    size = n_hidden_for(n_parameters(plastic), task.n_in, task.n_out)
    return RecurrentLearner(task.n_in, task.n_out, size)


def n_parameters(learner: Learner) -> int:
    """Return the number of learned scalars."""
    groups = learner.groups()
    return sum(leaf.numel() for name, leaf in learner.init(torch.Generator()).items() if name in groups)


def train(settings: Settings, arm: str) -> list[nm.Run]:
    """Meta-train one arm for all seeds in one call; a folder with these runs in it is continued."""
    task = task_of(settings, arm)
    with training_progress(ARMS[arm], task.score_name) as report:
        return nm.meta_train_seeds(
            build(settings, arm),
            task,
            nm.Backprop(lr=settings.lr, schedule="cosine"),
            seeds=range(settings.seeds),
            n_iterations=settings.iterations,
            n_tasks=settings.tasks,
            validate_every=max(1, settings.iterations // 20),
            n_validation=min(200, settings.test_episodes),
            run_dir=settings.out / f"{arm}-{settings.iterations}",
            resume=True,
            on_progress=report,
        )


def yoked(run: nm.Run, episode: Episode) -> Tensor:
    """Return the output with the neuromodulator of another episode."""
    part, respond, learner = episode.support, responder(run.task, episode.support), run.learner
    assert isinstance(learner, nm.PlasticLearner)
    m = learner.run(run.params, part, save=nm.Save(("x.m_hidden",)), respond=respond)["x.m_hidden"]
    imposed = nm.PlasticLearner(impose(learner.network, "m_hidden"))
    shown = part._replace(inputs={**part.inputs, "m_hidden": m.roll(1, 1)})
    return imposed.run(run.params, shown, respond=respond).output


def kinds(task: TransitiveInference, shown: Tensor) -> dict[str, Tensor]:
    """Return which test trials ``(trial, batch)`` are of each kind; ``shown`` holds the places of the two items."""
    asked = shown[task.n_train :]
    distance, ends = asked.diff(dim=-1)[..., 0].abs(), (asked == 0) | (asked == task.n_items - 1)
    far = distance > 1
    found = {"no neighbours": far, "of these, without end items": far & ~ends.any(-1)}
    return found | {f"{d} apart": distance == d for d in range(1, task.n_items)}


def test(settings: Settings, run: nm.Run, how: str = "", batch: int = 250) -> np.ndarray:
    """Return the accuracy on each kind of test trial, over the test episodes of the run's seed."""
    task, stream, found = run.task, generator(run.seed, "eval"), []
    assert isinstance(task, TransitiveInference)
    with torch.no_grad():
        for begin in range(0, settings.test_episodes, batch):
            episode = task.sample(stream, min(batch, settings.test_episodes - begin), "test")
            if how == "yoked":
                output = yoked(run, episode)
            else:
                output = run.learner.respond(run.params, ablate(episode) if how == "off" else episode, task)
            right = task.right(output, episode.support)[task.n_train :]
            each = kinds(task, episode.info["shown"]).values()
            found.append(torch.stack([torch.stack([(right * which).sum(), which.sum()]) for which in each]))
    right, count = torch.stack(found).double().sum(0).unbind(-1)
    return (right / count).numpy()


def counting(task: TransitiveInference, n: int = 20_000) -> np.ndarray:
    """Return the accuracy of who chooses the item that won more often than it lost, by more; he guesses at a tie."""
    shown = task.sample(generator(0, "counting"), n, "test").info["shown"]
    places = torch.nn.functional.one_hot(shown.sort(-1).values, task.n_items).double()  # (trial, batch, 2, item)
    balance = (places[: task.n_train, :, 0] - places[: task.n_train, :, 1]).sum(0)  # (batch, item)
    margin = ((places[task.n_train :, :, 0] - places[task.n_train :, :, 1]) * balance).sum(-1)
    right = (margin.sign() + 1) / 2  # (trial, batch)
    return np.array([float(right[which].mean()) for which in kinds(task, shown).values()])


def observer(task: TransitiveInference) -> np.ndarray:
    """Return the accuracy of the ideal observer on each kind of trial, exactly."""
    pairs = task.ideal()
    shown = torch.tensor([*pairs])[:, None]  # (trial, 1, 2)
    score = np.array([*pairs.values()])
    which = kinds(task, torch.cat([shown[:1].expand(task.n_train, -1, -1), shown])).values()
    return np.array([score[each[:, 0].numpy()].mean() for each in which])


def main(settings: Settings) -> None:
    """Train, test, write result and figure."""
    torch.set_num_threads(settings.threads)
    task = task_of(settings)
    names = [*kinds(task, task.sample(generator(0), 1).info["shown"])]
    runs = {arm: train(settings, arm) for arm in settings.arms}
    scores: dict[str, np.ndarray] = {}
    rows = []
    for arm in settings.arms:
        hows = {"": ARMS[arm]}
        if arm == "plastic":
            hows |= {"off": "plasticity off at the test", "yoked": "neuromodulator of another episode at the test"}
        for how, title in hows.items():
            scores[title] = np.array([test(settings, run, how) for run in runs[arm]])  # (seeds, kinds)
            count = None if how else n_parameters(runs[arm][0].learner)
            rows.append((title, [*map(interval, scores[title].T), count]))
    references = {"wins minus losses": counting(task), "ceiling (ideal observer)": observer(task)}
    rows += [(name, [*map(float, values), None]) for name, values in references.items()]
    rows.append(("floor (best without support)", [*[task.floor()] * len(names), None]))
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Transitive inference",
        question=f"""{settings.items} new items in a hidden order: {settings.train_trials} trials show neighbours and
            tell the outcome, then every pair is shown once and nothing is told. How often is the higher item chosen?
            The loss is the cross-entropy of the right choice; choices are drawn from the network's odds, in training
            and at the test. {settings.iterations:,} iterations of {settings.tasks} episodes, {settings.hidden} hidden
            neurons, {settings.test_episodes:,} test episodes a seed, shared by all arms.""",
        columns=[*names, "parameters"],
        rows=rows,
        findings=findings(scores, task),
        published="""Miconi & Kay 2025 show 4 to 8 items, tell the outcome in the last trials too, and train 200 neurons
            by actor-critic on 30,000 times 32 episodes; their networks too are better the further items are apart.""",
        seeds=settings.seeds,
        seconds=sum(each[0].history[-1]["seconds"] for each in runs.values()),
        figure="transitive_inference.png",
    )
    draw(settings, runs, scores, references)


def findings(scores: dict[str, np.ndarray], task: TransitiveInference) -> list[str]:
    """Say what the accuracies say; differences are paired by seed."""
    if "plastic" not in scores:
        return []
    plastic = scores["plastic"]
    share = 100 * (plastic[:, 0].mean() - task.floor()) / (task.ceiling() - task.floor())
    found = [f"The plastic network closes {share:.0f} % of the way from the floor to the ideal observer."]
    mean, low, high = interval(plastic[:, -1] - plastic[:, 3])
    far = f"{task.n_items - 1} apart against 2 apart"
    found.append(f"Symbolic distance, plastic: {far} {mean:+.3f} [{low:+.3f}, {high:+.3f}], paired by seed.")
    for name, other in scores.items():
        if name != "plastic":
            mean, low, high = interval(plastic[:, 0] - other[:, 0])
            found.append(f"plastic against {name}, no neighbours: {mean:+.3f} [{low:+.3f}, {high:+.3f}].")
    return found


def draw(
    settings: Settings, runs: dict[str, list[nm.Run]], scores: dict[str, np.ndarray], references: dict[str, np.ndarray]
) -> None:
    """Draw learning curves, and accuracy against distance."""
    figure, axes = new_figure(2, width=7.2, height=2.8)
    colours = dict(
        zip([*scores, *references], ("blue", "grey", "red", "orange", "green", "grey", "black"), strict=False)
    )
    for arm, each in runs.items():
        for run in each:
            scored = [(r["iteration"], r["validation"]) for r in run.history if "validation" in r]
            label = ARMS[arm] if run is each[0] else None
            axes[0, 0].plot(*zip(*scored, strict=True), color=COLOURS[colours[ARMS[arm]]], lw=1, label=label)
    axes[0, 0].set(xlabel="iterations", ylabel="accuracy, no neighbours (validation)", title="a  learning")
    distance = np.arange(1, settings.items)
    for name, values in scores.items():
        mean, low, high = np.array([interval(column) for column in values[:, 2:].T]).T
        bars = np.nan_to_num(np.stack([mean - low, high - mean]))
        axes[0, 1].errorbar(distance, mean, bars, color=COLOURS[colours[name]], lw=1, marker="o", ms=3, label=name)
    for name, known in references.items():
        axes[0, 1].plot(distance, known[2:], color=COLOURS[colours[name]], lw=0.8, ls="--", label=name)
    axes[0, 1].set(xlabel="distance in the order", ylabel="accuracy", title=f"b  test, {settings.seeds} seeds")
    axes[0, 1].set_xticks(distance)
    for axis in axes[0]:
        axis.axhline(0.5, color=COLOURS["grey"], lw=0.8, ls=":")
        axis.set_ylim(0.4, 1.02)
        axis.legend(fontsize=5.5, frameon=False)
    save_figure(figure, settings.out / "transitive_inference.png")


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "transitive_inference.py")
