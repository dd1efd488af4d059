"""A rule as text: everything that its description says, section by section."""

from __future__ import annotations

from itertools import groupby

from ..analysis.latex import equations
from ..spec import Param, PlasticityRule, Trace

__all__ = ["card"]

_PER = {"post": "per presynaptic neuron", "pre": "per postsynaptic neuron", "both": "per projection"}


def card(rule: PlasticityRule) -> str:
    """Return a rule as text: equations, LaTeX, class, parameters, traces, sums, functions, bounds, reference."""
    texts, formulas = zip(*equations(rule), strict=True)
    alike = [(text, list(names)) for text, names in groupby(rule.params, lambda name: _parameter(rule.params[name]))]
    parameters = [f"{name} = {text}" for text, names in alike for name in _shortened(names)]
    traces = [f"{name}: {_trace(rule, name)}" for name in rule.traces]
    sums = [f"{name}: over {total.over}, one value {_PER[total.over]}" for name, total in rule.sums.items()]
    functions = [
        f"{name}: {mlp.inputs} inputs, hidden {', '.join(map(str, mlp.hidden))} ({mlp.activation}), out {mlp.out}"
        for name, mlp in rule.functions.items()
    ]
    bounds = "none" if rule.bounds is None else f"{rule.bounds[0]} to {rule.bounds[1]}"
    lines = [rule.name, *_section("equations", texts), *_section("LaTeX", formulas), "", f"class: {rule.locality}"]
    lines += [*_section("parameters", parameters), *_section("traces", traces), *_section("sums", sums)]
    lines += _section("functions", functions) if functions else []
    return "\n".join([*lines, "", f"bounds: {bounds}", f"reference: {rule.reference or 'none'}"])


def _section(title: str, lines: tuple[str, ...] | list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else ["", f"{title}: none"]


def _shortened(names: list[str]) -> list[str]:
    """Return the names, or of many that are alike the first and the last."""
    return names if len(names) <= 9 else [f"{names[0]}, {names[1]}, ..., {names[-1]} ({len(names)} parameters)"]


def _parameter(param: Param) -> str:
    limit = "" if param.minimum is None else f", at least {param.minimum}"
    fixed = "" if param.learned else ", not learned"
    return f"{param.init}{' ' + param.unit if param.unit else ''} ({param.constraint}, per {param.per}{limit}{fixed})"


def _trace(rule: PlasticityRule, name: str) -> str:
    trace, axes = rule.traces[name], rule.trace_axes[name]
    size = {0: "one for all", 1: f"per {min(axes, default='')} neuron", 2: "per synapse"}[len(axes)]
    return f"{size}, starts at {trace.init}, {trace.method}" if isinstance(trace, Trace) else size
