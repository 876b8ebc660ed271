"""The changes of colours and geometry that policies choose from, as Pillow and timm make them.

What changes each value by itself is done by a table of 256 values, which gives what Pillow's
functions give in a fraction of their time: for small pictures, these take longer than decoding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

Fill = tuple[int, int, int]
# (picture (height, width, 3) uint8, amount, colour of what comes in) -> the same shape
Operation = Callable[[np.ndarray, float, Fill], np.ndarray]

_LEVELS = np.arange(256)


def _affine(pixels: np.ndarray, matrix: tuple[float, ...], fill: Fill) -> np.ndarray:
    image = Image.fromarray(pixels)
    how = Image.Resampling.BILINEAR
    return np.asarray(
        image.transform(image.size, Image.Transform.AFFINE, matrix, resample=how, fillcolor=fill)
    )


def _rotate(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    how = Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).rotate(amount, resample=how, fillcolor=fill))


def _color(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    return np.asarray(ImageEnhance.Color(Image.fromarray(pixels)).enhance(1.0 + amount))


def _sharpness(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    return np.asarray(ImageEnhance.Sharpness(Image.fromarray(pixels)).enhance(1.0 + amount))


def _blended(pixels: np.ndarray, grey: int, amount: float) -> np.ndarray:
    """Pillow's blend of one grey with the picture."""
    values = np.float32(grey) + np.float32(1.0 + amount) * (_LEVELS - grey).astype(np.float32)
    return values.clip(0, 255).astype(np.uint8)[pixels]


def _contrast(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    mean = np.asarray(Image.fromarray(pixels).convert("L")).mean(dtype=np.float64)
    return _blended(pixels, int(mean + 0.5), amount)


def _posterize(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    return pixels & np.uint8(256 - 2 ** (8 - int(amount)))


def _solarize(pixels: np.ndarray, amount: float, fill: Fill) -> np.ndarray:
    return np.where(int(amount) > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8)[pixels]


def _by_channel(
    pixels: np.ndarray, table_of: Callable[[np.ndarray], np.ndarray | None]
) -> np.ndarray:
    """Apply a table to each channel, made of how often each of its values occurs."""
    changed = pixels.copy()
    for channel in range(pixels.shape[-1]):
        table = table_of(np.bincount(pixels[..., channel].ravel(), minlength=256))
        if table is not None:
            changed[..., channel] = table.astype(np.uint8)[pixels[..., channel]]
    return changed


def _stretched(counts: np.ndarray) -> np.ndarray | None:
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    if high <= low:
        return None
    scale = 255.0 / (high - low)
    return np.trunc(_LEVELS * scale - low * scale).clip(0, 255)


def _equalized(counts: np.ndarray) -> np.ndarray | None:
    used = counts[counts > 0]
    step = (int(counts.sum()) - int(used[-1])) // 255
    if len(used) <= 1 or not step:
        return None
    return ((step // 2 + np.cumsum(counts) - counts) // step).clip(0, 255)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda pixels, amount, fill: pixels,
    "shear_x": lambda pixels, amount, fill: _affine(pixels, (1, amount, 0, 0, 1, 0), fill),
    "shear_y": lambda pixels, amount, fill: _affine(pixels, (1, 0, 0, amount, 1, 0), fill),
    "translate_x": lambda pixels, amount, fill: _affine(pixels, (1, 0, amount, 0, 1, 0), fill),
    "translate_y": lambda pixels, amount, fill: _affine(pixels, (1, 0, 0, 0, 1, amount), fill),
    "rotate": _rotate,
    "brightness": lambda pixels, amount, fill: _blended(pixels, 0, amount),
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda pixels, amount, fill: _by_channel(pixels, _stretched),
    "equalize": lambda pixels, amount, fill: _by_channel(pixels, _equalized),
}
