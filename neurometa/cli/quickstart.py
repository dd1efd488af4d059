"""``neurometa quickstart``: the whole way in two minutes, without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import SpecificationError
from ..learners import PlasticLearner
from ..meta.evaluate import evaluate
from ..meta.figure import few_shot_figure
from ..meta.train import meta_train
from ..networks.modulated import modulated
from ..outer import Backprop
from ..spec import ConvTrunk
from ..tasks.glyphs import Glyphs
from .output import print_json, print_table
from .progress import training_progress

__all__ = ["Quickstart"]


@dataclass
class Quickstart:
    """Meta-learn a neuromodulated Hebbian rule that names new characters after seeing each one once.

    Draws characters from a seed, meta-trains a small convolutional trunk, a modulator and the rule together, and
    scores it on characters it never saw, beside a pixel nearest neighbour and itself without plasticity.
    """

    run_dir: Annotated[Path, tyro.conf.arg(name="run")] = Path("runs/quickstart")
    """Run folder; a finished or interrupted run in it is continued."""
    iterations: int = 1200
    """Meta-iterations of 32 episodes."""
    episodes: int = 2000
    """Held-out test episodes."""
    seed: int = 0
    """Seed of everything random."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Train, evaluate, draw."""
        if self.episodes < 2:
            raise SpecificationError(f"--episodes is {self.episodes}; it must be 2 or more")
        task = Glyphs()
        trunk = ConvTrunk(image_shape=task.image_shape, channels=(32, 32, 32), out="unit")
        learner = PlasticLearner(modulated(trunk.n_features, task.n_out, n_hidden=64, alpha=5.0), trunk)
        with training_progress("meta-training", task.score_name, self.json) as report:
            run = meta_train(
                learner,
                task,
                Backprop(lr=3e-3, schedule="cosine"),
                n_iterations=self.iterations,
                n_tasks=32,
                seed=self.seed,
                validate_every=max(1, self.iterations // 10),
                run_dir=self.run_dir,
                resume=True,
                on_progress=report,
            )
        table = evaluate(run, n_episodes=self.episodes)
        figure = few_shot_figure(run, table, self.run_dir / "quickstart.png")
        if self.json:
            values = {"run": str(self.run_dir), "figure": str(figure), "rule": run.rule_values()}
            print_json({**values, "test_episodes": self.episodes, **table.as_dict()})
            return 0
        print_table("5-way 1-shot on glyphs never seen in training", table)
        rule = run.learner.network.plastic[0].rule  # type: ignore[attr-defined]
        print(f"\nthe rule: dw/dt = {rule.dw},  d elig/dt = {rule.traces['elig'].text}")
        for name, value in run.rule_values().items():
            print(f"  {name} = {value:.4g}")
        print(f"\nrun folder: {self.run_dir}\nfigure:     {figure}")
        print(f"next:       neurometa evaluate {self.run_dir} --episodes 10000")
        print('            neurometa train --rule "dw = eta*m*pre*post - decay*w" --run runs/mine')
        return 0
