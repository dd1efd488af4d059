"""The figure of a few-shot run: an episode as the network saw it, how it learned, how it scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..analysis.figures import COLOURS, new_figure, plot_learning_curve, plot_scores, save_figure
from ..errors import SpecificationError
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

    Raises
    ------
    SpecificationError
        If the task is not one of images.
    """
    if run.task.image_shape is None:
        raise SpecificationError(f"the figure needs a task of images; {type(run.task).__name__} has none")
    figure, axes = new_figure(3, width=9.0, height=2.7)
    _draw_episode(axes[0, 0], run)
    plot_learning_curve(axes[0, 1], run.history, run.task.score_name)
    plot_scores(axes[0, 2], [(r.name, r.mean, r.low, r.high) for r in table.rows], run.task.score_name)
    axes[0, 2].set_title(f"{table.rows[0].n} held-out episodes")
    return save_figure(figure, path)


def _draw_episode(axis: Any, run: Run) -> None:
    """Draw the support images with their labels, and below them the queries with the network's answers."""
    leaf = next(iter(run.params.values()))
    episode = run.task.sample(generator(run.seed, "figure"), 1, "test", device=leaf.device, dtype=leaf.dtype)
    with torch.no_grad():
        answer = run.learner.respond(run.params, episode, run.task)[:, 0].argmax(-1).tolist()
    height, width = run.task.image_shape[1:]  # type: ignore[index]
    columns = 0
    for row, (part, given) in enumerate(((episode.support, None), (episode.scored, answer))):
        images = part.inputs["stimulus"][:, 0].reshape(-1, height, width).cpu()  # (time, h, w)
        truth = part.target[:, 0].argmax(-1).tolist()
        for column, (image, right) in enumerate(zip(images, truth, strict=True)):
            label = right if given is None else given[column]
            colour = "black" if given is None else "green" if label == right else "red"
            bottom = 2.6 - 1.5 * row
            box = (column, column + 0.92, bottom, bottom + 0.92)
            axis.imshow(1 - image, cmap="gray", vmin=0, vmax=1, extent=box)
            style = {"ha": "center", "va": "top", "size": 7, "color": COLOURS[colour]}
            axis.text(column + 0.46, bottom - 0.1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[label % 26], **style)
        columns = max(columns, len(truth))
    axis.set(xlim=(-0.1, columns + 0.1), ylim=(0.6, 4.1), title="seen once (top), then named (bottom)")
    axis.set_aspect("equal")
    axis.axis("off")
