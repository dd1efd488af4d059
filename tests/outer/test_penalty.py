"""The L1 penalty and weight decay: closed forms, who is touched, and what becomes of terms that are not needed."""

from __future__ import annotations

import math

import pytest
import torch

import neurometa as nm
from neurometa.errors import SpecificationError
from neurometa.meta import meta_train
from neurometa.outer import Backprop, Problem
from neurometa.outer._descent import Descent
from neurometa.outer.evolution import Evolution
from neurometa.outer.forward import Forward
from neurometa.outer.truncated import Truncated
from neurometa.streams import generator
from neurometa.tasks.tracking import Tracking, kalman_gain

F64 = torch.float64
FOLLOWERS = [Backprop, Forward, Evolution, Truncated]
EACH = pytest.mark.parametrize("algorithm", FOLLOWERS)
CENTRE = torch.tensor([2.0, -1.5, 0.3, -0.2, 0.0], dtype=F64)
CURVATURE = torch.tensor([1.0, 2.0, 1.0, 0.5, 4.0], dtype=F64)


def quadratic(params, copies=1):
    """Losses ``sum(h*(p - c)**2)/2`` of one task, of a rule's parameters and of as many others."""
    rule, other = (params[name].reshape(copies, -1) for name in ("syn.rule.k", "syn.w"))
    return sum((CURVATURE * (p - CENTRE).square()).sum(-1) / 2 for p in (rule, other))


def problem(losses, i, n):
    return Problem(losses, i, n, stream=generator(i, "outer"), truncated=lambda p, window: losses(p))


def start():
    return {"syn.rule.k": torch.full((1, 5), 0.7, dtype=F64), "syn.w": torch.full((5,), 0.7, dtype=F64)}


def descend(made, losses, params, n):
    state, history = made.init(params), []
    for i in range(n):
        params, state, metrics = made.step(params, state, problem(losses, i, n))
        history.append(metrics)
    return params, history


def soft(c, threshold):
    """Return the minimum of ``(p - c)**2/2 + threshold*|p|``."""
    return c.sign() * (c.abs() - threshold).clamp_min(0)


def test_every_algorithm_that_follows_a_gradient_is_here():
    found = [nm.outer.get(name) for name in nm.outer.names()]
    assert {cls for cls in found if issubclass(cls, Descent)} == {*FOLLOWERS}


@pytest.mark.parametrize("l1", [0.05, 0.4, 1.0])
def test_the_optimum_of_a_quadratic_is_the_soft_threshold(l1):
    """Minimum of ``h*(p - c)**2/2 + l1*|p|``: c moved towards 0 by l1/h, and 0 where that would cross it."""
    made = Backprop(lr=0.05, schedule="cosine", clip=0.0, l1=l1)
    params, history = descend(made, quadratic, start(), 1500)
    wanted = soft(CENTRE, l1 / CURVATURE)
    assert (wanted == 0).any() and wanted.any()
    torch.testing.assert_close(params["syn.rule.k"][0], wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(params["syn.w"], CENTRE, rtol=0, atol=1e-6)  # not penalised
    # What is reported is the loss alone.
    least = float((CURVATURE * (wanted - CENTRE).square()).sum() / 2)
    assert history[-1]["loss"] == pytest.approx(least, abs=2e-3)
    assert l1 * float(wanted.abs().sum()) > 0.05  # the penalty would be seen


@pytest.mark.parametrize("algorithm", [Forward, Truncated, Evolution])
def test_the_other_algorithms_find_the_same_threshold(algorithm):
    more = {"shaping": "none", "sigma": 0.01} if algorithm is Evolution else {}
    made = algorithm(lr=0.05, schedule="cosine", clip=0.0, l1=0.4, **more)
    params, _ = descend(made, quadratic, start(), 1000)
    wanted = soft(CENTRE, 0.4 / CURVATURE)
    torch.testing.assert_close(params["syn.rule.k"][0], wanted, rtol=0, atol=0.05 if more else 2e-3)
    torch.testing.assert_close(params["syn.w"], CENTRE, rtol=0, atol=0.05 if more else 1e-5)


@EACH
def test_reported_loss_and_norm_are_those_without_penalty_and_the_gradient_has_its_sign(algorithm):
    params = {"syn.rule.k": CENTRE.clone()[None], "syn.w": CENTRE + 0.1}
    plain, penalised = algorithm(clip=0.0), algorithm(clip=0.0, l1=0.3)
    results = [made.step(params, made.init(params), problem(quadratic, 0, 1)) for made in (plain, penalised)]
    (_, state, metrics), (_, other, others) = results
    assert metrics == others
    moments = [each.adam.mean if algorithm is Truncated else each.mean for each in (state, other)]
    added = {name: (moments[1][name] - moments[0][name]) / (1 - plain.beta1) for name in params}
    torch.testing.assert_close(added["syn.rule.k"], 0.3 * CENTRE.sign()[None], rtol=0, atol=1e-12)  # 0 at 0
    assert not added["syn.w"].any()


def test_the_penalty_is_added_after_clipping():
    """A clipped gradient does not drown what the penalty asks for, and the penalty is not clipped itself."""
    params = {"syn.rule.k": torch.full((1, 5), 50.0, dtype=F64), "syn.w": torch.zeros(5, dtype=F64)}
    made = Backprop(clip=1e-3, l1=0.3)
    _, state, metrics = made.step(params, made.init(params), problem(quadratic, 0, 1))
    assert metrics["gradient_norm"] > 50
    found = torch.cat([leaf.flatten() for leaf in state.mean.values()]) / (1 - made.beta1)
    clipped = found - 0.3 * torch.cat([torch.ones(5), torch.zeros(5)]).to(F64)
    assert float(clipped.norm()) == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.parametrize(
    ("patterns", "touched"),
    [
        (("*.rule.*",), {"a.rule.eta", "b.rule.f.0.w"}),
        (("*.rule.eta",), {"a.rule.eta"}),
        (("a.*", "b.w"), {"a.rule.eta", "a.w", "b.w"}),
        (("*",), {"a.rule.eta", "a.w", "b.rule.f.0.w", "b.w", "rule"}),
    ],
)
def test_only_the_names_that_a_pattern_fits_are_touched(patterns, touched):
    names = ("a.rule.eta", "a.w", "b.rule.f.0.w", "b.w", "rule")
    params = {name: torch.ones(2, dtype=F64) for name in names}
    made = Backprop(lr=0.1, l1=0.5, penalised=patterns)
    new, _, _ = made.step(params, made.init(params), Problem(lambda p: 0 * p["a.w"].sum()[None], 0, 1))
    assert {name for name in names if not torch.equal(new[name], params[name])} == touched
    assert all((new[name] < 1).all() for name in touched)


def test_penalised_patterns_survive_a_run_folder(tmp_path):
    made = Backprop(l1=0.1, penalised=("*.rule.eta", "x"))
    learner = nm.PlasticLearner(nm.networks.tracker(1, 1, rule=nm.rules.get("delta")))
    run = meta_train(learner, Tracking(n_steps=5, n_skip=1), made, n_iterations=1, n_tasks=2, run_dir=tmp_path / "r")
    outer = nm.load_run(run.path).outer
    assert outer.l1 == 0.1 and tuple(outer.penalised) == ("*.rule.eta", "x")


@pytest.mark.parametrize("algorithm", [Backprop, Forward, Truncated])
def test_weight_decay_shrinks_every_parameter_by_the_rate_and_no_gradient_feels_it(algorithm):
    made = algorithm(lr=0.1, schedule="cosine", weight_decay=0.2)
    params = start()
    new, history = descend(made, lambda p, copies=1: 0 * p["syn.w"].reshape(copies, -1).sum(-1), params, 20)
    rates = [0.1 * 0.5 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    factor = math.prod(1 - 0.2 * rate for rate in rates)
    assert 0.7 < factor < 0.9
    for name in params:
        torch.testing.assert_close(new[name], factor * params[name], rtol=1e-12, atol=0)
    assert {record["gradient_norm"] for record in history} == {0.0}


def test_strengths_below_zero_are_refused():
    for options in ({"l1": -0.1}, {"weight_decay": -1.0}):
        with pytest.raises(SpecificationError, match=r"Backprop: l1 .* and weight_decay .* must not be below 0"):
            Backprop(**options)


def extra(dw, c):
    """Return a tracker whose rule has a term of strength c more than it needs."""
    rule = nm.PlasticityRule("extra", dw=dw, params={"eta": nm.Param(0.1, "positive"), "c": nm.Param(c)})
    return nm.PlasticLearner(nm.networks.tracker(1, 1, rule=rule))


TASK = Tracking(n_steps=50, n_skip=0)
LONG = {"n_iterations": 200, "n_tasks": 256}


def learn(learner, l1):
    made = Backprop(lr=0.05, schedule="cosine", l1=l1, penalised=("*.rule.c",))
    values = meta_train(learner, TASK, made, **LONG).rule_values()
    return values["cue.rule.eta"], values["cue.rule.c"]


def test_a_superfluous_term_is_driven_to_zero_and_the_rate_stays_the_gain():
    """``c*pre`` is a drift that the walk does not have; without a penalty its strength follows the noise."""
    learner = extra("eta*pre*error_post + c*pre", 0.3)
    (_, plain), (eta, c) = (learn(learner, l1) for l1 in (0.0, 0.03))
    assert abs(c) < 2e-4 < abs(plain) < 2e-3
    assert eta == pytest.approx(kalman_gain(TASK.q, TASK.r), rel=0.01)


def test_of_two_terms_that_do_the_same_the_penalised_one_goes():
    """Only the sum of the two rates matters to the loss: without a penalty both keep a part."""
    learner = extra("eta*pre*error_post + c*pre*error_post", 0.2)
    gain = kalman_gain(TASK.q, TASK.r)
    eta, c = learn(learner, 0.0)
    assert eta + c == pytest.approx(gain, rel=0.02) and eta < 0.4 * gain
    eta, c = learn(learner, 0.03)
    assert abs(c) < 1e-3
    assert eta == pytest.approx(gain, rel=0.02)


def test_a_penalty_on_nothing_is_refused():
    with pytest.raises(
        SpecificationError, match=r"penalised \*\.rule\.\* matches nothing that is learned; there are p"
    ):
        Backprop(l1=0.1).init({"p": torch.zeros(2)})
