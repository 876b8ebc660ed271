"""An int8 or int16 file, and how well it agrees with float32."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from vit_convert.exporters.options import CALIBRATED, Precision
from vit_convert.exporters.quantisation_report import (
    ENOUGH,
    Cost,
    KeptLayer,
    Measurement,
    QuantisationReport,
    difference_of,
)
from vit_convert.exporters.registry import SourceModel
from vit_convert.exporters.tflite.flatbuffer import LIMIT
from vit_convert.exporters.tflite.float32_reference import float32_reference
from vit_convert.exporters.tflite.keep_float import asked_for
from vit_convert.exporters.tflite.layer_search import Candidate, search
from vit_convert.exporters.tflite.model_metadata import add_measured
from vit_convert.exporters.tflite.opening import open_file
from vit_convert.exporters.tflite.quantisation import Layer, Mode, linear_layers
from vit_convert.exporters.tflite.writer import TfliteWriter
from vit_convert.progress import Progress

_SHOWN_COSTS = 5
_MOST_CARRIED = 2_000_000  # float32 values, so that their base64 is within `limits.JSON_BYTES`
# parameters of a model -> the number of probe images, and of generated ones, that float32 is run on
# where there are no calibration images: NumPy takes 1 s for four of a ViT-B and 2 s for one of a
# ViT-H, whose file is then compared on the probe image
_FEW_IMAGES = ((200_000_000, 4, 4), (500_000_000, 2, 2), (math.inf, 1, 0))


def write_uncalibrated(writer: TfliteWriter, path: Path, progress: Progress) -> QuantisationReport:
    """Write an int8-dynamic file without a float32 file beside it, and compare both on few images.

    The float32 outputs are computed in NumPy, with one weight in memory. The file carries those of
    the probe images, so that it can be told later whether a difference from the source is the
    quantisation's or the conversion's.
    """
    from vit_convert.exporters.tflite.calibration import (  # imports Pillow
        generated_images,
        probe_images,
    )

    spec, pixels = writer.spec, writer.options.embed_preprocessing
    kept = _asked_for(writer)
    size = sum(math.prod(p.shape) for p in spec.parameters())
    probes, count = next((p, g) for limit, p, g in _FEW_IMAGES if size <= limit)
    noise, generated = probe_images(spec, pixels, probes), generated_images(spec, pixels, count)
    inputs = np.concatenate([noise, generated])
    kind = "images" if spec.input().kind == "images" else "texts"
    progress(f"running float32 on generated {kind}")
    expected = writer.float32_outputs(inputs)
    wide = writer.lower()
    metadata = replace(
        writer.metadata(wide), float32_outputs=_carried(expected[:probes]), in_float=kept
    )
    in_float = {layer.layer for layer in kept}
    writer.write(path, "int8-dynamic", in_float, metadata, progress)
    progress(f"running the file on the same {kind}")
    compared = slice(probes, None) if count else slice(None)
    got = open_file(path).first_output(inputs[compared])
    difference = difference_of(metadata.output, expected[compared], got)
    measurement = Measurement(len(got), False, difference)
    add_measured(path, replace(metadata, measured=measurement))
    return QuantisationReport(
        measurement=measurement,
        source=f"{count} generated {kind}" if count else f"{probes} of noise",
        unreadable=(),
        size=path.stat().st_size,
        float_size=wide.model.data_size,
        in_float=kept,
    )


def write_calibrated(
    model: SourceModel, writer: TfliteWriter, path: Path, progress: Progress
) -> QuantisationReport:
    """Quantise with the help of calibration images, see what can be done where they disagree with
    float32, and measure the agreement on pictures that were held back.

    Unless the options say which layers stay in float, `search` chooses them where the calibration
    images agree on less than 99 %. Not of a float32 file beyond the limit of the format: with one
    layer quantised, it would be beyond it still.

    The file carries what float32 gives for the probe images, and what was measured; see
    `write_uncalibrated`.

    Args:
        model: its other precisions share what this one does.
        writer: of the model, with the options of the export.
        path: the file to write. The float32 file is written beside it.
        progress: told what is being done.
    """
    options = writer.options
    asked = _asked_for(writer)
    reference = float32_reference(model, options, path, progress)
    metadata = replace(
        reference.metadata, options=options, float32_outputs=_carried(reference.probed)
    )
    ranges = reference.ranges(progress) if options.precision in CALIBRATED else None
    work = Candidate(writer, reference, path, metadata, ranges, metadata.output)
    in_float = {kept.layer for kept in asked}
    plan: dict[Layer, Mode] = {
        layer: "float" if layer.name in in_float else _mode(layer, options.precision)
        for layer in reference.layers
    }
    progress("quantising")
    work.make(plan, asked)
    kept = asked
    costs: tuple[Cost, ...] = ()
    if options.keep_float == "auto":
        progress("comparing it with float32")
        outputs = work.outputs(reference.images)
        falls_short = work.difference(outputs).score < ENOUGH
        if falls_short and reference.path.stat().st_size < LIMIT:
            kept, costs = search(work, plan, outputs, progress)
    progress("measuring the agreement on pictures that chose nothing")
    found = work.between(reference.held_out_expected, work.outputs(reference.held_out))
    measurement = Measurement(len(reference.held_out), True, found)
    add_measured(path, replace(metadata, in_float=kept, measured=measurement))
    report = QuantisationReport(
        measurement=measurement,
        source=reference.source,
        unreadable=reference.unreadable,
        size=path.stat().st_size,
        float_size=reference.path.stat().st_size,
        in_float=kept,
    )
    return report if report.passed else replace(report, costs=costs[:_SHOWN_COSTS])


def _carried(outputs: np.ndarray) -> np.ndarray | None:
    """The outputs of as many probe images as metadata hold; None where they cannot hold one."""
    count = min(len(outputs), _MOST_CARRIED // outputs[0].size)
    return outputs[:count] if count else None


def _asked_for(writer: TfliteWriter) -> tuple[KeptLayer, ...]:
    """See `asked_for`."""
    return asked_for(writer.options.keep_float, linear_layers(writer.lower().model.tree))


def _mode(layer: Layer, precision: Precision) -> Mode:
    if precision == "int16x8" or (precision == "int8" and layer.inner):
        return "static"
    return "dynamic"
