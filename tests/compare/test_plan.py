"""Plans, their sizes, their controls, and what is refused."""

from dataclasses import replace

import pytest
import torch

import neurometa as nm
from neurometa.compare import Arm, Plan, plans
from neurometa.compare.controls import CONTROLS, allocation, retrained
from neurometa.compare.store import Store
from neurometa.compare.training import chosen, drawn_values
from neurometa.errors import RunError, SpecificationError, TrainingError
from neurometa.streams import generator

TASK = nm.tasks.CueReward()


def rule(eta=0.1):
    params = {"eta": nm.Param(eta, "positive"), "decay": nm.Param(0.01)}
    changed = nm.PlasticityRule("mine", dw="eta*m*pre*error_post - decay*w", params=params)
    return nm.PlasticLearner(nm.networks.modulated(TASK.n_in, 1, rule=changed, n_hidden=4, transfer="linear"))


def maml(rate=0.1):
    return nm.GradientLearner(nm.networks.mlp(TASK.n_in, 1, hidden=(4,)), rate=rate, steps=5)


PLAN = Plan(
    name="mine",
    title="Mine",
    question="?",
    task=TASK,
    arms={"rule": Arm(rule, {"lr": (1e-3, 1e-1), "eta": (0.01, 1.0)}), "MAML": Arm(maml, {"lr": (1e-3, 1e-1)})},
    main="rule",
    rival="MAML",
    trials=3,
)


def test_every_plan_has_every_size():
    for name in plans.names():
        plan = plans.get(name)
        assert plan.name == name and len(plan.seeds) >= 5
        assert len(plans.get(name, "smoke").seeds) == 2 and len(plans.get(name, "paper").seeds) == 10
        assert plan.config() == plans.get(name).config() != plans.get(name, "paper").config()
        for arm in (*plan.arms.values(), *retrained(plan).values()):
            arm.make().init(generator(0, "init"))
            arm.make(**{key: low for key, (low, _) in arm.search.items() if key != "lr"})
    with pytest.raises(SpecificationError, match="unknown preset 'large'"):
        plans.get("volatility", "large")


def test_controls_that_fit():
    assert {"prototypes"} == set(CONTROLS) - set(retrained(PLAN))
    assert not retrained(replace(PLAN, without=("all",))) and "random rule" not in retrained(
        replace(PLAN, without=("random rule",))
    )
    controls = {name: arm.make() for name, arm in retrained(PLAN).items()}
    constant = controls["constant modulator"].network
    assert [p.pre for p in constant.projections if p.post == "dopamine"] == ["one"]
    network = controls["textbook Oja"].network
    assert network.plastic[0].rule.dw == nm.rules.get("oja").dw and not network.plastic[0].modulators
    assert isinstance(controls["no plasticity"], nm.learners.NoAdaptationLearner)
    own = {
        name: sum(p.numel() for n, p in c.init(generator(0, "init")).items() if n in c.groups())
        for name, c in controls.items()
    }
    mine = rule()
    count = sum(mine.init(generator(0, "init"))[name].numel() for name in mine.groups())
    assert 0.6 * count < own["GRU, equal parameters"] <= count
    assert controls["GRU, equal state"].n_memory == 4


def test_a_random_rule_is_drawn_for_each_seed_and_not_learned():
    learner = retrained(PLAN)["random rule"].make(eta=0.4)
    first, second = (learner.init(generator(seed, "init")) for seed in (0, 1))
    name = "plastic.rule.eta"
    assert name not in learner.groups() and not torch.equal(first[name], second[name])
    assert 0 < float(torch.nn.functional.softplus(first[name])) < 0.8


def test_allocation_has_every_proper_combination():
    arms = allocation(PLAN)
    assert len(arms) == 6 and arms["learned: w0 + rule"].learn == ("w0", "rule")
    assert all(arm.role == "allocation" for arm in arms.values())


def test_search_is_equal_and_seeded():
    values = {name: drawn_values(PLAN, name, arm) for name, arm in PLAN.arms.items()}
    assert all(len(v) == 3 for v in values.values()) and values["rule"] == drawn_values(PLAN, "rule", PLAN.arms["rule"])
    assert values["rule"][0]["lr"] != values["MAML"][0]["lr"]
    assert all(0.01 <= v["eta"] <= 1 and 1e-3 <= v["lr"] <= 1e-1 for v in values["rule"])
    trials = [{"lr": 1, "score": 0.2}, {"lr": 2, "score": 0.1}, {"lr": 3, "score": None}]
    assert chosen(PLAN, "rule", trials) == {"lr": 2}  # an error: lower is better
    with pytest.raises(TrainingError, match="'rule': none of 1 trials stayed finite"):
        chosen(PLAN, "rule", trials[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"main": "rul"}, "unknown main learner 'rul'.*rule"),
        ({"seeds": (0, 0)}, "give each once"),
        ({"seeds": (0, 1000)}, "which the search uses"),
        ({"iterations": 0}, "iterations is 0"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"arms": {**PLAN.arms, "Rule": PLAN.arms["rule"]}}, "share a folder name"),
    ],
)
def test_refused(change, message):
    with pytest.raises(SpecificationError, match=message):
        replace(PLAN, **change)


def test_refused_arms():
    with pytest.raises(SpecificationError, match=r"search lr is \(0.1, 0.01\)"):
        Arm(rule, {"lr": (0.1, 0.01)})
    with pytest.raises(SpecificationError, match="role"):
        Arm(rule, role="hero")


def test_a_store_computes_once_and_refuses_another_plan(tmp_path):
    store, calls = Store(tmp_path / "a"), []
    store.open({"seeds": [1, 2]})
    value = {"x": [0.1 + 0.2, 1e-300, None]}
    for _ in range(2):
        assert store.get("part", lambda: calls.append(1) or value) == value
    assert len(calls) == 1
    Store(tmp_path / "a").open({"seeds": [1, 2]})
    with pytest.raises(RunError, match=r"holds another comparison: seeds is \[1, 2\] there, \[1\] here"):
        Store(tmp_path / "a").open({"seeds": [1]})
    (tmp_path / "a" / "parts" / "part.json").write_text("{")
    with pytest.raises(RunError, match=r"part\.json is damaged"):
        store.get("part", dict)
    assert Store(None).get("x", lambda: 3) == 3
