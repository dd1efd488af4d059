"""What the tasks share whose answer is one of a few classes: cross-entropy, accuracy, the score of the orderless."""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import ClassVar

from torch import Tensor

from .base import Part, Task

__all__ = ["Classification", "most_frequent"]


class Classification(Task):
    """Base of the tasks that are answered with logits and scored by the share of right answers."""

    score_name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the weighted mean cross-entropy of logits, ``(batch,)``."""
        entropy = -(part.target * output.log_softmax(-1)).sum(-1)  # (time, batch)
        return (entropy * part.weight).sum(0) / part.weight.sum(0)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the weighted share of right answers (largest output), ``(batch,)``."""
        right = (output.argmax(-1) == part.target.argmax(-1)).to(part.weight.dtype)  # (time, batch)
        return (right * part.weight).sum(0) / part.weight.sum(0)


def most_frequent(n: int, kinds: int) -> float:
    r"""Return the expected share of the most frequent among ``n`` draws, each uniform over ``kinds``, exactly.

    It is what an observer scores who knows what was drawn but not which draw is asked for. With the largest count
    :math:`M`, :math:`P(M \le m) = n!\,[z^n] (\sum_{j \le m} z^j / j!)^{kinds} / kinds^n` and
    :math:`E[M] = \sum_{m=0}^{n-1} (1 - P(M \le m))`.

    Examples
    --------
    >>> most_frequent(2, 2), round(most_frequent(4, 10), 4)
    (0.75, 0.3835)
    """
    expected = Fraction(0)
    for m in range(n):
        ways = [Fraction(1)] + [Fraction(0)] * n  # coefficients of z^0 to z^n
        for _ in range(kinds):
            ways = [sum((ways[i - j] / factorial(j) for j in range(min(i, m) + 1)), Fraction(0)) for i in range(n + 1)]
        expected += 1 - factorial(n) * ways[n] / Fraction(kinds) ** n
    return float(expected / n)
