"""TFLite: converted with builtin operations only, opened with LiteRT's interpreter."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.exporters.batches import in_batches
from vit_convert.exporters.graph import image_spec, output_endpoints, trace
from vit_convert.exporters.metadata import Metadata, foreign
from vit_convert.exporters.registry import Artifact, ExportOptions, InputRange, Outputs, Target
from vit_convert.exporters.tf_module import trackable
from vit_convert.exporters.tflite.flatbuffer import (
    damaged,
    is_tflite,
    read_entry,
    with_entry,
)
from vit_convert.tensorflow_quiet import import_tensorflow, quiet

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel

_BLOCK_OUTPUT = re.compile(r"^[^;]*/(?:(blocks(?:_token_only)?\.\d+)/add_1|pos_embed/add)$")


def _write(model: ConvertedModel, path: Path, options: ExportOptions) -> None:
    endpoints = output_endpoints(model, options)
    embedded = options.embed_preprocessing
    input_range: InputRange = "0..255" if embedded else "normalised"
    batch = None if options.batch_size == "dynamic" else options.batch_size or 1
    graph = trace(model, endpoints, options, input_range)
    images = image_spec(model, batch, "uint8" if embedded else "float32")
    metadata = Metadata(TFLITE.name, model.spec, options, input_range, tuple(endpoints))
    with quiet():
        converted = _convert(graph.get_concrete_function(images), model, options)
    path.write_bytes(with_entry(converted, metadata.to_json().encode()))


def _convert(function: Any, model: ConvertedModel, options: ExportOptions) -> bytes:
    tf = import_tensorflow()
    # Without the trackable the converter freezes the graph and the file gets no signature.
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], trackable(model, function)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if options.precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


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

    def once(images: np.ndarray) -> Outputs:
        outputs = runner(images=images)
        return {name: outputs[name] for name in metadata.outputs}

    def run(images: np.ndarray) -> Outputs:
        return in_batches(once, images.astype(dtype), static)

    def blocks(images: np.ndarray) -> Outputs:
        return in_batches(_keeping(path, tensors), images.astype(dtype), static)

    return Artifact(
        path,
        metadata.target,
        metadata.spec,
        metadata.options,
        metadata.input_range,
        run,
        blocks if tensors else None,
    )


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
    """ "embeddings", "blocks.0", ... -> tensor index; empty unless every one is found.

    The converter names a tensor after the Keras layer and operation that it comes from. A block's
    output is the second addition of its layer, which nothing is fused with because the next norm
    and the next residual branch both take it.
    """
    found: dict[str, list[int]] = {}
    for tensor in interpreter.get_tensor_details():
        match = _BLOCK_OUTPUT.search(tensor["name"])
        if match and len(tensor["shape"]) == 3:
            found.setdefault(match[1] or "embeddings", []).append(tensor["index"])
    config = metadata.spec.config
    expected = 1 + config.depth + getattr(config, "depth_token_only", 0)
    if len(found) != expected or any(len(indices) != 1 for indices in found.values()):
        return {}
    return {name: index for name, (index,) in found.items()}


def _keeping(path: Path, tensors: dict[str, int]) -> Callable[[np.ndarray], Outputs]:
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
