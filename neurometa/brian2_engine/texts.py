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


#: Functions that Brian2 lacks: their arguments and their value in C++. Those of the grammar have it in numpy as well.
CPP = {
    "sigmoid": ("a", "1.0/(1.0 + exp(-a))"),
    "softplus": ("a", "fmax(a, 0.0) + log1p(exp(-fabs(a)))"),
    "relu": ("a", "a < 0.0 ? 0.0 : a"),
    "spike": ("a", "a > 0.0 ? 1.0 : 0.0"),
    "minimum": ("ab", "a != a || a < b ? a : b"),
    "maximum": ("ab", "a != a || a > b ? a : b"),
    "choose": ("abc", "a > 0.0 ? b : c"),
}


def functions(b2: Any) -> dict[str, Any]:
    """Return the functions that Brian2 lacks, for its namespace.

    Besides those of the grammar, ``choose(a, b, c)`` is b where a is above 0 and c elsewhere, whatever the other is
    (``a*b + (1 - a)*c`` is not a number where the one that is not wanted is infinite).
    """

    def choose(a, b, c):
        return np.where(np.asarray(a) > 0, b, c)

    return {name: _function(b2, name, NUMPY.get(name, choose)) for name in CPP}


def _function(b2: Any, name: str, implementation: Callable[..., Any]) -> Any:
    def call(*arguments):
        return implementation(*(np.asarray(a, dtype=np.float64) for a in arguments))

    arguments, value = CPP[name]
    made = _of_numbers(b2, call, len(arguments))
    doubles = ", ".join(f"const double {argument}" for argument in arguments)
    code = f"static inline double own_{name}({doubles}) {{ return {value}; }}"
    made.implementations.add_implementation("cpp", code=code, name=f"own_{name}")
    return made


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
