"""Fixed points, spectra, exponents and dimensions against what is known on paper."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import neurometa as nm
from neurometa.analysis.dynamics import fixed_points, frozen_map, lyapunov, participation_ratio, pca
from neurometa.errors import SpecificationError
from neurometa.streams import generator

F64 = torch.double


def two_units(w, update="tanh(drive)", bias=(0.0, 0.0)):
    """A network of two neurons with given recurrent weights, as a map."""
    network = nm.Network(
        (nm.Population("stimulus", 2), nm.Population("x", 2, update)),
        (nm.Projection("stimulus", "x", w=nm.Param(1.0), mask="one_to_one"), nm.Projection("x", "x", "loop")),
    )
    params = nm.init_params(network, generator(0, "x"), dtype=F64)
    params["loop.w"] = torch.tensor(w, dtype=F64)
    return network, frozen_map(network, params, {"stimulus": torch.tensor(bias, dtype=F64)})


def starts(n=200, size=2):
    return 2 * torch.rand(n, size, generator=generator(1, "starts"), dtype=F64) - 1


def test_fixed_points_of_two_units_are_the_analytic_ones():
    """tanh(2x) = x per neuron: 0 and +-x*, nine in all; the Jacobian is 2(1 - x^2) on its diagonal."""
    _, step = two_units([[2.0, 0.0], [0.0, 2.0]])
    root = brentq(lambda x: np.tanh(2 * x) - x, 0.5, 1.0, xtol=1e-15)
    found = fixed_points(step, starts())
    wanted = {(a, b) for a in (-root, 0.0, root) for b in (-root, 0.0, root)}
    assert len(found.x) == 9 and found.speed.max() < 1e-9
    for point, values, jacobian in zip(found.x, found.eigenvalues, found.jacobian, strict=True):
        near = min(wanted, key=lambda w: np.abs(np.array(w) - point).max())
        assert np.abs(np.array(near) - point).max() < 1e-8
        slopes = 2 * (1 - np.array(near) ** 2)
        assert np.allclose(jacobian, np.diag(slopes), atol=1e-8)
        assert np.allclose(sorted(values.real), sorted(slopes), atol=1e-8)
    assert found.stable.sum() == 4 and found.starts.sum() <= 200


def test_a_linear_network_has_the_one_of_its_equation():
    w, b = np.array([[0.5, -0.8], [0.7, 0.2]]), (0.3, -1.0)
    _, step = two_units(w.tolist(), "drive", b)
    found = fixed_points(step, starts(20))
    assert np.allclose(found.x, [np.linalg.solve(np.eye(2) - w, b)], atol=1e-12)
    assert np.allclose(
        sorted(found.eigenvalues[0], key=lambda v: v.imag), sorted(np.linalg.eigvals(w), key=lambda v: v.imag)
    )
    assert found.starts.tolist() == [20] and found.stable.all()


def test_weights_of_any_moment_can_be_frozen():
    network, _ = two_units([[0.0, 0.0], [0.0, 0.0]])
    loop = network.projections[1]
    from dataclasses import replace

    plastic = replace(network, projections=(network.projections[0], replace(loop, rule=nm.rules.hebb, efficacy="w")))
    params = nm.init_params(plastic, generator(0, "x"), dtype=F64)
    later = torch.tensor([[3.0, 0.0], [0.0, 0.0]], dtype=F64)
    zero = {"stimulus": torch.zeros(2, dtype=F64)}
    found = fixed_points(frozen_map(plastic, params, zero, {"loop": later}), starts(60))
    assert len(found.x) == 3 and np.allclose(found.x[:, 1], 0, atol=1e-9)


def test_exponents_are_the_logarithm_of_the_largest_eigenvalue_and_positive_in_chaos():
    w = [[0.5, -0.8], [0.7, 0.2]]
    _, step = two_units(w, "drive")
    radius = np.abs(np.linalg.eigvals(np.array(w))).max()
    assert lyapunov(step, torch.zeros(2, dtype=F64), 4000) == pytest.approx(np.log(radius), abs=1e-3)
    logistic = lyapunov(lambda x: 4 * x * (1 - x), torch.tensor([0.3], dtype=F64), 20_000)
    assert logistic == pytest.approx(np.log(2), abs=0.01)


def test_components_and_dimensions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)) * [3.0, 1.0, 0.1]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = pca((x @ turn).reshape(40, 100, 3), 2)
    assert found.projected.shape == (40, 100, 2)
    assert np.allclose(np.abs(found.components @ turn.T), np.eye(2, 3), atol=0.05)
    values = np.array([9.0, 1.0, 0.01])
    assert np.allclose(found.explained, values / values.sum(), atol=0.01)
    assert participation_ratio(x @ turn) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=0.03)


def test_refusals():
    network = nm.networks.associative(3, 2)
    params = nm.init_params(network, generator(0, "x"))
    with pytest.raises(SpecificationError, match="has no population that projects to itself; name some"):
        frozen_map(network, params, {})
    with pytest.raises(SpecificationError, match="'stimulus' is an input or spikes"):
        frozen_map(network, params, {}, populations=("stimulus",))
