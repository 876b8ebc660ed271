"""TFLite: builtin operations only, lowered from the folded model and written without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from vit_convert.exporters.options import CALIBRATED, ExportOptions
from vit_convert.exporters.quantisation_report import QuantisationReport
from vit_convert.exporters.registry import SourceModel, Target
from vit_convert.exporters.tflite.flatbuffer import is_tflite
from vit_convert.exporters.tflite.model_metadata import caveats
from vit_convert.exporters.tflite.opening import describe_file, open_file, prepare_file
from vit_convert.exporters.tflite.quantised import write_calibrated, write_uncalibrated
from vit_convert.exporters.tflite.writer import NAME, TfliteWriter
from vit_convert.progress import Progress


def _write(
    model: SourceModel, path: Path, options: ExportOptions, progress: Progress
) -> QuantisationReport | None:
    writer = TfliteWriter(model, options)
    writer.check_size(path)
    if options.precision in ("float32", "float16"):
        writer.write(path, options.precision, progress=progress)
        return None
    if options.precision in CALIBRATED or options.calibration is not None:
        return write_calibrated(model, writer, path, progress)
    return write_uncalibrated(writer, path, progress)


TFLITE = Target(
    name=NAME,
    title="TFLite",
    filename=lambda stem, options: f"{stem}_{options.precision}.tflite",
    write=_write,
    matches=is_tflite,
    open=open_file,
    describe=describe_file,
    prepare=prepare_file,
    caveats=caveats,
)
