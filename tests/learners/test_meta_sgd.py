"""Meta-SGD: a rate of its own for every parameter, learned exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurometa import GradientLearner, learners, networks
from neurometa.errors import SpecificationError
from neurometa.learners.meta_sgd import PREFIX, MetaSgdLearner
from neurometa.outer import Backprop
from neurometa.spec import Network, Param, Population, Projection, Random

F64 = torch.float64


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 2, dtype=F64), nn.Tanh(), nn.Linear(2, 2, dtype=F64))

    def forward(self, x):
        return self.layers(x)


def curved() -> Network:
    """A network whose answer is curved in every parameter, with a mask and leaves per post."""
    return Network(
        (Population("stimulus", 3), Population("hidden", 2, "tanh(2*drive)"), Population("out", 2, "drive + drive**2")),
        (
            Projection("stimulus", "hidden", name="body", mask=Random(0.8, 1)),
            Projection("one", "hidden", name="bias", w=Param(0.1, per="post")),
            Projection("hidden", "out", name="head"),
        ),
    )


BOTH = pytest.mark.parametrize("network", [curved(), Net()], ids=["Network", "Module"])


@pytest.mark.parametrize("order", [1, 2])
def test_the_closed_form_per_parameter(task, point, towards, gradient, order):
    """Loss |theta - c|^2/2, rates r: gradient (1 - r)^order (theta - c); of the rate -(1 - r)(theta - c)^2."""
    r, c = torch.tensor([0.3, -0.7], dtype=F64), torch.tensor([[1.0, 2.0]], dtype=F64)
    learner = MetaSgdLearner(point, order=order)
    params = learner.init(torch.Generator(), dtype=F64) | {f"{PREFIX}model.theta": r}
    episode, away = towards(c), params["model.theta"] - c[0]
    fast = learner.adapt(params, episode.support, task)
    torch.testing.assert_close(fast["model.theta"], c + (1 - r) * away, rtol=1e-14, atol=1e-14)
    found = gradient(Backprop(), learner, params, task, episode, params)
    torch.testing.assert_close(found["model.theta"], (1 - r) ** order * away, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found[f"{PREFIX}model.theta"], -(1 - r) * away**2, rtol=1e-13, atol=1e-13)


@BOTH
@pytest.mark.parametrize("options", [{"steps": 1}, {"steps": 3}, {"steps": 3, "inner": "adam", "beta1": 0.5}])
def test_the_meta_gradient_is_exact(task, episode, shaken, exact, network, options):
    learner = MetaSgdLearner(network, rate=0.1, **options)
    params = shaken(learner)
    found = exact(learner, params, task, episode)  # more scalars than forward mode takes
    assert all(leaf.abs().max() > 1e-4 for leaf in found.values())
    some = [next(iter(found)), f"{PREFIX}{next(iter(found))}"]
    assert sum(params[name].numel() for name in some) <= 20
    exact(learner, params, task, episode, some)


@BOTH
def test_every_task_is_alone(task, episode, per_task, network):
    per_task(MetaSgdLearner(network, steps=2, rate=0.2), task, episode)


@BOTH
def test_equal_rates_are_maml_and_first_order_is_not(task, episode, slopes, relative, network):
    maml, learner = GradientLearner(network, steps=2, rate=0.15), MetaSgdLearner(network, steps=2, rate=0.15)
    params = maml.init(torch.Generator().manual_seed(0), dtype=F64)
    own = learner.init(torch.Generator().manual_seed(0), dtype=F64)
    adapted = [name for name in own if not name.startswith(PREFIX)]

    def found(chosen, start):
        slope = slopes(lambda p: chosen.loss(p, episode, task).mean(), start)
        return {name: slope[name] for name in adapted}

    assert relative(found(learner, own), found(maml, params)) < 1e-12
    first = MetaSgdLearner(network, steps=2, rate=0.15, order=1)
    assert relative(found(first, own), found(maml, params)) > 1e-2


def test_rates_belong_to_what_is_adapted(task, episode):
    learner = MetaSgdLearner(curved(), adapts=("head*",), rate=0.2)
    params = learner.init(torch.Generator(), dtype=F64)
    assert learner.groups() == {"body.w": "w0", "bias.w": "w0", "head.w": "w0", f"{PREFIX}head.w": "rule"}
    assert torch.equal(params[f"{PREFIX}head.w"], torch.full((2, 2), 0.2, dtype=F64))
    assert set(learner.adapt(params, episode.support, task)) == {"head.w"}
    assert learners.get("meta_sgd") is MetaSgdLearner
    assert learner.init(torch.Generator())[f"{PREFIX}head.w"].dtype == torch.get_default_dtype()


def test_settings(settings):
    settings(MetaSgdLearner(networks.get("mlp")(3, 2, (4,)), steps=2, rate=0.3), order=1)
    for options, message in (
        ({"order": 3}, r"MetaSgdLearner: order is 3; allowed: 1 \(first-order\) or 2"),
        ({"rate": 0.0}, "MetaSgdLearner: rate 0.0 and steps 1 must be above 0"),
        ({"rate": float("nan")}, "MetaSgdLearner: rate nan and steps 1 must be above 0"),
        ({"adapts": ("hed*",)}, r"MetaSgdLearner: adapts 'hed\*' matches nothing; allowed: body.w, bias.w, head.w"),
    ):
        with pytest.raises(SpecificationError, match=message):
            MetaSgdLearner(curved(), **options)
