"""The images that a quantised model is calibrated on, and compared with its float32 on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.text.examples import example_tokens
from vit_convert.errors import UsageError
from vit_convert.images.decoding import ImageError, load_image
from vit_convert.images.folders import find_images
from vit_convert.images.preprocessing import normalise, to_pixels
from vit_convert.progress import Progress, counted, silent

_MOST = 512  # pictures of each part; ranges hardly change after a few hundred
_FEWEST = 16  # pictures in all; of half as many, one is an eighth already
_GENERATED = 16
_GRID = 5
_PROBES = 4


@dataclass(frozen=True)
class CalibrationImages:
    """Images as a TFLite file takes them, (n, height, width, channels): float32, normalised, or
    uint8 pixels.

    Attributes:
        images: they calibrate, and choose the layers that stay in float.
        held_out: they choose nothing, and measure the agreement.
        source: what the latter are, for people.
        unreadable: files of the folder that could not be read, and why.
    """

    images: np.ndarray
    held_out: np.ndarray
    source: str
    unreadable: tuple[str, ...] = ()


def calibration_images(
    folder: Path,
    spec: ModelSpec,
    as_pixels: bool,
    progress: Progress = silent,
) -> CalibrationImages:
    """Read the pictures of a folder, however it is nested, and hold one half of each class back; at
    most 512 for each half, spread evenly over the folder.

    Args:
        folder: the pictures.
        spec: the model, whose preprocessing is applied.
        as_pixels: leave them in 0..255, uint8.
        progress: told how many pictures are read.

    Raises:
        ImageError: there is no such folder, or no picture in it that can be read.
        UsageError: the model does not take RGB, or there are fewer than 16 pictures.
    """
    if spec.input().kind != "images":
        raise UsageError(
            f"the model takes {spec.input().name}, and no pictures",
            where="--calibration",
            expected="a model of pictures",
            hint="--precision int8-dynamic, which needs none",
        )
    config, preprocessing = spec.config, spec.preprocessing
    if config.in_channels != 3:
        raise UsageError(
            f"the model takes images of {config.in_channels} channels, and pictures are RGB",
            where="--calibration",
            expected="a model of RGB images",
            hint="--precision float16",
        )
    paths = find_images(folder)
    most = 2 * _MOST
    chosen = paths
    if len(paths) > most:
        chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, most).round().astype(int)]
    pixels, read, unreadable = [], [], []
    for path in counted(progress, "reading calibration pictures", chosen):
        try:
            pixels.append(to_pixels(load_image(path), config.image_size, preprocessing))
            read.append(path.relative_to(folder))
        except ImageError as error:
            unreadable.append(f"{path}: {error.what}")
    if not pixels:
        raise ImageError(
            f"none of its {len(chosen)} pictures can be read",
            where=str(folder),
            expected="at least one picture; a few hundred of the kind that the model will see",
        )
    if len(pixels) < _FEWEST:
        raise UsageError(
            f"holds {len(pixels)} pictures that can be read: too few to calibrate on one half and "
            "measure the agreement on the other",
            where=f"--calibration {folder}",
            expected=f"at least {_FEWEST}; a few hundred of the kind that the model will see",
            hint="--precision int8-dynamic without --calibration, which needs none",
        )
    images = np.stack(pixels)
    if not as_pixels:
        images = normalise(images, preprocessing)
    held_back = held_out(read)
    source = (
        f"{held_back.sum()} pictures of {folder}, which chose nothing "
        f"({(~held_back).sum()} others calibrated it"
        f"{f'; of {len(paths)}, spread evenly' if len(paths) > most else ''})"
    )
    return CalibrationImages(images[~held_back], images[held_back], source, tuple(unreadable))


def held_out(pictures: Sequence[Path]) -> np.ndarray:
    """Which pictures of a folder are held back: one half of each class, always the same.

    Args:
        pictures: paths relative to the folder. A subfolder in it is a class.

    Returns:
        (n,) bool. Both halves differ by one at most, in all and in each class.
    """
    rng = np.random.default_rng(0)
    classes: dict[str, list[int]] = {}
    for index, path in enumerate(pictures):
        classes.setdefault(path.parts[0] if len(path.parts) > 1 else "", []).append(index)
    order = [int(i) for members in classes.values() for i in rng.permutation(members)]
    held = np.zeros(len(order), bool)
    held[order[1::2]] = True
    return held


def generated_images(spec: ModelSpec, as_pixels: bool, count: int = _GENERATED) -> np.ndarray:
    """Smooth coloured patterns with some noise, always the same for a size.

    Grids of 5x5 random values are enlarged bicubically: most of a photograph's energy is in low
    frequencies too, while pure noise gives the same class for every image. For a text tower they
    are tokens, (count, context) int32.
    """
    config = spec.config
    if spec.input().kind == "tokens":
        return example_tokens(config, count)
    rng = np.random.default_rng(0)
    height, width = config.image_size
    images = np.empty((count, height, width, config.in_channels), np.uint8)
    for plane in (images[n, :, :, c] for n in range(len(images)) for c in range(images.shape[3])):
        grid = Image.fromarray(rng.integers(0, 256, (_GRID, _GRID), np.uint8))
        smooth = np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        plane[:] = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255)
    return images if as_pixels else _normalised(images, spec)


def probe_images(spec: ModelSpec, as_pixels: bool, count: int = _PROBES) -> np.ndarray:
    """Images of noise, for a size the same bit for bit everywhere and for ever; tokens for a text
    tower.

    Args:
        spec: the model.
        as_pixels: leave them in 0..255, uint8.
        count: how many, at most 4; the first ones.
    """
    config = spec.config
    if spec.input().kind == "tokens":
        return example_tokens(config, _PROBES)[:count]
    shape = (_PROBES, *config.image_size, config.in_channels)
    noise = hashlib.shake_256(b"vit-convert").digest(math.prod(shape))
    images = np.frombuffer(noise, np.uint8).reshape(shape)[:count]
    return images if as_pixels else _normalised(images, spec)


def _normalised(pixels: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """As the model takes them, also one that does not take RGB."""
    if spec.config.in_channels == len(spec.preprocessing.mean):
        return normalise(pixels, spec.preprocessing)
    return pixels.astype(np.float32) / np.float32(127.5) - 1
