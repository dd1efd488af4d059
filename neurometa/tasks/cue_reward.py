"""Cue-reward association: remember which of a few cues was worth how much (Duan et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SpecificationError
from ..streams import generator
from ._regression import Regression, points
from .base import Episode, Part, check_split

__all__ = ["CueReward"]


@dataclass(frozen=True, kw_only=True)
class CueReward(Regression):
    r"""Predict the reward of a cue that was shown with its reward a few steps ago.

    Each episode draws ``n_cues`` cues, uniform in the unit cube of ``n_dim`` dimensions, and a reward between -1 and 1
    for each. In the first half of its steps a random cue and its reward are shown (the support); in the second half a
    random cue is shown alone (the query). Every presentation adds normal noise to the cue. Activity starts from rest at
    every presentation.

    Parameters
    ----------
    n_cues : int
        Cues of an episode.
    n_dim : int
        Length of a cue.
    n_steps : int
        Steps of an episode, an even number.
    noise : float
        Standard deviation of the noise on each component of a cue.
    sequence : bool
        The published form: one sequence, through which activity goes on. The stimulus is the cue, the reward while it
        is shown, and 1 while it is. The loss is taken over all steps, the score over the second half.

    Notes
    -----
    The best predictor without support answers 0 and scores 1/3. The ideal observer knows every reward that it has seen
    and answers 0 to a cue that was never shown, which scores :math:`\tfrac13 (1 - 1/n_{cues})^{n_{steps}/2}`: .0358 at
    the standard numbers. (Two cues that the noise makes look alike are neglected; at a noise of .1 in 14 dimensions
    they hardly occur.) Duan et al. score all steps, half of which only ask to repeat what is shown; where these are
    answered without error, theirs is half the error of this task.

    References
    ----------
    Duan et al. 2023, doi:10.48550/arXiv.2302.03235.

    Examples
    --------
    >>> round(CueReward().ceiling(), 4), round(CueReward().floor(), 4)
    (0.0358, 0.3333)
    """

    n_cues: int = 5
    n_dim: int = 14
    n_steps: int = 20
    noise: float = 0.1
    sequence: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.n_cues < 1 or self.n_dim < 1 or not 0 <= self.noise < float("inf"):
            raise SpecificationError(
                f"n_cues is {self.n_cues}, n_dim {self.n_dim} and noise {self.noise}; allowed: 1 or more, and 0 or more"
            )
        if self.n_steps < 2 or self.n_steps % 2:
            raise SpecificationError(f"n_steps is {self.n_steps}, allowed: an even number, 2 or more; type n_steps=20")

    @property
    def n_in(self) -> int:
        """Length of a cue; two more in a sequence."""
        return self.n_dim + 2 * self.sequence

    def sample(
        self,
        stream: torch.Generator,
        n: int,
        split: str = "train",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Episode:
        """Draw ``n`` episodes; ``info`` holds ``cue`` (time, batch), its number, and ``reward`` (batch, n_cues)."""
        check_split(split)
        own = generator(int(torch.randint(2**62, (), generator=stream)), split)
        cues = torch.rand(n, self.n_cues, self.n_dim, generator=own)
        reward = 2 * torch.rand(n, self.n_cues, generator=own) - 1
        which = torch.randint(self.n_cues, (self.n_steps, n), generator=own)  # (time, batch)
        seen = torch.randn(self.n_steps, n, self.n_dim, generator=own)
        rows = torch.arange(n)
        stimulus = cues[rows, which] + self.noise * seen  # (time, batch, n_dim)
        worth = reward[rows, which].unsqueeze(-1)  # (time, batch, 1)
        stimulus, worth = (value.to(device=device, dtype=dtype) for value in (stimulus, worth))
        half, info = self.n_steps // 2, {"cue": which, "reward": reward}
        if not self.sequence:
            shown, asked = points(stimulus[:half], worth[:half], True), points(stimulus[half:], worth[half:], False)
            return Episode(shown, asked, info)
        phase = (torch.arange(self.n_steps, device=worth.device) < half).to(worth.dtype)[:, None, None].expand_as(worth)
        hidden = torch.zeros_like(worth)
        inputs = {"stimulus": torch.cat([stimulus, worth * phase, phase], -1), "target": hidden, "teach": hidden}
        learn = torch.ones(self.n_steps, dtype=torch.bool, device=worth.device)
        return Episode(Part(inputs, worth, 1 - phase[..., 0], learn, ~learn), None, info)

    def loss(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean squared error over all steps per task, ``(batch,)``."""
        return (output - part.target).square().sum(-1).mean(0)

    def score(self, output: Tensor, part: Part) -> Tensor:
        """Return the mean squared error over the scored steps per task, ``(batch,)``."""
        return super().loss(output, part)

    def floor(self) -> float:
        """Return the variance of the reward, 1/3."""
        return 1 / 3

    def ceiling(self) -> float:
        """Return the error of the ideal observer, who misses only cues that were never shown."""
        return (1 - 1 / self.n_cues) ** (self.n_steps // 2) / 3

    def references(self) -> dict[str, float]:
        """Return the error of the best multiple of the mean reward that was shown, which needs no cue."""
        same, half = 1 / self.n_cues, self.n_steps // 2
        square = 1 / half + (1 - 1 / half) * same  # of the mean shown reward, in units of 1/3
        return {"best multiple of the mean shown reward": (1 - same**2 / square) / 3}
