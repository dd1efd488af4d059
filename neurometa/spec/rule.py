"""A plasticity rule: the equation as it stands in the paper, with its parameters, traces and sums."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from ..algebra import linear
from ..errors import SpecificationError
from ..expression import FUNCTIONS, Assignment, Expression, parse, parse_assignments
from .base import Description, check_choice, check_name
from .param import Param

__all__ = ["MLP", "PlasticityRule", "Sum", "Trace", "is_modulator", "split_variable"]

_MODULATOR = re.compile(r"m(_[A-Za-z0-9_]+)?\Z")
_BOTH = frozenset({"pre", "post"})
_AXES: Mapping[str, frozenset[str]] = {
    "scalar": frozenset(),
    "pre": frozenset({"pre"}),
    "post": frozenset({"post"}),
    "synapse": _BOTH,
}


def is_modulator(name: str) -> bool:
    """Return whether a text's name is a neuromodulator: ``m`` or ``m_<name>``."""
    return bool(_MODULATOR.match(name))


def split_variable(name: str) -> tuple[str, str] | None:
    """Split ``error_post`` into ``("error", "post")``; None where the name has no such ending."""
    variable, _, side = name.rpartition("_")
    return (variable, side) if variable and side in ("pre", "post") and name not in ("n_pre", "n_post") else None


@dataclass(frozen=True, eq=False)
class Trace(Description):
    """A synaptic trace: its time derivative as text (empty in a ``step`` rule), start value and integration."""

    text: str = ""
    init: float = 0.0
    method: str = "euler"

    def __post_init__(self):
        check_choice(self.method, ("euler", "exact"), "Trace: method")


@dataclass(frozen=True, eq=False)
class Sum(Description):
    """A sum over neurons, evaluated once a step from the old state.

    ``over="post"`` gives one value per presynaptic neuron, ``"pre"`` one per postsynaptic neuron, ``"both"`` one per
    projection.
    """

    text: str
    over: str

    def __post_init__(self):
        check_choice(self.over, ("post", "pre", "both"), "Sum: over")


@dataclass(frozen=True, eq=False)
class MLP(Description):
    """A small network used as an elementwise function of ``inputs`` numbers; its weights are learned."""

    inputs: int
    hidden: tuple[int, ...] = (10,)
    activation: str = "leaky_relu"
    out: str = "tanh"

    def __post_init__(self):
        self._freeze("hidden")
        if not all(isinstance(n, int) and n > 0 for n in (self.inputs, *self.hidden)):
            raise SpecificationError(f"MLP: inputs {self.inputs}, hidden {self.hidden}: whole numbers above 0")
        check_choice(self.activation, ("leaky_relu", "relu", "tanh", "sigmoid"), "MLP: activation")
        check_choice(self.out, ("linear", "leaky_relu", "relu", "tanh", "sigmoid"), "MLP: out")


@dataclass(frozen=True, eq=False)
class PlasticityRule(Description):
    """How the synapses of a projection change: text, read by every engine.

    Attributes
    ----------
    name : str
        Name of the rule.
    dw : str
        Time derivative of ``w``: forward Euler, read after the traces.
    step : str
        Ordered assignments run once a step, for discrete rules; instead of ``dw``.
    traces : mapping of str to str or Trace
        Time derivatives; all advance at once from their old values.
    on_pre, on_post : str
        Ordered assignments at a spike.
    on_pre_delay : float
        Delay of the pre pathway, ms.
    params : mapping of str to Param
        Parameters of the text.
    functions : mapping of str to MLP
        Learned elementwise functions.
    sums : mapping of str to Sum
        Sums over neurons that the text reads.
    bounds : pair, optional
        Limits of ``w``: numbers or parameter names.
    joint : bool
        Take every right-hand side from the old state, ``dw`` too.
    coincidence : {"brian", "ignore", "symmetric"}
        What exactly coincident spikes do.
    reference : str
        Source, with DOI.
    brian2_refuses : str
        Why Brian2 cannot run the rule, if it cannot.

    Raises
    ------
    SpecificationError, ExpressionError
        If a text reads what a rule may not read; the message says what it may.

    Notes
    -----
    A text may read ``pre`` and ``post`` (activity of the two neurons), other variables of the two populations as
    ``error_post`` or ``v_pre``, ``w``, ``w_eff`` (the efficacy that the network used), ``dt`` (ms), ``n_pre``,
    ``n_post``, the rule's own traces, parameters, functions and sums, and neuromodulators as ``m`` or ``m_<name>``.

    Examples
    --------
    >>> rule = PlasticityRule("oja", dw="eta*post*(pre - post*w)", params={"eta": Param(0.01, "positive")})
    >>> rule.locality
    'two-factor'
    """

    name: str
    dw: str = ""
    step: str = ""
    traces: Mapping[str, str | Trace] = field(default_factory=dict)
    on_pre: str = ""
    on_post: str = ""
    on_pre_delay: float = 0.0
    params: Mapping[str, Param] = field(default_factory=dict)
    functions: Mapping[str, MLP] = field(default_factory=dict)
    sums: Mapping[str, Sum] = field(default_factory=dict)
    bounds: tuple[float | str, float | str] | None = None
    joint: bool = False
    coincidence: str = "brian"
    reference: str = ""
    brian2_refuses: str = ""

    def __post_init__(self):
        self._freeze("traces", "params", "functions", "sums")
        where = f"rule '{self.name}'"
        if not re.match(r"[A-Za-z][A-Za-z0-9_]*\Z", str(self.name)):
            raise SpecificationError(f"{where}: the name must be letters, digits and underscores")
        traces = {k: Trace(v) if isinstance(v, str) else v for k, v in self.traces.items()}
        object.__setattr__(self, "traces", MappingProxyType(traces))
        taken: dict[str, str] = {}
        for kind in ("traces", "params", "functions", "sums"):
            for name in getattr(self, kind):
                check_name(name, f"{where}, {kind}", taken)
                if is_modulator(name):
                    raise SpecificationError(f"{where}: '{name}' is the name of a neuromodulator; choose another")
                taken[name] = kind
        for name, param in self.params.items():
            if not isinstance(param, Param) or param.per == "neuron" or param.per_episode:
                raise SpecificationError(
                    f"{where}: parameter '{name}' must be a Param per scalar, post, pre or synapse"
                )
        check_choice(self.coincidence, ("brian", "ignore", "symmetric"), f"{where}: coincidence")
        if bool(self.dw) and bool(self.step):
            raise SpecificationError(f"{where} has both dw and step; a rule has one of them")
        if self.joint and self.step:
            raise SpecificationError(f"{where}: joint is for dw; a step runs line by line")
        if not (self.dw or self.step or self.on_pre or self.on_post):
            raise SpecificationError(f'{where} changes nothing; write dw="eta*pre*post" or a step')
        if self.bounds is not None:
            self._check_bounds(where)
        if not self.on_pre_delay >= 0:
            raise SpecificationError(f"{where}: on_pre_delay is {self.on_pre_delay}; it must be 0 or more (ms)")
        self._check_names(where)
        _ = self.exact_traces

    def _check_bounds(self, where: str) -> None:
        self._freeze("bounds")
        bounds = self.bounds or ()
        named = [b for b in bounds if isinstance(b, str)]
        if len(bounds) != 2 or any(b not in self.params for b in named):
            raise SpecificationError(f"{where}: bounds is {self.bounds}; allowed: two numbers or parameter names")
        if not named and not bounds[0] < bounds[1]:  # type: ignore[operator]
            raise SpecificationError(f"{where}: bounds {self.bounds} must be (low, high) with low < high")

    @property
    def declared(self) -> tuple[str, ...]:
        """Names that every text of the rule may read, besides modulators and further population variables."""
        fixed = ("pre", "post", "w", "w_eff", "m", "dt", "n_pre", "n_post")
        return (*fixed, *self.traces, *self.sums, *self.params)

    def _check_names(self, where: str) -> None:
        for label, expressions, local in self._labelled():
            for expression in expressions:
                hidden = self.sums if label.startswith("sum ") else ()  # sums are taken at once
                readable = [name for name in self.declared if name not in hidden]
                for name in sorted(expression.names - set(local)):
                    if name in readable or is_modulator(name) or split_variable(name):
                        continue
                    allowed = ", ".join((*readable, *self.functions))
                    column = re.search(rf"\b{name}\b", expression.text)
                    place = f' at column {column.start() + 1} of "{expression.text}"' if column else ""
                    raise SpecificationError(
                        f"{where}: {label} reads unknown name '{name}'{place}; a rule may read {allowed}, "
                        "m_<modulator>, <variable>_pre and <variable>_post"
                    )

    def _labelled(self) -> Iterable[tuple[str, tuple[Expression, ...], tuple[str, ...]]]:
        """Every text with its label and the local names that its statements assign."""
        if self.dw_expression:
            yield "dw", (self.dw_expression,), ()
        for name, trace in self.trace_expressions.items():
            yield f"trace {name}", (trace,), ()
        for name, total in self.sum_expressions.items():
            yield f"sum {name}", (total,), ()
        for label in ("step", "on_pre", "on_post"):
            statements = self.assignments[label]
            for i, statement in enumerate(statements):
                if statement.target not in ("w", *self.traces):
                    self._check_local(label, statement.target)
                yield label, (statement.expression,), tuple(a.target for a in statements[:i])

    def _check_local(self, label: str, name: str) -> None:
        where = f"rule '{self.name}': {label} assigns '{name}'"
        if label != "step" or name in self.declared or name in self.functions or is_modulator(name):
            local = " or a new local name" if label == "step" else ""
            raise SpecificationError(f"{where}; allowed: {', '.join(('w', *self.traces))}{local}")
        check_name(name, where)

    @cached_property
    def _functions(self) -> dict[str, int]:
        return {**FUNCTIONS, **{name: mlp.inputs for name, mlp in self.functions.items()}}

    @cached_property
    def dw_expression(self) -> Expression | None:
        """Checked text of ``dw``."""
        return parse(self.dw, f"rule '{self.name}': dw", self._functions) if self.dw else None

    @cached_property
    def trace_expressions(self) -> dict[str, Expression]:
        """Checked text of every trace that has a time derivative."""
        where = f"rule '{self.name}': trace"
        texts = {name: trace.text for name, trace in self.traces.items() if isinstance(trace, Trace)}
        return {name: parse(text, f"{where} {name}", self._functions) for name, text in texts.items() if text}

    @cached_property
    def exact_traces(self) -> dict[str, tuple[Expression | None, Expression]]:
        """Rate and rest of every trace with method "exact": ``d trace/dt = rate*trace + rest``; no rate means 0.

        Raises
        ------
        SpecificationError, ExpressionError
            If a trace is not linear in itself, its rate reads something else than parameters, or its rest another
            trace or ``w``.
        """
        found: dict[str, tuple[Expression | None, Expression]] = {}
        for name, expression in self.trace_expressions.items():
            if self.traces[name].method != "exact":  # type: ignore[union-attr]
                continue
            where = f"rule '{self.name}': trace {name}"
            factors, rest = linear(expression, [name], where, self._functions)
            rate = factors.get(name)
            moving = rest.names & {*self.traces, "w", "w_eff"}
            if rate is not None:
                moving |= rate.names - {*self.params, "dt", "n_pre", "n_post"}
            if moving:
                raise SpecificationError(
                    f"{where} reads '{min(moving)}', which moves within a step; with method 'exact' its rate reads "
                    "parameters only, and the rest no trace and not w; use method 'euler'"
                )
            found[name] = (rate, rest)
        return found

    @property
    def has_events(self) -> bool:
        """Whether spikes change it: it has ``on_pre`` or ``on_post``."""
        return bool(self.on_pre or self.on_post)

    @cached_property
    def sum_expressions(self) -> dict[str, Expression]:
        """Checked text of every sum."""
        where = f"rule '{self.name}': sum"
        return {name: parse(total.text, f"{where} {name}", self._functions) for name, total in self.sums.items()}

    @cached_property
    def assignments(self) -> dict[str, tuple[Assignment, ...]]:
        """Checked statements of ``step``, ``on_pre`` and ``on_post``."""
        texts = {"step": self.step, "on_pre": self.on_pre, "on_post": self.on_post}
        return {k: parse_assignments(v, f"rule '{self.name}': {k}", self._functions) for k, v in texts.items()}

    @cached_property
    def reads(self) -> frozenset[str]:
        """Every name that some text of the rule reads, local names of a step excepted."""
        found: set[str] = set()
        for _, expressions, local in self._labelled():
            for expression in expressions:
                found |= expression.names - set(local)
        return frozenset(found)

    @property
    def modulators(self) -> tuple[str, ...]:
        """Neuromodulators that the rule reads, as named in its text."""
        return tuple(sorted(filter(is_modulator, self.reads)))

    @property
    def variables(self) -> tuple[str, ...]:
        """Further population variables that it reads, such as ``error_post``."""
        return tuple(sorted(filter(split_variable, self.reads)))

    @cached_property
    def trace_axes(self) -> dict[str, frozenset[str]]:
        """Over which neurons each trace varies: a set of ``"pre"`` and ``"post"``."""
        statements = [a for label in ("step", "on_pre", "on_post") for a in self.assignments[label]]
        sources: dict[str, set[str]] = {name: set() for name in self.traces}
        for name, expression in self.trace_expressions.items():
            sources[name] |= expression.names
        for statement in statements:
            if statement.target != "w":
                sources.setdefault(statement.target, set()).update(statement.expression.names)
        events = [(a.target, side) for side in ("pre", "post") for a in self.assignments[f"on_{side}"]]
        axes = {name: frozenset(side for target, side in events if target == name) for name in sources}
        for _ in sources:  # a trace may read another one: repeat until nothing grows
            axes = self._grown(axes, sources)
        axes |= {name: _BOTH for name in self.traces if not axes[name]}
        for _ in sources:  # and those that read one without axes of its own
            axes = self._grown(axes, sources)
        return {name: axes[name] for name in self.traces}

    def _grown(self, axes: Mapping[str, frozenset[str]], sources: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
        return {k: axes[k].union(*(self._axes(n, axes) for n in names)) for k, names in sources.items()}

    def _axes(self, name: str, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
        if name in known:
            return known[name]
        if name in self.params:
            return _AXES[self.params[name].per]
        if name in self.sums:
            return {"post": _AXES["pre"], "pre": _AXES["post"], "both": _AXES["scalar"]}[self.sums[name].over]
        if name in ("w", "w_eff"):
            return _BOTH
        if is_modulator(name):
            return _AXES["post"]
        return _AXES[(split_variable(name) or ("", name))[1]] if name in _BOTH or split_variable(name) else frozenset()

    @property
    def locality(self) -> str:
        """The rule's class: which signals besides the two neurons a synapse has to know."""
        if any(variable.startswith("error") for variable in self.variables):
            kind = "three-factor, per-neuron error"
        else:
            kind = "three-factor, neuromodulator" if self.modulators else "two-factor"
        return f"normalising (reads a sum), {kind}" if self.sums else kind
