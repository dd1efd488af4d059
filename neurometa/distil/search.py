"""From what a rule did to a short equation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from ..analysis.learned import rule_leaves
from ..analysis.sparse import Selection, Term, design, monomials, separable, stability_selection, term_text
from ..errors import SpecificationError, unknown
from ..learners import PlasticLearner
from ..meta.run import Run
from ..record import Recording
from ..spec import Param, PlasticityRule, Projection
from ..streams import generator
from ..torch_engine import constrain
from ..tree import Tree
from .samples import Samples, samples_of_recording, samples_of_run, thinned

__all__ = ["Distilled", "distil"]


@dataclass(frozen=True, eq=False)
class Distilled:
    """A short equation for a rule.

    Attributes
    ----------
    rule : PlasticityRule
        The equation as a rule: coefficients are its parameters.
    projection : str
        Where it was found.
    names : tuple of str
        Variables of the terms.
    terms : list of tuple of int
        Exponents of every term that was tried.
    selection : Selection
        Probabilities, coefficients and intervals.
    told : dict of str to list of str
        Terms that the data cannot separate from others -> these others.
    r2, r2_test : float
        Share of the variance of dw that is explained: where it was fitted, and on other episodes (nan if there are
        none).
    """

    rule: PlasticityRule
    projection: str
    names: tuple[str, ...]
    terms: list[Term]
    selection: Selection
    told: Mapping[str, list[str]] = field(default_factory=dict)
    r2: float = float("nan")
    r2_test: float = float("nan")

    def rows(self) -> list[tuple[str, float, float, float, float]]:
        """Return term, coefficient, ends of its interval and inclusion probability of what was chosen."""
        s = self.selection
        columns = (s.coefficients, s.low, s.high, s.probability)
        return [
            (term_text(self.terms[k], self.names), *(float(column[k]) for column in columns))  # type: ignore[misc]
            for k in s.chosen
        ]

    @property
    def equation(self) -> str:
        """The equation with its numbers, as ``--rule`` takes it."""
        return "dw = " + _sum([(f"{c:.4g}", text) for text, c, *_ in self.rows()])

    def learner(self, learner: PlasticLearner) -> PlasticLearner:
        """Return a learner whose projection follows this rule instead of its own."""
        projections = (
            replace(p, rule=self.rule, modulators={m: p.modulators[m] for m in self.rule.modulators})
            if p.label == self.projection
            else p
            for p in learner.network.projections
        )
        return replace(learner, network=replace(learner.network, projections=tuple(projections)))

    def params(self, learner: PlasticLearner, params: Mapping[str, Tensor]) -> Tree:
        """Return parameters for `learner`: those of the run, and this rule's own."""
        made = self.learner(learner)
        leaf = next(iter(params.values()))
        fresh = made.init(generator(0, "distilled"), device=leaf.device, dtype=leaf.dtype)
        own = f"{self.projection}.rule."
        return {name: value if name.startswith(own) else params[name] for name, value in fresh.items()}


def _sum(parts: Iterable[tuple[str, str]]) -> str:
    """Return the sum of coefficients times terms as text."""
    products = (coefficient if term == "1" else f"{coefficient}*{term}" for coefficient, term in parts)
    return " + ".join(products).replace("+ -", "- ") or "0.0"


def distil(
    source: Run | Recording,
    projection: str | None = None,
    *,
    variables: tuple[str, ...] = (),
    power: int = 2,
    degree: int | None = None,
    threshold: float = 0.05,
    limit: float = 0.8,
    subsamples: int = 100,
    n_episodes: int = 32,
    seed: int = 0,
) -> Distilled:
    """Find a short equation for what a rule does.

    Parameters
    ----------
    source : Run or Recording
        A trained run, of which training episodes are run (and validation episodes to see how well the equation holds
        elsewhere), or a recording with every step of what the rule reads.
    projection : str, optional
        Plastic projection; may be left out if there is one.
    variables : tuple of str
        Of the terms; default: ``pre``, ``post``, ``w``, and the modulators, traces and further variables that the rule
        reads.
    power : int
        Highest power of ``pre``, ``post`` and ``w``; everything else has the powers 0 and 1.
    degree : int, optional
        Highest sum of powers; default: 3 times ``power`` if there are no further variables, else 4.
    threshold, limit, subsamples
        See `stability_selection`.
    n_episodes : int
        Of a run.
    seed : int
        Of episodes, samples and halves.

    Returns
    -------
    Distilled
        With the equation as a `PlasticityRule`.

    Raises
    ------
    SpecificationError
        If there is nothing to distil, a variable is not kept, or the samples never change.
    """
    test: Samples | None = None
    if isinstance(source, Recording):
        chosen, samples = samples_of_recording(source, projection)
    else:
        chosen, samples = samples_of_run(source, projection, n_episodes, seed, "train")
        test = samples_of_run(source, chosen.label, n_episodes, seed, "validation")[1]
    samples = thinned(samples, seed)
    if not len(samples.dw):
        raise SpecificationError(
            f"no step of '{chosen.label}' can be used: the rule is off, activity was reset just before, or weights are "
            "at their bounds or no numbers"
        )
    if not np.any(samples.dw):
        raise SpecificationError(f"the weights of '{chosen.label}' never change; there is nothing to distil")
    for name in variables:
        if name not in samples.values:
            raise SpecificationError(unknown("variable", name, samples.values))
    names = variables or tuple(samples.values)
    powers = {name: power if name in ("pre", "post", "w") else 1 for name in names}
    plain = all(name in ("pre", "post", "w") for name in names)
    terms = monomials(powers, degree or (3 * power if plain else 4))
    values = {name: samples.values[name] for name in names}
    x = design(values, terms)
    kept, told = separable(x)
    part = stability_selection(
        x[:, kept], samples.dw, samples.blocks, threshold=threshold, limit=limit, subsamples=subsamples, seed=seed
    )
    selection = _spread(part, kept, len(terms))
    texts = [term_text(term, names) for term in terms]
    read = {name for k in selection.chosen for name, exponent in zip(names, terms[k], strict=True) if exponent}
    rule = _rule(chosen, texts, read, selection, source)

    def r2(of: Samples) -> float:
        y = design({name: of.values[name] for name in names}, [terms[k] for k in selection.chosen])
        rest = of.dw - y @ selection.coefficients[list(selection.chosen)]
        return float(1 - (rest**2).sum() / ((of.dw - of.dw.mean()) ** 2).sum())

    unclear = {texts[k]: [texts[j] for j in others] for k, others in told.items()}
    return Distilled(
        rule, chosen.label, names, terms, selection, unclear, r2(samples), r2(test) if test else float("nan")
    )


def _spread(part: Selection, kept: list[int], n: int) -> Selection:
    """Return a selection among some terms as one among all."""

    def wide(values: np.ndarray) -> np.ndarray:
        full = np.zeros(n)
        full[kept] = values
        return full

    arrays = (wide(v) for v in (part.coefficients, part.low, part.high))
    return Selection(wide(part.probability), tuple(kept[k] for k in part.chosen), *arrays)


def _rule(
    projection: Projection, texts: list[str], read: set[str], selection: Selection, source: Run | Recording
) -> PlasticityRule:
    """Return the equation as a rule, with traces and bounds of the one that it stands for at their learned values.

    ``read`` are the variables of the chosen terms.
    """
    old = projection.rule
    assert old is not None
    known = _values(source, projection)
    dw = _sum((f"c_{k}", texts[k]) for k in selection.chosen)
    params = {f"c_{k}": Param(float(selection.coefficients[k])) for k in selection.chosen}
    traces = dict(old.traces)
    text: dict[str, Any] = {"dw": dw}
    if old.step:
        targets = [a.target for a in old.assignments["step"]]
        others = [a for a in old.assignments["step"] if a.target != "w"]
        lines = [f"{a.target} = {a.expression.text}" for a in others]
        text = {"step": "\n".join([*lines[: targets.index("w")], f"w = w + {dw}", *lines[targets.index("w") :]])}
        words = {n for a in others for n in a.expression.names}
    else:
        needed = read & {*traces}
        while more := {n for name in needed for n in old.trace_expressions[name].names if n in traces} - needed:
            needed |= more  # traces of traces
        traces = {name: trace for name, trace in traces.items() if name in needed}
        words = {n for name in needed for n in old.trace_expressions[name].names}
    params |= {n: replace(p, init=known[n], per="scalar") for n, p in old.params.items() if n in words}
    bounds = old.bounds and tuple(known[b] if isinstance(b, str) else float(b) for b in old.bounds)
    return PlasticityRule(
        name=f"distilled_{old.name}",
        **text,
        traces=traces,
        params=params,
        bounds=bounds,  # type: ignore[arg-type]
        reference=f"distilled from {old.name}",
    )


def _values(source: Run | Recording, projection: Projection) -> dict[str, float]:
    """Return the learned value of every parameter of a projection's rule."""
    if isinstance(source, Run):
        values: Mapping[str, Tensor] = source.values()
    else:
        assert source.network is not None
        values = constrain(source.network, source.params())
    return {name: float(v.mean()) for name, v in rule_leaves(values, projection.label).items()}
