"""The images that an artifact is verified on, as it takes them."""

from __future__ import annotations

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact
from vit_convert.images.preprocessing import normalise

_RANDOM_IMAGES = 4


def random_images(artifact: Artifact) -> np.ndarray:
    """Four normalised images, always the same: noise, and of whole pixels where the artifact takes
    pixels."""
    config = artifact.spec.config
    shape = (_RANDOM_IMAGES, *config.image_size, config.in_channels)
    rng = np.random.default_rng(0)
    if artifact.input_range == "normalised":
        return rng.standard_normal(shape, np.float32)
    return normalise(rng.integers(0, 256, shape, np.uint8), artifact.spec.preprocessing)


def to_input_range(images: np.ndarray, artifact: Artifact) -> tuple[np.ndarray, str]:
    """Normalised images as the artifact takes them, and a note where that may lose something.

    Images that were made of pixels become whole numbers again, exactly: an artifact that takes
    uint8 loses the fractions of others.
    """
    if artifact.input_range == "normalised":
        return images, ""
    preprocessing = artifact.spec.preprocessing
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    unit = images * std + mean
    if artifact.input_range == "0..1":
        return unit.astype(np.float32), ""
    pixels = unit * 255
    whole = np.rint(pixels)
    if np.abs(pixels - whole).max() < 0.01 and whole.min() >= 0 and whole.max() <= 255:
        return whole.astype(np.float32), ""
    note = (
        "the images are no whole pixels in 0..255: an artifact that takes uint8 cuts them off, and "
        "the difference includes that"
    )
    return pixels.astype(np.float32), note


def check_images(images: np.ndarray, artifact: Artifact) -> None:
    """Refuse images of another size than the artifact's.

    Raises:
        UsageError: they are.
    """
    config = artifact.spec.config
    expected = (*config.image_size, config.in_channels)
    if images.shape[1:] != expected:
        raise UsageError(
            f"the images are {images.shape[1:]}, and the artifact takes {expected}",
            where=str(artifact.path),
            expected="images of the artifact's (height, width, channels)",
            hint="--source CHECKPOINT, which is run on images of the right size",
        )
