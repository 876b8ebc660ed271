"""From a folded model to a TFLite graph: one file for each architecture, a builder call for each
layer of the model."""

from __future__ import annotations

from dataclasses import dataclass

import vit_convert
from vit_convert.architectures import architecture, resolve
from vit_convert.exporters.graph import output_endpoints
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.tflite.builder import BATCH, Tensor
from vit_convert.exporters.tflite.flatbuffer import TfliteModel
from vit_convert.exporters.tflite.lowering.layers import Lowering, StoreWeight
from vit_convert.folding import FoldedModel


@dataclass(frozen=True)
class Lowered:
    """A model as a graph.

    Attributes:
        model: its graph, ready to be written.
        outputs: names of its outputs; the one that `ModelSpec.output` describes first.
    """

    model: TfliteModel
    outputs: tuple[str, ...]


def lower_model(model: FoldedModel, options: ExportOptions, store_weight: StoreWeight) -> Lowered:
    """Lower a folded model.

    Args:
        model: folded with `pixels` where the options embed preprocessing, and without a head where
            their output does not come from it; see `vit_convert.exporters.tflite.writer.read_part`.
        options: what to export; the precision is in `store_weight` alone.
        store_weight: how weights are stored.

    Raises:
        UsageError: the options do not fit the model.
    """
    spec = model.spec
    lower = resolve(architecture(spec.architecture).lowering)
    output = spec.output(options.output, options.block)
    g = Lowering(model, store_weight, options.attention, output.after_block)
    batch = BATCH if options.batch_size == "dynamic" else options.batch_size or 1
    entry = spec.input()
    shape = (batch, *entry.shape)
    if model.pixels and options.input_type == "uint8":
        inputs = g.cast(g.input(entry.name, shape, "uint8"), "float32", "pixels")
    else:
        inputs = g.input(entry.name, shape, entry.dtype)
    points = lower(g, inputs)
    outputs: dict[str, Tensor] = {}
    for name, point in output_endpoints(spec, points, options).items():
        outputs[name] = points[point]
        if point == output.endpoint:
            last = points[point]
            if output.unit == "probability":
                last = g.softmax(last, "probabilities")
            elif output.unit == "sigmoid":
                last = g.logistic(last)
            elif output.unit == "length":
                last = g.of_length_one(last, name)
            outputs[name] = g.reshape(last, (batch, *output.shape), name)
    made_by = f"vit-convert {vit_convert.__version__}"
    return Lowered(g.finish(outputs, made_by), tuple(outputs))
