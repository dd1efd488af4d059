"""From our text to Brian2's: the same arithmetic, with every name put under a prefix of its own."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..expression import NUMPY
from ..spec import MLP

__all__ = ["functions", "mlp_function", "rename"]

#: What a call becomes: the texts of its arguments -> text.
Calls = Mapping[str, Callable[[list[str]], str]]


def rename(text: str, names: Mapping[str, str], calls: Calls | None = None) -> str:
    """Return the text with every variable renamed and every number written as a float.

    Parameters
    ----------
    text : str
        A formula of our grammar.
    names : mapping of str to str
        Variable -> what to write for it.
    calls : mapping of str to callable, optional
        Function -> what to write for a call of it; other functions keep their names.

    Returns
    -------
    str
        The same tree of operations. ``int(...)`` becomes a float as well: Brian2's has 32 bits.

    Examples
    --------
    >>> rename("eta*pre*tanh(post) - 1e-3*w/2", {"eta": "p_eta", "pre": "c0_pre", "post": "v_x_post", "w": "w"})
    'p_eta * c0_pre * tanh(v_x_post) - 0.001 * w / 2.0'
    """
    return ast.unparse(_Rename(names, calls or {}).visit(ast.parse(text, mode="eval").body))


class _Rename(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str], calls: Calls):
        self.names = names
        self.calls: Calls = {"int": lambda arguments: f"1.0*int({arguments[0]})", **calls}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _parsed(self.names[node.id])

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(float(node.value))  # type: ignore[arg-type]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        arguments: list[ast.expr] = [self.visit(argument) for argument in node.args]
        name = ast.unparse(node.func)
        if name in self.calls:
            return _parsed(self.calls[name]([ast.unparse(argument) for argument in arguments]))
        return ast.Call(node.func, arguments, [])


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


#: Functions of our grammar that Brian2 lacks; they are handed to it with the same numpy arithmetic.
OWN = {"sigmoid": 1, "softplus": 1, "relu": 1, "minimum": 2, "maximum": 2, "spike": 1}


def functions(b2: Any) -> dict[str, Any]:
    """Return the functions that Brian2 lacks, for its namespace.

    Besides those of the grammar, ``choose(a, b, c)`` is b where a is above 0 and c elsewhere, whatever the other is
    (``a*b + (1 - a)*c`` is not a number where the one that is not wanted is infinite).
    """

    def choose(a, b, c):
        return np.where(np.asarray(a) > 0, b, c)

    return {name: _function(b2, NUMPY[name], n) for name, n in OWN.items()} | {"choose": _function(b2, choose, 3)}


def _function(b2: Any, implementation: Callable[..., Any], n: int) -> Any:
    def call(*arguments):
        return implementation(*(np.asarray(a, dtype=np.float64) for a in arguments))

    return _of_numbers(b2, call, n)


def _of_numbers(b2: Any, call: Callable[..., Any], n: int) -> Any:
    made = b2.Function(call, arg_units=[1] * n, return_unit=1)
    made.implementations.add_implementation("numpy", code=call)  # else every call would add units and strip them
    return made


_ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}


def mlp_function(b2: Any, mlp: MLP, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> Any:
    """Return a learned elementwise function for Brian2's namespace.

    Parameters
    ----------
    b2 : module
        brian2.
    mlp : MLP
        The description.
    layers : sequence of (ndarray, ndarray)
        Weights ``(batch | 1, out, in)`` and biases ``(batch | 1, out)``.

    Returns
    -------
    Function
        Of the arguments of the text, and of the number of the episode to which a synapse belongs.
    """

    def call(*arguments):
        *columns, episode = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in arguments))
        x, episode = np.stack(columns, -1), episode.astype(int)  # (synapses, inputs)
        for i, (weight, bias) in enumerate(layers):
            w, b = (part[episode if len(part) > 1 else 0] for part in (weight, bias))
            activation = mlp.out if i == len(layers) - 1 else mlp.activation
            x = _ACTIVATIONS[activation]((w @ x[..., None])[..., 0] + b)
        return x[..., 0]

    return _of_numbers(b2, call, mlp.inputs + 1)
