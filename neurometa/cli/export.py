"""``neurometa export brian2 RUN``: a trained network as a Brian2 script of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from ..bridge import brian2_script, synapses_text
from ..errors import RunError, SpecificationError
from ..files import write_atomically
from ..learners import PlasticLearner
from ..meta.run import Run, load_run
from ..streams import generator
from ..torch_engine import simulate
from ..torch_engine.params import draw, unconstrain
from .crosscheck import held_out
from .output import print_json

__all__ = ["Export"]


@dataclass
class Export:
    """Write a trained network and a held-out episode as a Brian2 script that needs numpy and brian2 only.

    The script runs the episode and prints how far its weights are from those that torch computes in float64.
    """

    kind: tyro.conf.Positional[Literal["brian2"]]
    """What to write."""
    run_dir: tyro.conf.Positional[Path]
    """Run folder, as `neurometa train` made it."""
    out: Path | None = None
    """The script; default: brian2_script.py in the run folder. Its arrays lie beside it, as .npz."""
    synapses: bool = False
    """Only print model, on_pre, on_post and namespace of every plastic projection, for a network that you have."""
    episodes: int = 1
    """Held-out episodes, side by side."""
    seed: int = 0
    """Seed of the episodes."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Write the script, or print the texts."""
        run = load_run(self.run_dir)
        learner = run.learner
        if not isinstance(learner, PlasticLearner):
            raise RunError(
                f"{self.run_dir} was trained with {type(learner).__name__}; export writes the plastic learner's network"
            )
        if self.episodes < 1:
            raise SpecificationError(f"--episodes is {self.episodes}; it must be 1 or more")
        if self.synapses:
            values = {name: value.detach().cpu().numpy() for name, value in run.values().items()}
            texts = {p.label: synapses_text(learner.network, p, values) for p in learner.network.plastic}
            if self.json:
                print_json({"synapses": texts})
            else:
                print("\n\n".join(texts.values()))
            return 0
        script = self.out or self.run_dir / "brian2_script.py"
        if script.suffix != ".py":
            raise SpecificationError(f"--out is {script}; it must end in .py")
        arrays = script.with_suffix(".npz")
        source, data = self._written(run, learner, arrays.name)
        write_atomically(script, lambda file: file.write(source.encode()))
        write_atomically(arrays, lambda file: np.savez(file, **data))  # type: ignore[arg-type]
        if self.json:
            print_json({"script": str(script), "arrays": str(arrays)})
        else:
            print(f"script: {script}\narrays: {arrays}\nnext: python {script}")
        return 0

    def _written(self, run: Run, learner: PlasticLearner, arrays: str) -> tuple[str, dict[str, np.ndarray]]:
        """Return script and arrays, with the weights that torch has at the end."""
        network = learner.network
        params = {name: value.detach().cpu().double() for name, value in run.params.items()}
        first = next(iter(params.values()))
        inputs, learn, reset = held_out(learner, params, run.task, self.episodes, self.seed)
        with torch.no_grad():
            inputs = {name: value.double() for name, value in inputs.items()}
            stream, noise = generator(self.seed, "export"), {}
            n_steps, batch = next(iter(inputs.values())).shape[:2]
            for name, leaf in network.leaves.items():
                if leaf.param.per_episode:
                    drawn = draw(leaf, leaf.param.init, stream, first.dtype, (batch,))
                    params[name] = unconstrain(leaf.param, drawn)
            for population in network.populations:
                if any("noise" in expression.names for expression in population.expressions.values()):
                    noise[population.name] = torch.randn(
                        n_steps, batch, population.size, generator=stream, dtype=first.dtype
                    )
            ours = simulate(network, params, inputs, learn=learn, reset=reset, noise=noise)
        expected = {label: w.numpy() for label, w in ours.final.w.items()}
        return brian2_script(
            network, params, inputs, learn=learn, reset=reset, noise=noise, expected=expected, arrays=arrays
        )
