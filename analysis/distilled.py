"""The short equation of a learned rule: its terms, and how well it moves the weights.

python analysis/distilled.py --source runs/mine
"""

from __future__ import annotations

import numpy as np
from _source import Drawn, Source, Unsuitable, plastic, script

from neurometa.analysis.figures import COLOURS
from neurometa.analysis.sheet import Sheet
from neurometa.distil import distil, rerun
from neurometa.errors import SpecificationError
from neurometa.learners import PlasticLearner


def draw(source: Source) -> Drawn:
    """Draw coefficients and inclusion probabilities."""
    run = source.run
    if not isinstance(run.learner, PlasticLearner):
        raise Unsuitable("the learner has no rule")
    try:
        found = distil(run, plastic(source.recording))
    except SpecificationError as error:
        raise Unsuitable(str(error)) from None
    again = rerun(run, found, n_episodes=200)
    rows = found.rows()
    sheet = Sheet(["coefficients", "probabilities"], 2)
    left, right = sheet.panels
    for k, (text, value, low, high, _) in enumerate(rows):
        left.axis.errorbar(value, k, xerr=[[value - low], [high - value]], fmt="o", ms=4, color=COLOURS["blue"])
        left.note(text, [value], [k], [low], [high])
    left.guide(x=0)
    left.axis.set_yticks(range(len(rows)), [row[0] for row in rows], size=7)
    left.axis.set_ylim(len(rows) - 0.5, -0.5)
    left.finish("a  terms of dw", "coefficient (95 % interval)", "", legend=False)
    order = np.argsort(-found.selection.probability)
    right.points("terms", range(len(order)), found.selection.probability[order], ms=3)
    right.guide(y=0.8, ls="--")
    right.finish("b  found in so many halves", "terms, in order", "inclusion probability", legend=False)
    return Drawn(
        sheet,
        f"{found.equation} gives {100 * found.r2_test:.1f} % of the variance of dw on other episodes, and in the "
        f"rule's place {again.distilled.mean:.3f} against {again.original.mean:.3f} ({again.score_name}); "
        f"{len(found.told)} of {len(found.terms)} terms cannot be told from others by these data.",
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
