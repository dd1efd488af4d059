"""A rule is found again from what it did: from a recording with noise, and from a rule that is a neural network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.analysis.sparse import design, monomials, separable, sparse_least_squares, stability_selection
from neurometa.distil import distil, rerun
from neurometa.errors import SpecificationError
from neurometa.streams import generator

F64 = torch.double


def layer(rule, n_in=10, n_out=8):
    """Return one plastic layer of linear neurons."""
    return nm.Network(
        (nm.Population("stimulus", n_in), nm.Population("out", n_out, "drive")),
        (nm.Projection("stimulus", "out", "plastic", w=nm.Param(nm.Normal(0, 0.3), per="synapse"), rule=rule),),
    )


def oja_run(seed, n_dim=10, n_shot=60):
    task = nm.tasks.get("linear_gaussian")(n_dim=n_dim, n_shot=n_shot)
    learner = nm.PlasticLearner(layer(nm.rules.oja, n_dim))
    params = learner.init(generator(seed, "init"), dtype=F64)
    return nm.Run(learner, task, nm.Backprop(), params, seed=seed)


class Noisy:
    """A recording whose numbers all have 1 % of noise."""

    def __init__(self, recording, seed, share=0.01):
        self._recording, rng = recording, np.random.default_rng(seed)

        def noisy(variables):
            each = {name: v[()] for name, v in variables.items()}
            return {name: v + share * v.std() * rng.normal(size=v.shape) for name, v in each.items()}

        self.x, self.w = noisy(recording.x), noisy(recording.w)
        self.traces = self.variables = {}

    def __getattr__(self, name):
        return getattr(self._recording, name)


def recovered(tmp_path, seed, monkeypatch):
    path = nm.record(tmp_path / f"{seed}.h5", oja_run(seed), plan=nm.RecordPlan(episodes=12))
    from neurometa.distil import search

    monkeypatch.setattr(search, "Recording", (nm.Recording, Noisy))
    with nm.open_recording(path) as rec:
        found = distil(Noisy(rec, seed), seed=seed)
    rows = {text: value for text, value, *_ in found.rows()}
    return found, set(rows) == {"pre*post", "post**2*w"} and all(
        abs(abs(value) / 0.1 - 1) < 0.05 for value in rows.values()
    )


def test_oja_is_found_in_a_recording_with_noise(tmp_path, monkeypatch):
    found, right = recovered(tmp_path, 0, monkeypatch)
    assert right and len(found.terms) == 27, found.equation
    assert found.equation.startswith("dw = ") and found.r2 > 0.5


@pytest.mark.slow
def test_oja_is_found_in_nineteen_of_twenty(tmp_path, monkeypatch):
    assert sum(recovered(tmp_path, seed, monkeypatch)[1] for seed in range(20)) >= 19


def test_without_noise_the_coefficients_are_those_of_the_rule():
    found = distil(oja_run(3), n_episodes=8)
    rows = {text: value for text, value, *_ in found.rows()}
    assert rows == {"pre*post": pytest.approx(0.1, rel=1e-9), "post**2*w": pytest.approx(-0.1, rel=1e-9)}
    assert found.r2 == pytest.approx(1) and found.r2_test == pytest.approx(1) and not found.told
    assert all(low <= value <= high and p == 1 for _, value, low, high, p in found.rows())


@pytest.mark.parametrize("name", ["gated_hebb", "delta", "temporal_hebb", "taylor27"])
def test_any_rule_of_rates_is_found_in_a_recurrent_network_too(name):
    """Which activity of pre a synapse carried, and which modulator, traces and errors the rule read."""
    rule = nm.rules.get(name)
    task = nm.tasks.get("associative_retrieval")(n_pairs=4)
    if name == "delta":
        task = nm.tasks.get("gaussian_clusters")(n_way=2, n_shot=10, n_dim=3)
        network = nm.networks.error_broadcast(task.n_in, task.n_out, rule, hidden=(5,))
    else:
        network = nm.networks.recurrent(task.n_in, task.n_out, rule=rule, n_hidden=5)
    learner, stream = nm.PlasticLearner(network), generator(0, "init")
    params = learner.init(stream, dtype=F64)
    params = {k: v + 0.1 * torch.randn(v.shape, generator=stream, dtype=F64) for k, v in params.items()}
    run = nm.Run(learner, task, nm.Backprop(), params)
    found = distil(run, network.plastic[0].label, n_episodes=6, threshold=1e-4)
    assert found.r2 > 1 - 1e-9 and found.r2_test > 1 - 1e-6
    again = rerun(run, found, n_episodes=20)
    assert again.r2 > 1 - 1e-6


def test_a_rule_that_is_a_network_is_written_as_its_four_terms():
    """An MLP is trained to move synapses as a hidden rule does, by one step from random weights; then written down."""
    hidden = nm.PlasticityRule("hidden", dw="0.06*pre*post - 0.03*w*post**2 - 0.05*w + 0.03*pre")
    functions = {"f": nm.MLP(3, (30, 30), "tanh", "linear")}
    mlp = replace(nm.rules.mlp_rule, params={"eta": nm.Param(0.1, "positive")}, functions=functions)
    teacher, student = layer(hidden, 4, 3), layer(mlp, 4, 3)
    theirs, mine = (nm.init_params(each, generator(0, "init"), dtype=F64) for each in (teacher, student))
    own = [mine[name].requires_grad_() for name in mine if ".rule." in name]
    adam, n = torch.optim.Adam(own, lr=0.005), 2000
    schedule, stream = torch.optim.lr_scheduler.CosineAnnealingLR(adam, n), generator(0, "samples")

    def after(network, params, w, x):
        return nm.simulate(network, {**params, "plastic.w": w}, {"stimulus": x}).final.w["plastic"]

    for _ in range(n):
        w = 0.6 * torch.randn(128, 3, 4, generator=stream, dtype=F64)
        x = torch.randn(1, 128, 4, generator=stream, dtype=F64)
        loss = ((after(student, mine, w, x) - after(teacher, theirs, w, x)) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    task = nm.tasks.get("linear_gaussian")(n_dim=4, n_shot=20)
    params = {name: leaf.detach() for name, leaf in mine.items()}
    found = distil(nm.Run(nm.PlasticLearner(student), task, nm.Backprop(), params), n_episodes=64)
    rows = {text: value for text, value, *_ in found.rows()}
    wanted = {"pre*post": 0.06, "post**2*w": -0.03, "w": -0.05, "pre": 0.03}
    assert rows == {text: pytest.approx(value, rel=0.1) for text, value in wanted.items()}, found.equation
    assert found.r2_test > 0.99


def test_what_the_data_cannot_tell_apart_is_named():
    rng = np.random.default_rng(0)
    pre, post = rng.choice([-1.0, 1.0], 500), rng.normal(size=500)
    terms = monomials({"pre": 2, "post": 1})
    x = design({"pre": pre, "post": post}, terms)
    kept, told = separable(x)
    assert [terms[k] for k in kept] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {terms[k]: [terms[j] for j in v] for k, v in told.items()} == {(2, 0): [(0, 0)], (2, 1): [(0, 1)]}
    assert separable(np.zeros((5, 1))) == ([], {0: []})


def test_selection_finds_the_support_and_intervals_cover():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(40):
        x = rng.normal(size=(400, 12))
        y = 1.0 * x[:, 2] - 0.5 * x[:, 7] + 0.5 * rng.normal(size=400)
        found = stability_selection(x, y, np.arange(400) // 10, threshold=0.15, subsamples=60)
        assert {2, 7} <= set(found.chosen) and len(found.chosen) <= 3
        covered += sum(found.low[k] <= v <= found.high[k] for k, v in ((2, 1.0), (7, -0.5)))
    assert 0.85 <= covered / 80 <= 1.0
    assert not sparse_least_squares(np.zeros((5, 2)), np.ones(5)).any()
    with pytest.raises(SpecificationError, match=r"needs 4 independent blocks at least, found 2"):
        stability_selection(x, y, np.arange(400) // 200)


def test_refusals(tmp_path):
    run = oja_run(0, n_shot=5)
    with pytest.raises(SpecificationError, match=r"unknown variable 'psot' \(did you mean 'post'\?\)"):
        distil(run, variables=("pre", "psot"))
    with pytest.raises(SpecificationError, match=r"unknown plastic projection 'head'"):
        distil(run, "head")
    path = nm.record(tmp_path / "a.h5", run, save=nm.Save(("*",), every=2))
    with (
        nm.open_recording(path) as rec,
        pytest.raises(SpecificationError, match=r"has every 2 steps; every one is needed"),
    ):
        distil(rec)
    path = nm.record(tmp_path / "b.h5", run, save=nm.Save(("w.*",)))
    with (
        nm.open_recording(path) as rec,
        pytest.raises(SpecificationError, match=r"'x.out' is not kept, and the rule reads it"),
    ):
        distil(rec)
    still = nm.Run(
        run.learner, run.task, run.outer, {**run.params, "plastic.rule.eta": torch.full((1, 1), -800.0, dtype=F64)}
    )
    with pytest.raises(SpecificationError, match=r"the weights of 'plastic' never change; there is nothing to distil"):
        distil(still, n_episodes=4)
    task = nm.tasks.Sinusoid()
    maml = nm.GradientLearner(nm.networks.mlp(1, 1))
    with pytest.raises(SpecificationError, match=r"GradientLearner has no rule to distil"):
        distil(nm.Run(maml, task, nm.Backprop(), maml.init(generator(0, "x"))))
