"""The one graph that every TensorFlow target exports: images in, named outputs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import PUBLISHED_LOGITS, ModelSpec, architecture
from vit_convert.errors import UsageError
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.runtime.quiet_tensorflow import import_tensorflow

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel

_NAMES = {"logits": "logits", "softmax": "probabilities", "features": "features"}
_ENDPOINTS = {"logits": "logits", "softmax": "logits", "features": "features"}


def output_endpoints(
    spec: ModelSpec, endpoints: Iterable[str], options: ExportOptions
) -> dict[str, str]:
    """Output name -> endpoint of the model, with logits, softmax or features first.

    Args:
        spec: what the model is.
        endpoints: what it has.
        options: what to export.

    Raises:
        UsageError: softmax of a model without a head.
    """
    if options.output == "softmax" and not spec.config.num_classes:
        raise UsageError(
            "the model has no head, so that there are no probabilities",
            where="--output softmax",
            expected="a model with classes",
            hint="--output features",
        )
    point = _ENDPOINTS[options.output]
    if not options.attention:
        return {_NAMES[options.output]: point}
    maps = architecture(spec.architecture).published_names(endpoints)
    return {PUBLISHED_LOGITS: point, **maps}


def block_endpoints(model: ConvertedModel) -> dict[str, str]:
    """ "embeddings", "blocks.0", ...: the endpoints that tell where a difference begins."""
    return {name: name for name in model.spec.block_names()}


def trace(
    model: ConvertedModel,
    endpoints: dict[str, str],
    options: ExportOptions,
    input_range: InputRange,
) -> Any:
    """A `tf.function` (images, training=False) -> {output name: tensor}.

    Args:
        model: its variables are captured, not copied.
        endpoints: output name -> endpoint. The first output becomes probabilities where the options
            ask for softmax and the endpoint is the logits.
        options: what to export.
        input_range: of images (batch, height, width, channels), float32 or uint8.

    Raises:
        UsageError: the images are not RGB and would have to be normalised.
    """
    view = model.view(endpoints)
    normalise = normalisation(model.spec, input_range)

    def graph(images: Any, training: bool = False) -> dict[str, Any]:
        outputs = dict(view(normalise(images), training=training))
        return with_softmax(outputs, endpoints, options)

    return import_tensorflow().function(graph, autograph=False)


def with_softmax(
    outputs: dict[str, Any], endpoints: dict[str, str], options: ExportOptions
) -> dict[str, Any]:
    """The outputs with the first made probabilities, if it is logits and the options ask for it."""
    main, point = next(iter(endpoints.items()))
    if options.output != "softmax" or point != "logits":
        return outputs
    return {**outputs, main: import_tensorflow().nn.softmax(outputs[main])}


def image_spec(spec: ModelSpec, batch: int | None, dtype: str = "float32") -> Any:
    """The `tf.TensorSpec` of the input `images`."""
    config = spec.config
    shape = (batch, *config.image_size, config.in_channels)
    return import_tensorflow().TensorSpec(shape, dtype, name="images")


def normalisation(spec: ModelSpec, input_range: InputRange) -> Callable[[Any], Any]:
    """Images in an input range -> normalised images, in the graph.

    Raises:
        UsageError: the images are not RGB and would have to be normalised.
    """
    if input_range == "normalised":
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
