import pytest
import torch

from neurometa.errors import SpecificationError
from neurometa.outer import Backprop, Problem, get
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.outer.reptile import Reptile
from neurometa.streams import generator


def quadratic(target):
    """Losses of 4 tasks whose mean is |p - target|^2 up to a constant; p may have copies in front."""

    def losses(params, copies=1):
        p = params["p"].reshape(copies, 1, -1)
        tasks = torch.linspace(-1, 1, 4, dtype=p.dtype)[None, :, None]
        return ((p - target + tasks) ** 2).sum(-1).reshape(-1)

    return losses


def rosenbrock(params, copies=1):
    x, y = params["p"].reshape(copies, 2).unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def run(outer, losses, start, n, seed=0):
    params, stream = {"p": start.double()}, generator(seed, "outer")
    state = outer.init(params)
    for i in range(n):
        params, state, metrics = outer.step(params, state, Problem(losses, i, n, stream=stream))
    return params["p"], metrics


def test_evolution_gradient_is_unbiased_within_four_standard_errors():
    target = torch.tensor([1.0, -2.0, 0.5]).double()
    params = {"p": torch.zeros(3).double()}
    outer = Evolution(population=512, sigma=0.1, shaping="none")
    stream = generator(0, "es")
    found = torch.stack(
        [outer.gradient(params, Problem(quadratic(target), 0, 1, stream=stream))[1][0] for _ in range(200)]
    )
    error = found.std(0) / 200**0.5
    assert ((found.mean(0) + 2 * target).abs() < 4 * error).all()
    assert (error < 0.1).all()


@pytest.mark.parametrize("outer", [Backprop(0.02, clip=0), Evolution(0.02, clip=0), Forward(0.02, clip=0)])
def test_optimum_of_a_quadratic_is_reached(outer):
    target = torch.tensor([1.0, -2.0, 0.5]).double()
    found, metrics = run(type(outer)(0.05, "cosine", clip=0), quadratic(target), torch.zeros(3), 600)
    assert torch.allclose(found, target, atol=0.02)
    assert set(metrics) == {"loss", "gradient_norm", "lr"}


@pytest.mark.parametrize(
    "outer", [Backprop(0.02, "cosine", clip=0), Evolution(0.02, "cosine", sigma=0.02), Forward(0.02, "cosine", clip=0)]
)
def test_rosenbrock(outer):
    found, _ = run(outer, rosenbrock, torch.tensor([-1.0, 1.0]), 3000)
    assert float((1 - found[0]) ** 2 + 100 * (found[1] - found[0] ** 2) ** 2) < 0.02


def test_forward_equals_reverse():
    losses = quadratic(torch.tensor([0.3, 0.1, 2.0]).double())
    params = {"p": torch.randn(3, generator=generator(1)).double()}
    (a, [x]), (b, [y]) = (outer.gradient(params, Problem(losses, 0, 1)) for outer in (Backprop(), Forward()))
    assert torch.allclose(a, b, rtol=1e-12) and torch.allclose(x, y, rtol=1e-12)


def test_forward_refuses_many_scalars():
    with pytest.raises(SpecificationError, match="at most 20 learned scalars, found 21"):
        Forward().gradient({"p": torch.zeros(21)}, Problem(lambda p: p["p"], 0, 1))


def test_reptile_direction_on_the_quadratic():
    """On 0.5*|theta - c|^2 with one inner step of rate a, the direction is a*(theta - c)."""
    a, theta, c = 0.3, torch.tensor([2.0]).double(), torch.tensor([[1.0], [-1.0]]).double()
    problem = Problem(
        lambda p: 0.5 * ((p["p"] - c) ** 2).sum(-1), 0, 1, adapted=lambda p: ({"p": p["p"] - a * (p["p"] - c)}, 0 * c)
    )
    params, _, metrics = Reptile(lr=1.0, anneal=False).step({"p": theta}, Reptile().init({}), problem)
    assert torch.allclose(params["p"], theta - a * (theta - c.mean(0)), rtol=1e-14)
    assert metrics["lr"] == 1.0


@pytest.mark.parametrize("name", ["backprop", "evolution", "forward", "reptile"])
def test_discovered_by_name(name):
    assert get(name).__name__.lower() == name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Evolution(population=7), "must be even"),
        (lambda: Evolution(shaping="best"), "'rank', 'none'"),
        (lambda: Reptile(lr=2.0), r"\(0, 1\]"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()
