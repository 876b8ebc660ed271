"""The source checkpoint in the library that it came from: one file per library.

The libraries read the checkpoint's own tensors, and where they can its file, by their own rules: of
the package's renaming nothing is shared, so that it can be compared.
"""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.parity.sources.timm_source import TorchReference


class SourceModel(Protocol):
    """The source, in evaluation mode and float32."""

    @property
    def description(self) -> str:
        """For people: library and versions."""

    def run(self, images: np.ndarray) -> np.ndarray:
        """Normalised images (n, height, width, channels) -> logits or features."""

    def blocks(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Block name ("embeddings", "blocks.0", ...) -> (n, tokens, dim)."""


# library of a dialect, or the dialect itself -> the module whose `build` makes its model
_MODULES = {
    "torchvision": "torchvision_models",
    "transformers": "transformers_models",
    "torch": "torch_models",
    "clip": "timm_conversions",
    "dino": "timm_conversions",
    "mae": "timm_conversions",
    "dinov2": "timm_conversions",
    "dinov3": "timm_conversions",
    "google": "timm_conversions",
    "big_vision": "timm_conversions",
    "big_vision-scanned": "timm_conversions",
}


def source_model(
    spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool = False
) -> SourceModel:
    """The model of a checkpoint, in its own library where that can run it.

    A resampled position embedding or a rule file is run in timm, under canonical names: other
    libraries resample in their own ways, or do not know the names.

    Args:
        spec: of the converted model: it tells what nothing beside the tensors does.
        checkpoint: the source.
        ledger: where its tensors went.
        features: give pooled features instead of logits.

    Raises:
        MissingDependencyError: the library is not installed.
        UsageError: the source has no such output, or its tensors are not those of the spec's model.
    """
    dialect = ledger.dialect
    if spec.source.templates:
        make = importlib.import_module(f"{__name__}.zero_shot_models").build
        classifier: SourceModel = make(spec, checkpoint, ledger, features)
        return classifier
    if spec.input().kind == "tokens":
        build_tower = importlib.import_module(f"{__name__}.text_towers").build
        tower: SourceModel = build_tower(spec, checkpoint, ledger)
        return tower
    module = _MODULES.get(dialect.name) or _MODULES.get(dialect.library)
    resamples = dialect.architecture == "dense"
    if resamples:
        module = "linear_segmentation" if spec.config.head == "linear" else "transformers_depth"
    if module is None or (spec.source.changed and not resamples) or dialect.text:
        return TorchReference(spec, ledger.tensors, features)
    build = importlib.import_module(f"{__name__}.{module}").build
    model: SourceModel = build(spec, checkpoint, ledger, features or spec.config.num_classes == 0)
    return model
