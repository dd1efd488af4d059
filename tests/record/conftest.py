"""Recordings that tests read: of a modulated rule with a query part, of a closed loop, and of spikes."""

from __future__ import annotations

import pytest

import neurometa as nm


def modulated(folder, **options):
    task = nm.tasks.get("gaussian_clusters")(n_way=3, n_shot=1, n_query=2)
    network = nm.networks.modulated(task.n_in, task.n_out, n_hidden=6)
    settings = {"n_iterations": 8, "n_tasks": 5, **options}
    return nm.meta_train(nm.PlasticLearner(network), task, run_dir=folder, **settings)


def closed_loop(folder):
    task = nm.tasks.get("reversal")(n_steps=12)
    network = nm.networks.recurrent(task.n_in, task.n_out, n_hidden=5)
    return nm.meta_train(nm.PlasticLearner(network), task, n_iterations=2, n_tasks=3, run_dir=folder)


def spiking(folder):
    task = nm.tasks.get("gaussian_clusters")(n_way=2, n_shot=1, n_query=2)
    network = nm.networks.spiking(task.n_in, task.n_out, nm.rules.da_stdp, n_hidden=7)
    learner = nm.PlasticLearner(network, hold=15)
    return nm.meta_train(learner, task, n_iterations=2, n_tasks=3, run_dir=folder)


KINDS = {"modulated": modulated, "closed loop": closed_loop, "spiking": spiking}


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    return {kind: make(root / kind) for kind, make in KINDS.items()}


@pytest.fixture(scope="session")
def recordings(runs, tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    return {kind: nm.record(root / f"{kind}.h5", run) for kind, run in runs.items()}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def train():
    return modulated
