"""RandAugment and TrivialAugment: one or a few random changes of a picture's colours or geometry.

Keras's own RandAugment changes all pictures of a batch in the same way, computes all changes to
keep a few, and turns by up to 180 degrees; so they are made here, for each picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vit_convert.training.operations import OPERATIONS, Fill

# (share of the highest magnitude, side of the picture) -> amount; whether its sign is random
Amount = tuple[Callable[[float, int], float], bool]


def _up_to(most: float) -> Amount:
    return (lambda share, side: share * most), True


_NOTHING: Amount = (lambda share, side: 0.0), False
_ALWAYS: dict[str, Amount] = {
    "identity": _NOTHING,
    "autocontrast": _NOTHING,
    "equalize": _NOTHING,
    "solarize": ((lambda share, side: 255.0 * (1 - share)), False),
}
# The space "wide" of TrivialAugment (arXiv:2103.10158, table 1), as in torchvision
TRIVIAL: dict[str, Amount] = {
    **_ALWAYS,
    **{name: _up_to(0.99) for name in ("brightness", "color", "contrast", "sharpness")},
    **{name: _up_to(0.99) for name in ("shear_x", "shear_y")},
    **{name: _up_to(32.0) for name in ("translate_x", "translate_y")},
    "rotate": _up_to(135.0),
    "posterize": ((lambda share, side: 8 - round(6 * share)), False),
}
# RandAugment's (arXiv:1909.13719), as in torchvision: magnitudes are counted to 30
RAND: dict[str, Amount] = {
    **_ALWAYS,
    **{name: _up_to(0.9) for name in ("brightness", "color", "contrast", "sharpness")},
    **{name: _up_to(0.3) for name in ("shear_x", "shear_y")},
    **{
        name: ((lambda share, side: share * side * 150 / 331), True)
        for name in ("translate_x", "translate_y")
    },
    "rotate": _up_to(30.0),
    "posterize": ((lambda share, side: 8 - round(4 * share)), False),
}
_MAGNITUDES = 30


def trivial_augment(pixels: np.ndarray, fill: Fill, rng: np.random.Generator) -> np.ndarray:
    """One operation of a random strength."""
    share = int(rng.integers(0, _MAGNITUDES + 1)) / _MAGNITUDES
    return _applied(pixels, TRIVIAL, share, fill, rng)


def rand_augment(
    pixels: np.ndarray, operations: int, magnitude: int, fill: Fill, rng: np.random.Generator
) -> np.ndarray:
    """So many random operations, all of the same strength, 0..30."""
    for _ in range(operations):
        pixels = _applied(pixels, RAND, magnitude / _MAGNITUDES, fill, rng)
    return pixels


def fill_of(mean: tuple[float, float, float]) -> Fill:
    """The colour of what comes in: the mean that normalisation makes zero, as in timm."""
    red, green, blue = (min(255, max(0, math.floor(255 * value + 0.5))) for value in mean)
    return red, green, blue


def _applied(
    pixels: np.ndarray,
    space: dict[str, Amount],
    share: float,
    fill: Fill,
    rng: np.random.Generator,
) -> np.ndarray:
    name = list(space)[int(rng.integers(len(space)))]
    amount_of, signed = space[name]
    side = pixels.shape[0] if name == "translate_y" else pixels.shape[1]
    amount = amount_of(share, side)
    if signed and rng.random() < 0.5:
        amount = -amount
    return OPERATIONS[name](pixels, amount, fill)
