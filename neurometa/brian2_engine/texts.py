"""From our text to Brian2's: the same arithmetic, with every name put under a prefix of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..expression import NUMPY
from ..spec import MLP

__all__ = ["functions", "mlp_function", "rename", "split_calls"]

_NAME = re.compile(r"(?<![\w.])[A-Za-z]\w*")
#: Functions of our grammar that Brian2 lacks; they are handed to it with the same numpy arithmetic.
OWN = {"sigmoid": 1, "softplus": 1, "relu": 1, "minimum": 2, "maximum": 2, "spike": 1}
_KEPT = {"int", "and", "or", "not", "exp", "log", "sqrt", "sin", "cos", "tanh", "arctan", "abs", "sign", "clip", *OWN}


def rename(text: str, names: Mapping[str, str]) -> str:
    """Return the text with every variable renamed; functions keep their names.

    Examples
    --------
    >>> rename("eta*pre*tanh(post) - 1e-3*w", {"eta": "p_eta", "pre": "c0_pre", "post": "v_x_post", "w": "w"})
    'p_eta*c0_pre*tanh(v_x_post) - 1e-3*w'
    """
    return _NAME.sub(lambda match: match.group() if match.group() in _KEPT else names[match.group()], text)


def functions(b2: Any) -> dict[str, Any]:
    """Return the functions that Brian2 lacks, for its namespace."""
    return {name: _function(b2, NUMPY[name], n) for name, n in OWN.items()}


def _function(b2: Any, implementation: Callable[..., Any], n: int) -> Any:
    def call(*arguments):
        return implementation(*(np.asarray(a, dtype=np.float64) for a in arguments))

    return b2.Function(call, arg_units=[1] * n, return_unit=1)


_ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def mlp_function(b2: Any, mlp: MLP, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> Any:
    """Return a learned elementwise function for Brian2's namespace; ``layers`` holds weights and biases."""

    def call(*arguments):
        x = np.stack(np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in arguments)), -1)
        for i, (weight, bias) in enumerate(layers):
            x = _ACTIVATIONS[mlp.out if i == len(layers) - 1 else mlp.activation](x @ weight.T + bias)
        return x[..., 0]

    return b2.Function(call, arg_units=[1] * mlp.inputs, return_unit=1)


def split_calls(text: str, name: str) -> list[tuple[int, int, str]]:
    """Return the outermost calls of a one-argument function: ``(begin, end, argument)``.

    Examples
    --------
    >>> split_calls("m*target + softmax(2*(drive + b))", "softmax")
    [(11, 33, '2*(drive + b)')]
    """
    found = []
    position = 0
    for match in re.finditer(rf"(?<![\w.]){name}\s*\(", text):
        if match.start() < position:
            continue
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        found.append((match.start(), end, text[match.end() : end - 1]))
        position = end
    return found
