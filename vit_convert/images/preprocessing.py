"""Pictures as a checkpoint's authors saw them: resized, cropped and normalised.

Resizing and cropping equal timm's `create_transform(..., is_training=False)` with its crop modes
"center", which is torchvision's `Resize` and `CenterCrop` for square inputs, and "squash", which is
what transformers' image processors without a centre crop do.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from vit_convert.architectures.base import Preprocessing
from vit_convert.errors import UsageError
from vit_convert.images.decoding import ImageError, to_rgb
from vit_convert.runtime.limits import RESIZED_PIXELS

Size = tuple[int, int]

_SHOWN = 512  # pixels of the longer side of what people are shown

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def to_pixels(image: Image.Image, image_size: Size, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop, without normalising: what an artifact with embedded preprocessing takes.

    The shorter side (for an input that is not square: the side that needs the larger scale) is
    resized to that of `image_size` over `crop_pct`, and the centre is cut out; black is added where
    a `crop_pct` above 1 leaves the picture smaller than that. The crop mode "squash" resizes both
    sides to those of `image_size` over `crop_pct`, whatever the picture's proportions.

    Args:
        image: of any mode; `load_image` gives upright RGB.
        image_size: (height, width) of the result in pixels.
        preprocessing: its interpolation, crop_pct and crop_mode are used.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        UsageError: the size, the interpolation or crop_pct makes no sense.
        ImageError: the picture is too long and thin to be resized.
    """
    interpolation = INTERPOLATIONS.get(preprocessing.interpolation)
    if interpolation is None:
        raise UsageError(
            f"unknown interpolation {preprocessing.interpolation!r}",
            where="interpolation",
            expected=" or ".join(INTERPOLATIONS),
        )
    height, width = _resized_size((image.height, image.width), image_size, preprocessing)
    if height * width > (most := RESIZED_PIXELS.allowed()):
        raise ImageError(
            f"a picture of {image.width} x {image.height} pixels is too long and thin: it would be "
            f"resized to {width} x {height}",
            expected=f"at most {most} pixels after resizing, the limit `{RESIZED_PIXELS.name}`",
            hint="crop it first",
        )
    image = to_rgb(image, "the picture")
    if image.size != (width, height):
        image = image.resize((width, height), interpolation)
    top, left = (_offset(*sides) for sides in zip((height, width), image_size, strict=True))
    # Pillow fills with black what lies outside
    image = image.crop((left, top, left + image_size[1], top + image_size[0]))
    return np.array(image)


def shown_part(
    image: Image.Image, image_size: Size, seen_size: Size, preprocessing: Preprocessing
) -> np.ndarray:
    """The part of a picture that a model sees, for people: where the picture has more pixels than
    the model's input, several stand for one of the input's, up to 512 or so in all.

    Args:
        image: as `to_pixels` takes it.
        image_size: (height, width) of the model's input.
        seen_size: (height, width) of whole patches, from its upper left corner on.
        preprocessing: as `to_pixels` takes it.

    Returns:
        uint8 (times * seen height, times * seen width, 3), RGB; times is a whole number.

    Raises:
        UsageError, ImageError: as `to_pixels`.
    """
    needed = math.ceil(_SHOWN / max(image_size))
    times = max(1, min(needed, image.height // image_size[0], image.width // image_size[1]))
    pixels = to_pixels(image, (times * image_size[0], times * image_size[1]), preprocessing)
    return pixels[: times * seen_size[0], : times * seen_size[1]]


def normalise(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Scale 0..255 to 0..1, subtract the mean and divide by the standard deviation, in float32.

    Args:
        pixels: uint8 (..., width, 3), RGB.
        preprocessing: its mean and std are used.

    Returns:
        float32 (..., width, 3).
    """
    # Row by row and in place: NumPy is five times slower along an axis of three.
    mean, std = (
        np.tile(np.array(value, np.float32), pixels.shape[-2])
        for value in (preprocessing.mean, preprocessing.std)
    )
    values = pixels.reshape(*pixels.shape[:-2], -1).astype(np.float32)
    values /= np.float32(255)
    values -= mean
    values /= std
    return values.reshape(pixels.shape)


def preprocess(image: Image.Image, image_size: Size, preprocessing: Preprocessing) -> np.ndarray:
    """A model's input from a picture: `to_pixels`, then `normalise`.

    Returns:
        float32 (height, width, 3), RGB.

    Raises:
        UsageError, ImageError: as `to_pixels`.
    """
    return normalise(to_pixels(image, image_size, preprocessing), preprocessing)


def _resized_size(picture: Size, target: Size, preprocessing: Preprocessing) -> Size:
    """(height, width) to resize to, rounded as timm and torchvision do."""
    crop_pct = preprocessing.crop_pct
    if not (math.isfinite(crop_pct) and crop_pct > 0):
        raise UsageError(
            f"a crop_pct of {crop_pct} is impossible",
            where="crop_pct",
            expected="above 0, at most 1 as a rule",
        )
    scaled = tuple(math.floor(side / crop_pct) for side in target)
    if min(*target, *scaled) < 1:
        raise UsageError(
            f"a picture cannot be resized to {target[0]} x {target[1]} with crop_pct {crop_pct}",
            where="image_size",
            expected="at least one pixel per side",
        )
    if preprocessing.crop_mode == "squash":
        return scaled[0], scaled[1]
    height, width = picture
    if scaled[0] == scaled[1]:  # torchvision's Resize: the shorter side is exact, the other cut off
        if width <= height:
            return int(scaled[0] * height / width), scaled[0]
        return scaled[0], int(scaled[0] * width / height)
    ratio = min(height / scaled[0], width / scaled[1])  # timm's ResizeKeepRatio
    return round(height / ratio), round(width / ratio)


def _offset(side: int, crop: int) -> int:
    """The first pixel of torchvision's CenterCrop; negative where it would pad first."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
