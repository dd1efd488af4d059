"""Functions that Brian2 lacks, as a script writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..spec import Network

__all__ = ["FUNCTIONS", "LEARNED", "SOURCES", "mlp_lines"]

FUNCTIONS = '''
# Functions that Brian2 lacks


def brian_function(code, n):
    """Return a function of n numbers that Brian2's equations can call."""
    made = Function(code, arg_units=[1] * n, return_unit=1)
    made.implementations.add_implementation("numpy", code=code)
    return made


{definitions}
functions = {{{table}}}
'''

#: Written where a rule has learned functions.
LEARNED = '''

def learned_function(layers, n):
    """Return a small network as a function of n - 1 numbers and of the number of the episode."""

    def call(*arguments):
        *columns, episode = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in arguments))
        x, episode = np.stack(columns, -1), episode.astype(int)  # (synapses, inputs)
        for w, b, activation in layers:
            w, b = (part[episode if len(part) > 1 else 0] for part in (w, b))
            x = activation((w @ x[..., None])[..., 0] + b)
        return x[..., 0]

    return brian_function(call, n)

'''

_BODIES = {
    "sigmoid": ("x", "1.0 / (1.0 + np.exp(-x))"),
    "softplus": ("x", "np.logaddexp(x, 0.0)"),
    "relu": ("x", "np.maximum(x, 0.0)"),
    "spike": ("x", "np.asarray(np.asarray(x) > 0, dtype=float)"),
    "minimum": ("a, b", "np.minimum(a, b)"),
    "maximum": ("a, b", "np.maximum(a, b)"),
    "choose": ("a, b, c", "np.where(np.asarray(a) > 0, b, c)"),
}
#: The definition of every function by its name.
SOURCES = {
    name: f"brian_{name} = brian_function(lambda {given}: {body}, {given.count(',') + 1})"
    for name, (given, body) in _BODIES.items()
}

_ACTIVATIONS = {
    "linear": "x",
    "leaky_relu": "np.where(x > 0, x, 0.01 * x)",
    "relu": "np.maximum(x, 0.0)",
    "tanh": "np.tanh(x)",
    "sigmoid": "1.0 / (1.0 + np.exp(-x))",
}


def mlp_lines(
    network: Network, values: Mapping[str, np.ndarray], arrays: dict[str, np.ndarray]
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every learned function; its weights are put into ``arrays``."""
    for projection in network.plastic:
        for name, mlp in projection.rule.functions.items() if projection.rule else ():
            parts = []
            for i in range(len(mlp.hidden) + 1):
                stem = f"{projection.label}.rule.{name}.{i}"
                w, b = values[f"{stem}.w"], values[f"{stem}.b"]
                key = stem.replace(".", "_")
                arrays[f"{key}_w"] = w if w.ndim == 3 else w[None]
                arrays[f"{key}_b"] = b if b.ndim == 2 else b[None]
                activation = _ACTIVATIONS[mlp.out if i == len(mlp.hidden) else mlp.activation]
                parts.append(f'(data["{key}_w"], data["{key}_b"], lambda x: {activation})')
            yield f"f_{name}", f"learned_function([{', '.join(parts)}], {mlp.inputs + 1})"
