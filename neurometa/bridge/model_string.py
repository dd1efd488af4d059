"""A rule as the arguments of Brian2's Synapses, for a network that the user already has."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..brian2_engine.texts import CPP, rename
from ..errors import EngineError
from ..expression import Expression
from ..spec import Network, Projection
from ..spec.rule import is_modulator, split_variable
from .written import FUNCTIONS, SOURCES

__all__ = ["synapses_text"]


def synapses_text(network: Network, projection: Projection, values: Mapping[str, np.ndarray]) -> str:
    """Return model string, on_pre, on_post and namespace of a plastic projection, as Python text.

    Parameters
    ----------
    network : Network
        To which it belongs.
    projection : Projection
        A projection with a rule.
    values : mapping of str to ndarray
        Constrained parameters of the network.

    Returns
    -------
    str
        Lines that end in a call of ``Synapses(source, target, ...)``.

    Raises
    ------
    EngineError
        If there is no rule, or it has what no Synapses object can hold by itself.

    Examples
    --------
    >>> from neurometa import networks, rules
    >>> network = networks.spiking(n_in=3, n_out=2, rule=rules.get("stdp"))
    >>> values = {name: np.full(leaf.shape, 0.5) for name, leaf in network.leaves.items()}
    >>> print(synapses_text(network, network.plastic[0], values).split("namespace")[0])
    # The rule 'stdp' of the projection 'hidden__out': hidden -> out; times in ms, everything else plain numbers
    # w0 differs between synapses: set it after connect()
    model = '''
        w : 1
        w0 : 1 (constant)
        dltp/dt = (-ltp / tau_plus)/ms : 1 (event-driven)
        dltd/dt = (-ltd / tau_minus)/ms : 1 (event-driven)
    '''
    on_pre = '''
        v_post += w0 + alpha * w
        w = w - ltd
        ltp = ltp + a_plus
        w = clip(w, 0.0, 1.0)
    '''
    on_post = '''
        w = w + ltp
        ltd = ltd + a_minus
        w = clip(w, 0.0, 1.0)
    '''
    <BLANKLINE>
    """
    return _Text(network, projection, values).write()


class _Text:
    def __init__(self, network: Network, projection: Projection, values: Mapping[str, np.ndarray]):
        if projection.rule is None:
            raise EngineError(f"projection '{projection.label}' has no rule")
        self.network, self.projection, self.rule, self.values = network, projection, projection.rule, values
        if self.rule.functions:
            raise EngineError(f"rule '{self.rule.name}' has learned functions; export the whole script instead")
        if any(total.over == "both" for total in self.rule.sums.values()):
            raise EngineError(f"rule '{self.rule.name}' has a sum over the projection; export the whole script instead")
        self.model, self.notes = ["w : 1"], list[str]()
        self.numbers: dict[str, float] = {}

    def formula(self, expression: Expression) -> str:
        """Return a text as Brian2 reads it in a synapse."""
        network, projection, rule = self.network, self.projection, self.rule
        sizes = {"n_pre": network[projection.pre].size, "n_post": network[projection.post].size}
        names = {"dt": repr(network.dt), **{name: repr(float(n)) for name, n in sizes.items()}}
        for name in expression.names - set(names):
            if name in ("pre", "post"):
                names[name] = f"x_{name}"
                self.note("x of both groups is the neuron's activity: this step's spike, 0 or 1, or its rate")
            elif name == "w_eff":
                names[name] = f"({self.formula(projection.efficacy_expression)})"
            elif is_modulator(name):
                names[name] = f"{name}_post"
                self.note(f"{name} is a variable of the target group: the neuromodulator that reaches a neuron")
            elif name in rule.sums:
                names[name] = f"{name}_{'post' if rule.sums[name].over == 'pre' else 'pre'}"
            else:
                names[name] = name
                variable = split_variable(name)
                if variable:
                    self.note(
                        f"{name} is '{variable[0]}' of the {'target' if variable[1] == 'post' else 'source'} group"
                    )
        return rename(expression.text, names)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _params(self) -> list[str]:
        """Declare what varies between synapses; the rest becomes a number of the namespace."""
        lines = []
        owned = [(f"{self.projection.label}.{n}", n) for n in self.projection.params]
        owned += [(f"{self.projection.label}.rule.{n}", n) for n in self.rule.params]
        for leaf, name in owned:
            value = np.asarray(self.values[leaf])
            if (value.ndim > 2 and len(value) > 1) or self.network.leaves[leaf].param.per != "scalar":
                lines.append(f"{name} : 1 (constant)")
                self.note(f"{name} differs between synapses: set it after connect()")
            elif self.numbers.setdefault(name, float(value.ravel()[0])) != float(value.ravel()[0]):
                raise EngineError(f"'{name}' is a parameter of projection and rule with two values; export the script")
        return lines

    def _statements(self, label: str) -> list[str]:
        lines = []
        for statement in self.rule.assignments[label]:
            lines.append(f"{statement.target} = {self.formula(statement.expression)}")
        if self.projection.limits is not None and any(s.target == "w" for s in self.rule.assignments[label]):
            lines.append(self._limit())
        return lines

    def _limit(self) -> str:
        low, high = (b if isinstance(b, str) else repr(float(b)) for b in self.projection.limits or ())
        return f"w = clip(w, {low}, {high})"

    def write(self) -> str:
        rule, projection = self.rule, self.projection
        self.model += self._params()
        clocked = False
        for name, trace in rule.trace_expressions.items():
            own = name in rule.exact_traces and trace.names <= {name, *rule.params}
            event = own and not rule.dw and not rule.step and not rule.sums
            clocked |= not event
            kind = "event-driven" if event else "clock-driven"
            self.model.append(f"d{name}/dt = ({self.formula(trace)})/ms : 1 ({kind})")
        self.model += [f"{name} : 1" for name in rule.traces if name not in rule.trace_expressions]
        for name, total in rule.sum_expressions.items():
            side = "post" if rule.sums[name].over == "pre" else "pre"
            self.model.append(f"{name}_{side} = {self.formula(total)} : 1 (summed)")
            self.note(f"declare '{name} : 1' in the {'target' if side == 'post' else 'source'} group")
        after = []
        if rule.dw_expression:
            after = [f"w = w + {self.network.dt!r}*({self.formula(rule.dw_expression)})"]
            self.note("dw is read after the traces, as here: it is the regular operation below, not an equation")
            self.note("joint rules take every right-hand side from the old state") if rule.joint else None
        after += self._statements("step")
        if after and projection.limits is not None and not after[-1].startswith("w = clip"):
            after.append(self._limit())
        on_pre, on_post = self._statements("on_pre"), self._statements("on_post")
        if self.network.delivers(projection):
            on_pre.insert(0, f"{projection.into}_post += {self.formula(projection.efficacy_expression)}")
        else:
            efficacy = self.formula(projection.efficacy_expression)
            self.model.append(f"{projection.into}_post = ({efficacy})*x_pre : 1 (summed)")
            self.note("x of both groups is the neuron's activity: this step's spike, 0 or 1, or its rate")
        return self._joined(on_pre, on_post, after, clocked)

    def _joined(self, on_pre: list[str], on_post: list[str], after: list[str], clocked: bool) -> str:
        rule, projection = self.rule, self.projection

        def block(name: str, lines: list[str]) -> list[str]:
            return [f"{name} = '''", *(f"    {line}" for line in lines), "'''"] if lines else [f'{name} = ""']

        text = "\n".join([*self.model, *on_pre, *on_post, *after])
        used = [name for name in CPP if re.search(rf"\b{name}\(", text)]
        head = (
            f"# The rule '{rule.name}' of the projection '{projection.label}': {projection.pre} -> {projection.post}; "
            "times in ms, everything else plain numbers"
        )
        lines = [head, *(f"# {note}" for note in self.notes)]
        if used:
            table = ", ".join(f'"{name}": brian_{name}' for name in used)
            lines += [FUNCTIONS.format(definitions="\n".join(SOURCES[n] for n in used), table=table).strip(), ""]
        lines += [*block("model", self.model), *block("on_pre", on_pre), *block("on_post", on_post)]
        numbers = ", ".join(f'"{name}": {value!r}' for name, value in self.numbers.items())
        lines.append(f"namespace = {{{numbers}{', **functions' if used else ''}}}")
        given = ", method='euler'" if clocked and not rule.exact_traces else ", method='exact'" if clocked else ""
        lines.append(
            f"synapses = Synapses(source, target, model, on_pre=on_pre, on_post=on_post{given}, namespace=namespace)"
        )
        if after:
            code = "\\n".join(after)
            lines.append(f'synapses.run_regularly("{code}", when="synapses")')
        if rule.on_pre_delay or projection.delay:
            lines.append(f"# delays, ms: {projection.delay!r}, on_pre later by {rule.on_pre_delay:g}")
        return "\n".join(lines)
