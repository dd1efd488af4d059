"""Retrained controls: the main learner without one of its parts, and what does the same without synapses that change.

Each is worked out from the plan; one that does not fit (no modulator, no query part, no classes) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from itertools import combinations
from typing import Any

from ..errors import NeurometaError
from ..learners import GradientLearner, PlasticLearner
from ..learners.base import GROUPS, Learner
from ..learners.fine_tune import FineTuneLearner
from ..learners.no_adaptation import NoAdaptationLearner
from ..learners.prototype import PrototypeLearner
from ..learners.recurrent import RecurrentLearner, n_hidden_for
from ..perturb import computed_modulators
from ..rules.delta import delta
from ..rules.hebb import hebb
from ..rules.oja import oja
from ..spec import Network, Param, PlasticityRule, Projection, Uniform
from ..spec.surgery import held_constant
from ..streams import generator
from ..tree import Tree
from .plan import Arm, Plan

__all__ = ["CONTROLS", "allocation", "retrained"]

#: Largest recurrent network that is made to have as much state as the main learner has in synapses.
LARGEST = 256
#: Where the rate of a textbook rule starts.
RATES = (0.0005, 0.5)
TEXTBOOK = {"Hebb": hebb, "Oja": oja, "delta rule": delta}


def retrained(plan: Plan) -> dict[str, Arm]:
    """Return the controls that fit a plan, by name.

    Every control is trained and searched with the budget of the main learner; it keeps the range in which the main
    learner's ``lr`` is searched.

    Parameters
    ----------
    plan : Plan
        Its main learner, at its own settings, is what the controls are made from.
    """
    found: dict[str, Arm] = {}
    for name, make in CONTROLS.items():
        if name in plan.arms or name in plan.without or "all" in plan.without:
            continue
        try:
            arm = make(plan)
            if arm is not None:
                arm.make().init(generator(0, "init"))
        except NeurometaError:  # the part that it changes does not exist here, or the rule does not fit the network
            continue
        if arm is not None and not any(arm.make() == other.make() for other in (*plan.arms.values(), *found.values())):
            found[name] = arm
    return found


def allocation(plan: Plan) -> dict[str, Arm]:
    """Return the main learner with every combination of its learned groups; what is not learned stays as drawn."""
    main = plan.arms[plan.main]
    groups = [g for g in GROUPS if g in {*main.make().groups().values()} and g in main.learn]
    chosen = [each for n in range(1, len(groups)) for each in combinations(groups, n)]
    return {f"learned: {' + '.join(each)}": replace(main, learn=each, role="allocation") for each in chosen}


def _main(plan: Plan) -> PlasticLearner:
    learner = plan.arms[plan.main].make()
    if not isinstance(learner, PlasticLearner):
        raise NeurometaError(f"{plan.main} is no PlasticLearner")
    return learner


def _arm(plan: Plan, make: Callable[..., Learner], **changes: Any) -> Arm:
    main = plan.arms[plan.main]
    search = {name: value for name, value in main.search.items() if name == "lr"}
    return replace(main, make=make, search={**search, **changes.pop("search", {})}, role="control", **changes)


def _no_plasticity(plan: Plan) -> Arm:
    learner = _main(plan)
    return _arm(plan, lambda: NoAdaptationLearner(learner.network, learner.trunk))


def _changed(plan: Plan, change: Callable[[Projection], Projection], **changes: Any) -> Arm:
    """Return the main learner, searched like it, with every plastic projection changed."""

    def make(**values: Any) -> Learner:
        learner = plan.arms[plan.main].make(**values)
        return replace(learner, network=_each(learner.network, change))  # type: ignore[attr-defined,type-var]

    return replace(_arm(plan, make, **changes), search=plan.arms[plan.main].search)


def _each(network: Network, change: Callable[[Projection], Projection]) -> Network:
    projections = tuple(change(p) if p.rule is not None else p for p in network.projections)
    return replace(network, projections=projections)


def _random_rule(plan: Plan) -> Arm | None:
    """Everything is learned but the rule, whose coefficients are drawn for each seed and stay."""
    if not any(p.rule is not None and p.rule.params for p in _main(plan).network.plastic):
        return None

    def drawn(p: Projection) -> Projection:
        assert p.rule is not None
        return replace(p, rule=replace(p.rule, params={n: _uniform(v) for n, v in p.rule.params.items()}))

    return _changed(plan, drawn)


def _uniform(param: Param) -> Param:
    """Return a parameter drawn between 0 and twice its start (or its lower limit, and 1 for a fraction)."""
    if not isinstance(param.init, int | float):
        return replace(param, learned=False)
    low, high = sorted((param.minimum or 0.0, 2.0 * param.init))
    high = min(high, 1.0) if param.constraint == "fraction" else high
    start = Uniform(low, high) if high > low else param.init
    return replace(param, init=start, learned=False)


def _textbook(rule: PlasticityRule) -> Callable[[Plan], Arm | None]:
    """Everything is learned, but the rule is that of a textbook, with one rate for all synapses, tuned and learned."""

    def make(plan: Plan) -> Arm | None:
        own = [p.rule for p in _main(plan).network.plastic if p.rule is not None]
        if all(each.dw == rule.dw and all(v.per == "scalar" for v in each.params.values()) for each in own):
            return None  # the main learner is this control

        def learner(rate: float = 0.01) -> Learner:
            tuned = replace(rule, params={**rule.params, "eta": replace(rule.params["eta"], init=rate)})

            def put(p: Projection) -> Projection:
                read = p.efficacy_expression.names
                scaling = {name: value for name, value in p.modulators.items() if name in read}
                return replace(p, rule=tuned, modulators=scaling, bounds=None)

            main = _main(plan)
            return replace(main, network=_each(main.network, put))

        return _arm(plan, learner, search={"rate": RATES})

    return make


def _constant_modulator(plan: Plan) -> Arm | None:
    """Everything is learned, but every modulator of plasticity is one learned number."""
    if not computed_modulators(_main(plan).network):
        return None

    def make(**values: Any) -> Learner:
        learner = plan.arms[plan.main].make(**values)
        network = learner.network  # type: ignore[attr-defined]
        for name in computed_modulators(network):
            network = held_constant(network, name)
        return replace(learner, network=network)  # type: ignore[type-var]

    return replace(_arm(plan, make), search=plan.arms[plan.main].search)


def _fine_tune(plan: Plan) -> Arm | None:
    """Pre-train on all tasks, then fine-tune on each support set: the first gradient learner, trained without it."""
    arm = next((arm for arm in plan.arms.values() if isinstance(arm.make(), GradientLearner)), None)
    if arm is None:
        return None
    learner = arm.make()
    shared = {f.name: getattr(learner, f.name) for f in fields(FineTuneLearner)}
    found = _arm(plan, lambda **values: FineTuneLearner(**{**shared, **values}), outer=arm.outer)
    return replace(found, search={k: v for k, v in arm.search.items() if k in ("lr", "rate")})


def _recurrent(cell: str, equal: str) -> Callable[[Plan], Arm | None]:
    """Return what remembers in its activity: with as many parameters, or with as much state, as the main learner."""

    def make(plan: Plan) -> Arm | None:
        learner = _main(plan)
        n_in, n_out = (learner.trunk.n_features if learner.trunk else plan.task.n_in), plan.task.n_out
        if equal == "parameters":
            size = n_hidden_for(max(_count(learner), 1), n_in, n_out, cell)
        else:
            state = sum(learner.network[p.post].size * learner.network[p.pre].size for p in learner.network.plastic)
            size = state // (2 if cell == "lstm" else 1)
        if not 1 <= size <= LARGEST:
            return None
        return _arm(plan, lambda: RecurrentLearner(n_in, n_out, size, cell, learner.trunk))

    return make


def _count(learner: PlasticLearner) -> int:
    """Return the learned numbers of a learner, its trunk not counted."""
    params: Tree = learner.init(generator(0, "init"))
    return sum(params[name].numel() for name in learner.groups() if not name.startswith("trunk."))


def _prototypes(plan: Plan) -> Arm | None:
    """Learn features, and name a query after the nearest mean: nothing changes in an episode."""
    if plan.task.score_name != "accuracy":
        return None
    networks = [learner.network for arm in plan.arms.values() if isinstance(learner := arm.make(), GradientLearner)]
    learner = _main(plan)
    network = next((n for n in networks if isinstance(n, Network)), learner.network)
    answer = network.output.partition(".")[0]
    last = next((p.pre for p in network.projections if p.post == answer and p.pre not in network.inputs), "")
    features = "" if last in ("", "one") else last
    make: Callable[..., Learner] = lambda **v: PrototypeLearner(network, learner.trunk, features, **v)  # noqa: E731
    return _arm(plan, make, search={"scale": (0.1, 10.0)})


#: Name -> what makes it of a plan; None (or an error of this package) where it does not fit.
CONTROLS: Mapping[str, Callable[[Plan], Arm | None]] = {
    "no plasticity": _no_plasticity,
    "random rule": _random_rule,
    **{f"textbook {name}": _textbook(rule) for name, rule in TEXTBOOK.items()},
    "constant modulator": _constant_modulator,
    "pre-train, fine-tune": _fine_tune,
    "GRU, equal parameters": _recurrent("gru", "parameters"),
    "LSTM, equal parameters": _recurrent("lstm", "parameters"),
    "GRU, equal state": _recurrent("gru", "state"),
    "prototypes": _prototypes,
}
