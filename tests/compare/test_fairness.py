"""What is not fair is refused, with the reason."""

from dataclasses import replace

import pytest

import neurometa as nm
from neurometa.compare.fairness import check_fair
from neurometa.errors import DataError, SpecificationError

TASK = nm.tasks.Glyphs(n_classes=60, n_held_out=20, n_validation=10, size=8)


def plastic(task, trunk=None):
    n_in = trunk.n_features if trunk else task.n_in
    return nm.PlasticLearner(nm.networks.modulated(n_in, task.n_out, n_hidden=4), trunk)


def fair(task=TASK, trunk=None, other=None):
    return {"rule": (plastic(TASK), TASK), "MAML": (other or plastic(task, trunk), task)}


def test_the_same_is_fair():
    check_fair(fair(), TASK)
    check_fair(fair(replace(TASK, n_query=9)), TASK)  # how much is asked is not what is known


def test_unequal_information():
    with pytest.raises(SpecificationError, match=r"unequal information: 'MAML' .* n_shot 5 \(compared: 1\)"):
        check_fair(fair(replace(TASK, n_shot=5)), TASK)
    with pytest.raises(SpecificationError, match="unequal information: 'MAML' was trained on Sinusoid"):
        check_fair({**fair(), "MAML": (plastic(TASK), nm.tasks.Sinusoid())}, TASK)


def test_overlapping_classes():
    with pytest.raises(
        SpecificationError, match=r"overlapping classes: 'MAML' was trained or selected on 50 % of the classes"
    ):
        check_fair(fair(replace(TASK, n_held_out=10)), TASK)


def test_different_splits():
    with pytest.raises(SpecificationError, match=r"different splits: 'MAML' .* n_validation 20"):
        check_fair(fair(replace(TASK, n_validation=20)), TASK)
    with pytest.raises(SpecificationError, match=r"different splits: 'MAML' .* seed 1"):
        check_fair(fair(replace(TASK, seed=1)), TASK)


def test_different_normalisation():
    trunks = [nm.ConvTrunk(TASK.image_shape, channels=(2,), norm=norm) for norm in ("image", "transductive")]
    arms = {name: (plastic(TASK, trunk), TASK) for name, trunk in zip(("rule", "MAML"), trunks, strict=True)}
    with pytest.raises(SpecificationError, match=r"different normalisation: 'rule' by image, 'MAML' by transductive"):
        check_fair(arms, TASK)


def test_a_task_whose_own_classes_overlap(monkeypatch):
    monkeypatch.setattr(type(TASK), "origins", lambda self, split: self.class_ids("test"))
    with pytest.raises(DataError, match="share"):
        check_fair(fair(), TASK)
