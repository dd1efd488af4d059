"""How far a surrogate gradient points where the loss falls.

A spike has no derivative, so the backward pass uses a surrogate, of which one has to choose shape and slope. Whether
the result is the direction of descent is an empirical question. An evolution strategy needs no derivative: it follows
the gradient of the loss blurred by its perturbations, without bias. Here both are computed of the same networks, tasks
and parameters before any training, and compared.

    python simulations/surrogate_gradient.py --preset default
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

import neurometa as nm
from neurometa.analysis.figures import COLOURS, new_figure, save_figure
from neurometa.cli.progress import error_console
from neurometa.cli.results import save_result
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.files import write_atomically
from neurometa.meta.evaluate import interval
from neurometa.meta.loop import tile
from neurometa.outer import Problem
from neurometa.outer.evolution import Evolution
from neurometa.spec.spikes import SURROGATES
from neurometa.streams import generator
from neurometa.tree import Tree


class Case(NamedTuple):
    """One column: a rule, and the parameters whose gradient is judged."""

    rule: str
    of_rule: bool

    @property
    def name(self) -> str:
        """Heading of the column."""
        return f"{self.rule}: {'the rule' if self.of_rule else 'hidden neurons'}"

    def chosen(self, learner: nm.PlasticLearner) -> list[str]:
        """Return the names of the parameters: the rule's, or those that decide when a hidden neuron spikes."""
        groups = learner.groups()
        if self.of_rule:
            return [name for name in groups if groups[name] == "rule"]
        return [name for name in groups if name.split(".")[0] in ("stimulus__hidden", "one__hidden", "hidden")]


#: e_prop reads only spikes that the rule cannot influence, so that the gradient of its own parameters is exact.
CASES = (Case("e_prop", False), Case("r_stdp", False), Case("r_stdp", True))
SLOPES = (1.0, 2.0, 5.0, 20.0)


@dataclass(frozen=True)
class Settings:
    """Surrogate gradients against an evolution strategy."""

    hidden: int = 16
    """Hidden neurons."""
    hold: int = 20
    """Steps of 1 ms for which an example is shown."""
    tasks: int = 8
    """Tasks of the loss whose gradient is taken."""
    pairs: int = 4000
    """Antithetic pairs of perturbed parameters."""
    chunk: int = 500
    """Pairs in one batched call."""
    sigma: float = 0.05
    """Standard deviation of a perturbation (stored parameters)."""
    seeds: int = 10
    """Networks, each with tasks of its own; intervals are over them."""
    out: Path = Path("runs/surrogate_gradient")
    """Folder for table and figure; an interrupted run is continued."""


SMOKE = Settings(hidden=4, hold=12, tasks=2, pairs=8, chunk=4, seeds=2, out=Path("runs/surrogate_gradient-smoke"))
PRESETS = {
    "smoke": SMOKE,
    "default": Settings(),
    "paper": Settings(hidden=64, pairs=20_000, out=Path("runs/surrogate_gradient-paper")),
}


def build(settings: Settings, task: nm.tasks.Task, rule: str, surrogate: str, slope: float) -> nm.PlasticLearner:
    """Return the spiking network with one surrogate in all its neurons."""
    network = nm.networks.spiking(task.n_in, task.n_out, nm.rules.get(rule), n_hidden=settings.hidden)
    populations = (
        replace(p, spikes=replace(p.spikes, surrogate=surrogate, slope=slope)) if p.spikes else p
        for p in network.populations
    )
    return nm.PlasticLearner(replace(network, populations=tuple(populations)), hold=settings.hold)


def flat(slopes: list[Tensor]) -> np.ndarray:
    """Return a gradient as one vector."""
    return torch.cat([slope.flatten() for slope in slopes]).double().numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two vectors, 0 if one is 0."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def compare(settings: Settings, task: nm.tasks.Task, case: Case, seed: int) -> tuple[np.ndarray, float]:
    """Return the cosines of one network, ``(surrogate, slope)``, and the cosine that a perfect gradient would have.

    The latter is the square root of the estimate's reliability, from the cosine of its two halves (Spearman-Brown).
    """
    made = {(name, slope): build(settings, task, case.rule, name, slope) for name in SURROGATES for slope in SLOPES}
    first = next(iter(made.values()))
    params = first.init(generator(seed, "init"))
    learned = {name: params[name] for name in case.chosen(first)}
    episode = task.sample(generator(seed, "tasks"), settings.tasks, "train")

    def problem(learner: nm.PlasticLearner, stream: torch.Generator | None = None) -> Problem:
        def losses(given: Tree, copies: int = 1) -> Tensor:
            return learner.loss({**params, **given}, tile(episode, copies), task, None)

        return Problem(losses, 0, 1, stream=stream)

    calls = max(1, settings.pairs // settings.chunk // 2)
    outer = Evolution(population=2 * settings.chunk, sigma=settings.sigma, shaping="none")
    halves = []
    for half in ("first half", "second half"):
        stream = generator(seed, half)
        each = [flat(outer.gradient(learned, problem(first, stream))[1]) for _ in range(calls)]
        halves.append(np.mean(each, 0))
    agreement = max(0.0, cosine(*halves))
    estimate = halves[0] + halves[1]
    found = [cosine(flat(nm.Backprop().gradient(learned, problem(each))[1]), estimate) for each in made.values()]
    return np.reshape(found, (len(SURROGATES), len(SLOPES))), float(np.sqrt(2 * agreement / (1 + agreement)))


def measure(settings: Settings, task: nm.tasks.Task) -> list[dict[str, Any]]:
    """Return what `compare` found for every case and network; what a file in the folder has is not computed again."""
    path = settings.out / "networks.json"
    asked = {name: value for name, value in asdict(settings).items() if name != "out"}
    found = json.loads(path.read_text()) if path.exists() else {"settings": asked, "networks": []}
    if found["settings"] != asked:
        raise NeurometaError(f"{path} was measured with other settings; choose another folder (--out)")
    settings.out.mkdir(parents=True, exist_ok=True)
    every = list(product(range(len(CASES)), range(settings.seeds)))
    done = found["networks"]
    console = error_console()
    for i, seed in track(every[len(done) :], "networks", console=console, disable=not console.is_terminal):
        begun = time.perf_counter()
        cosines, limit = compare(settings, task, CASES[i], seed)
        seconds = time.perf_counter() - begun
        done.append({"cosines": cosines.tolist(), "limit": limit, "seconds": seconds})
        write_atomically(path, lambda file: file.write(json.dumps(found).encode()))
    return done


def main(settings: Settings) -> None:
    """Compare, write table and figure."""
    torch.set_num_threads(1)
    task = nm.tasks.get("gaussian_clusters")(n_way=5, n_shot=1, n_query=5)
    measured = measure(settings, task)
    shape = (len(CASES), settings.seeds, len(SURROGATES), len(SLOPES))
    cosines = np.reshape([each["cosines"] for each in measured], shape)
    limits = np.reshape([each["limit"] for each in measured], shape[:2])
    rows = [
        (f"{name}, slope {slope:g}", [interval(cosines[i, :, j, k]) for i in range(len(CASES))])
        for j, name in enumerate(SURROGATES)
        for k, slope in enumerate(SLOPES)
    ]
    rows.append(("an exact gradient (noise of the estimate)", [interval(each) for each in limits]))
    means = cosines.mean((0, 1)).ravel()

    def said_of(row: np.intp) -> str:
        return f"{rows[row][0]} ({means[row]:.2f})"

    figure, (axes,) = new_figure(len(CASES))
    for i, (axis, case) in enumerate(zip(axes, CASES, strict=True)):
        for j, (name, colour) in enumerate(zip(SURROGATES, COLOURS.values(), strict=False)):
            mean, low, high = np.transpose([interval(cosines[i, :, j, k]) for k in range(len(SLOPES))])
            x = np.array(SLOPES) * 1.04 ** (j - 2)
            axis.errorbar(x, mean, (mean - low, high - mean), color=colour, lw=1, elinewidth=0.6, label=name)
        axis.axhline(limits[i].mean(), color=COLOURS["black"], lw=0.8, ls="--", label="exact gradient")
        axis.axhline(0, color=COLOURS["grey"], lw=0.5)
        axis.set(xscale="log", xlabel="slope", ylabel="cosine with the estimate" if i == 0 else "")
        axis.set_xticks(SLOPES, [f"{slope:g}" for slope in SLOPES])
        axis.minorticks_off()
        axis.set_title(case.name.replace(": ", ":\n"), fontsize=7)
    axes[0].legend(fontsize=6, frameon=False)
    save_figure(figure, settings.out / "surrogate_gradient.png")
    used = SURROGATES.index("fast_sigmoid"), SLOPES.index(5.0)
    said = "; ".join(
        "{}: {:.2f} [{:.2f}, {:.2f}] of {:.2f}".format(
            case.name, *interval(cosines[i, :, used[0], used[1]]), limits[i].mean()
        )
        for i, case in enumerate(CASES)
    )
    save_result(
        settings.out,
        script=__file__,
        presets=PRESETS,
        settings=settings,
        title="Surrogate gradients against an evolution strategy",
        question=f"""Cosine between the surrogate meta-gradient and the gradient of the loss blurred by sigma
        {settings.sigma:g} (antithetic evolution strategy, {settings.pairs:,} pairs, no shaping), of the network
        `spiking` with {settings.hidden} hidden neurons as it is drawn, {settings.tasks} five-way one-shot tasks. With
        e_prop the outputs do not spike; with r_stdp they do, and drive the rule. Columns: the parameters of the hidden
        neurons (weights onto them, time constant), or those of the rule.""",
        columns=[case.name for case in CASES],
        rows=rows,
        findings=[
            f"What the library uses (fast_sigmoid, slope 5): {said} for an exact gradient.",
            f"Highest and lowest mean over the columns: {said_of(np.argmax(means))}; {said_of(np.argmin(means))}. The "
            "peak of fast_sigmoid and triangle is 1 at every slope, that of sigmoid, arctan and gaussian a quarter, a "
            "half and .4 of the slope; a step through the reset multiplies a gradient by up to |1 - peak|.",
        ],
        seeds=settings.seeds,
        seconds=sum(each["seconds"] for each in measured),
        figure="surrogate_gradient.png",
        over="networks",
        digits=2,
    )


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "surrogate_gradient.py")
