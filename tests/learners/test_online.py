"""Online gradient and hybrid learners: the delta rule, what a step may know, bounds, exact meta-gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus

from neurometa import GradientLearner, PlasticLearner, Save, learners, make_step, networks, simulate
from neurometa.errors import EngineError, SpecificationError
from neurometa.learners._online import DECAY, RATE
from neurometa.learners.hybrid import HybridLearner
from neurometa.learners.online_gradient import OnlineGradientLearner
from neurometa.spec import Network, Normal, Param, PlasticityRule, Population, Projection, Random
from neurometa.tasks.base import Episode, Part
from neurometa.tasks.tracking import Tracking
from neurometa.torch_engine import prepare, start
from neurometa.trajectory import State

F64 = torch.float64
EITHER = pytest.mark.parametrize("cls", [OnlineGradientLearner, HybridLearner], ids=["online", "hybrid"])
HEBB = PlasticityRule("r", dw="eta*pre*post - decay*w", params={"eta": Param(0.05), "decay": Param(0.1)})


def close(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def synapse(n_in=1, n_out=1, rule=HEBB, **options) -> Network:
    """Linear neurons that see their error, and an input ``gate`` that may be the modulator."""
    out = Population("out", n_out, {"x": "drive", "error": "target - drive"}, inputs=("drive", "target"))
    return Network(
        (Population("stimulus", n_in), Population("target", n_out), Population("gate", 1), out),
        (
            Projection("stimulus", "out", name="p", rule=rule, w=Param(0.4), **options),
            Projection("target", "out", into="target", w=Param(1.0, learned=False), mask="one_to_one"),
        ),
    )


def recurrent(n_hidden=3) -> Network:
    """Plastic synapses among hidden neurons that remember, so that a gradient could reach back."""
    network = networks.get("recurrent")(3, 2, HEBB, n_hidden, transfer="linear", alpha=1.0)
    w = Param(Normal(0.0, 0.5), per="synapse")
    return replace(network, projections=tuple(replace(p, w=w) if p.rule else p for p in network.projections))


def sequence(time=6, batch=4, n_in=1, n_out=1, learn=None) -> Part:
    """A sequence without resets but the first."""
    stream = torch.Generator().manual_seed(5)
    sizes = {"stimulus": n_in, "target": n_out, "gate": 1}
    inputs = {name: torch.randn(time, batch, n, generator=stream, dtype=F64) for name, n in sizes.items()}
    inputs["gate"] = inputs["gate"].sigmoid()
    on = torch.ones(time, dtype=torch.bool) if learn is None else torch.tensor(learn, dtype=torch.bool)
    weight = torch.ones(time, batch, dtype=F64)
    return Part(inputs, inputs["target"], weight, on, torch.arange(time) == 0)


def connected(part: Part) -> Part:
    """Let activity pass from one step of a support to the next."""
    return part._replace(reset=torch.arange(len(part.reset)) == 0)


@pytest.mark.slow
@EITHER
def test_compiled_it_is_the_same_with_its_exact_meta_gradient(cls, task):
    """Under the compiler an ordinary inner gradient would silently lose its second order."""
    part = sequence(n_in=3, n_out=2)
    part = part._replace(inputs={**part.inputs, "teach": torch.ones_like(part.weight).unsqueeze(-1)})
    eager = cls(recurrent(), rate=0.3, decay=0.2)
    params = eager.init(torch.Generator().manual_seed(1), dtype=F64)
    found = []
    for learner in (eager, replace(eager, compile=True)):
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
        output = learner.run(leaves, part).output
        slopes = torch.autograd.grad(output.square().sum(), [*leaves.values()], allow_unused=True)
        found.append((output, [s for s in slopes if s is not None]))
    close(*(output for output, _ in found))
    for one, other in zip(*(slopes for _, slopes in found), strict=True):
        close(one, other, 1e-10)


@pytest.mark.parametrize("modulator", ["", "gate"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_on_one_linear_synapse_it_is_the_delta_rule(modulator, decay):
    """``w = (1 - decay*m)*w + rate*m*pre*error``, the error from the weight before the step."""
    learner = OnlineGradientLearner(synapse(2, 3), rate=0.3, decay=decay, modulator=modulator)
    part = sequence(n_in=2, n_out=3)
    made = learner.run(learner.init(torch.Generator(), dtype=F64), part)
    w = torch.full((4, 3, 2), 0.4, dtype=F64)
    for pre, target, gate, answer in zip(
        part.inputs["stimulus"], part.target, part.inputs["gate"], made.output, strict=True
    ):
        prediction = torch.einsum("bij,bj->bi", w, pre)
        close(answer, prediction)  # made before the step's change
        m = gate[:, :, None] if modulator else 1.0
        w = (1 - decay * m) * w + 0.3 * m * (target - prediction)[:, :, None] * pre[:, None]
    close(made.final.w["p"], w)
    assert (w - 0.4).abs().min() > 1e-3


def test_the_tracker_s_delta_rule_is_this_gradient():
    """``dw = m*pre*error_post`` in the library's tracker is the gradient step of rate 1 that its modulator scales."""
    task = Tracking(n_steps=12, n_skip=2)
    network = networks.get("tracker")(1, 1, n_hidden=4)
    learner = OnlineGradientLearner(network, rate=1.0, modulator="rate")
    params = learner.init(torch.Generator().manual_seed(0), dtype=F64)
    episode = task.sample(torch.Generator().manual_seed(1), 5, dtype=F64)
    wanted = PlasticLearner(network).respond(params, episode, task)
    close(learner.respond(params, episode, task), wanted)
    assert wanted.abs().max() > 0.1


def test_one_step_is_one_step_of_maml(task, episode):
    """Half the squared error of a single support item, by the learner that descends the support loss itself."""
    plain = Network(
        (Population("stimulus", 3), Population("out", 2, "drive")),
        (Projection("stimulus", "out", name="p", w=Param(0.4, per="synapse")),),
    )
    maml = GradientLearner(plain, rate=0.3)
    support = Part(
        {name: s[:1] for name, s in episode.support.inputs.items()}, *(each[:1] for each in episode.support[1:5])
    )
    online = OnlineGradientLearner(synapse(3, 2), rate=0.3)
    gated = support._replace(inputs={**support.inputs, "gate": torch.ones(1, 5, 1, dtype=F64)})
    found = online.adapt(online.init(torch.Generator(), dtype=F64), gated, task)
    wanted = maml.adapt(maml.init(torch.Generator(), dtype=F64), support, task)
    close(found["p.w"], wanted["p.w"])


@EITHER
@pytest.mark.parametrize("name", ["associative", "modulated", "recurrent"])
def test_the_meta_gradient_is_exact(cls, name, task, episode, shaken, exact):
    modulator = "dopamine" if name == "modulated" else ""
    network = recurrent() if name == "recurrent" else networks.get(name)(3, 2, **_small(name))
    learner = cls(network, rate=0.3, decay=0.1, modulator=modulator)
    params = shaken(learner, size=0.3)
    shown = episode._replace(support=connected(episode.support))
    if name == "recurrent":  # whose synapses act from the second step on
        shown = shown._replace(query=connected(episode.query))
    found = exact(learner, params, task, shown)
    assert found[RATE].abs() > 1e-4
    assert found[DECAY].abs() > 1e-5
    few = [n for n in found if n.startswith("learner.") or ".rule." in n or n.endswith(("alpha", "out.w"))]
    few = [n for n in few if params[n].numel() <= 6]
    few = few if sum(params[n].numel() for n in few) <= 20 else [RATE, DECAY]
    exact(learner, params, task, shown, few)
    sequence = Episode(shown.support)  # answered as it learns
    assert exact(learner, params, task, sequence, few)[RATE].abs() > 1e-4


def _small(name):
    return {"n_hidden": 3} if name == "modulated" else {}


@EITHER
@pytest.mark.parametrize("learn", [(1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 1, 1)])
def test_the_gradient_of_a_step_does_not_reach_back(cls, learn, task, episode, shaken):
    """Compared with a loop in which every step starts from detached values, and with the whole past."""
    network = recurrent()
    learner = cls(network, rate=0.4)
    params = shaken(learner, size=0.3)
    support = connected(episode.support)._replace(learn=torch.tensor(learn, dtype=torch.bool))
    rate, values = softplus(params[RATE]), prepare(network, params)
    label = network.plastic[0].label

    def by_hand(reaches_back: bool):
        state = start(network, params, 5)
        for t, on in enumerate(learn):
            if not reaches_back:
                state = State(*({name: value.detach() for name, value in tree.items()} for tree in state))
            w = state.w[label].requires_grad_()
            now = {name: s[t] for name, s in support.inputs.items() if name in network.inputs}
            step = make_step(network, bool(on) and cls is HybridLearner)
            new, _ = step(values, State(state.x, {label: w}, {}), now, {})
            if on:
                loss = 0.5 * new.x["out.error"].square().sum()
                (slope,) = torch.autograd.grad(loss, w, create_graph=True)
                new = State(new.x, {label: new.w[label] - rate * slope}, {})
            state = new
        return state.w[label].detach()

    wanted = by_hand(False)
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in params.items()}
    close(learner.adapt(leaves, support, task)[f"{label}.w"], wanted)
    with torch.no_grad():
        for own in (params, leaves):
            close(learner.adapt(own, support, task)[f"{label}.w"], wanted)
    if learn[0] == 0:  # the weight is the same tensor as in the step before, through which it acts on the loss too
        assert (by_hand(True) - wanted).abs().max() > 1e-3


@EITHER
def test_every_task_is_alone(cls, task, episode, per_task):
    shown = episode._replace(support=connected(episode.support), query=connected(episode.query))
    per_task(cls(recurrent(), decay=0.1), task, shown)
    per_task(cls(networks.get("modulated")(3, 2, n_hidden=3), modulator="dopamine"), task, shown)
    per_task(cls(recurrent()), task, Episode(shown.support))


@EITHER
def test_sixty_four_episodes_or_one_at_a_time(cls, task, shaken, pick):
    """The inner loss is a sum: an average would divide the step by the size of the batch."""
    learner = cls(recurrent(), rate=0.3, decay=0.05)
    params = shaken(learner, size=0.3)
    episode = task.sample(torch.Generator().manual_seed(0), 64)
    episode = episode._replace(support=connected(episode.support))
    together = learner.run(params, episode.support)
    for i in range(64):
        one = learner.run(params, pick(episode, [i]).support)
        close(one.output, together.output[:, i : i + 1])
        close(one.final.w["hidden__hidden"], together.final.w["hidden__hidden"][i : i + 1])


def test_bounds_hold_at_every_step():
    low, high = -0.25, 0.5
    part, rate = sequence(time=20, n_in=2, n_out=3), 0.8
    rule = replace(HEBB, bounds=("low", "high"), params={**HEBB.params, "low": Param(low), "high": Param(high)})
    for network in (synapse(2, 3, bounds=(low, high)), synapse(2, 3, rule)):
        learner = OnlineGradientLearner(network, rate=rate)
        params = learner.init(torch.Generator(), dtype=F64)
        made = learner.run(params, part)
        w, hits = torch.full((4, 3, 2), 0.4, dtype=F64), 0
        for pre, target in zip(part.inputs["stimulus"], part.target, strict=True):
            error = target - torch.einsum("bij,bj->bi", w, pre)
            free = w + rate * error[:, :, None] * pre[:, None]
            w = free.clamp(low, high)
            hits += int((w != free).sum())
        close(made.final.w["p"], w)
        assert hits > 20
        hybrid = HybridLearner(network, rate=rate).run(params, part).final.w["p"]
        assert low <= hybrid.min()
        assert hybrid.max() <= high


@EITHER
def test_masks_hold(cls):
    network = synapse(4, 3, mask=Random(0.5, 1))
    learner, part = cls(network, rate=0.3), sequence(n_in=4, n_out=3)
    exists = torch.from_numpy(network.plastic[0].synapses(3, 4))
    found = learner.run(learner.init(torch.Generator(), dtype=F64), part).final.w["p"]
    assert 0 < exists.sum() < 12
    assert torch.equal(found[:, ~exists], torch.zeros(4, int((~exists).sum()), dtype=F64))
    assert (found[:, exists] != 0.4).all()
    bounded = cls(synapse(4, 3, mask=Random(0.5, 1), bounds=(0.1, 1.0)), rate=0.3)
    found = bounded.run(bounded.init(torch.Generator(), dtype=F64), part).final.w["p"]
    assert not found[:, ~exists].any()  # a synapse that does not exist does not rise to the lower bound
    assert found[:, exists].min() >= 0.1


def test_a_hybrid_of_almost_no_rate_is_the_rule_alone(task, episode, shaken):
    shown = episode._replace(support=connected(episode.support))
    learner = HybridLearner(recurrent(), rate=1e-300)
    params = shaken(learner, size=0.0)
    wanted = PlasticLearner(recurrent()).adapt(params, shown.support, task)
    found = learner.adapt(params, shown.support, task)
    assert found.keys() == wanted.keys()
    for name in found:
        close(found[name], wanted[name])
    off = OnlineGradientLearner(recurrent(), rate=1e-300).adapt(params, shown.support, task)
    assert (off["hidden__hidden.w"] - wanted["hidden__hidden.w"]).abs().max() > 1e-2


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_a_hybrid_adds_rule_and_gradient_of_the_same_old_weight(decay):
    """``w + eta*pre*post - d*w``, and to it ``-decay*m*w + rate*m*pre*error``, all from the old w."""
    learner = HybridLearner(synapse(2, 3), rate=0.3, decay=decay, modulator="gate")
    part = sequence(n_in=2, n_out=3)
    w = torch.full((4, 3, 2), 0.4, dtype=F64)
    for pre, target, gate in zip(part.inputs["stimulus"], part.target, part.inputs["gate"], strict=True):
        post, m = torch.einsum("bij,bj->bi", w, pre), gate[:, :, None]
        rule = 0.05 * post[:, :, None] * pre[:, None] - 0.1 * w
        w = w + rule - decay * m * w + 0.3 * m * (target - post)[:, :, None] * pre[:, None]
    close(learner.run(learner.init(torch.Generator(), dtype=F64), part).final.w["p"], w)


@EITHER
def test_traces_of_a_rule_run_in_the_hybrid_only(cls, task, episode):
    learner = cls(networks.get("associative")(3, 2, _gated()), rate=0.2)
    fast = learner.adapt(learner.init(torch.Generator(), dtype=F64), episode.support, task)
    assert (fast["head.elig.trace"].abs().max() > 1e-3) == (cls is HybridLearner)


def _gated():
    return PlasticityRule("g", dw="elig", traces={"elig": "pre*post - elig/4"})


@EITHER
def test_queries_are_independent_and_change_nothing(cls, task, episode, shaken):
    learner = cls(recurrent(), rate=0.3)
    params = shaken(learner, size=0.3)
    fast = learner.adapt(params, connected(episode.support), task)
    kept = {name: leaf.clone() for name, leaf in fast.items()}
    answers = learner.predict(params, fast, episode.query)
    pixels = episode.query.inputs["stimulus"].clone()
    pixels[1] += 1.0
    other = episode.query._replace(inputs={**episode.query.inputs, "stimulus": pixels})
    changed = (learner.predict(params, fast, other) - answers).abs().amax((1, 2))
    assert (changed > 1e-3).tolist() == (changed > 1e-12).tolist() == [False, True, False]
    assert all(torch.equal(fast[name], kept[name]) for name in fast)
    plain = PlasticLearner(recurrent())  # learning is off: there is nothing of the learner in an answer
    assert torch.equal(plain.predict(params, fast, episode.query), answers)


def test_a_synapse_that_does_not_act_on_the_objective_keeps_its_weight():
    """Its gradient is 0; only the decay moves it."""
    out = Population("out", 1, {"x": "drive", "error": "target - drive"}, inputs=("drive", "target"))
    network = Network(
        (Population("stimulus", 1), Population("target", 1), Population("aside", 1, "drive"), out),
        (
            Projection("stimulus", "out", name="p", rule=HEBB, w=Param(0.4)),
            Projection("stimulus", "aside", name="q", rule=HEBB, w=Param(0.4)),
            Projection("target", "out", into="target", w=Param(1.0, learned=False)),
        ),
    )
    for decay in (0.0, 0.25):
        learner = OnlineGradientLearner(network, rate=0.3, decay=decay)
        final = learner.run(learner.init(torch.Generator(), dtype=F64), sequence(time=3)).final.w
        close(final["q"], torch.full((4, 1, 1), 0.4 * (1 - decay) ** 3, dtype=F64))
        assert (final["p"] - final["q"]).abs().min() > 1e-3


def test_the_objective_may_be_any_variable():
    """Half the squared activity itself: ``w - rate*post*pre``, an anti-Hebbian rule."""
    learner = OnlineGradientLearner(synapse(), rate=0.3, objective="out.x")
    part, w = sequence(), torch.full((4, 1), 0.4, dtype=F64)
    for pre in part.inputs["stimulus"]:
        w = w - 0.3 * w * pre * pre
    found = learner.run(learner.init(torch.Generator(), dtype=F64), part).final.w["p"]
    close(found.squeeze(-1), w)


@EITHER
def test_groups_are_what_acts(cls):
    network = networks.get("modulated")(3, 2, n_hidden=3)
    groups = cls(network, decay=0.1, modulator="dopamine").groups()
    rules = {name for name in groups if ".rule." in name}
    assert rules == ({f"plastic.rule.{n}" for n in ("eta", "decay", "tau")} if cls is HybridLearner else set())
    assert groups[RATE] == groups[DECAY] == groups["plastic.alpha"] == "rule"
    assert groups["dopamine.gain"] == "modulator"
    assert DECAY not in cls(network).groups()
    params = cls(network, rate=0.3, decay=0.1).init(torch.Generator(), dtype=F64)
    assert float(softplus(params[RATE])) == pytest.approx(0.3, rel=1e-14)
    assert float(params[DECAY].sigmoid()) == pytest.approx(0.1, rel=1e-14)
    name = "hybrid" if cls is HybridLearner else "online_gradient"
    assert learners.get(name) is cls


@EITHER
def test_settings_and_errors(cls, settings, task, episode):
    network, name = synapse(2, 3), cls.__name__
    settings(cls(network, modulator="gate"), rate=0.2)
    allowed = "allowed: out.x, out.error"
    plain = networks.get("mlp")(3, 2, (4,))
    for options, message in (
        ({"rate": 0.0}, rf"{name}: rate 0.0 must be above 0, and decay 0.0 in \[0, 1\)"),
        ({"rate": -1.0}, rf"{name}: rate -1.0 must be above 0"),
        ({"decay": 1.0}, rf"{name}: rate 0.1 must be above 0, and decay 1.0 in \[0, 1\)"),
        ({"decay": -0.1}, "decay -0.1 in"),
        ({"objective": "out.eror"}, f"{name}: objective 'out.eror' does not exist; {allowed}"),
        ({"objective": "out"}, f"{name}: objective 'out.' does not exist; {allowed}"),
        ({"objective": "ot.error"}, r"unknown population 'ot' \(did you mean 'out'\?\)"),
        ({"modulator": "target"}, f"{name}: modulator 'target' must have the size 1"),
        ({"modulator": "gat"}, r"unknown population 'gat' \(did you mean 'gate'\?\)"),
        ({"network": plain}, f"{name}: network 'mlp' has no projection with a rule"),
    ):
        with pytest.raises(SpecificationError, match=message):
            cls(**{"network": network, **options})
    mute = Network(
        (Population("stimulus", 3), Population("out", 2, "drive")), (Projection("stimulus", "out", rule=HEBB),)
    )
    with pytest.raises(SpecificationError, match=f"{name}: objective 'out.error' does not exist; allowed: out.x"):
        cls(mute)
    noisy = Network((mute.populations[0], Population("out", 2, "drive + noise")), mute.projections)
    learner = cls(noisy, objective="out.x")
    with pytest.raises(EngineError, match=f"{name}: network 'network' draws noise; use PlasticLearner"):
        learner.adapt(learner.init(torch.Generator(), dtype=F64), episode.support, task)
    learner = cls(mute, objective="out.x")
    with pytest.raises(EngineError, match=f"{name} keeps no trajectory while it learns; use PlasticLearner"):
        learner.run(learner.init(torch.Generator(), dtype=F64), episode.support, save=Save())


@EITHER
def test_a_part_without_learning_keeps_a_trajectory(cls, episode):
    learner = cls(networks.get("associative")(3, 2))
    params = learner.init(torch.Generator(), dtype=F64)
    made = learner.run(params, episode.query, save=Save(("w.head",)))
    wanted = simulate(learner.network, params, episode.query.inputs, learn=False, reset=True, save=Save(("w.head",)))
    assert torch.equal(made["w.head"], wanted["w.head"])
