"""Writes a converted model into .tflite files, one weight at a time."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from vit_convert.architectures import ModelSpec, OutputSpec, architecture
from vit_convert.errors import UsageError
from vit_convert.exporters.graph import check_rgb, entering
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions, Precision
from vit_convert.exporters.registry import SourceModel
from vit_convert.exporters.tflite.flatbuffer import LIMIT
from vit_convert.exporters.tflite.lowering import Lowered, lower_model
from vit_convert.exporters.tflite.model_metadata import write_described
from vit_convert.exporters.tflite.runtime import BuiltGraph, run
from vit_convert.exporters.tflite.weights import weight_store
from vit_convert.folding import FoldedModel, fold
from vit_convert.progress import Progress, silent

NAME = "tflite"  # of the target
_TABLES = 2**22  # bytes that a file has beside its weights, generously
# of a weight; channels have a scale each
_BYTES: dict[Precision, float] = {
    "float32": 4,
    "float16": 2,
    "int8-dynamic": 1.05,
    "int8": 1.05,
    "int16x8": 1.05,
}


def read_part(spec: ModelSpec, output: OutputSpec) -> ModelSpec:
    """The part of a model that an output comes from, so that no more of it is folded.

    Without the head, nothing reads the last norm, which folding would otherwise move into it.
    """
    if output.after_block is not None:
        up_to = architecture(spec.architecture).up_to_block
        return replace(spec, config=up_to(spec.config, output.after_block))
    if output.endpoint == "logits":
        return spec
    return replace(spec, config=architecture(spec.architecture).without_head(spec.config))


class TfliteWriter:
    """A model, folded for the options of an export.

    Attributes:
        folded: the model.
        options: of the export.

    Raises:
        UsageError: the options do not fit the model.
    """

    def __init__(self, model: SourceModel, options: ExportOptions) -> None:
        self.options = options
        self.spec = model.spec
        self._input_range = entering(
            model.spec, options, "0..255" if options.embed_preprocessing else "normalised"
        )
        pixels = options.embed_preprocessing
        if pixels:
            check_rgb(model.spec)
        read = read_part(model.spec, model.spec.output(options.output, options.block))
        self.folded: FoldedModel = fold(read, model.weights, pixels=pixels)

    def lower(
        self,
        precision: Precision = "float32",
        in_float: Collection[str] = (),
        options: ExportOptions | None = None,
    ) -> Lowered:
        """The graph.

        Args:
            precision: float32, float16 or int8-dynamic.
            in_float: linear layers that stay in float32 all the same.
            options: others than the export's.
        """
        return lower_model(self.folded, options or self.options, weight_store(precision, in_float))

    def metadata(self, lowered: Lowered) -> Metadata:
        """The metadata of a file with that graph."""
        return Metadata(
            NAME,
            self.spec,
            self.options,
            self._input_range,
            lowered.outputs,
            self.folded.stream_scale,
        )

    def write(
        self,
        path: Path,
        precision: Precision,
        in_float: Collection[str] = (),
        metadata: Metadata | None = None,
        progress: Progress = silent,
    ) -> Metadata:
        """Write a file of any size, and give what it says of itself.

        Args:
            path: where.
            precision, in_float: as `lower`.
            metadata: what it is to say; `metadata` of its graph by default.
            progress: told of each tensor.

        Raises:
            OSError: it cannot be written.
        """
        lowered = self.lower(precision, in_float)
        said = metadata or self.metadata(lowered)
        beyond = lowered.model.data_size >= LIMIT
        write_described(path, lowered.model, said, beyond_limit=beyond, progress=progress)
        return said

    def float32_outputs(self, images: np.ndarray) -> np.ndarray:
        """The first output of the float32 graph, computed in NumPy with one weight in memory.

        Args:
            images: (n, height, width, channels), or tokens (n, context), as the file takes them.

        Returns:
            (n, ...), as `ModelSpec.output` describes it.
        """
        options = replace(self.options, batch_size=len(images), attention=False)
        lowered = self.lower(options=options)
        outputs = run(BuiltGraph(lowered.model), {self.spec.input().name: images})
        return next(iter(outputs.values()))

    def check_size(self, path: Path) -> None:
        """Refuse a precision in which the file would be larger than a flatbuffer can be.

        Raises:
            UsageError: it would.
        """
        sizes = {name: self._estimated_size(name) for name in _BYTES}
        precision = self.options.precision
        if sizes[precision] < LIMIT:
            return
        fitting = [name for name, size in sizes.items() if size < LIMIT]
        raise UsageError(
            f"the weights are {sizes[precision] / 1e9:.2f} GB in {precision}, and a .tflite file "
            f"is at most {LIMIT / 1e9:.2f} GB (2 GiB)",
            where=path.name,
            expected="a precision that fits: "
            + (", ".join(f"{n} ({sizes[n] / 1e9:.2f} GB)" for n in fitting) or "there is none"),
            hint=" ".join(f"--precision {name}" for name in fitting[:1]) or "--saved-model",
        )

    def _estimated_size(self, precision: Precision) -> float:
        """Bytes of the file."""
        count = sum(math.prod(p.shape) for p in self.spec.parameters())
        return count * _BYTES[precision] + _TABLES
