"""What runs on a GPU gives what it gives on the CPU: trajectories, gradients, training, resume."""

from __future__ import annotations

import pytest
import torch

import neurometa as nm
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.streams import generator

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def moved(tree):
    return {name: leaf.cuda() for name, leaf in tree.items()}


def close(a, b, rtol):
    torch.testing.assert_close(b.cpu(), a, rtol=rtol, atol=rtol)


def test_trajectories_and_gradients(library_pair, library, lively, sequences):
    network = library(*library_pair)
    params, inputs = lively(network, batch=2), sequences(network, time=12, batch=2)
    found = []
    for own, given in ((params, inputs), (moved(params), moved(inputs))):
        own = {name: leaf.clone().requires_grad_() for name, leaf in own.items()}
        trajectory = nm.simulate(network, own, given)
        output = trajectory.output.square().mean()
        slopes = torch.autograd.grad(output, [*own.values()], allow_unused=True)
        found.append((trajectory, slopes))
    (here, slopes_here), (there, slopes_there) = found
    assert there.output.is_cuda
    close(here.output, there.output, 1e-10)
    for name, w in here.final.w.items():
        close(w, there.final.w[name], 1e-10)
    for a, b in zip(slopes_here, slopes_there, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            close(a, b, 1e-8)


CLUSTERS = nm.tasks.GaussianClusters(n_way=3, n_dim=6)
LEARNERS = {
    "plastic": lambda: nm.PlasticLearner(nm.networks.associative(CLUSTERS.n_in, 3)),
    "no adaptation": lambda: nm.learners.NoAdaptationLearner(nm.networks.mlp(CLUSTERS.n_in, 3, (4,))),
    "maml": lambda: nm.GradientLearner(nm.networks.mlp(CLUSTERS.n_in, 3, (4,)), steps=2),
    "recurrent": lambda: nm.learners.RecurrentLearner(CLUSTERS.n_in, 3, 8, "lstm"),
}


@pytest.mark.parametrize("outer", [nm.Backprop(), Evolution(), Forward()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("name", LEARNERS)
def test_training_is_the_same_but_for_rounding(name, outer):
    if name != "plastic" and isinstance(outer, Forward):
        pytest.skip("more parameters than forward mode takes")
    losses = {
        device: [
            record["loss"]
            for record in nm.meta_train(
                LEARNERS[name](), CLUSTERS, outer, n_iterations=5, n_tasks=4, device=device, dtype=torch.float64
            ).history
        ]
        for device in ("cpu", "cuda")
    }
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-7)


def test_a_run_moves_between_devices(tmp_path):
    options = {"n_iterations": 6, "n_tasks": 4, "dtype": torch.float64}

    def end(progress):
        if progress.iteration == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        nm.meta_train(LEARNERS["plastic"](), CLUSTERS, run_dir=tmp_path, checkpoint_every=1, on_progress=end, **options)
    there = nm.meta_train(LEARNERS["plastic"](), CLUSTERS, run_dir=tmp_path, resume=True, device="cuda", **options)
    assert all(leaf.is_cuda for leaf in there.params.values())
    whole = nm.meta_train(LEARNERS["plastic"](), CLUSTERS, **options)
    for name, leaf in whole.params.items():
        close(leaf, there.params[name], 1e-7)
    here = nm.load_run(tmp_path)
    assert not any(leaf.is_cuda for leaf in here.params.values())


def test_compiled_step_is_the_eager_step():
    network = nm.networks.modulated(5, 2, n_hidden=8, rule=nm.rules.oja)
    params = nm.init_params(network, generator(0), device="cuda")
    inputs = {name: torch.randn(10, 4, size, device="cuda") for name, size in network.inputs.items()}
    eager, compiled = (nm.simulate(network, params, inputs, compile=compile) for compile in (False, True))
    torch.testing.assert_close(compiled.output, eager.output, rtol=1e-4, atol=1e-5)
