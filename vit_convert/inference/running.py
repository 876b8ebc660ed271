"""One artifact on pictures: how they enter it, and class probabilities out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import Artifact
from vit_convert.images.decoding import load_image
from vit_convert.images.preprocessing import normalise, to_pixels


def prepare(paths: Sequence[Path], artifact: Artifact) -> np.ndarray:
    """Pictures as an artifact takes them: (n, height, width, 3) float32 in its input range.

    Raises:
        VitConvertError: a file cannot be read as a picture.
    """
    size, preprocessing = artifact.spec.config.image_size, artifact.spec.preprocessing
    pixels = [to_pixels(load_image(path), size, preprocessing) for path in paths]
    return as_input(np.stack(pixels), artifact)


def steps_of(artifact: Artifact) -> tuple[str, ...]:
    """Describe for people what `prepare` does to a picture."""
    height, width = artifact.spec.config.image_size
    how = artifact.spec.preprocessing
    scaled = [math.floor(side / how.crop_pct) for side in (height, width)]
    if how.crop_mode == "squash":
        sides = f"squashed to {scaled[0]} x {scaled[1]} pixels"
    elif height == width:
        sides = f"shorter side resized to {scaled[0]} pixels"
    else:
        sides = f"resized to cover {scaled[0]} x {scaled[1]} pixels"
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (how.mean, how.std))
    entering = {
        "normalised": f"(pixel / 255 - mean) / std, with mean {mean} and std {std}",
        "0..1": f"pixel / 255; the artifact applies mean {mean} and std {std}",
        "0..255": f"pixels in 0..255; the artifact applies mean {mean} and std {std}",
    }
    return (
        "turned upright as its EXIF orientation says, and converted to RGB",
        f"{sides} ({how.interpolation}, crop_pct {how.crop_pct:g})",
        f"centre of {height} x {width} pixels cut out",
        entering[artifact.input_range],
    )


def as_input(pixels: np.ndarray, artifact: Artifact) -> np.ndarray:
    """Pixels (n, height, width, 3) uint8 as float32 in the artifact's input range.

    Raises:
        UsageError: the artifact does not take RGB.
    """
    channels = artifact.spec.config.in_channels
    if channels != pixels.shape[-1]:
        raise UsageError(
            f"takes images of {channels} channels, and pictures have {pixels.shape[-1]}",
            where=str(artifact.path),
            expected="an artifact that takes RGB",
            hint="`vit_convert.open_artifact(...).run` with arrays of your own",
        )
    if artifact.input_range == "normalised":
        return normalise(pixels, artifact.spec.preprocessing)
    scale = 255 if artifact.input_range == "0..1" else 1
    return pixels.astype(np.float32) / np.float32(scale)


def check_classes(artifact: Artifact) -> None:
    """Refuse an artifact that gives no classes.

    Raises:
        UsageError: it gives something else.
    """
    if not artifact.output.has_classes:
        raise UsageError(
            f"gives {artifact.output.kind}, not classes",
            where=str(artifact.path),
            expected="an artifact that gives logits or softmax",
            hint="vit-convert features ARTIFACT IMAGE"
            if artifact.output.kind == "tokens"
            else "vit-convert export --output logits",
        )


def probabilities(artifact: Artifact, images: np.ndarray) -> np.ndarray:
    """Class probabilities (n, classes) of images in the artifact's input range.

    Raises:
        UsageError: the artifact gives no classes.
    """
    check_classes(artifact)
    return as_probabilities(artifact.first_output(images), artifact)


def as_probabilities(values: np.ndarray, artifact: Artifact) -> np.ndarray:
    """Class probabilities (n, classes) from what an artifact gives, which are classes."""
    return values if artifact.output.kind == "probabilities" else softmax(values)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., classes), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
