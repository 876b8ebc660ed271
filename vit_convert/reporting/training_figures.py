"""Pictures of a training: the curves, and the worst mistakes with what the model looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.reporting.drawing import png_of
from vit_convert.training.history import EpochRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vit_convert.reporting.training_report import Mistake

DPI = 150
_TRAINING, _VALIDATION = "#2563b8", "#c2410c"
_COLUMNS = 6  # of mistakes


def curves_png(history: Sequence[EpochRow]) -> bytes:
    """A PNG of loss, accuracy and learning rate over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), dpi=DPI, facecolor="white", layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [row.epoch for row in history]
    _curves(loss, epochs, [r.loss for r in history], [r.validation_loss for r in history])
    loss.set_ylabel("cross-entropy")
    _curves(
        accuracy, epochs, [r.accuracy for r in history], [r.validation_accuracy for r in history]
    )
    accuracy.set_ylabel("accuracy, %")
    rate.plot(epochs, [r.learning_rate for r in history], color=_TRAINING)
    rate.set_ylabel("learning rate at the epoch's end")
    heads = [row.epoch for row in history if row.phase == "head"]
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.grid(color="0.9", linewidth=0.6)
        if heads and len(heads) < len(history):
            axes.axvspan(0.5, heads[-1] + 0.5, color="0.95", zorder=0)
            axes.annotate(
                "head alone", (0.02, 0.97), xycoords="axes fraction", va="top", fontsize=8
            )
    return png_of(figure)


def mistakes_png(mistakes: Sequence[Mistake]) -> bytes:
    """A PNG of pictures that were taken for another class, the most certain mistakes first, each
    with the attention over it."""
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    figure = Figure(
        figsize=(1.9 * columns + 0.3, 4.4 * rows), dpi=DPI, facecolor="white", layout="constrained"
    )
    grid: Any = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, mistake in enumerate(mistakes):
        row, column = divmod(place, columns)
        above, below = grid[2 * row][column], grid[2 * row + 1][column]
        above.imshow(mistake.pixels)
        title = f"{mistake.truth}\ntaken for {mistake.guess}, {mistake.probability:.0%}"
        above.set_title(title, fontsize=8, parse_math=False)
        below.imshow(mistake.pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        if mistake.saliency is not None:
            height, width = mistake.pixels.shape[:2]
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            below.imshow(
                mistake.saliency, cmap="inferno", alpha=0.55, extent=extent, interpolation="bicubic"
            )
        below.set_title(mistake.name, fontsize=6.5, color="0.4", parse_math=False)
    return png_of(figure)


def _curves(
    axes: Axes, epochs: Sequence[int], training: Sequence[float], validation: Sequence[float]
) -> None:
    axes.plot(epochs, training, color=_TRAINING, label="training", marker=".", markersize=4)
    if not np.isnan(validation).all():
        axes.plot(
            epochs, validation, color=_VALIDATION, label="validation", marker=".", markersize=4
        )
    axes.legend(fontsize=8, frameon=False)
