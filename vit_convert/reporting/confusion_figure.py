"""The confusion matrices of artifacts as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vit_convert.reporting.drawing import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
_NAMED = 40  # classes that still have room for a name
_COUNTED = 15  # classes that still have room for a number in each cell


class Counted(Protocol):
    """What a matrix is drawn of: an `Evaluation`, or what a training found; see these."""

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def images(self) -> int: ...  # noqa: D102
    @property
    def top1(self) -> float: ...  # noqa: D102
    @property
    def confusion(self) -> np.ndarray: ...  # noqa: D102
    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102


def confusion_png(results: Sequence[Counted]) -> bytes:
    """A PNG with a matrix for each artifact, of the classes that occur.

    A cell is coloured by the share of its row: of the pictures of that class.
    """
    from matplotlib.figure import Figure

    occurring = sum((r.confusion.sum(axis=0) + r.confusion.sum(axis=1) for r in results), start=0)
    classes = np.flatnonzero(occurring)
    side = min(max(0.36 * len(classes), 3.0), 9.0)
    figure = Figure(
        figsize=((side + 2.2) * len(results), side + 2.0),
        dpi=DPI,
        facecolor="white",
        layout="constrained",
    )
    for result, axes in zip(results, np.ravel(figure.subplots(1, len(results))), strict=True):
        _draw(result, classes, axes)
    return png_of(figure)


def _draw(result: Counted, classes: np.ndarray, axes: Axes) -> None:
    counts = result.confusion[np.ix_(classes, classes)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    title = f"{result.path.name}: {result.top1:.2f} % of {result.images} pictures"
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.set_xlabel("taken for", fontsize=9)
    axes.set_ylabel("class", fontsize=9)
    if len(classes) <= _NAMED:
        names = [result.labels[i] for i in classes]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7.5, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=7.5, parse_math=False)
    if len(classes) <= _COUNTED:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label("share of the class", fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
