"""A few-shot regression task, central differences, and what every learner with a meta-gradient must satisfy."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from neurometa.learners.base import GROUPS
from neurometa.meta.loop import Loop, Plan
from neurometa.outer import Backprop
from neurometa.outer.forward import MOST, Forward
from neurometa.tasks.base import Episode, Part, Task, tile
from neurometa.tree import spread, stack

F64 = torch.float64


@dataclass(frozen=True)
class Regression(Task):
    """Random support and query points; the loss is half the squared error, averaged over steps."""

    n_in: ClassVar[int] = 3
    n_out: ClassVar[int] = 2
    score_name: ClassVar[str] = "squared error"
    higher_is_better: ClassVar[bool] = False

    def sample(self, stream, n, split="train", *, device=None, dtype=F64):
        return Episode(self.part(stream, n, 4, True), self.part(stream, n, 3, False))

    def part(self, stream, n: int, time: int, is_support: bool) -> Part:
        stimulus, target = (torch.randn(time, n, size, generator=stream, dtype=F64) for size in (self.n_in, self.n_out))
        teach = torch.full((time, n, 1), float(is_support), dtype=F64)
        on = torch.ones(time, dtype=torch.bool)
        inputs = {"stimulus": stimulus, "target": target * teach, "teach": teach}
        return Part(inputs, target, torch.ones(time, n, dtype=F64), on if is_support else ~on, on)

    def loss(self, output, part):
        error = (output - part.target).square().sum(-1) / 2  # (time, batch)
        return (error * part.weight).sum(0) / part.weight.sum(0)

    def score(self, output, part):
        return self.loss(output, part)

    def floor(self):
        return float("nan")


class Point(nn.Module):
    """Answers its parameter, whatever the input."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([0.3, -1.2], dtype=F64))

    def forward(self, x):
        return self.theta.expand(x.shape[0], 2)


@pytest.fixture
def point() -> Point:
    return Point()


@pytest.fixture
def towards():
    """Return ``towards(c)``: an episode in which a task has the loss ``|answer - c|**2/2``; ``c`` is ``(batch, n)``."""

    def make(c: torch.Tensor) -> Episode:
        on, weight = torch.ones(1, dtype=torch.bool), torch.ones(1, len(c), dtype=F64)
        part = Part({"stimulus": torch.zeros(1, len(c), 3, dtype=F64)}, c[None], weight, on, on)
        return Episode(part, part)

    return make


@pytest.fixture
def task() -> Regression:
    return Regression()


@pytest.fixture
def episode(task) -> Episode:
    return task.sample(torch.Generator().manual_seed(2), 5)


def _slopes(loss, params):
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    found = torch.autograd.grad(loss(leaves), [*leaves.values()], allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }


@pytest.fixture
def slopes():
    """Return ``slopes(loss, params)``: the gradient of a scalar loss, by name."""
    return _slopes


@pytest.fixture
def differences():
    """Return ``differences(loss, params, h)``: central differences of a scalar loss, by name."""

    def of(loss, params, h: float = 1e-5):
        found = {}
        for name, leaf in params.items():
            slope = torch.zeros_like(leaf)
            for i in range(leaf.numel()):
                ends = []
                for sign in (1, -1):
                    moved = leaf.clone()
                    moved.view(-1)[i] += sign * h
                    ends.append(float(loss({**params, name: moved}).detach()))
                slope.view(-1)[i] = (ends[0] - ends[1]) / (2 * h)
            found[name] = slope
        return found

    return of


@pytest.fixture
def relative():
    """Return ``relative(a, b)``: distance of two gradients, relative to the norm of the second as a whole."""

    def of(a, b) -> float:
        assert a.keys() == b.keys()
        difference, size = (
            torch.cat([leaf.flatten() for leaf in leaves])
            for leaves in ([a[name] - b[name] for name in a], [*b.values()])
        )
        return float(difference.norm() / size.norm())

    return of


@pytest.fixture
def shaken():
    """Return ``shaken(learner, seed)``: its parameters away from their start, so that everything acts."""

    def of(learner, seed: int = 1, size: float = 0.1):
        stream = torch.Generator().manual_seed(seed)
        params = learner.init(stream, dtype=F64)
        return {
            name: leaf + size * torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in params.items()
        }

    return of


def _pick(episode: Episode, index) -> Episode:
    def part(whole: Part) -> Part:
        inputs = {name: sequence[:, index] for name, sequence in whole.inputs.items()}
        return whole._replace(inputs=inputs, target=whole.target[:, index], weight=whole.weight[:, index])

    return Episode(part(episode.support), None if episode.query is None else part(episode.query))


@pytest.fixture
def pick():
    """Return ``pick(episode, index)``: the episode with other tasks in its batch."""
    return _pick


def _gradient(outer, learner, params, task, episode, names):
    """Return the meta-gradient of the named leaves, as a training run sees it."""
    n_tasks = episode.support.target.shape[1]
    loop = Loop(Plan(learner, task, outer, 1, n_tasks, 0, GROUPS, 0, 1, None, F64), None)
    loop.learned = {name: params[name] for name in names}
    loop.fixed = {name: leaf for name, leaf in params.items() if name not in names}
    _, found = outer.gradient(loop.learned, loop.problem(episode))
    return dict(zip(names, found, strict=True))


@pytest.fixture
def gradient():
    """Return ``gradient(outer, learner, params, task, episode, names)``: see `_gradient`."""
    return _gradient


@pytest.fixture
def exact(differences, relative):
    """Return ``exact(learner, params, task, episode, names)``: check the meta-gradient of the leaves, and return it.

    Reverse mode must equal central differences; forward mode, where it takes so many scalars, must equal reverse mode.
    """

    def check(learner, params, task, episode, names=None, forward=True):
        names = [name for name in learner.groups() if name in params] if names is None else list(names)
        found = _gradient(Backprop(), learner, params, task, episode, names)
        fixed = {name: leaf for name, leaf in params.items() if name not in names}

        def loss(learned):
            return learner.loss({**fixed, **learned}, episode, task).mean()

        assert relative(found, differences(loss, {name: params[name] for name in names})) < 1e-6
        if forward and sum(leaf.numel() for leaf in found.values()) <= MOST:
            assert relative(_gradient(Forward(), learner, params, task, episode, names), found) < 1e-10
        return found

    return check


@pytest.fixture
def per_task(shaken):
    """Return ``per_task(learner, task, episode)``: check that no task, and no set of parameters, knows of another."""

    def check(learner, task, episode, tolerance: float = 1e-12):
        def close(a, b):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)

        each = [shaken(learner, seed) for seed in range(3)]
        params, n = each[0], episode.support.target.shape[1]
        losses = learner.loss(params, episode, task)
        fast = learner.adapt(params, episode.support, task)
        for i in range(n):
            one = _pick(episode, [i])
            close(learner.loss(params, one, task), losses[i : i + 1])
            own = learner.adapt(params, one.support, task)
            assert own.keys() == fast.keys()
            for name in own:
                close(own[name], fast[name][i : i + 1])
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        close(learner.loss(params, _pick(episode, order), task), losses[order])
        together = learner.loss(spread(stack(each), n), tile(episode, 3), task).reshape(3, n)
        close(together, torch.stack([learner.loss(own, episode, task) for own in each]))
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
        close(learner.loss(leaves, episode, task), losses)
        with torch.no_grad():
            for own in (params, leaves):
                found = learner.loss(own, episode, task)
                close(found, losses)
                assert not found.requires_grad
        assert losses.std() > 1e-3 and (together[0] - together[1]).abs().max() > 1e-3  # it could have failed

    return check


@pytest.fixture
def settings():
    """Return ``settings(learner, **changed)``: check that a learner is copied, pickled and compared by its settings."""

    def check(learner, **changed):
        other = dataclasses.replace(learner, **changed)
        pickled = pickle.loads(pickle.dumps(learner))
        for copied in (dataclasses.replace(learner), copy.copy(learner), copy.deepcopy(learner), pickled):
            assert copied == learner
            assert hash(copied) == hash(learner)
            assert copied.groups() == learner.groups()
            assert copied != other
        assert hash(other) != hash(learner)

    return check
