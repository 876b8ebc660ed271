"""The images that an artifact is verified on, as it takes them."""

from __future__ import annotations

import numpy as np

from vit_convert.architectures.text.examples import example_tokens
from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact
from vit_convert.images.preprocessing import normalise

_RANDOM_IMAGES = 4


def random_images(artifact: Artifact) -> np.ndarray:
    """Four normalised images, always the same: noise, and of whole pixels where the artifact takes
    pixels; or the tokens of four texts, (4, context) int32."""
    entry = artifact.spec.input()
    if entry.kind == "tokens":
        return example_tokens(artifact.spec.config, _RANDOM_IMAGES)
    shape = (_RANDOM_IMAGES, *entry.shape)
    rng = np.random.default_rng(0)
    if artifact.input_range == "normalised":
        return rng.standard_normal(shape, np.float32)
    return normalise(rng.integers(0, 256, shape, np.uint8), artifact.spec.preprocessing)


def to_input_range(images: np.ndarray, artifact: Artifact) -> tuple[np.ndarray, str]:
    """Normalised images as the artifact takes them, and a note where that may lose something.

    Images that were made of pixels become whole numbers again, exactly: an artifact that takes
    uint8 loses the fractions of others.
    """
    if artifact.input_range in ("normalised", "tokens"):
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
    """Refuse images of another size than the artifact's, and tokens that it does not know.

    Raises:
        UsageError: they are.
    """
    entry = artifact.spec.input()
    if images.shape[1:] != entry.shape:
        raise UsageError(
            f"the {entry.name} are {images.shape[1:]}, and the artifact takes {entry.shape}",
            where=str(artifact.path),
            expected=f"{entry.name} of the artifact's ({', '.join(entry.axes)})",
            hint=f"--source CHECKPOINT, which is run on {entry.name} of the right size",
        )
    if entry.kind == "tokens":
        vocabulary = artifact.spec.config.vocab_size
        if images.min() < 0 or images.max() >= vocabulary:
            raise UsageError(
                f"there are tokens from {images.min()} to {images.max()}",
                where=str(artifact.path),
                expected=f"0 to {vocabulary - 1}, those of the model",
            )
