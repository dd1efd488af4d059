"""Named random streams: one generator per purpose, all from one seed.

A draw for one purpose (``init``, ``tasks``, ``noise``, ``eval``) never shifts the draws for another, and the state of
every stream can be saved in a checkpoint and restored bit for bit. Generators live on the CPU, so that the same seed
gives the same episode on any device.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["Streams", "generator"]


def generator(seed: int, name: str = "") -> torch.Generator:
    """Return a CPU generator that depends on the seed and on a name, and on nothing else.

    Parameters
    ----------
    seed : int
        Non-negative seed.
    name : str
        Purpose; different names give independent streams.

    Returns
    -------
    torch.Generator
        A fresh generator.
    """
    entropy = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy >> np.uint64(1)))


class Streams:
    """The random streams of one run.

    Parameters
    ----------
    seed : int
        Non-negative seed from which every stream is derived.

    Examples
    --------
    >>> a, b = Streams(0), Streams(0)
    >>> _ = torch.rand(3, generator=a["tasks"])  # does not touch the stream "init"
    >>> bool(torch.equal(torch.rand(2, generator=a["init"]), torch.rand(2, generator=b["init"])))
    True
    """

    def __init__(self, seed: int):
        self.seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        """Return the generator for one purpose, made on first use."""
        if name not in self._generators:
            self._generators[name] = generator(self.seed, name)
        return self._generators[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state of every stream used so far, ready for a checkpoint."""
        return {name: stream.get_state() for name, stream in self._generators.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore streams from `state_dict`."""
        for name, value in state.items():
            self[name].set_state(value)
