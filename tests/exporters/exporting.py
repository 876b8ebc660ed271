"""What the tests of exporters share beside fixtures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from families import OPTIONS, PREPROCESSING, Family, small_cait, small_deit, small_vit

from vit_convert.exporters import Artifact

FAMILIES = {
    "vit": partial(small_vit, depth=2),
    "layer scale": partial(small_vit, depth=2, layer_scale=True),
    "average pool": partial(
        small_vit, depth=2, class_token=False, pool="avg", final_norm=False, fc_norm=True
    ),
    "deit": partial(small_deit, depth=2),
    "cait": partial(small_cait, depth=2),
    "average beside a class token": partial(
        small_vit, depth=1, pool="avg", final_norm=False, fc_norm=True, gelu="quick"
    ),
    "average, norm before": partial(small_vit, depth=1, pool="avg", gelu="tanh"),
    "no norm": partial(
        small_vit, depth=1, class_token=False, pool="avg", final_norm=False, layer_scale=True
    ),
    "headless": partial(small_vit, depth=1, num_classes=0),
    "one channel": partial(small_vit, depth=1, in_channels=1),
    "eva02": OPTIONS["eva02"],
    "dinov3": OPTIONS["dinov3"],
}
CLASSIFIERS = ("vit", "layer scale", "average pool", "deit", "cait")


@dataclass(frozen=True)
class Sample:
    """A model: in timm, as the .h5 that torch2keras would write, and in Keras."""

    family: Family
    h5: Path
    keras: Any
    images: np.ndarray
    timm_logits: np.ndarray

    def endpoints(self, names: dict[str, str]) -> dict[str, np.ndarray]:
        """What the Keras model has there for the images."""
        return {k: v.numpy() for k, v in self.keras.view(names)(self.images).items()}

    def blocks(self) -> dict[str, np.ndarray]:
        """The Keras model's tokens after the embeddings and each block."""
        return self.endpoints({name: name for name in self.family.spec.block_names()})


def centred(tokens: np.ndarray) -> np.ndarray:
    """Without their mean over the channels, which TFLite files do not carry along."""
    return tokens - tokens.mean(axis=-1, keepdims=True)


def relative(reference: np.ndarray, got: np.ndarray) -> float:
    """max |difference| / max |reference|"""
    assert reference.shape == got.shape
    return float(np.abs(reference - got).max() / np.abs(reference).max())


def as_input(artifact: Artifact, images: np.ndarray) -> np.ndarray:
    """Normalised images, brought to the artifact's input range."""
    unit = images * np.float32(PREPROCESSING.std) + np.float32(PREPROCESSING.mean)
    return {"normalised": images, "0..1": unit, "0..255": unit * 255}[artifact.input_range]
