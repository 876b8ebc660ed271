"""Parts of pictures, as a training sees them: random, and of the model's size."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image

from vit_convert.architectures import Preprocessing
from vit_convert.images.preprocessing import INTERPOLATIONS, Size

Box = tuple[int, int, int, int]  # left, top, right, bottom
_RATIO = (3 / 4, 4 / 3)  # width over height (arXiv:1409.4842)
_ATTEMPTS = 10


def random_box(width: int, height: int, least: float, rng: np.random.Generator) -> Box:
    """A part of at least `least` of the area, of random place, size and proportions, as
    torchvision's and timm's RandomResizedCrop draw it."""
    area = width * height
    low, high = math.log(_RATIO[0]), math.log(_RATIO[1])
    for _ in range(_ATTEMPTS):
        target = area * rng.uniform(least, 1.0)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = (int(rng.integers(0, room + 1)) for room in (width - w, height - h))
            return left, top, left + w, top + h
    # a picture longer and thinner than any part may be: the largest part in its middle
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def resized_crop(
    pixels: np.ndarray,
    size: Size,
    preprocessing: Preprocessing,
    least: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A random part of a picture (any height, any width, 3) uint8, resized to `size` (height,
    width)."""
    box = random_box(pixels.shape[1], pixels.shape[0], least, rng)
    how = INTERPOLATIONS[preprocessing.interpolation]
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), how, box=box))


def padded_crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (height, width, 3), shifted by up to an eighth of its sides; what comes in is its
    reflection."""
    rows, columns = (
        _shifted(side, int(rng.integers(0, 2 * (side // 8) + 1))) for side in pixels.shape[:2]
    )
    return pixels[rows][:, columns]


@cache
def _shifted(side: int, offset: int) -> np.ndarray:
    """Indices of the pixels that are seen of a row, padded with an eighth of its reflection."""
    margin = side // 8
    return np.pad(np.arange(side), margin, mode="reflect")[offset : offset + side]
