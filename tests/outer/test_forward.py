"""Forward mode: the gradient of reverse mode, on learners as they are, with memory that does not grow with time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import neurometa as nm
from neurometa.errors import SpecificationError
from neurometa.learners.base import GROUPS
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.meta.loop import Loop, Plan
from neurometa.outer import Backprop
from neurometa.outer.forward import MOST, Forward
from neurometa.streams import generator
from neurometa.tasks.linear_gaussian import LinearGaussian
from neurometa.tasks.tracking import Tracking

F64 = torch.float64

#: A delta rule with a trace, decay and momentum: six scalars, with the start of the synapse.
several = nm.PlasticityRule(
    "several",
    dw="eta*pre*error_post - decay*(w - rest) + push*change",
    traces={"change": "(pre*error_post - change)/tau"},
    params={
        "eta": nm.Param(0.2, "positive"),
        "decay": nm.Param(0.01),
        "rest": nm.Param(0.3),
        "push": nm.Param(0.05),
        "tau": nm.Param(4.0, minimum=1.0),
    },
)


def shaken(learner, seed=0, size=0.1):
    """Return parameters away from their start, so that everything acts."""
    stream = generator(seed, "shaken")
    params = learner.init(generator(seed, "init"), dtype=F64)
    return {name: leaf + size * torch.randn(leaf.shape, generator=stream, dtype=F64) for name, leaf in params.items()}


def problem(learner, task, n_tasks=3, learn=GROUPS):
    """Return what an outer algorithm sees in a training run: the learned leaves, and the problem."""
    loop = Loop(Plan(learner, task, Backprop(), 1, n_tasks, 0, learn, 0, 1, None, F64), None)
    params = shaken(learner)
    loop.learned = {name: params[name] for name in loop.learned}
    loop.fixed = {name: params[name] for name in loop.fixed}
    return loop.learned, loop.problem(loop.sample())


def assert_equal(learned, given):
    """Compare the two modes, and return the gradient by name."""
    (loss, found), (other, wanted) = (outer.gradient(learned, given) for outer in (Forward(), Backprop()))
    torch.testing.assert_close(loss, other, rtol=1e-12, atol=0)
    flat, reference = (torch.cat([g.flatten() for g in each]) for each in (found, wanted))
    assert ((flat - reference).norm() / reference.norm()) < 1e-10
    torch.testing.assert_close(flat, reference, rtol=1e-8, atol=1e-13 * float(reference.norm()))  # the small ones too
    assert [g.shape for g in found] == [leaf.shape for leaf in learned.values()]
    assert not any(g.requires_grad for g in found)
    return dict(zip(learned, found, strict=True))


def test_forward_equals_reverse_over_a_thousand_steps():
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, rule=several))
    learned, given = problem(learner, Tracking(n_steps=1000, n_skip=50))
    found = assert_equal(learned, given)
    assert set(found) == {f"cue.rule.{name}" for name in several.params}
    assert all(float(slope.abs().min()) > 1e-6 for slope in found.values())


def test_forward_equals_reverse_through_a_recurrent_modulator():
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=2))
    learned, given = problem(learner, Tracking(n_steps=1000, n_skip=50))
    found = assert_equal(learned, given)
    assert sum(slope.numel() for slope in found.values()) == 11 and all(slope.all() for slope in found.values())


@pytest.mark.parametrize("learn", [("w0",), ("rule",)])
def test_what_is_not_learned_is_a_constant(learn):
    """Fixed leaves have no tangent and no copy in front, learned ones have both."""
    network = nm.networks.recurrent(1, 1, n_hidden=2, transfer="tanh")
    learned, given = problem(nm.PlasticLearner(network), Tracking(n_steps=30, n_skip=5), learn=learn)
    assert 1 < sum(leaf.numel() for leaf in learned.values()) <= MOST
    assert_equal(learned, given)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("options", [{}, {"steps": 3}, {"inner": "adam", "steps": 2}, {"adapts": ("layer0__out*",)}])
def test_forward_equals_reverse_where_the_learner_differentiates_within(order, options):
    """First order, what the inner gradient is made of is a constant for both modes: no tangent may slip through."""
    network = nm.networks.mlp(2, 1, hidden=(2,), transfer="tanh")
    learner = nm.GradientLearner(network, rate=0.2, learn_rate=True, order=order, **options)
    learned, given = problem(learner, LinearGaussian(n_dim=2, n_shot=4))
    found = assert_equal(learned, given)
    assert sum(slope.numel() for slope in found.values()) == 10 and all(slope.any() for slope in found.values())


def test_the_two_orders_differ_in_forward_mode():
    network = nm.networks.mlp(2, 1, hidden=(2,), transfer="tanh")
    slopes = []
    for order in (1, 2):
        learner = nm.GradientLearner(network, rate=0.2, order=order)
        learned, given = problem(learner, LinearGaussian(n_dim=2, n_shot=4))
        slopes.append(torch.cat([g.flatten() for g in Forward().gradient(learned, given)[1]]))
    assert (slopes[0] - slopes[1]).norm() / slopes[1].norm() > 1e-2


def test_forward_equals_reverse_with_a_gradient_at_every_step():
    network = nm.networks.tracker(1, 1, rule=nm.rules.get("delta"))
    learned, given = problem(OnlineGradientLearner(network, rate=0.2, decay=0.05), Tracking(n_steps=100, n_skip=5))
    assert set(assert_equal(learned, given)) == {"learner.rate", "learner.decay"}


def test_a_parameter_without_effect_has_the_gradient_zero():
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, rule=several))
    learned, given = problem(learner, Tracking(n_steps=20, n_skip=5))
    more = {"idle": torch.ones(2, 1, dtype=F64), **learned, "spare": torch.ones((), dtype=F64)}
    found = dict(zip(more, Forward().gradient(more, given)[1], strict=True))
    for name in ("idle", "spare"):
        assert torch.equal(found[name], torch.zeros_like(more[name]))
    wanted = dict(zip(learned, Forward().gradient(learned, given)[1], strict=True))
    for name in learned:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-12, atol=0)


def test_nothing_has_an_effect_and_everything_is_zero():
    given = problem(nm.PlasticLearner(nm.networks.tracker(1, 1, rule=several)), Tracking(n_steps=5, n_skip=1))[1]
    fixed = given._replace(losses=lambda params, copies=1: torch.ones(4 * copies, dtype=F64))
    loss, (slope,) = Forward().gradient({"p": torch.ones(3, 1, dtype=F64)}, fixed)
    assert loss == 1 and torch.equal(slope, torch.zeros(3, 1, dtype=F64))


def test_a_dead_branch_of_a_network_has_the_gradient_zero():
    """A population that nobody listens to; the rest keeps its gradient."""
    tracker = nm.networks.tracker(1, 1, rule=several)
    network = nm.Network(
        (*tracker.populations, nm.Population("spare", 2, "tanh(drive)")),
        (*tracker.projections, nm.Projection("stimulus", "spare", w=nm.Param(0.5, per="synapse"))),
        output=tracker.output,
    )
    learned, given = problem(nm.PlasticLearner(network), Tracking(n_steps=20, n_skip=5))
    found = assert_equal(learned, given)
    assert torch.equal(found["stimulus__spare.w"], torch.zeros(2, 1, dtype=F64))
    assert found["cue.rule.eta"].all()


def test_too_many_scalars_are_refused_by_a_training_run():
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, n_hidden=8))
    with pytest.raises(SpecificationError, match=rf"Forward takes at most {MOST} learned scalars, found 89; use Backp"):
        nm.meta_train(learner, Tracking(n_steps=5, n_skip=1), Forward(), n_iterations=1, n_tasks=2)


# --- memory ----------------------------------------------------------------------------------------------------------

MEASURE = """
import pathlib, re, sys, torch
import neurometa as nm
from neurometa.meta import meta_train
from neurometa.outer import Backprop
from neurometa.outer.forward import Forward
from neurometa.tasks.tracking import Tracking

torch.set_num_threads(1)
learner = nm.PlasticLearner(nm.networks.tracker(1, 1, rule=nm.rules.get("delta")))
for given in sys.argv[1:]:
    name, steps, n_tasks = given.split(":")
    task, outer = Tracking(n_steps=int(steps), n_skip=50), {"forward": Forward, "backprop": Backprop}[name](lr=0.02)
    run = meta_train(learner, task, outer, n_iterations=1, n_tasks=int(n_tasks))
    assert run.history[0]["gradient_norm"] > 0
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1024)
"""


def peaks(*given):
    """Return the peak memory (MB) of one process after each of the given trainings.

    Not ``ru_maxrss``: in a new process that begins with the memory of the process which started it.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_time_as_that_of_reverse_mode_does():
    short, long, reverse = peaks("forward:2000:2", "forward:12000:2", "backprop:12000:2")
    assert long - short < 10
    assert reverse - long > 60  # what the comparison would see


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hundred_thousand_steps_take_less_than_half_a_gigabyte():
    (peak,) = peaks("forward:100000:2")
    assert peak < 500
