"""Transitive inference: learn A > B and B > C by trial and error, infer A > C (Miconi & Kay 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SpecificationError
from ..streams import generator
from ._choice import choose, gumbel
from .base import Episode, Interactive, Part, check_split

__all__ = ["STEPS", "TransitiveInference"]

#: Steps of a trial: a pair is shown; the network chooses; it sees its choice and whether that was right.
STEPS = 3


@dataclass(frozen=True, kw_only=True)
class TransitiveInference(Interactive):
    r"""Choose the higher of two items, whose order is hidden and new in every episode.

    Items are random patterns of +1 and -1. A trial takes three steps: a pair is shown side by side; a signal asks for
    the choice, left or right; the outcome, 1 or -1, is shown at the side that was chosen. In ``n_train`` trials pairs
    of neighbours in the order are shown, each with the same probability. Then every pair is shown once, without
    outcome, in random order. Sides are random. The stimulus is the left pattern, the right pattern, the signal, the
    outcome left, the outcome right.

    Parameters
    ----------
    n_items : int
        Length of the order, 3 to 12.
    n_bits : int
        Length of a pattern.
    n_train : int
        Trials with neighbours, which are followed by their outcome.
    rest : bool
        Activity starts from rest at every trial, so that nothing but synapses can carry over (as published). False:
        activity goes on.

    Notes
    -----
    The score is the share of right choices between items that are no neighbours, in the trials without outcome. Without
    support it is .5. The outcome tells which item was right, whatever was chosen. So the loss is the
    cross-entropy of the right choice over all trials, and needs no policy gradient: what is sampled decides only by
    which of two equally informative outcomes the network is told.

    An ideal observer joins the pairs that were told to chains. If all neighbours were shown there is one chain, and he
    knows everything. Else the :math:`k` chains stand in one of :math:`k!` orders, all equally likely. Of two
    items in different chains each is the higher one in half of these, but the score counts no neighbours: so he leaves
    out the :math:`(k-1)!` orders in which the last of one chain and the first of the other meet, and takes what is more
    likely then. An item that never won is below one that never lost. The ceiling is the sum over all sets of pairs that
    may have been shown. (Two items with the same pattern are neglected: for 5 items of 15 bits it happens in 1 of 3,277
    episodes.)

    Miconi and Kay show 4 to 8 items of 15 bits in trials of four steps, choice and outcome apart. Of 30 trials the last
    10 show any pair, and have an outcome too. They train on 30,000 times 32 episodes, by actor-critic.

    References
    ----------
    Miconi & Kay 2025, doi:10.1038/s41593-024-01852-8.

    Examples
    --------
    >>> task = TransitiveInference()
    >>> task.floor(), round(task.ceiling(), 4)
    (0.5, 0.9968)
    """

    n_items: int = 5
    n_bits: int = 15
    n_train: int = 20
    rest: bool = True

    score_name: ClassVar[str] = "accuracy on pairs that are no neighbours"
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 3 <= self.n_items <= 12:
            raise SpecificationError(f"n_items is {self.n_items}; allowed: 3 to 12; type n_items=5")
        if self.n_bits < 1 or self.n_train < 1:
            raise SpecificationError(
                f"n_bits is {self.n_bits} and n_train {self.n_train}; allowed: 1 or more; type n_bits=15, n_train=20"
            )

    @property
    def n_in(self) -> int:
        """Size of the stimulus: two patterns, the signal, the outcome on either side."""
        return 2 * self.n_bits + 3

    @property
    def n_out(self) -> int:
        """Left or right."""
        return 2

    @property
    def n_test(self) -> int:
        """Trials without outcome: one for each pair."""
        return comb(self.n_items, 2)

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds ``shown`` (trial, batch, 2), the places in the order of the two items."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        items = 2.0 * torch.randint(2, (n, self.n_items, self.n_bits), generator=own) - 1  # the first is the highest
        higher = torch.randint(self.n_items - 1, (self.n_train, n), generator=own)
        pairs = torch.tensor([*combinations(range(self.n_items), 2)])  # (n_test, 2)
        order = torch.rand(self.n_test, n, generator=own).argsort(0)
        shown = torch.cat([torch.stack([higher, higher + 1], -1), pairs[order]])  # (trial, batch, 2)
        right = torch.randint(2, shown.shape[:2], generator=own)  # 1: the higher item stands on the right
        shown = torch.where(right[..., None] == 1, shown.flip(-1), shown)
        numbers = gumbel((STEPS * len(shown), n, 2), own).to(device=device, dtype=dtype)

        trials = torch.zeros(len(shown), STEPS, n, self.n_in)
        trials[:, 0, :, : 2 * self.n_bits] = items[torch.arange(n)[:, None], shown].flatten(-2)
        trials[:, 1, :, 2 * self.n_bits] = 1
        stimulus = trials.flatten(0, 1).to(device=device, dtype=dtype)  # (time, batch, n_in)

        def whole(value: Tensor) -> Tensor:
            """Return something of each trial for each of its steps."""
            return value.repeat_interleave(STEPS, 0).to(stimulus)

        far = (shown.diff(dim=-1)[..., 0].abs() > 1) & (torch.arange(len(shown)) >= self.n_train)[:, None]
        target, scored = whole(F.one_hot(right, 2)), whole(far)
        step = torch.arange(len(stimulus), device=stimulus.device)
        weight = scored * (step % STEPS == 1)[:, None]
        hidden = torch.zeros_like(target)
        inputs = {"stimulus": stimulus, "target": hidden, "teach": hidden[..., :1]}
        reset = step % STEPS == 0 if self.rest else step == 0
        return Episode(Part(inputs, target, weight, step >= 0, reset, {"gumbel": numbers}), info={"shown": shown})

    def respond(self, part: Part, t: int, output: Tensor) -> Mapping[str, Tensor]:
        """Show the outcome at the chosen side after a training trial's second step."""
        if t % STEPS != 1 or t >= STEPS * self.n_train:
            return {}
        choice = choose(output, part.world["gumbel"][t])  # (batch, 2)
        outcome = 2 * (choice * part.target[t]).sum(-1, keepdim=True) - 1
        blank = part.inputs["stimulus"][t + 1, :, : 2 * self.n_bits + 1]
        return {"stimulus": torch.cat([blank, choice * outcome], -1)}

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean cross-entropy of the right choice over all trials per task, ``(batch,)``."""
        return -(part.target * output.log_softmax(-1)).sum(-1)[1::STEPS].mean(0)

    def right(self, output: Tensor, part: Part) -> Tensor:
        """Return whether each trial's choice was right, ``(trial, batch)``."""
        choice = choose(output, part.world["gumbel"])
        return (choice * part.target).sum(-1)[1::STEPS]

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the share of right choices in the scored trials per task, ``(batch,)``."""
        weight = part.weight[1::STEPS]
        return (self.right(output, part) * weight).sum(0) / weight.sum(0)

    def floor(self) -> float:
        """Return .5: the order is as likely to be the reverse one."""
        return 0.5

    def ideal(self) -> dict[tuple[int, int], float]:
        """Return the accuracy of the ideal observer on each pair of places in the order.

        He answers as if no pair were neighbours, so of neighbours that were not shown to him he gets most wrong.
        """
        return dict(_ideal(self.n_items, self.n_train))

    def ceiling(self) -> float:
        """Return the accuracy of the ideal observer on all pairs that are no neighbours."""
        far = [score for (high, low), score in self.ideal().items() if low - high > 1]
        return sum(far) / len(far)


@cache
def _ideal(n_items: int, n_train: int) -> dict[tuple[int, int], float]:
    """Return the ideal observer's accuracy by pair, exactly."""
    links, found = n_items - 1, dict.fromkeys(combinations(range(n_items), 2), 0.0)
    for n_seen in range(links + 1):
        # Probability that the pairs of neighbours that were shown are these and no others.
        chance = sum((-1) ** (n_seen - j) * comb(n_seen, j) * (j / links) ** n_train for j in range(n_seen + 1))
        for seen in combinations(range(links), n_seen):
            firsts = {0, *(i + 1 for i in range(links) if i not in seen)}  # of each chain
            lasts = {*(i for i in range(links) if i not in seen), links}
            for high, low in found:
                if firsts.isdisjoint(range(high + 1, low + 1)):
                    right = 1.0  # in one chain
                else:
                    right = 0.5 + 0.5 * ((low in lasts and high in firsts) - (high in lasts and low in firsts))
                found[high, low] += chance * right
    return found
