"""A trained model as a file that every command opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.h5_file import write_h5


def trained_spec(spec: ModelSpec) -> ModelSpec:
    """What a model is after training: no weight is that of its source any more, and all are
    float32; what is for training only is not kept."""
    names = tuple(parameter.name for parameter in spec.parameters())
    source = replace(spec.source, dtypes={}, changed=names)
    plain = spec.with_config(drop_rate=0.0, attn_drop_rate=0.0, drop_path_rate=0.0)
    return replace(plain, source=source)


def write_trained(path: Path, spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> None:
    """Write a trained model.

    Args:
        path: the .h5; an existing file is overwritten.
        spec: of the model that was trained.
        weights: canonical name -> array in PyTorch's layout.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: LazyTensor.of(name, array) for name, array in weights.items()}
    write_h5(path, trained_spec(spec), tensors)
