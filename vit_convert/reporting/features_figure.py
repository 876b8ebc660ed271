"""A picture of what the patches of pictures have in common."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

_SIDE = 320  # pixels of the longer side of each tile
_GAP = 8
_MOST = 6  # pictures in a row


def features_png(pictures: Sequence[np.ndarray], colours: np.ndarray) -> bytes:
    """A PNG: each picture, and below it the colours of its patches.

    Args:
        pictures: the part of each that the model sees, (height, width, 3) uint8, all of one size.
        colours: (pictures, rows, columns, 3) in 0..1.
    """
    height, width = pictures[0].shape[:2]
    scale = _SIDE / max(height, width)
    tile = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = min(len(pictures), _MOST)
    lines = math.ceil(len(pictures) / columns)
    step = (tile[0] + _GAP, 2 * tile[1] + 2 * _GAP)
    sheet = Image.new("RGB", (columns * step[0] + _GAP, lines * step[1] + _GAP), "white")
    for place, (pixels, shades) in enumerate(zip(pictures, colours, strict=True)):
        line, column = divmod(place, columns)
        x, y = _GAP + column * step[0], _GAP + line * step[1]
        shown = Image.fromarray((255 * shades).round().astype(np.uint8))
        # each patch stays a square, so that nobody takes what is between them for seen
        sheet.paste(Image.fromarray(pixels).resize(tile, Image.Resampling.BICUBIC), (x, y))
        sheet.paste(shown.resize(tile, Image.Resampling.NEAREST), (x, y + tile[1]))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()
