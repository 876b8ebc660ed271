"""TFLite: builtin operations only, written without passing the weights through the converter, and
opened with LiteRT's interpreter."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.exporters.metadata import Metadata, Run, foreign
from vit_convert.exporters.registry import (
    Artifact,
    ExportOptions,
    InputRange,
    Outputs,
    Precision,
    SourceModel,
    Target,
)
from vit_convert.exporters.tflite.binding import bind
from vit_convert.exporters.tflite.flatbuffer import (
    damaged,
    is_tflite,
    read_entry,
    write,
)
from vit_convert.exporters.tflite.model_metadata import attach_labels, describe
from vit_convert.exporters.tflite.skeleton import convert
from vit_convert.folding import fold
from vit_convert.tensorflow_quiet import quiet

_LIMIT = 2**31  # bytes: offsets in a flatbuffer are signed for some of its readers
_TABLES = 2**22  # bytes that a file has beside its weights, generously
_BYTES: dict[Precision, int] = {"float32": 4, "float16": 2}  # of a weight


def _write(model: SourceModel, path: Path, options: ExportOptions) -> None:
    embedded = options.embed_preprocessing
    input_range: InputRange = "0..255" if embedded else "normalised"
    spec, weights = model.spec, model.weights
    _check_size(spec, options.precision, path)
    if not spec.config.folded:
        if options.output == "features":  # else the last norm's parameters would go into the head
            spec = spec.with_config(num_classes=0)
        spec, weights = fold(spec, weights)
    skeleton = convert(spec, weights, options, input_range)
    bound = bind(skeleton, weights, options.precision)
    scale = spec.config.stream_scale
    metadata = Metadata(TFLITE.name, model.spec, options, input_range, skeleton.outputs, scale)
    describe(bound.tree, metadata)
    write(path, bound.tree, bound.contents)
    attach_labels(path, metadata)


def _check_size(spec: ModelSpec, precision: Precision, path: Path) -> None:
    """Raises UsageError if the file would be larger than a flatbuffer can be."""
    count = sum(math.prod(p.shape) for p in spec.parameters())
    sizes = {name: count * size + _TABLES for name, size in _BYTES.items()}
    if sizes[precision] < _LIMIT:
        return
    fitting = [name for name, size in sizes.items() if size < _LIMIT]
    raise UsageError(
        f"the weights are {sizes[precision] / 1e9:.2f} GB in {precision}, and a .tflite file is "
        f"at most {_LIMIT / 1e9:.2f} GB (2 GiB)",
        where=path.name,
        expected="a precision that fits: "
        + (", ".join(f"{n} ({sizes[n] / 1e9:.2f} GB)" for n in fitting) or "there is none"),
        hint=" ".join(f"--precision {name}" for name in fitting[:1]) or "--saved-model",
    )


def _open(path: Path) -> Artifact:
    content = read_entry(path)
    if content is None:
        raise foreign("a .tflite file", str(path), "--tflite")
    metadata = Metadata.from_json(content, str(path))
    interpreter = _interpreter(path)
    size = int(interpreter.get_input_details()[0]["shape_signature"][0])
    static = size if size > 0 else None
    dtype = interpreter.get_input_details()[0]["dtype"]
    runner = interpreter.get_signature_runner("serving_default")
    tensors = _block_tensors(interpreter, metadata)

    keeping = cache(lambda: _keeping(path, tensors))

    def run(images: np.ndarray) -> Outputs:
        return dict(runner(images=images.astype(dtype)))

    def blocks(images: np.ndarray) -> Outputs:
        return keeping()(images.astype(dtype))

    return metadata.artifact(path, run, blocks if tensors else None, static)


def _interpreter(path: Path, **options: Any) -> Any:
    """A LiteRT interpreter with its tensors allocated.

    Raises:
        ArtifactError: LiteRT refuses the file.
    """
    with quiet():
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(path), num_threads=os.cpu_count(), **options)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise damaged(path) from error
    return interpreter


def _block_tensors(interpreter: Any, metadata: Metadata) -> dict[str, int]:
    """ "embeddings", "blocks.0", ... -> tensor index; empty unless every one is found."""
    config = metadata.spec.config
    names = ["embeddings", *(f"blocks.{i}" for i in range(config.depth))]
    names += [f"blocks_token_only.{i}" for i in range(getattr(config, "depth_token_only", 0))]
    found = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    return {name: found[name] for name in names} if found.keys() >= set(names) else {}


def _keeping(path: Path, tensors: dict[str, int]) -> Run:
    """images -> name -> tensor inside the graph, by an interpreter that reuses no memory."""
    from ai_edge_litert.interpreter import OpResolverType

    interpreter = _interpreter(
        path,
        experimental_preserve_all_tensors=True,
        # XNNPACK would keep what is inside its part of the graph to itself
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    entrance = interpreter.get_input_details()[0]["index"]

    def run(images: np.ndarray) -> Outputs:
        interpreter.resize_tensor_input(entrance, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entrance, images)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in tensors.items()}

    return run


TFLITE = Target(
    name="tflite",
    title="TFLite",
    filename=lambda stem, options: f"{stem}_{options.precision}.tflite",
    write=_write,
    matches=is_tflite,
    open=_open,
)
