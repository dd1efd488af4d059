"""The plasticity of one projection: sums, traces, then ``dw`` or ``step``, then bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import EngineError
from ..expression import Expression
from ..spec import MLP, Network, PlasticityRule, Projection
from ..spec.rule import is_modulator, split_variable
from ..trajectory import State
from ..tree import Tree
from .ops import TORCH, maximum, minimum

__all__ = ["Formula", "Update", "make_limit", "make_update"]

#: ``update(values, pre, efficacy, x, currents, state) -> (w, traces)``
Update = Callable[[Tree, Tensor, Tensor, Tree, Tree, State], tuple[Tensor, Tree]]
_ACTIVATIONS = {
    "linear": lambda x: x,
    "leaky_relu": F.leaky_relu,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class Formula:
    """One compiled text of a rule: where the names that it reads are found, and its learned functions."""

    def __init__(
        self, expression: Expression, rule: PlasticityRule, projection: Projection, constants: dict[str, float]
    ):
        label = projection.label
        used = [name for name in rule.functions if name in expression.calls]
        names = sorted(expression.names - set(constants))
        # A learned function is one more argument of the compiled text: its weights are known only at run time.
        self.function = expression.function([*names, *(f"_{name}" for name in used)], TORCH, constants)
        self.mlps = [_mlp(rule.functions[name], f"{label}.rule.{name}") for name in used]
        self.reads = [_place(name, rule, projection) for name in names]

    def __call__(self, local: Tree, values: Tree, x: Tree, currents: Tree) -> Tensor | float:
        """Return the value where names are found in ``local``, parameters, activity and input currents."""
        arguments = []
        for kind, key in self.reads:
            if kind == "local":
                arguments.append(local[key])
            elif kind == "value":
                arguments.append(values[key])
            else:
                found = currents[key] if key in currents else x[key]
                arguments.append(found.unsqueeze(-2 if kind == "pre" else -1))
        return self.function(*arguments, *[_bind(mlp, values) for mlp in self.mlps])


def _place(name: str, rule: PlasticityRule, projection: Projection) -> tuple[str, str]:
    """Return where a name is found: ``(kind, key)``."""
    if is_modulator(name):
        return "post", f"{projection.modulators[name]}.x"  # (batch, post | 1, 1)
    if name in rule.params:
        return "value", f"{projection.label}.rule.{name}"
    variable = split_variable(name)
    if variable:
        side = variable[1]
        return side, f"{projection.pre if side == 'pre' else projection.post}.{variable[0]}"
    return "local", name


def _bind(mlp: Callable[..., Tensor], values: Tree) -> Callable[..., Tensor]:
    return lambda *arguments: mlp(values, *arguments)


def _tensor(value: Tensor | float, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_full((1, 1), value)


def _times(dt: float, value: Tensor | float) -> Tensor | float:
    return value if dt == 1 else dt * value


def _decay(values: Tree, key: str, old: Tensor, rest: Tensor | float) -> Tensor:
    """Return a trace one step later, exactly."""
    value = values[key % "E"] * old
    return value if isinstance(rest, float) and rest == 0.0 else value + values[key % "F"] * rest


def _mlp(spec: MLP, stem: str) -> Callable[..., Tensor]:
    layers = [_ACTIVATIONS[spec.activation]] * len(spec.hidden) + [_ACTIVATIONS[spec.out]]

    def function(values: Tree, *arguments: Tensor | float) -> Tensor:
        like = values[f"{stem}.0.w"]
        tensors = [a if isinstance(a, Tensor) else like.new_full((), a) for a in arguments]
        tensors = [a if a.ndim == 3 else a.expand(1, *(a.shape or (1, 1))) for a in tensors]
        x = torch.stack(torch.broadcast_tensors(*tensors), -1)  # (batch, post, pre, inputs)
        for i, activation in enumerate(layers):
            weight, bias = values[f"{stem}.{i}.w"], values[f"{stem}.{i}.b"]
            if weight.ndim == bias.ndim + 1 == 2:
                x = F.linear(x, weight, bias)
            else:  # one function per batch entry
                x = torch.einsum("bpqi,boi->bpqo" if weight.ndim == 3 else "bpqi,oi->bpqo", x, weight)
                x = x + (bias[:, None, None, :] if bias.ndim == 2 else bias)
            x = activation(x)
        return x.squeeze(-1)

    return function


def make_limit(projection: Projection) -> Callable[[Tree, Tensor], Tensor]:
    """Build ``limit(values, w) -> w``: the bounds of a projection, and 0 where it has no synapse."""
    label, limits = projection.label, projection.limits
    low, high = (
        (None, None) if limits is None else (f"{label}.rule.{b}" if isinstance(b, str) else float(b) for b in limits)
    )
    mask_key = f"{label}.mask"

    def limit(values: Tree, w: Any) -> Tensor:
        if low is not None and high is not None:
            w = maximum(w, values[low] if isinstance(low, str) else low)
            w = minimum(w, values[high] if isinstance(high, str) else high)
        mask = values.get(mask_key)
        return w if mask is None else w * mask

    return limit


def make_update(network: Network, projection: Projection) -> Update:
    """Build the plastic update of one projection.

    Parameters
    ----------
    network : Network
        The whole network (sizes, ``dt``).
    projection : Projection
        A projection with a rule.

    Returns
    -------
    callable
        ``update(values, pre, efficacy, x, currents, state) -> (w, traces)``; ``pre`` is the activity that the
        projection carried in this step, ``x`` the new activity, ``state`` the old state.
    """
    rule, label = projection.rule, projection.label
    if rule is None:
        raise EngineError(f"projection '{label}' has no rule")
    post_size, pre_size = network[projection.post].size, network[projection.pre].size
    dt = network.dt
    constants = {"dt": dt, "n_pre": float(pre_size), "n_post": float(post_size)}
    shared = (rule, projection, constants)
    exact = {name: rate is not None for name, (rate, _) in rule.exact_traces.items()}
    rests = {name: rest for name, (_, rest) in rule.exact_traces.items()}
    advancing = [(name, Formula(rests.get(name, e), *shared)) for name, e in rule.trace_expressions.items()]
    dw = Formula(rule.dw_expression, *shared) if rule.dw_expression else None
    steps = [(a.target, Formula(a.expression, *shared)) for a in rule.assignments["step"]]
    assigned = [name for name in rule.traces if name in {target for target, _ in steps}]
    shapes = {
        name: (post_size if "post" in axes else 1, pre_size if "pre" in axes else 1)
        for name, axes in projection.trace_axes.items()
    }
    limit = make_limit(projection)
    axes = {"post": (-2,), "pre": (-1,), "both": (-2, -1)}
    totals = [(name, axes[rule.sums[name].over], Formula(e, *shared)) for name, e in rule.sum_expressions.items()]
    post_key, mask_key, joint, traces = f"{projection.post}.x", f"{label}.mask", rule.joint, list(rule.traces)

    def update(
        values: Tree, pre: Tensor, efficacy: Tensor, x: Tree, currents: Tree, state: State
    ) -> tuple[Tensor, Tree]:
        w = state.w[label]
        mask = values.get(mask_key)
        local: Tree = {"w": w, "w_eff": efficacy, "post": x[post_key].unsqueeze(-1)}
        local["pre"] = pre if pre.ndim == 3 else pre.unsqueeze(-2)  # (batch, 1, pre), or a delay for every synapse
        for name in traces:
            local[name] = state.traces[f"{label}.{name}"]
        sums = {}
        for name, over, formula in totals:
            terms = _tensor(formula(local, values, x, currents), w).expand_as(w)
            sums[name] = (terms if mask is None else terms * mask).sum(over, keepdim=True)
        local.update(sums)
        new = {}
        for name, formula in advancing:
            change = formula(local, values, x, currents)
            if exact.get(name):
                value = _decay(values, f"{label}.%s {name}", local[name], change)
            else:
                value = local[name] + _times(dt, change)
            new[name] = value.expand(w.shape[0], *shapes[name])
        if not joint:
            local.update(new)
        if dw is not None:
            w = w + _times(dt, dw(local, values, x, currents))
        for target, formula in steps:
            local[target] = _tensor(formula(local, values, x, currents), w)
        if steps:
            w = local["w"].expand_as(w)
            new.update({name: local[name].expand(w.shape[0], *shapes[name]) for name in assigned})
        if dw is not None or steps:
            w = limit(values, w)
        return w, {f"{label}.{name}": value for name, value in new.items()}

    return update
