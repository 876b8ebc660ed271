"""The picture of what a model looks at: saliency over the picture, and the maps of the heads beside
it, as in figures 6 and 7 of the CaiT paper (arXiv:2103.17239)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vit_convert.inference.attention import AttentionView, Query
from vit_convert.reporting.drawing import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
# in inches
_TILE = 1.45  # the wider side of a head's map
_GAP = 0.12
_LABEL = 0.22  # a line of text above a map
_MARGIN = 0.2
_BETWEEN = 0.3  # blocks, and the saliency and the maps
_HEADING = 0.5
_FOOT = 0.6
_COLUMNS = 8  # of maps, at most
_COLOURS = "inferno"
_ASKS: dict[Query, str] = {
    "class token": "attention that the class token pays to each patch;",
    "mean over patches": "attention that patches pay to each patch, on average "
    "(this model does not pool by a class token);",
}


def attention_png(
    pixels: np.ndarray,
    view: AttentionView,
    heading: str,
    *,
    head: int | None = None,
) -> bytes:
    """A PNG of 150 dots per inch.

    Args:
        pixels: the part of the picture that the model sees, (height, width, 3) uint8.
        view: what the model looks at in it.
        heading: of the figure.
        head: show this one alone.
    """
    figure = _draw(pixels, view, heading, head)
    return png_of(figure)


def _draw(pixels: np.ndarray, view: AttentionView, heading: str, head: int | None) -> Figure:
    from matplotlib.figure import Figure

    height, width = pixels.shape[:2]
    tile = (_TILE * width / max(height, width), _TILE * height / max(height, width))
    shown = [[head] if head is not None else list(range(len(x.heads))) for x in view.layers]
    columns = _columns(max(map(len, shown)), len(shown))
    rows = [math.ceil(len(heads) / columns) for heads in shown]
    step = (tile[0] + _GAP, _LABEL + tile[1] + _GAP)
    maps = sum(rows) * step[1] - _GAP + (len(rows) - 1) * _BETWEEN + len(rows) * _LABEL
    # The picture and its saliency are about as high as two rows of maps
    enlarged = min(max((maps - 2 * _LABEL) / tile[1], 1.6), 2.6)
    large = (tile[0] * enlarged, tile[1] * enlarged)
    left = _MARGIN + 2 * large[0] + _GAP + _BETWEEN
    size = (
        left + max(columns, 2) * step[0] - _GAP + _MARGIN,  # two, for the names of blocks
        _HEADING + max(maps, large[1] + 2 * _LABEL) + _FOOT,
    )
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")

    def text(x: float, y: float, content: str, **style: Any) -> None:
        """A line, centred at y inches below the figure's top."""
        place = (x / size[0], 1 - y / size[1])
        figure.text(*place, content, va="center", parse_math=False, **style)

    def axes(x: float, y: float, extent: tuple[float, float], title: str) -> Axes:
        """A map whose upper left corner is (x, y) in inches, with a title above."""
        box = (x / size[0], 1 - (y + extent[1]) / size[1])
        made = figure.add_axes((*box, extent[0] / size[0], extent[1] / size[1]))
        made.set_axis_off()
        text(x, y - _LABEL / 2, title, fontsize=7.5)
        return made

    text(_MARGIN, _HEADING / 2, heading, fontsize=11, fontweight="bold")
    pairs = (
        ("picture", "the part that the model sees", pixels),
        ("saliency", view.saliency_of, _overlaid(pixels, view.saliency, large)),
    )
    for place, (title, detail, image) in enumerate(pairs):
        x = _MARGIN + place * (large[0] + _GAP)
        text(x, _HEADING + _LABEL / 2, title, fontsize=9, fontweight="bold")
        axes(x, _HEADING + 2 * _LABEL, large, detail).imshow(image, aspect="auto")
    top = _HEADING
    for layer, heads, count in zip(view.layers, shown, rows, strict=True):
        text(left, top + _LABEL / 2, layer.name, fontsize=9, fontweight="bold")
        top += _LABEL
        for place, index in enumerate(heads):
            row, column = divmod(place, columns)
            values = layer.heads[index]
            at = (left + column * step[0], top + row * step[1] + _LABEL)
            title = f"head {index}   max {values.max():.3f}"
            axes(*at, tile, title).imshow(values, cmap=_COLOURS, aspect="auto")
        top += count * step[1] - _GAP + _BETWEEN
    asks = _ASKS[view.query]
    note = f"{asks}\neach map is scaled from its smallest value to its largest"
    text(_MARGIN, size[1] - _FOOT / 2, note, fontsize=7.5, color="0.35")
    return figure


def _overlaid(pixels: np.ndarray, saliency: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """The picture in grey, coloured where the saliency is, at the figure's resolution.

    Returns:
        (height, width, 3) float in 0..1
    """
    from matplotlib import colormaps

    extent = (round(size[0] * DPI), round(size[1] * DPI))
    grey = Image.fromarray(pixels).convert("L").resize(extent, Image.Resampling.BOX)
    low, high = float(saliency.min()), float(saliency.max())
    scaled = (saliency - low) / ((high - low) or 1.0)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(extent, Image.Resampling.BICUBIC)
    heat = np.asarray(smooth).clip(0, 1)
    alpha = (0.3 + 0.5 * heat)[..., None]
    return (1 - alpha) * np.asarray(grey)[..., None] / 255 + alpha * colormaps[_COLOURS](heat)[
        ..., :3
    ]


def _columns(heads: int, layers: int) -> int:
    """Choose the number of columns.

    Where several blocks are shown, each head has a column. Otherwise there are somewhat more
    columns than rows, and the last row is full if possible.
    """
    if layers > 1 or heads <= 4:
        return min(heads, _COLUMNS)
    return min(range(3, _COLUMNS + 1), key=lambda n: (-heads % n, abs(n - math.sqrt(1.5 * heads))))
