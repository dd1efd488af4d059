"""What the literature says that each rule does: fixed points, eigenvectors, identities between rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from neurometa import Network, Param, Population, Projection, Save, init_params, rules, simulate, start
from neurometa.torch_engine import make_step
from neurometa.torch_engine.params import unconstrain
from neurometa.torch_engine.program import prepare

F64 = torch.float64


def single(rule, n_pre: int, n_post: int = 1, update="drive", w=0.1) -> Network:
    """Return stimulus -> plastic synapses -> out."""
    return Network(
        (Population("stimulus", n_pre), Population("out", n_post, update)),
        (Projection("stimulus", "out", "s", rule=rule, w=Param(w, per="synapse")),),
    )


def stored(network, w=None, **values) -> dict:
    """Return stored parameters with rule values as people mean them."""
    params = init_params(network, torch.Generator().manual_seed(0), dtype=F64)
    rule = network.projections[0].rule
    for name, value in values.items():
        leaf = params[f"s.rule.{name}"]
        params[f"s.rule.{name}"] = unconstrain(rule.params[name], torch.full_like(leaf, value))
    return params if w is None else {**params, "s.w": w}


def evolve(network, params, x) -> torch.Tensor:
    """Return the weights after a sequence ``(time, n_pre)``."""
    with torch.no_grad():
        return simulate(network, params, {"stimulus": x[:, None]}).final.w["s"][0]


def gaussian(time: int, deviations, seed: int = 1, mean=0.0) -> torch.Tensor:
    """Return independent inputs rotated by 45 degrees in the first two axes, ``(time, n)``."""
    stream = torch.Generator().manual_seed(seed)
    x = torch.randn(time, len(deviations), generator=stream, dtype=F64) * torch.tensor(deviations, dtype=F64)
    turn = torch.eye(len(deviations), dtype=F64)
    turn[:2, :2] = torch.tensor([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5
    return x @ turn.T + mean


@pytest.mark.parametrize("k", [2, 4, 10])
def test_bcm_selects_one_of_k_patterns_and_answers_it_with_k(k):
    """All patterns in every step, changes averaged: one response is K and the rest 0 (Intrator & Cooper 1992)."""
    patterns = torch.rand(k, 20, generator=torch.Generator().manual_seed(k), dtype=F64)
    averaged = replace(rules.bcm, joint=True)  # all patterns meet the same threshold
    network = single(averaged, 20, update="relu(drive)", w=0.05)
    values = prepare(network, stored(network, eta=0.002, tau=5.0))
    step = make_step(network)
    w = 0.05 + 0.05 * torch.rand(1, 20, generator=torch.Generator().manual_seed(7), dtype=F64)
    theta = torch.ones(1, 1, dtype=F64)
    with torch.no_grad():
        state = start(network, stored(network, eta=0.002, tau=5.0), k)
        for i in range(120_000):
            now = state._replace(w={"s": w.expand(k, 1, 20)}, traces={"s.theta": theta.expand(k, 1, 1)})
            new, _ = step(values, now, {"stimulus": patterns}, {})
            before, w, theta = w, new.w["s"].mean(0), new.traces["s.theta"].mean(0)
            if i % 100 == 0 and float((w - before).abs().max()) < 1e-13:
                break
        responses = torch.relu(patterns @ w[0]).sort().values
    assert abs(float(responses[-1]) - k) < 1e-6
    assert float(responses[:-1].abs().max()) < 1e-6


def test_oja_and_its_subspace_rule_find_the_leading_eigenvectors():
    x = gaussian(20_000, [3.0, 1.5, 0.5, 0.3])
    _, vectors = torch.linalg.eigh(x.T @ x / len(x))
    network = single(rules.oja, 4)
    w = evolve(network, stored(network, eta=5e-4), x)[0]
    assert abs(float(w @ vectors[:, -1])) > 0.999 and abs(float(w.norm()) - 1) < 1e-2
    network = single(rules.subspace_oja, 4, 2)
    initial = 0.1 * torch.randn(2, 4, generator=torch.Generator().manual_seed(3), dtype=F64)
    w = evolve(network, stored(network, initial, eta=1e-3), x)
    assert float((w @ w.T - torch.eye(2)).abs().max()) < 0.03
    found = torch.linalg.svdvals(w @ vectors[:, -2:])
    assert float(found.min()) > 0.995  # the same space, though not the same vectors


def test_multiplicative_normalisation_finds_the_eigenvector_where_subtractive_saturates():
    """Miller & MacKay 1994: the two ways of keeping the sum of weights end differently."""
    stream = torch.Generator().manual_seed(5)
    common = torch.rand(20_000, 1, generator=stream, dtype=F64)
    x = common * torch.tensor([1.0, 0.9, 0.8, 0.6]) + 0.3 * torch.rand(20_000, 4, generator=stream, dtype=F64)
    _, vectors = torch.linalg.eigh(x.T @ x / len(x))
    first = vectors[:, -1].abs()
    initial = torch.tensor([[0.2, 0.25, 0.3, 0.25]], dtype=F64)
    network = single(rules.miller_mackay_multiplicative, 4)
    w = evolve(network, stored(network, initial, eta=5e-3), x)[0]
    assert float(w @ first / w.norm()) > 0.999
    assert abs(float(w.sum()) - 1) < 1e-6  # the sum is kept
    network = single(rules.miller_mackay_subtractive, 4)
    w = evolve(network, stored(network, initial, eta=5e-3), x)[0]
    assert int(((w < 1e-3) | (w > 1 - 1e-3)).sum()) == 4
    assert float(w @ first / w.norm()) < 0.95


def test_row_normalised_hebb_keeps_unit_length_and_finds_the_first_eigenvector():
    x = gaussian(20_000, [2.0, 1.0, 0.5])
    _, vectors = torch.linalg.eigh(x.T @ x / len(x))
    network = single(rules.row_normalised_hebb, 3)
    w = evolve(network, stored(network, eta=1e-3), x)[0]
    assert abs(float(w @ vectors[:, -1] / w.norm())) > 0.995 and abs(float(w.norm()) - 1) < 0.05


def test_synaptic_scaling_reaches_its_target():
    x = torch.ones(6000, 3, dtype=F64) * torch.tensor([0.2, 0.5, 1.0])
    network = single(rules.synaptic_scaling, 3, w=0.05)
    w = evolve(network, stored(network, eta=0.02, goal=0.7, tau=10.0), x)[0]
    assert abs(float(x[0] @ w) - 0.7) < 1e-6
    assert torch.allclose(w, w[:1].expand(3))  # all scaled alike


def test_the_covariance_rule_ignores_the_mean_that_captures_hebb():
    x = gaussian(8000, [1.0, 0.3, 0.3], mean=torch.tensor([0.0, 0.0, 3.0]))
    _, vectors = torch.linalg.eigh(torch.cov(x.T))
    mean = x.mean(0) / x.mean(0).norm()
    found = {}
    for name, extra in (("hebb", {}), ("covariance", {"tau": 200.0})):
        network = single(rules.get(name), 3, w=0.01)
        initial = torch.tensor([[0.01, 0.02, 0.01]], dtype=F64)
        w = evolve(network, stored(network, initial, eta=2e-4, decay=1e-4, **extra), x[:4000])[0]
        found[name] = w / w.norm()
    assert float(found["hebb"] @ mean) > 0.99
    assert abs(float(found["covariance"] @ vectors[:, -1])) > 0.95
    assert abs(float(found["covariance"] @ mean)) < 0.3


def same(a, b, atol=1e-12, update="tanh(drive)", time=40):
    """Whether two (network, params) pairs follow the same weights on the same input."""
    x = torch.randn(time, 2, 3, generator=torch.Generator().manual_seed(2), dtype=F64)
    with torch.no_grad():
        one, two = (simulate(n, p, {"stimulus": x}, save=Save(("w.*",)))["w.s"] for n, p in (a, b))
    torch.testing.assert_close(one, two, rtol=0, atol=atol)
    assert float((one[-1] - one[0]).abs().max()) > 1e-3


def made(rule, w=0.2, **values):
    network = single(rule, 3, 2, "tanh(drive)", w=w)
    return network, stored(network, **values)


@pytest.mark.parametrize("name", ["abcd", "abcd_shared"])
def test_abcd_with_one_coefficient_is_hebb(name):
    hebb = replace(rules.hebb, dw="eta*pre*post", params={"eta": Param(0.1, "positive")}, bounds=(-1, 1))
    same(made(rules.get(name), eta=0.05, A=1.0, B=0.0, C=0.0, D=0.0), made(hebb, eta=0.05))


@pytest.mark.parametrize("name", ["taylor27", "taylor81"])
@pytest.mark.parametrize(
    ("other", "values", "coefficients"),
    [
        ("hebb", {"eta": 0.05, "decay": 0.01}, {"c110": 0.05, "c001": -0.01}),
        ("oja", {"eta": 0.05}, {"c110": 0.05, "c021": -0.05}),
        ("anti_hebb", {"eta": 0.05, "lam": 0.9}, {"c110": -0.05, "c001": -0.1}),
    ],
)
def test_taylor_with_the_right_coefficients_is_that_rule(name, other, values, coefficients):
    rule = rules.get(name)
    if name == "taylor81":  # m to the power 0
        coefficients = {f"{key}0": value for key, value in coefficients.items()}
        network = Network(
            (Population("stimulus", 3), Population("one_m", 1, "1.0"), Population("out", 2, "tanh(drive)")),
            (
                Projection("stimulus", "out", "s", rule=rule, w=Param(0.2, per="synapse"), modulators={"m": "one_m"}),
                Projection("stimulus", "one_m"),
            ),
        )
        pair = network, stored(network, **coefficients)
    else:
        pair = made(rule, **coefficients)
    same(pair, made(rules.get(other), **values))


def test_taylor_is_the_sum_of_its_terms():
    rule = rules.taylor81
    stream = torch.Generator().manual_seed(0)
    values = {name: float(torch.randn((), generator=stream)) for name in rule.params}
    point = {"pre": 0.7, "post": -0.4, "w": 0.3, "m": 1.3}
    powers = {n: [int(d) for d in n[1:]] for n in values}
    wanted = sum(
        c
        * point["pre"] ** powers[n][0]
        * point["post"] ** powers[n][1]
        * point["w"] ** powers[n][2]
        * point["m"] ** powers[n][3]
        for n, c in values.items()
    )
    names = sorted(rule.dw_expression.names)
    found = rule.dw_expression.function(names)(*[{**values, **point}[n] for n in names])
    assert found == pytest.approx(wanted, rel=1e-12)


def test_retroactive_modulation_uses_the_trace_of_before():
    """Coincidence at step 0, modulator at step 1 only: the change appears at step 1, eta times the coincidence."""
    network = Network(
        (Population("stimulus", 1), Population("dopamine", 1), Population("out", 1, "1.0")),
        (Projection("stimulus", "out", "s", rule=rules.retroactive, modulators={"m": "dopamine"}),),
    )
    x = torch.tensor([1.0, 0.0, 0.0], dtype=F64).view(3, 1, 1)
    m = torch.tensor([1.0, 1.0, 0.0], dtype=F64).view(3, 1, 1)
    w = simulate(network, stored(network, eta=0.3), {"stimulus": x, "dopamine": m}, save=Save(("w.*",)))["w.s"]
    assert w.flatten().tolist() == pytest.approx([0.0, 0.3, 0.3], rel=1e-12)


def test_temporal_hebb_binds_what_followed():
    network = Network(
        (Population("stimulus", 2), Population("out", 1, "drive")),
        (Projection("stimulus", "out", "s", rule=rules.temporal_hebb, efficacy="w0 + 0*w", params={"w0": Param(1.0)}),),
    )
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64)
    w = evolve(network, stored(network, eta=0.1, decay=1e-6, tau=1.0001), x)
    assert float(w[0, 0]) > 0.09 and abs(float(w[0, 1])) < 1e-6


def test_soft_bounds_are_never_left_at_small_rates():
    x = gaussian(2000, [1.0, 1.0, 1.0]).clamp(-1, 1)
    free = replace(rules.soft_clamped_hebb, bounds=None)
    network = single(free, 3, 2, "tanh(drive)")
    assert float(evolve(network, stored(network, eta=0.2), x).abs().max()) < 1


def test_mpn_and_stpn_follow_their_recursions():
    for name, values in (("mpn", {"lam": 0.9, "eta": 0.1}), ("stpn", {"lam": 0.9, "gamma": 0.1})):
        network = single(rules.get(name), 2, 1, "1.0", w=0.0)
        w = evolve(network, stored(network, **values), torch.ones(50, 2, dtype=F64))
        wanted = 0.1 * sum(0.9**k for k in range(50))
        torch.testing.assert_close(w, torch.full_like(w, wanted), rtol=1e-12, atol=0)


def test_oja_on_the_whole_weight_differs_from_oja_on_the_plastic_part():
    """With efficacy 1/2 + w the whole weight reaches length 1, or sqrt(2) where the plastic part alone is forgotten."""
    x = gaussian(20_000, [3.0, 0.5])
    lengths = {}
    for name in ("oja", "oja_total"):
        network = Network(
            (Population("stimulus", 2), Population("out", 1, "drive")),
            (
                Projection(
                    "stimulus",
                    "out",
                    "s",
                    efficacy="w0 + w",
                    params={"w0": Param(0.5, per="synapse")},
                    rule=rules.get(name),
                ),
            ),
        )
        w = evolve(network, stored(network, eta=5e-4), x)[0]
        lengths[name] = float((w + 0.5).norm())
    assert abs(lengths["oja_total"] - 1) < 0.05
    assert abs(lengths["oja"] - 2**0.5) < 0.05  # w = e/(v.e) with v = 1/2 + w along e, the first eigenvector
