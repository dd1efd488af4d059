"""One iteration of second-order MAML on sinusoids: all tasks at once, against a loop over tasks.

The reference below is the shortest idiomatic loop: one functional clone of the module for each task,
``torch.autograd.grad(create_graph=True)``, one ``loss.backward()`` over the mean, ``optimizer.step()``. Both sides have
the same layers, number format, loss, optimiser, clipping, threads and allocator setting; both draw from the same task,
and give the same loss and meta-gradient, which is checked first. Runs alternate; figures are CPU time, and the median
over rounds of the ratio to the reference of the same round.

    python benchmarks/inner_loop.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _record import write_record
from torch import Tensor, nn

import neurometa as nm
from neurometa.cli.script import run_script
from neurometa.errors import NeurometaError
from neurometa.meta.memory import keep_memory
from neurometa.outer import Problem
from neurometa.streams import generator
from neurometa.tasks.base import Episode, Task


@dataclass(frozen=True)
class Settings:
    """CPU time of one meta-iteration, sinusoid MAML of the second order."""

    steps: tuple[int, ...] = (1, 5)
    """Inner steps; each number is timed by itself."""
    tasks: int = 25
    """Tasks in each iteration."""
    shots: int = 5
    """Support points (and query points) of each task."""
    rate: float = 0.01
    """Inner rate."""
    rounds: int = 7
    """Rounds; in each every way runs once."""
    seconds: float = 1.0
    """CPU time of each run."""
    compile: bool = True
    """Time the compiled ways too."""
    threads: int = 1
    """Torch threads; the tensors are too small for more."""
    out: Path = Path("runs/benchmarks/inner_loop.json")
    """Where the figures are written."""


PRESETS = {"smoke": Settings(steps=(1,), tasks=5, rounds=1, seconds=0.1), "default": Settings()}
LR, CLIP, TOLERANCE = 1e-3, 10.0, 1e-10


class Layers(nn.Module):
    """1-40-40-1, ReLU: what a user brings along."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Answer ``(n, 1)`` for ``(n, 1)``."""
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


def reference_loss(model: nn.Module, episode: Episode, steps: int, rate: float) -> Tensor:
    """Return the mean query loss after adaptation, one task after another."""
    support, query, losses = episode.support, episode.query, []
    for i in range(support.target.shape[1]):
        fast: dict[str, Tensor] = dict(model.named_parameters())
        for _ in range(steps):
            output = torch.func.functional_call(model, fast, (support.inputs["stimulus"][:, i],))
            loss = F.mse_loss(output, support.target[:, i])
            slopes = torch.autograd.grad(loss, [*fast.values()], create_graph=True)
            fast = {name: w - rate * slope for (name, w), slope in zip(fast.items(), slopes, strict=True)}
        output = torch.func.functional_call(model, fast, (query.inputs["stimulus"][:, i],))
        losses.append(F.mse_loss(output, query.target[:, i]))
    return torch.stack(losses).mean()


def reference(settings: Settings, task: Task, steps: int) -> Callable[[], None]:
    """Return one iteration of the reference, as a function without arguments."""
    torch.manual_seed(0)
    model, stream = Layers(), generator(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    def iterate() -> None:
        loss = reference_loss(model, task.sample(stream, settings.tasks), steps, settings.rate)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return iterate


def batched(settings: Settings, task: Task, learner: nm.GradientLearner) -> Callable[[], None]:
    """Return one iteration of neurometa."""
    outer, params, stream = nm.Backprop(lr=LR, clip=CLIP), learner.init(generator(0)), generator(0)
    learned = {name: leaf for name, leaf in params.items() if name in learner.groups()}
    state = outer.init(learned)

    def iterate() -> None:
        nonlocal learned, state
        episode = task.sample(stream, settings.tasks)
        problem = Problem(lambda p: learner.loss({**params, **p}, episode, task), 0, 10**9)
        learned, state, _ = outer.step(learned, state, problem)

    return iterate


def check(settings: Settings, task: Task, learner: nm.GradientLearner) -> None:
    """Refuse to time a learner whose loss or meta-gradient differs from the reference's, in double precision."""
    params = learner.init(generator(0), dtype=torch.double)
    leaves = [leaf.requires_grad_() for name, leaf in params.items() if name in learner.groups()]
    episode = task.sample(generator(1), settings.tasks, dtype=torch.double)
    model = Layers().double()
    own = [*model.parameters()]  # weight and bias by layer, as in a description, where a bias is (n, 1)
    with torch.no_grad():
        for parameter, leaf in zip(own, leaves, strict=True):
            parameter.copy_(leaf.view_as(parameter))
    wanted = reference_loss(model, episode, learner.steps, learner.rate)
    found = learner.loss(params, episode, task).mean()
    pairs = [(found, wanted)]
    pairs += zip(torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, own), strict=True)
    error = max(float((a.view_as(b) - b).detach().abs().max()) for a, b in pairs)
    if not error < TOLERANCE:
        raise NeurometaError(f"loss or meta-gradient differ from the reference's by {error:.1e}, over {TOLERANCE}")


def milliseconds(iterate: Callable[[], None], seconds: float) -> float:
    """Return the CPU time of one iteration."""
    count, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        iterate()
        count += 1
    return 1e3 * (time.process_time() - begun) / count


def ways(settings: Settings, task: Task, steps: int) -> dict[str, Callable[[], None]]:
    """Return one iteration of every way, by name; those of neurometa were checked against the reference."""
    found = {"reference": reference(settings, task, steps)}
    for name, network in {"network": nm.networks.mlp(1, 1), "module": Layers()}.items():
        for compile in (False, True) if settings.compile else (False,):
            learner = nm.GradientLearner(network, steps=steps, rate=settings.rate, compile=compile)
            check(settings, task, learner)
            found[f"{name}, {'compiled' if compile else 'eager'}"] = batched(settings, task, learner)
    return found


def timed(settings: Settings, ways: dict[str, Callable[[], None]]) -> dict[str, dict[str, Any]]:
    """Alternate the ways; return median milliseconds, the median ratio to the reference, and every run."""
    for iterate in ways.values():  # warm up, and compile
        iterate(), iterate()
    rounds = [{way: milliseconds(run, settings.seconds) for way, run in ways.items()} for _ in range(settings.rounds)]
    return {
        way: {
            "milliseconds": statistics.median(each[way] for each in rounds),
            "ratio": statistics.median(each["reference"] / each[way] for each in rounds),
            "rounds": [each[way] for each in rounds],
        }
        for way in ways
    }


def main(settings: Settings) -> None:
    """Check, alternate, print medians, and write them with machine and versions."""
    keep_memory()
    torch.set_num_threads(settings.threads)
    task = nm.tasks.Sinusoid(n_shot=settings.shots, n_query=settings.shots)
    figures = {}
    for steps in settings.steps:
        figures[steps] = timed(settings, ways(settings, task, steps))
        print(f"{f'{steps} inner steps, {settings.tasks} tasks':28} ms/iteration   ratio")
        for way, row in figures[steps].items():
            print(f"{way:28} {row['milliseconds']:12.2f} {row['ratio']:7.2f}")
    write_record(settings, inner_steps=figures)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "inner_loop.py")
