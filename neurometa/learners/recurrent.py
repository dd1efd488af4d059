"""Black-box meta-learning: a recurrent network whose activity is all that a task changes; a control for plasticity.

Nothing says how to learn: backpropagation finds weights under which the activity of an LSTM or a GRU does the learning
(Hochreiter et al. 2001, doi:10.1007/3-540-44668-0_13; Santoro et al. 2016, arXiv:1605.06065; Duan et al. 2016,
arXiv:1611.02779).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..spec import ConvTrunk
from ..spec.base import check_choice
from ..tasks.base import Episode, Part, Task, responder
from ..torch_engine.simulate import Respond
from ..torch_engine.trunk import apply_trunk, init_trunk, trunk_statistics
from ..tree import Tree
from ._cells import CELLS, Memory, affine, run_cell
from .base import Learner, trunk_groups

__all__ = ["RecurrentLearner", "n_hidden_for"]


@dataclass(frozen=True)
class RecurrentLearner(Learner):
    """Adapt by running a GRU or an LSTM over the support set; what it remembers is what it has learned.

    At every step it sees the stimulus, the target where one is shown, and whether one is. Its memory, 0 at the start of
    an episode, stands where other learners have their synapses: a ``reset`` within the support set does not touch it.
    Queries are answered each from the memory after the support set, to which a ``reset`` returns. In a task that is one
    sequence the answer at a step comes before that step's target, so target and ``teach`` are seen one step late.

    Leaves may carry a batch axis in front, so that one call runs many networks.

    Attributes
    ----------
    n_in, n_out : int
        Sizes of stimulus (as the trunk leaves it, if there is one) and answer.
    n_hidden : int
        Units; see `n_hidden_for` for as many parameters as another learner has.
    cell : {"gru", "lstm", "rnn"}
        Kind of units.
    trunk : ConvTrunk, optional
        In front of ``stimulus``.

    Raises
    ------
    SpecificationError
        If a size is not a whole number above 0, the cell is unknown or the trunk does not fit.

    Examples
    --------
    >>> learner = RecurrentLearner(n_in=1, n_out=1, n_hidden=8)
    >>> learner.n_parameters, learner.n_memory
    (321, 8)
    """

    n_in: int
    n_out: int
    n_hidden: int = 64
    cell: str = "gru"
    trunk: ConvTrunk | None = None

    def __post_init__(self):
        for name in ("n_in", "n_out", "n_hidden"):
            _check_size(getattr(self, name), f"RecurrentLearner: {name}", 1)
        check_choice(self.cell, tuple(CELLS), "RecurrentLearner: cell")
        if self.trunk is not None and self.n_in != self.trunk.n_features:
            raise SpecificationError(
                f"the trunk makes {self.trunk.n_features} features, but RecurrentLearner reads {self.n_in}; "
                f"build it with n_in={self.trunk.n_features}"
            )

    @property
    def n_parameters(self) -> int:
        """Learned scalars of cell and readout, without the trunk."""
        return sum(map(math.prod, self._shapes.values()))

    @property
    def n_memory(self) -> int:
        """Numbers that a task changes: twice the units for an LSTM."""
        return self.n_hidden * len(CELLS[self.cell][1])

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return _shapes(self.n_hidden, self.n_in, self.n_out, self.cell)

    def init(
        self,
        stream: torch.Generator,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tree:
        """Draw the parameters from torch's own distribution, uniform within ``1/sqrt(n_hidden)``; then the trunk's."""
        bound = 1 / math.sqrt(self.n_hidden)  # of the cell, and of a readout by nn.Linear
        dtype = dtype or torch.get_default_dtype()
        params = {
            name: ((2 * torch.rand(shape, generator=stream, dtype=dtype) - 1) * bound).to(device)
            for name, shape in self._shapes.items()
        }
        return params | (init_trunk(self.trunk, stream, device=device, dtype=dtype) if self.trunk is not None else {})

    def groups(self) -> dict[str, str]:
        """Return ``w0`` for cell and readout, ``trunk`` for the trunk."""
        return dict.fromkeys(self._shapes, "w0") | trunk_groups(self.trunk)

    def adapt(
        self, params: Mapping[str, Tensor], support: Part, task: Task, stream: torch.Generator | None = None
    ) -> Tree:
        """Return the memory after the support set: ``memory.hidden``, and ``memory.cell`` of an LSTM."""
        _, memory = self._run(params, self._seen(params, support).unsqueeze(2))
        found = {name: value.squeeze(1) for name, value in zip(CELLS[self.cell][1], memory, strict=True)}
        if self.trunk is not None:
            found |= trunk_statistics(self.trunk, params, support.inputs["stimulus"])
        return found

    def predict(
        self,
        params: Mapping[str, Tensor],
        fast: Mapping[str, Tensor],
        query: Part,
        stream: torch.Generator | None = None,
    ) -> Tensor:
        """Answer queries from the memory after the support set, all at once where they are equally long."""
        known = {name: value for name, value in fast.items() if name.startswith("trunk.")}
        memory = tuple(fast[name].unsqueeze(1) for name in CELLS[self.cell][1])  # (batch, 1, n_hidden)
        items = self._seen({**params, **known}, query).split(_lengths(query.reset))
        alike = len({len(item) for item in items}) == 1
        found = []
        for group in [torch.stack(items, 2)] if alike else [item.unsqueeze(2) for item in items]:
            start = tuple(part.expand(-1, group.shape[2], -1) for part in memory)  # (batch, items, n_hidden)
            answer, _ = self._run(params, group, start)
            found.append(answer.permute(2, 0, 1, 3).flatten(0, 1))  # (items*time, batch, n_out)
        return torch.cat(found)

    def respond(
        self, params: Mapping[str, Tensor], episode: Episode, task: Task, stream: torch.Generator | None = None
    ) -> Tensor:
        """Answer the scored part; without a query part, each step of the sequence before its target is seen."""
        if episode.query is not None:
            return super().respond(params, episode, task, stream)
        respond = responder(task, episode.support)
        if respond is not None:
            return self._interact(params, episode.support, respond)
        answer, _ = self._run(params, self._seen(params, episode.support, late=True).unsqueeze(2))
        return answer.squeeze(2)

    def _interact(self, params: Mapping[str, Tensor], part: Part, respond: Respond) -> Tensor:
        """Answer step by step where what is shown depends on the answers; target and ``teach`` are seen late."""
        if self.trunk is not None:
            raise SpecificationError(
                "RecurrentLearner: a task that responds to the network does not pass through a trunk; trunk=None"
            )
        memory, found = None, []
        new: Mapping[str, Tensor] = {}
        late: dict[str, Tensor] = {}
        for t in range(len(part.target)):
            now = {name: value[t] for name, value in part.inputs.items()} | {**new}
            before = late or {name: torch.zeros_like(now[name]) for name in ("target", "teach")}
            seen = self._seen(params, part._replace(inputs={n: v[None] for n, v in (now | before).items()}))
            late = {name: now[name] for name in ("target", "teach")}
            answer, memory = self._run(params, seen.unsqueeze(2), memory)
            found.append(answer[0, :, 0])  # (batch, n_out)
            new = respond(t, found[-1]) if t + 1 < len(part.target) else {}
        return torch.stack(found)

    def _run(self, params: Mapping[str, Tensor], x: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Return the answers ``(time, batch, items, n_out)`` to ``(time, batch, items, n)``, and the memory."""
        hidden, memory = run_cell(self.cell, params, x, memory)
        return affine(hidden, params["readout.w"], params["readout.b"]), memory

    def _seen(self, params: Mapping[str, Tensor], part: Part, late: bool = False) -> Tensor:
        """Return stimulus, target and teach side by side, ``(time, batch, n_in + n_out + 1)``."""
        stimulus, shown = part.inputs["stimulus"], torch.cat([part.inputs["target"], part.inputs["teach"]], -1)
        n_in = self.n_in if self.trunk is None else math.prod(self.trunk.image_shape)
        sizes = stimulus.shape[-1], shown.shape[-1] - 1
        if sizes != (n_in, self.n_out):
            raise SpecificationError(
                f"RecurrentLearner reads a stimulus of {n_in} and a target of {self.n_out}, the task shows {sizes[0]} "
                f"and {sizes[1]}; build it with n_in=task.n_in (or trunk.n_features) and n_out=task.n_out"
            )
        if self.trunk is not None:
            stimulus = apply_trunk(self.trunk, params, stimulus)
        if late:
            shown = torch.cat([torch.zeros_like(shown[:1]), shown[:-1]])
        return torch.cat([stimulus, shown], -1)


def n_hidden_for(n_parameters: int, n_in: int, n_out: int, cell: str = "gru") -> int:
    """Return the most units of a `RecurrentLearner` that needs no more than so many parameters.

    Parameters
    ----------
    n_parameters : int
        Learned scalars of the learner that it is compared with, each without its trunk.
    n_in, n_out : int
        Sizes of stimulus and answer.
    cell : {"gru", "lstm", "rnn"}
        Kind of units.

    Raises
    ------
    SpecificationError
        If not even one unit is that small.

    Examples
    --------
    >>> n_hidden_for(321, 1, 1), n_hidden_for(320, 1, 1), n_hidden_for(321, 1, 1, "lstm")
    (8, 7, 6)
    """
    check_choice(cell, tuple(CELLS), "n_hidden_for: cell")
    _check_size(n_in, "n_hidden_for: n_in", 1)
    _check_size(n_out, "n_hidden_for: n_out", 1)

    def count(n_hidden: int) -> int:
        return sum(map(math.prod, _shapes(n_hidden, n_in, n_out, cell).values()))

    _check_size(n_parameters, "n_hidden_for: n_parameters", count(1))
    return bisect_right(range(1, n_parameters + 1), n_parameters, key=count)


def _shapes(n_hidden: int, n_in: int, n_out: int, cell: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every leaf of cell and readout."""
    gates = CELLS[cell][0] * n_hidden
    return {
        "cell.weight_ih_l0": (gates, n_in + n_out + 1),
        "cell.weight_hh_l0": (gates, n_hidden),
        "cell.bias_ih_l0": (gates,),
        "cell.bias_hh_l0": (gates,),
        "readout.w": (n_out, n_hidden),
        "readout.b": (n_out,),
    }


def _check_size(value: int, where: str, least: int) -> None:
    if not isinstance(value, int) or value < least:
        found = value if isinstance(value, int | float) else f"a {type(value).__name__}"
        raise SpecificationError(f"{where} is {found}; it must be a whole number, {least} or more")


def _lengths(reset: Tensor) -> list[int]:
    """Return the numbers of steps between resets; the first step begins an item in any case."""
    places = [0, *(t for t, flag in enumerate(reset.tolist()) if flag and t), len(reset)]
    return [end - begin for begin, end in pairwise(places)]
