"""Optima: every outer algorithm, where it applies, reaches the numbers that are known exactly.

A meta-gradient can be right and the outer loop still fail, so these are contracts of the whole loop. A new file in
``neurometa/outer`` must be entered in `ALGORITHMS`: with settings, or with the words by which it refuses the problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
import torch.nn.functional as F

import neurometa as nm
from neurometa import outer
from neurometa.errors import SpecificationError
from neurometa.learners.gradient import RATE
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.meta import meta_train
from neurometa.outer import Problem
from neurometa.streams import generator
from neurometa.tasks.linear_gaussian import LinearGaussian
from neurometa.tasks.tracking import Tracking, kalman_error, kalman_gain
from neurometa.tasks.volatility import Volatility, bayes

F64 = torch.float64
PAIRS = [(0.04, 0.25), (0.01, 1.0), (1.0, 1.0)]


@dataclass(frozen=True)
class Case:
    """An algorithm with its settings, how long it is given, and how near it must come; or why it does not apply."""

    settings: dict = field(default_factory=dict)
    n_iterations: int = 0
    n_tasks: int = 0
    tolerance: float = 0.0
    tolerance_w0: float = 0.0
    refusal: str = ""


SEQUENCE = "Reptile needs a task with support and query; Tracking is one sequence"
EXACT = Case({"lr": 0.2, "schedule": "cosine"}, 150, 2048, 0.01)  # what is left is the noise of the tasks
FOLLOWS = Case({"lr": 0.03, "schedule": "cosine"}, 2000, 1, 1e-3)
#: Algorithm -> problem -> case. The random searches have the tolerance of their scatter over 12 seeds, whose standard
#: deviation is up to .9 % (evolution) and 1.7 % (CMA-ES) of the gain, and .3 % and .9 % of the inner rate.
ALGORITHMS: dict[str, dict[str, Case]] = {
    "backprop": {
        "kalman": EXACT,
        "linear": replace(EXACT, settings={"lr": 0.1, "schedule": "cosine"}, n_iterations=200, tolerance_w0=0.02),
        "rosenbrock": FOLLOWS,
    },
    "forward": {
        "kalman": EXACT,
        "linear": replace(
            EXACT, settings={"lr": 0.1, "schedule": "cosine"}, n_iterations=200, n_tasks=512, tolerance_w0=0.02
        ),
        "rosenbrock": FOLLOWS,
    },
    "truncated": {
        "kalman": replace(EXACT, settings={**EXACT.settings, "window": 15, "measure_every": 75}),
        "linear": Case(refusal="GradientLearner cannot be truncated; use PlasticLearner"),
        "rosenbrock": FOLLOWS,
    },
    "evolution": {
        "kalman": Case({"lr": 0.1, "schedule": "cosine", "population": 16}, 100, 512, 0.03),
        "linear": Case({"lr": 0.1, "schedule": "cosine", "population": 32}, 250, 512, 0.03, 0.03),
        "rosenbrock": Case({"lr": 0.02, "schedule": "cosine", "sigma": 0.02}, 3000, 1, 0.1),
    },
    "cma_es": {
        "kalman": Case({}, 40, 1024, 0.04),
        "linear": Case({}, 200, 1024, 0.04, 0.04),
        "rosenbrock": Case({}, 200, 1, 1e-6),
    },
    "reptile": {
        "kalman": Case(refusal=SEQUENCE),  # it moves what tasks adapt; the rate of a rule is not adapted
        "linear": Case({"lr": 1.0}, 200, 2048, 0.0, 0.02),  # moves the start; the rate stays
        "rosenbrock": Case(refusal="Reptile needs a learner that adapts parameters"),
    },
}
PROBLEMS = ("kalman", "linear", "rosenbrock")


def pytest_generate_tests(metafunc):
    if "algorithm" in metafunc.fixturenames:
        metafunc.parametrize("algorithm", outer.names())


def entry(algorithm: str, problem: str) -> Case:
    assert algorithm in ALGORITHMS, f"outer algorithm '{algorithm}' has no entry in ALGORITHMS: no optimum judges it"
    return ALGORITHMS[algorithm][problem]


def train(learner, task, algorithm, case, seed=0, **options):
    """Meta-train by one case; None where the algorithm refuses in the words that the case gives."""
    made = outer.get(algorithm)(**case.settings)
    sizes = {"n_iterations": case.n_iterations or 1, "n_tasks": case.n_tasks or 4, "seed": seed, **options}
    if case.refusal:
        with pytest.raises(SpecificationError, match=case.refusal):
            meta_train(learner, task, made, **sizes)
        return None
    return meta_train(learner, task, made, **sizes)


def test_the_table_lists_every_algorithm_and_every_problem():
    assert sorted(ALGORITHMS) == outer.names()
    assert all(set(cases) == set(PROBLEMS) for cases in ALGORITHMS.values())


# --- tracking: the rate of a delta rule is the Kalman gain -----------------------------------------------------------


def delta():
    return nm.PlasticLearner(nm.networks.tracker(1, 1, rule=nm.rules.get("delta")))


def test_the_gains_are_the_published_ones():
    assert [round(kalman_gain(q, r), 4) for q, r in PAIRS] == [0.3279, 0.0951, 0.6180]
    assert round(kalman_error(*PAIRS[0]), 4) == 0.1220


@pytest.mark.parametrize(("q", "r"), PAIRS)
def test_the_rate_becomes_the_kalman_gain(algorithm, q, r):
    case = entry(algorithm, "kalman")
    task = Tracking(q, r, n_steps=50 if q < r / 10 else 30, n_skip=0)  # a slow walk says less about its gain
    run = train(delta(), task, algorithm, case)
    if run is None:
        return
    rate = run.rule_values()["cue.rule.eta"]
    assert rate == pytest.approx(kalman_gain(q, r), rel=case.tolerance)
    assert task.fixed_rate_error(rate) == pytest.approx(kalman_error(q, r), rel=1e-3)
    episode = task.sample(generator(1, "eval"), 4000, "test")
    with torch.no_grad():
        errors = task.score(run.learner.respond(run.params, episode, task), episode.scored)
    assert abs(float(errors.mean()) - kalman_error(q, r)) < 4 * float(errors.std()) / 4000**0.5 + 1e-3 * q


@pytest.mark.parametrize("window", [2, 10])
def test_truncation_is_biased_on_the_way_and_not_at_the_kalman_gain(window):
    """At the gain the error is uncorrelated with all that was seen before it, so every term of the gradient is 0."""
    task = Tracking(n_steps=50, n_skip=0)
    settings = {"lr": 0.2, "schedule": "cosine", "window": window, "measure_every": 1000}
    run = train(delta(), task, "truncated", Case(settings, 150, 2048), report_every=1)
    assert run.rule_values()["cue.rule.eta"] == pytest.approx(kalman_gain(task.q, task.r), rel=0.01)
    assert {2: 0.8, 10: 0.3}[window] < run.history[0]["bias"] < 1  # at the start, rate .1
    assert run.history[0]["cosine"] == pytest.approx(1)


def test_a_gradient_at_every_step_learns_the_same_gain_as_its_rate():
    """The inner loss is half the squared error, so its step is the delta rule, and the two runs are one."""
    task = Tracking(n_steps=30, n_skip=0)
    plain = nm.networks.tracker(1, 1, rule=nm.rules.get("delta"))
    options = {"n_iterations": 150, "n_tasks": 1024}
    runs = [
        meta_train(learner, task, outer.Backprop(lr=0.2, schedule="cosine"), **options)
        for learner in (OnlineGradientLearner(plain, rate=0.1), delta())
    ]
    assert runs[0].learner.groups() == {RATE: "rule"}
    rate = float(F.softplus(runs[0].params[RATE]))
    assert rate == pytest.approx(kalman_gain(task.q, task.r), rel=0.01)
    assert rate == pytest.approx(runs[1].rule_values()["cue.rule.eta"], rel=1e-4)


# --- linear-Gaussian tasks: the start is the prior mean, the rate has a closed form ----------------------------------

LINEAR = LinearGaussian(mean=(1.0, -0.5, 0.25, 0.0))


def one_layer(**options):
    """Return a gradient learner over one layer of weights without bias, from 0."""
    weights = nm.Projection("stimulus", "out", w=nm.Param(0.0, per="synapse"))
    populations = (nm.Population("stimulus", LINEAR.n_dim), nm.Population("out", 1, "drive"))
    return nm.GradientLearner(nm.Network(populations, (weights,), output="out.x"), rate=0.1, **options)


def test_the_start_becomes_the_prior_mean_and_the_rate_its_closed_form(algorithm):
    case = entry(algorithm, "linear")
    run = train(one_layer(learn_rate=True), LINEAR, algorithm, case)
    if run is None:
        return
    start, rate = run.params["stimulus__out.w"].flatten(), float(F.softplus(run.params[RATE]))
    torch.testing.assert_close(start, torch.tensor(LINEAR.mean), rtol=0, atol=case.tolerance_w0)
    if algorithm == "reptile":
        assert rate == pytest.approx(0.1, rel=1e-6)
        return
    assert rate == pytest.approx(LINEAR.best_rate(), rel=case.tolerance)
    episode = LINEAR.sample(generator(1, "eval"), 20_000, "test")
    with torch.no_grad():
        losses = run.learner.loss(run.params, episode, LINEAR)
    wanted = LINEAR.adapted_error(LINEAR.best_rate())
    assert abs(float(losses.mean()) - wanted) < 4 * float(losses.std()) / 20_000**0.5 + 1e-3


def test_first_order_reaches_both_too():
    """The slope of one step is a constant for FOMAML: exact for the rate, and E[w - w0] = 0 at the same start."""
    case = replace(entry("backprop", "linear"), n_tasks=1024)
    run = train(one_layer(learn_rate=True, order=1), LINEAR, "backprop", case)
    start = run.params["stimulus__out.w"].flatten()
    torch.testing.assert_close(start, torch.tensor(LINEAR.mean), rtol=0, atol=0.03)
    assert float(F.softplus(run.params[RATE])) == pytest.approx(LINEAR.best_rate(), rel=0.01)


# --- a curved valley -------------------------------------------------------------------------------------------------


def rosenbrock(params, copies=1):
    x, y = params["p"].reshape(copies, 2).unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def test_the_valley_of_rosenbrock_is_followed_to_its_end(algorithm):
    case = entry(algorithm, "rosenbrock")
    made, stream = outer.get(algorithm)(**{**case.settings}), generator(0, "outer")
    params = {"p": torch.tensor([-1.0, 1.0], dtype=F64)}
    state = made.init(params)

    def problem(i):
        return Problem(rosenbrock, i, case.n_iterations, stream=stream, truncated=lambda p, window: rosenbrock(p))

    if case.refusal:
        with pytest.raises(SpecificationError, match=case.refusal):
            made.step(params, state, problem(0))
        return
    for i in range(case.n_iterations):
        params, state, _ = made.step(params, state, problem(i))
    torch.testing.assert_close(params["p"], torch.ones(2, dtype=F64), rtol=0, atol=case.tolerance)


# --- volatility: within 10 % of the ideal observer -------------------------------------------------------------------


@pytest.mark.slow
def test_a_learned_modulator_comes_within_ten_per_cent_of_the_bayesian_observer():
    task, network = Volatility(), nm.networks.tracker(1, 1, n_hidden=32)
    backprop = outer.Backprop(lr=1e-2, schedule="cosine")
    run = meta_train(nm.PlasticLearner(network), task, backprop, n_iterations=500, n_tasks=128, seed=0)
    episode = task.sample(generator(0, "eval"), 2000, "test")
    with torch.no_grad():
        found = float(task.score(run.learner.respond(run.params, episode, task), episode.scored).mean())
    belief = bayes(episode.info["observation"])
    ideal = float(task.score(belief.prediction[..., None], episode.scored).mean())
    assert ideal < found < 1.10 * ideal
    assert found < 0.75 * task.references()["best fixed rate"]
