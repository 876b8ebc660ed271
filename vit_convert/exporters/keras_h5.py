"""The Keras file as an export target: `torch2keras` writes .h5, tf-keras opens it and saves its own
.h5 and .keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.conversion.changes import adapted
from vit_convert.conversion.h5_file import ReadTensors, is_keras, open_keras
from vit_convert.exporters.artifact import Artifact, Outputs, in_batches
from vit_convert.exporters.graph import block_endpoints, entering
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.registry import Target
from vit_convert.exporters.timing import preparing
from vit_convert.runtime.quiet_tensorflow import import_tensorflow

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vit_convert.architectures.options import TrainingOptions
    from vit_convert.models import ConvertedModel


def load_model(
    path: str | Path,
    dtype: str | None = None,
    *,
    num_classes: int | None = None,
    labels: Sequence[str] = (),
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    **dropout: Unpack[TrainingOptions],
) -> ConvertedModel:
    """The tf-keras model of a file that `torch2keras` or its own `save` wrote, as it is or to be
    trained on.

    Args:
        path: the .h5 or .keras file; no code in it runs.
        dtype: Keras dtype policy, e.g. "mixed_float16"; the global policy by default.
        num_classes: of a new head, with fresh weights; 0 for none. The model's own head by default.
        labels: names of the new head's classes, as many as `num_classes`, which may be left out.
        image_size: another size of images, for which the position embedding is resampled.
        seed: of the new head's weights.
        dropout: `drop_rate`, `attn_drop_rate`, `drop_path_rate`, from 0 to below 1.

    Returns:
        a model of (n, height, width, channels), normalised, -> (n, classes) logits.

    Raises:
        ArtifactError: see `open_keras`.
        UsageError: an option is none that the model can have.
    """
    from vit_convert.models import build

    with open_keras(Path(path)) as (stored, tensors):
        spec, weights = adapted(
            stored,
            tensors,
            num_classes=num_classes,
            labels=labels,
            image_size=image_size,
            seed=seed,
            dropout=dropout,
        )
        model = build(spec, dtype=dtype)
        model.assign(ReadTensors(weights))
    return model


class OpenModel:
    """A Keras file as the source of artifacts; see `vit_convert.exporters.registry.SourceModel`."""

    def __init__(self, path: Path, spec: ModelSpec, tensors: Tensors) -> None:
        self._path = path
        self.spec = spec
        self.weights: Mapping[str, np.ndarray] = ReadTensors(tensors)

    @cached_property
    def keras(self) -> ConvertedModel:
        """The Keras model, in float32 whatever the global policy."""
        return load_model(self._path, dtype="float32")


@contextmanager
def open_model(path: Path) -> Iterator[OpenModel]:
    """Open a Keras file to make artifacts of it.

    Raises:
        ArtifactError: see `open_keras`.
    """
    with open_keras(path) as (spec, tensors):
        yield OpenModel(path, spec, tensors)


def _describe(path: Path) -> Metadata:
    with open_keras(path) as (spec, _):
        return _metadata(spec)


def _metadata(spec: ModelSpec) -> Metadata:
    options = ExportOptions()
    return Metadata("keras", spec, options, entering(spec, options, "normalised"), ("logits",))


def _open(path: Path) -> Artifact:
    model = load_model(path)
    spec = model.spec
    view = model.view(block_endpoints(model, spec.output()))
    graph = import_tensorflow().function(model)  # several times faster than layer by layer

    def run(images: np.ndarray) -> Outputs:
        return {"logits": graph(images, training=False).numpy()}

    def blocks(images: np.ndarray) -> Outputs:
        return {k: np.asarray(v) for k, v in view(images, training=False).items()}

    def attention(images: np.ndarray) -> Outputs:
        maps = model.view({point: point for point in model.attention_outputs().values()})
        return in_batches(
            lambda part: {
                name: value.numpy()
                for name, value in maps(part, training=False).items()
                if name != "logits"
            },
            images,
        )

    return _metadata(spec).artifact(path, run, blocks, static=None, attention=attention)


KERAS_H5 = Target(
    name="keras",
    title="Keras .h5 or .keras",
    filename=lambda stem, options: f"{stem}.h5",
    write=None,
    matches=is_keras,
    open=_open,
    describe=_describe,
    prepare=preparing(_open),
)
