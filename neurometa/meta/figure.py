"""The figure of a few-shot run: an episode as the network saw it, how it learned, how it scores."""

from __future__ import annotations

from pathlib import Path

import torch

from ..analysis.figures import COLOURS, new_figure, plot_learning_curve, plot_scores, save_figure
from ..streams import generator
from .evaluate import Table
from .run import Run

__all__ = ["few_shot_figure"]


def few_shot_figure(run: Run, table: Table, path: str | Path) -> Path:
    """Draw an episode with the network's answers, the learning curve, and the scores with floor and controls.

    Parameters
    ----------
    run : Run
        A run on a task of images.
    table : Table
        From `evaluate`.
    path : path
        Where to write; the ending gives the format.

    Returns
    -------
    Path
        What was written.
    """
    figure, axes = new_figure(3, width=9.0, height=2.7)
    leaf = next(iter(run.params.values()))
    episode = run.task.sample(generator(run.seed, "figure"), 1, "test", device=leaf.device, dtype=leaf.dtype)
    with torch.no_grad():
        answer = run.learner.respond(run.params, episode, run.task)[:, 0].argmax(-1).tolist()
    if run.task.image_shape is None or episode.query is None:
        raise ValueError("the figure needs a task of images with queries")
    height, width = run.task.image_shape[1:]
    shown = [
        part.inputs["stimulus"][:, 0].reshape(-1, height, width).cpu() for part in (episode.support, episode.query)
    ]
    labels = [part.target[:, 0].argmax(-1).tolist() for part in (episode.support, episode.query)]
    axis = axes[0, 0]
    for row, (images, truth, texts) in enumerate(zip(shown, labels, (labels[0], answer), strict=True)):
        for column, (image, right, text) in enumerate(zip(images, truth, texts, strict=True)):
            box = (column, column + 0.92, 2.6 - 1.5 * row, 3.52 - 1.5 * row)
            axis.imshow(1 - image, cmap="gray", vmin=0, vmax=1, extent=box)
            colour = COLOURS["black"] if row == 0 else COLOURS["green" if text == right else "red"]
            axis.text(
                column + 0.46,
                box[2] - 0.1,
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[text % 26],
                ha="center",
                va="top",
                size=7,
                color=colour,
            )
    columns = max(map(len, shown))
    axis.set(xlim=(-0.1, columns + 0.1), ylim=(0.6, 4.1), title="seen once (top), then named (bottom)")
    axis.set_aspect("equal")
    axis.axis("off")
    plot_learning_curve(axes[0, 1], run.history, run.task.score_name)
    plot_scores(axes[0, 2], [(r.name, r.mean, r.low, r.high) for r in table.rows], run.task.score_name)
    axes[0, 2].set_title(f"{table.rows[0].n} held-out episodes")
    return save_figure(figure, path)
