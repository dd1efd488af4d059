"""``neurometa quickstart``: the whole way in a few minutes, without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ..compare import Comparison, compare
from ..crosscheck import Crosscheck
from ..distil import Distilled, Rerun, distil, rerun
from ..errors import SpecificationError
from ..learners import GradientLearner, Learner, PlasticLearner
from ..meta.evaluate import evaluate
from ..meta.figure import few_shot_figure
from ..meta.run import Run
from ..meta.train import meta_train
from ..networks.mlp import mlp
from ..networks.modulated import modulated
from ..outer import Backprop
from ..record import record
from ..report import report
from ..spec import ConvTrunk
from ..tasks.glyphs import Glyphs
from .compare import progress_of
from .crosscheck import in_brian2
from .output import print_json, print_table
from .progress import say, training_progress

__all__ = ["Quickstart"]

RULE, MAML = "modulated rule", "MAML"
QUESTION = """Five characters that were never seen in training are shown once each; then new drawings of them are to be
named. Trunk, hidden layer and what changes the last synapses are meta-learned together. Does a neuromodulated Hebbian
rule name them better than one gradient step on the same synapses (MAML)? A head on a learned trunk says little about a
rule, whatever comes out: features do most of the work here (see docs/comparing.md)."""


@dataclass
class Quickstart:
    """Meta-learn a neuromodulated Hebbian rule that names new characters after seeing each one once, and look at it.

    Draws characters from a seed, meta-trains a small convolutional trunk, a modulator and the rule together, and MAML
    on the same layers; compares both on the same held-out episodes, with controls; runs the rule again in Brian2,
    records it, writes it down as an equation, and puts everything into one report.
    """

    run_dir: Annotated[Path, tyro.conf.arg(name="run")] = Path("runs/quickstart")
    """Run folder; a finished or interrupted run in it is continued. MAML (-maml) and report (-report) lie beside it."""
    iterations: int = 700
    """Meta-iterations of 32 episodes, of both learners."""
    episodes: int = 1000
    """Held-out test episodes."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 1
    """Torch threads; more are faster on an idle machine, and far slower on a busy one."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Take all six steps."""
        if self.episodes < 2:
            raise SpecificationError(f"--episodes is {self.episodes}; it must be 2 or more")
        torch.set_num_threads(self.threads)
        task = Glyphs()
        trunk = ConvTrunk(image_shape=task.image_shape, channels=(32, 32, 32), out="unit")
        plastic = PlasticLearner(modulated(trunk.n_features, task.n_out, n_hidden=64, alpha=5.0), trunk)
        network = mlp(trunk.n_features, task.n_out, hidden=(64,), transfer="tanh")
        maml = GradientLearner(network, trunk, rate=1.0, learn_rate=True, adapts=("layer0__out.w",))
        self._say(1, f"meta-training the {RULE}")
        run = self._train(plastic, task, RULE, self.run_dir)
        self._say(2, f"meta-training {MAML} on the same layers")
        other = self._train(maml, task, MAML, self._beside("maml"))
        self._say(3, "comparing both on the same held-out episodes, with controls")
        found = self._compare(run, other)
        self._say(4, "running the network again in Brian2")
        checked = in_brian2(plastic, run.params, task, self.seed)
        self._say(5, "recording held-out episodes, and writing the rule down as an equation")
        recording = self.run_dir / "recording.h5"
        record(recording, run, overwrite=True)
        distilled = distil(run, n_episodes=16)
        again = rerun(run, distilled, n_episodes=min(self.episodes, 200))
        self._say(6, "writing the report")
        table = evaluate(run, n_episodes=self.episodes)
        figure = few_shot_figure(run, table, self.run_dir / "quickstart.png")
        page = report(self._beside("report")).html
        if self.json:
            values: dict[str, Any] = {"run": str(self.run_dir), "figure": str(figure), "rule": run.rule_values()}
            values |= {"comparison": found.record["verdict"], "report": str(page), "recording": str(recording)}
            values |= {"crosscheck": None if checked is None else checked.as_dict(), "equation": distilled.equation}
            print_json({**values, "test_episodes": self.episodes, **table.as_dict()})
            return 0
        print_table("5-way 1-shot on glyphs never seen in training", table)
        self._tell(run, found, checked, distilled, again)
        print(f"\nreport:     {page}\nrun folder: {self.run_dir}\nfigure:     {figure}\nrecording:  {recording}")
        print(f"next:       neurometa evaluate {self.run_dir} --episodes 10000")
        print('            neurometa train --rule "dw = eta*m*pre*post - decay*w" --run runs/mine')
        print("            neurometa compare volatility --preset default")
        return 0

    def _say(self, k: int, text: str) -> None:
        if not self.json:
            say(f"[{k}/6] {text}")

    def _beside(self, name: str) -> Path:
        return self.run_dir.with_name(f"{self.run_dir.name}-{name}")

    def _train(self, learner: Learner, task: Glyphs, name: str, folder: Path) -> Run:
        with training_progress(name, task.score_name, self.json) as report_to:
            return meta_train(
                learner,
                task,
                Backprop(lr=3e-3, schedule="cosine"),
                n_iterations=self.iterations,
                n_tasks=32,
                seed=self.seed,
                validate_every=max(1, self.iterations // 10),
                run_dir=folder,
                resume=True,
                on_progress=report_to,
            )

    def _compare(self, run: Run, other: Run) -> Comparison:
        return compare(
            {RULE: run, MAML: other},
            out=self._beside("report"),
            n_episodes=min(self.episodes, 300),
            on_step=progress_of(self.json)[1],
            command="neurometa quickstart",
            title="Quickstart: a modulated rule against MAML",
            question=QUESTION,
        )

    def _tell(
        self, run: Run, found: Comparison, checked: Crosscheck | None, distilled: Distilled, again: Rerun
    ) -> None:
        """Print what every step found."""
        rule = run.learner.network.plastic[0].rule  # type: ignore[attr-defined]
        print(f"\nthe rule: dw/dt = {rule.dw},  d elig/dt = {rule.traces['elig'].text}")
        for name, value in run.rule_values().items():
            print(f"  {name} = {value:.4g}")
        print(f"\ncompared: {found.record['verdict']}")
        for finding in found.record["findings"]:
            print(f"          {finding}")
        said = "Brian2 is not installed here"
        if checked is not None:
            word = "agrees" if checked.agrees else "DISAGREES"
            said = f"Brian2 {word} over {checked.n_steps} steps, largest difference {checked.largest:.1e}"
        print(f"checked:  {said}")
        print(f"distilled: {distilled.equation} (R2 {distilled.r2:.4f})")
        print(f"          in the rule's place {again.distilled.mean:.3f}, the rule {again.original.mean:.3f}")
