"""What a run needs: scores with one thing changed at a time, on the same test tasks.

python analysis/perturbed.py --source runs/mine
"""

from __future__ import annotations

from _source import Drawn, Source, Unsuitable, script

from neurometa.analysis.figures import plot_scores
from neurometa.analysis.sheet import Sheet
from neurometa.learners import PlasticLearner
from neurometa.perturb import perturb


def draw(source: Source) -> Drawn:
    """Draw paired differences with their intervals."""
    if not isinstance(source.run.learner, PlasticLearner):
        raise Unsuitable("the learner has no rule")
    rows = [row for row in perturb(source.run, n_episodes=500) if row.difference is not None]
    sheet = Sheet(["difference"], 1, height=0.8 + 0.19 * len(rows))
    (panel,) = sheet.panels
    plot_scores(panel.axis, [(row.name, *row.difference) for row in rows if row.difference], source.run.task.score_name)
    panel.guide(x=0)
    for k, row in enumerate(rows):
        assert row.difference is not None
        panel.note(row.name, [row.difference[0]], [k], [row.difference[1]], [row.difference[2]])
    better = "higher" if source.run.task.higher_is_better else "lower"
    panel.finish(
        "", f"{source.run.task.score_name} minus that of the run as it is ({better} is better)", "", legend=False
    )
    worst = max(
        (row for row in rows if row.hurts),
        key=lambda row: abs(row.difference[0] if row.difference else 0),
        default=None,
    )
    if worst is None or worst.difference is None:
        return Drawn(sheet, "Nothing that was changed hurts beyond its interval.")
    return Drawn(
        sheet,
        f"{sum(row.hurts for row in rows)} of {len(rows)} changes hurt; most of all '{worst.name}': "
        "{:+.3f} [{:+.3f}, {:+.3f}].".format(*worst.difference),
    )


if __name__ == "__main__":
    script(draw, __file__, __doc__ or "")
