"""With one shot, a plastic head, one gradient step and a prototype are the same classifier.

So a comparison of heads on one trunk says nothing about rules; it is a check of the machinery.
"""

from __future__ import annotations

import pytest
import torch

import neurometa as nm
from neurometa.data import data_root
from neurometa.learners.base import Learner
from neurometa.tasks.base import Task

HEAD = "stimulus__out.w"
TASKS = [
    pytest.param(lambda: nm.tasks.Glyphs(n_way=5, n_shot=1, n_query=15), 200, id="glyphs"),
    pytest.param(
        lambda: nm.tasks.Omniglot(n_way=5, n_shot=1, n_query=15),
        2000,
        id="omniglot",
        marks=pytest.mark.skipif(not (data_root() / "omniglot.npz").is_file(), reason="needs omniglot.npz"),
    ),
]


def chosen(learner: Learner, params: dict[str, torch.Tensor], task: Task, n_tasks: int) -> torch.Tensor:
    """Return the class that a learner chooses for every query, the same episodes for everybody."""
    episode = task.sample(torch.Generator().manual_seed(0), n_tasks, "test", dtype=torch.float64)
    return learner.respond(params, episode, task).argmax(-1)


@pytest.mark.parametrize(("make", "n_tasks"), TASKS)
def test_they_choose_the_same_class_for_every_query(make, n_tasks):
    task = make()
    trunk = nm.ConvTrunk(task.image_shape, channels=(8, 8), out="unit")
    oja = nm.PlasticLearner(nm.networks.associative(trunk.n_features, task.n_out), trunk)
    plain = nm.networks.mlp(trunk.n_features, task.n_out, hidden=())
    step = nm.GradientLearner(plain, trunk, rate=1.0, adapts=(HEAD,))
    prototype = nm.learners.PrototypeLearner(plain, trunk, distance="cosine")  # of unit features: the dot product

    shared = {k: v for k, v in oja.init(torch.Generator().manual_seed(1), dtype=torch.float64).items() if "trunk" in k}
    answers = []
    for learner in (oja, step, prototype):
        params = {**learner.init(torch.Generator().manual_seed(2), dtype=torch.float64), **shared}
        if HEAD in params:
            params[HEAD] = torch.zeros_like(params[HEAD])
        answers.append(chosen(learner, params, task, n_tasks))
    assert answers[0].numel() == n_tasks * 15 and answers[0].unique().numel() == 5
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])

    # Of a head that does not start at zero, the step's choices are others.
    params = {**step.init(torch.Generator().manual_seed(2), dtype=torch.float64), **shared}
    assert (chosen(step, params, task, n_tasks) != answers[0]).double().mean() > 0.02
