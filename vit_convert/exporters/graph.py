"""The one graph that every TensorFlow target exports: images in, named outputs out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import PUBLISHED_LOGITS, ModelSpec, OutputSpec, architecture
from vit_convert.errors import UsageError
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.runtime.quiet_tensorflow import import_tensorflow

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel


def output_endpoints(
    spec: ModelSpec, endpoints: Collection[str], options: ExportOptions
) -> dict[str, str]:
    """Output name -> endpoint of the model; what the options ask for comes first.

    Args:
        spec: what the model is.
        endpoints: what it has.
        options: what to export.

    Raises:
        UsageError: the model has no such output, or has no attention maps beside it.
    """
    output = spec.output(options.output, options.block)
    if output.endpoint not in endpoints:
        raise UsageError(
            f"a {architecture(spec.architecture).title} does not give {output.name}",
            where=f"--output {options.output}",
            hint="--output logits",
        )
    if not options.attention:
        return {output.name: output.endpoint}
    if not architecture(spec.architecture).attention_names:
        raise UsageError(
            f"a {architecture(spec.architecture).title} gives no attention maps",
            where="--attention",
            hint="export without it",
        )
    if output.kind == "tokens":
        raise UsageError(
            "attention maps belong to what is made of all tokens",
            where="--attention --output tokens",
            expected="one of them",
        )
    maps = architecture(spec.architecture).published_names(endpoints)
    return {PUBLISHED_LOGITS: output.endpoint, **maps}


def block_endpoints(model: ConvertedModel, output: OutputSpec) -> dict[str, str]:
    """ "embeddings", "blocks.0", ...: the endpoints that tell where a difference of the output
    begins."""
    return {name: name for name in model.spec.blocks_before(output)}


def trace(
    model: ConvertedModel,
    endpoints: dict[str, str],
    finish: OutputSpec | None,
    input_range: InputRange,
) -> Any:
    """A `tf.function` (images, training=False) -> {output name: tensor}.

    Args:
        model: its variables are captured, not copied.
        endpoints: output name -> endpoint.
        finish: what is made of the first output: see `finished`; None where it is left as it is.
        input_range: of images (batch, height, width, channels), float32 or uint8; or tokens.

    Raises:
        UsageError: the images are not RGB and would have to be normalised.
    """
    view = model.view(endpoints)
    normalise = normalisation(model.spec, input_range)

    def graph(images: Any, training: bool = False) -> dict[str, Any]:
        outputs = dict(view(normalise(images), training=training))
        if finish is not None:
            main = next(iter(endpoints))
            outputs[main] = finished(outputs[main], finish)
        return outputs

    return import_tensorflow().function(graph, autograph=False)


def finished(tensor: Any, output: OutputSpec) -> Any:
    """The output that a tensor of the model becomes: as it is, its softmax, its sigmoids, or
    of length 1."""
    tf = import_tensorflow()
    if output.unit == "probability":
        return tf.nn.softmax(tensor)
    if output.unit == "sigmoid":
        return tf.nn.sigmoid(tensor)
    if output.unit == "length":
        return tensor / tf.norm(tensor, axis=-1, keepdims=True)
    return tensor


def input_spec(spec: ModelSpec, batch: int | None, dtype: str = "") -> Any:
    """The `tf.TensorSpec` of the input, of the model's own type by default."""
    entry = spec.input()
    return import_tensorflow().TensorSpec(
        (batch, *entry.shape), dtype or entry.dtype, name=entry.name
    )


def entering(spec: ModelSpec, options: ExportOptions, pixels: InputRange) -> InputRange:
    """How a model's input enters an artifact in which pixels enter like that.

    Raises:
        UsageError: preprocessing is to be embedded, and the model takes no pixels.
    """
    if spec.input().kind == "images":
        return pixels
    if options.embed_preprocessing:
        raise UsageError(
            f"the model takes {spec.input().name}, and no pixels",
            where="--embed-preprocessing",
            hint="export without it",
        )
    return "tokens"


def normalisation(spec: ModelSpec, input_range: InputRange) -> Callable[[Any], Any]:
    """Images in an input range -> normalised images, in the graph; tokens stay what they are.

    Raises:
        UsageError: the images are not RGB and would have to be normalised.
    """
    if input_range in ("normalised", "tokens"):
        return lambda images: images
    check_rgb(spec)
    tf = import_tensorflow()
    preprocessing = spec.preprocessing
    mean, std = (np.array(v, np.float32) for v in (preprocessing.mean, preprocessing.std))

    def normalise(images: Any) -> Any:
        pixels = tf.cast(images, tf.float32)
        if input_range == "0..255":
            pixels = pixels / 255.0
        return (pixels - mean) / std

    return normalise


def check_rgb(spec: ModelSpec) -> None:
    """Refuse to normalise images that are not RGB.

    Raises:
        UsageError: they are not.
    """
    channels, known = spec.config.in_channels, len(spec.preprocessing.mean)
    if channels != known:
        raise UsageError(
            f"the model takes images of {channels} channels, which the mean and the standard "
            f"deviation of {known} cannot normalise",
            where="preprocessing in the graph",
            expected="a model of RGB images",
            hint="--saved-model or --tflite without --embed-preprocessing",
        )
