"""Recurrent cells as plain functions of their parameters, which may differ per task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["CELLS", "Memory", "affine", "run_cell"]

Memory = tuple[Tensor, ...]

#: Number of gates and names of the memory, by cell.
CELLS: dict[str, tuple[int, tuple[str, ...]]] = {
    "gru": (3, ("memory.hidden",)),
    "lstm": (4, ("memory.hidden", "memory.cell")),
    "rnn": (1, ("memory.hidden",)),
}
AXES = {"cell.weight_ih_l0": 2, "cell.weight_hh_l0": 2, "cell.bias_ih_l0": 1, "cell.bias_hh_l0": 1}


def run_cell(cell: str, params: Mapping[str, Tensor], x: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
    """Run a cell over a sequence.

    Parameters
    ----------
    cell : {"gru", "lstm", "rnn"}
        As `torch.nn.GRU`, `torch.nn.LSTM` and `torch.nn.RNN` (with tanh) define them, with one layer.
    params : mapping of str to Tensor
        The leaves of torch's module under ``cell.``; any may carry a batch axis in front.
    x : Tensor
        ``(time, batch, items, n)``; the items of an entry share its parameters.
    memory : tuple of Tensor, optional
        Where to start, ``(batch, items, n_hidden)`` each; default: 0.

    Returns
    -------
    tuple
        Activity at each step, ``(time, batch, items, n_hidden)``, and the memory after the last.
    """
    leaves = [params[name] for name in AXES]
    if memory is None:
        memory = (x.new_zeros(*x.shape[1:3], leaves[1].shape[-1]),) * len(CELLS[cell][1])
    if any(leaf.ndim > axes for leaf, axes in zip(leaves, AXES.values(), strict=True)):
        return _step_by_step(cell, leaves, x, memory)
    start = tuple(part.flatten(0, 1).unsqueeze(0).contiguous() for part in memory)  # (1, batch*items, n_hidden)
    given = x.flatten(1, 2)  # (time, batch*items, n)
    # What torch's modules call: biases, layers, dropout, training (or cuDNN refuses to go backward), bidirectional,
    # batch first.
    options = (True, 1, 0.0, True, False, False)
    if cell == "lstm":
        hidden, *last = torch.lstm(given, start, leaves, *options)
    else:
        hidden, *last = (torch.gru if cell == "gru" else torch.rnn_tanh)(given, start[0], leaves, *options)
    return hidden.unflatten(1, x.shape[1:3]), tuple(part[0].unflatten(0, x.shape[1:3]) for part in last)


def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Map ``(..., batch, items, n)`` by weights and biases that may carry a batch axis."""
    return x @ w.mT + (b if b.ndim == 1 else b.unsqueeze(1))


def _step_by_step(cell: str, leaves: list[Tensor], x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Run a network per entry of the batch, all at once; torch's kernels take one, and refuse ``vmap``."""
    w_in, w_back, b_in, b_back = leaves
    step, found = STEPS[cell], []
    for given in affine(x, w_in, b_in):  # (batch, items, gates*n_hidden)
        memory = step(given, affine(memory[0], w_back, b_back), memory)
        found.append(memory[0])
    return torch.stack(found), memory


def _gru(given: Tensor, back: Tensor, memory: Memory) -> Memory:
    """Take the step of ``nn.GRU``, from what input and memory contribute to its gates."""
    (reset, update, new), (reset_back, update_back, new_back) = given.chunk(3, -1), back.chunk(3, -1)
    new = torch.tanh(new + torch.sigmoid(reset + reset_back) * new_back)
    return (new + torch.sigmoid(update + update_back) * (memory[0] - new),)


def _lstm(given: Tensor, back: Tensor, memory: Memory) -> Memory:
    """Take the step of ``nn.LSTM``, from what input and memory contribute to its gates."""
    let_in, keep, new, out = (given + back).chunk(4, -1)
    cell = torch.sigmoid(keep) * memory[1] + torch.sigmoid(let_in) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def _rnn(given: Tensor, back: Tensor, memory: Memory) -> Memory:
    """Take the step of ``nn.RNN``, from what input and memory contribute to its units."""
    return (torch.tanh(given + back),)


STEPS = {"gru": _gru, "lstm": _lstm, "rnn": _rnn}
