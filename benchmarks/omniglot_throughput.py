"""Training episodes per second of the plastic Omniglot head: batched, against one episode at a time.

The reference below is the shortest idiomatic loop: one episode, one presentation after another, ``loss.backward()``,
``optimizer.step()``. Both sides have the same trunk, rule, number format, loss, optimiser, threads and allocator
setting; both draw from the same task. Paired runs alternate, and the median of the paired ratios is reported.

    python benchmarks/omniglot_throughput.py
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from _record import wait, write_record
from torch import nn

import neurometa as nm
from neurometa.cli.script import run_script
from neurometa.errors import DataError
from neurometa.meta.memory import keep_memory
from neurometa.outer import Problem
from neurometa.streams import generator
from neurometa.tasks.base import Task


@dataclass(frozen=True)
class Settings:
    """Throughput of meta-training, plastic head on Omniglot (glyphs where Omniglot is absent)."""

    pairs: int = 5
    """Paired runs."""
    seconds: float = 8.0
    """Length of each run."""
    tasks: int = 64
    """Episodes in a batch."""
    queries: int = 1
    """Queries of each episode."""
    precision: str = "bfloat16"
    """Arithmetic of both trunks: bfloat16 (as the simulation trains) or input (float32)."""
    threads: int = 0
    """Torch threads; 0: torch's default."""
    device: str = "cpu"
    """Torch device of both sides, such as cuda."""
    out: Path = Path("runs/benchmarks/omniglot_throughput.json")
    """Where the figures are written."""


PRESETS = {"smoke": Settings(pairs=1, seconds=0.5, tasks=8), "default": Settings()}


class Reference(nn.Module):
    """Four strided convolutions and an Oja head, one episode at a time."""

    def __init__(self, precision: str):
        super().__init__()
        sizes = (1, 64, 64, 64, 64)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.GroupNorm(1, 64) for _ in range(4))
        self.alpha, self.eta = nn.Parameter(torch.tensor(20.0)), nn.Parameter(torch.tensor(0.5))
        self.reduced = precision == "bfloat16"

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Turn images into features of length 1."""
        x = images.view(-1, 1, 28, 28)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.reduced):
            for convolution, norm in zip(self.convolutions, self.norms, strict=True):
                x = torch.relu(norm(convolution(x)))
        return F.normalize(x.float().flatten(1), dim=-1)

    def forward(self, shown: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Return the logits of the queries after one pass over the support set."""
        x = self.features(torch.cat([shown, asked]))
        w = x.new_zeros(labels.shape[-1], x.shape[-1])
        for pre, post in zip(x[: len(shown)], labels, strict=True):
            w = w + self.eta * post[:, None] * (pre - post[:, None] * w)
        return x[len(shown) :] @ (self.alpha * w).T


def one_at_a_time(settings: Settings, task: Task) -> float:
    """Return training episodes per second of the reference."""
    torch.manual_seed(0)
    model = Reference(settings.precision).to(settings.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    stream, count, begun = generator(0), 0, time.perf_counter()
    while time.perf_counter() - begun < settings.seconds:
        episode = task.sample(stream, 1, device=settings.device)
        shown, labels = (episode.support.inputs[name][:, 0] for name in ("stimulus", "target"))
        logits = model(shown, labels, episode.query.inputs["stimulus"][:, 0])
        loss = F.cross_entropy(logits, episode.query.target[:, 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        count += 1
    wait(settings.device)
    return count / (time.perf_counter() - begun)


def batched(settings: Settings, task: Task) -> float:
    """Return training episodes per second of neurometa."""
    trunk = nm.ConvTrunk(task.image_shape, out="unit", precision=settings.precision)
    oja = replace(nm.rules.oja, params={"eta": nm.Param(0.5, "positive")})
    learner = nm.PlasticLearner(nm.networks.associative(trunk.n_features, task.n_out, rule=oja, alpha=20.0), trunk)
    outer, params = nm.Backprop(lr=1e-3), learner.init(generator(0), device=settings.device)
    learned = {name: leaf for name, leaf in params.items() if name in learner.groups()}
    state, stream, count, begun = outer.init(learned), generator(0), 0, time.perf_counter()
    while time.perf_counter() - begun < settings.seconds:
        episode = task.sample(stream, settings.tasks, device=settings.device)
        problem = Problem(lambda p, e=episode: learner.loss({**params, **p}, e, task), count, 10**9)
        learned, state, _ = outer.step(learned, state, problem)
        count += 1
    wait(settings.device)
    return count * settings.tasks / (time.perf_counter() - begun)


def main(settings: Settings) -> None:
    """Alternate the two, print the medians and the median ratio, write them with machine and versions."""
    keep_memory()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    task: Task = nm.tasks.Omniglot(n_query=settings.queries)
    try:
        task.sample(generator(0), 1)
    except DataError as error:
        print(f"Omniglot is not here ({error}); timing on glyphs", file=sys.stderr)
        task = nm.tasks.Glyphs(n_query=settings.queries)
        task.sample(generator(0), 1)
    quick = replace(settings, seconds=min(1.0, settings.seconds))
    one_at_a_time(quick, task), batched(quick, task)  # warm up
    pairs = [(one_at_a_time(settings, task), batched(settings, task)) for _ in range(settings.pairs)]
    slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"one at a time {slow:8.0f} training episodes/s\nbatched       {fast:8.0f} training episodes/s")
    print(f"ratio         {ratio:8.2f}  (median of {settings.pairs} paired runs)")
    rates = {"one_at_a_time": slow, "batched": fast}
    write_record(settings, task=type(task).__name__, episodes_per_second=rates, ratio=ratio, pairs=pairs)


if __name__ == "__main__":
    run_script(PRESETS, main, __doc__ or "", "omniglot_throughput.py")
