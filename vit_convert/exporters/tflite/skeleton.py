"""The graph of a model in TFLite's format, without the weights.

The weights of the linear layers, which are all but a few percent of a model, are inputs of the
function that is converted, so that they never pass through the converter: it takes a second or two
whatever the size. `vit_convert.exporters.tflite.binding` makes constants of them afterwards. What
is small (biases, tokens, positions) and the convolution are constants here already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec, Parameter
from vit_convert.exporters.graph import image_spec, normalisation, output_endpoints, with_softmax
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.runtime.quiet_tensorflow import import_tensorflow, quiet

# CaiT's mixing of heads: a few numbers each
_SMALL = ("attn.proj_l.weight", "attn.proj_w.weight")


@dataclass(frozen=True)
class Skeleton:
    """What the converter made.

    Attributes:
        content: a .tflite file whose signature has the weights among its inputs and the blocks
            among its outputs.
        weights: names of those inputs -> the parameters they stand for, in Keras's layout.
        outputs: names of the model's outputs; logits, softmax or features first.
        blocks: names of the outputs that are the residual stream.
    """

    content: bytes
    weights: dict[str, Parameter]
    outputs: tuple[str, ...]
    blocks: tuple[str, ...]


def convert(
    spec: ModelSpec,
    weights: Mapping[str, np.ndarray],
    options: ExportOptions,
    input_range: InputRange,
) -> Skeleton:
    """Trace and convert a model.

    Args:
        spec: what the model is.
        weights: canonical name -> array in PyTorch's layout; those of linear layers are not read.
        options: what to export; the precision does not matter here.
        input_range: how pixels enter.

    Raises:
        UsageError: the options do not fit the model.
    """
    from vit_convert.models import forward
    from vit_convert.models.base import block_points

    tf = import_tensorflow()
    normalise = normalisation(spec, input_range)
    output_endpoints(spec, (), options)  # refuses what does not fit, before anything is traced
    parameters = spec.parameters()
    large = [p for p in parameters if _is_large(p)]
    small = {p.name: p for p in parameters if not _is_large(p)}
    outputs: list[str] = []
    blocks: list[str] = []

    def graph(images: Any, *matrices: Any) -> dict[str, Any]:
        tensors = {p.name: matrix for p, matrix in zip(large, matrices, strict=True)}
        for name, parameter in small.items():
            tensors[name] = tf.constant(parameter.to_keras(weights[name]))
        points = forward(spec, normalise(images), tensors)
        endpoints = output_endpoints(spec, points, options)
        outputs[:], blocks[:] = endpoints, block_points(points)
        named = {name: points[point] for name, point in endpoints.items()}
        named = with_softmax(named, endpoints, options)
        return named | {name: points[name] for name in blocks}

    batch = None if options.batch_size == "dynamic" else options.batch_size or 1
    dtype = "uint8" if options.embed_preprocessing else "float32"
    inputs = {f"weight_{i}": p for i, p in enumerate(large)}
    with quiet():
        function = tf.function(graph, autograph=False).get_concrete_function(
            image_spec(spec, batch, dtype),
            *(tf.TensorSpec(p.keras_shape, name=name) for name, p in inputs.items()),
        )
        # Without a trackable the converter freezes the graph, which takes more time and memory.
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function], tf.train.Checkpoint()
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        # Both spare the converter from rebuilding the file in Python, which takes a second: once to
        # note a few flags in it, once to look for equal constants.
        converter.exclude_conversion_metadata = True
        converter._experimental_use_buffer_offset = True
        content = converter.convert()
    return Skeleton(content, inputs, tuple(outputs), tuple(blocks))


def _is_large(parameter: Parameter) -> bool:
    return (
        parameter.kind == "linear"
        and parameter.name.endswith(".weight")
        and not parameter.name.endswith(_SMALL)
    )
