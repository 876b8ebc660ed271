"""RandAugment and TrivialAugment: one or a few random changes of a picture's colours or geometry.

Keras's own RandAugment changes all pictures of a batch in the same way, computes all changes to keep
a few, and turns by up to 180 degrees; so they are made here, picture by picture, with Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Fill = tuple[int, int, int]
# (picture, amount, colour of what comes in) -> picture
Operation = Callable[[Image.Image, float, Fill], Image.Image]
# (share of the highest magnitude, side of the picture) -> amount; whether its sign is random
Amount = tuple[Callable[[float, int], float], bool]


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    how = Image.Resampling.BILINEAR
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=how, fillcolor=fill)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, amount, fill: kind(image).enhance(1.0 + amount)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, amount, fill: image,
    "shear_x": lambda image, amount, fill: _affine(image, (1, amount, 0, 0, 1, 0), fill),
    "shear_y": lambda image, amount, fill: _affine(image, (1, 0, 0, amount, 1, 0), fill),
    "translate_x": lambda image, amount, fill: _affine(image, (1, 0, amount, 0, 1, 0), fill),
    "translate_y": lambda image, amount, fill: _affine(image, (1, 0, 0, 0, 1, amount), fill),
    "rotate": lambda image, amount, fill: image.rotate(
        amount, resample=Image.Resampling.BILINEAR, fillcolor=fill
    ),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "posterize": lambda image, amount, fill: ImageOps.posterize(image, int(amount)),
    "solarize": lambda image, amount, fill: ImageOps.solarize(image, int(amount)),
    "autocontrast": lambda image, amount, fill: ImageOps.autocontrast(image),
    "equalize": lambda image, amount, fill: ImageOps.equalize(image),
}


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


def trivial_augment(image: Image.Image, fill: Fill, rng: np.random.Generator) -> Image.Image:
    """One operation of a random strength."""
    share = int(rng.integers(0, _MAGNITUDES + 1)) / _MAGNITUDES
    return _applied(image, TRIVIAL, share, fill, rng)


def rand_augment(
    image: Image.Image, operations: int, magnitude: int, fill: Fill, rng: np.random.Generator
) -> Image.Image:
    """So many random operations, all of the same strength, 0..30."""
    for _ in range(operations):
        image = _applied(image, RAND, magnitude / _MAGNITUDES, fill, rng)
    return image


def fill_of(mean: tuple[float, float, float]) -> Fill:
    """The colour of what comes in: the mean that normalisation makes zero, as in timm."""
    red, green, blue = (min(255, max(0, math.floor(255 * value + 0.5))) for value in mean)
    return red, green, blue


def _applied(
    image: Image.Image,
    space: dict[str, Amount],
    share: float,
    fill: Fill,
    rng: np.random.Generator,
) -> Image.Image:
    name = list(space)[int(rng.integers(len(space)))]
    amount_of, signed = space[name]
    side = image.height if name == "translate_y" else image.width
    amount = amount_of(share, side)
    if signed and rng.random() < 0.5:
        amount = -amount
    return OPERATIONS[name](image, amount, fill)
