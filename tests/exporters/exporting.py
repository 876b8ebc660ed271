"""What the tests of exporters share beside fixtures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from families import CLASSIFIERS, PREPROCESSING, Family
from families import MODELS as FAMILIES

from vit_convert.exporters import TARGETS, Artifact

__all__ = ["CLASSIFIERS", "FAMILIES", "TARGET_NAMES", "Sample", "as_input", "centred", "relative"]

# what `export` can be asked for
TARGET_NAMES = [target.name for target in TARGETS.values() if target.write]


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
