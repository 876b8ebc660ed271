"""An int8 or int16 file, and how well it agrees with float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import CALIBRATED, Precision
from vit_convert.exporters.quantisation_report import (
    ENOUGH,
    Cost,
    Difference,
    Measurement,
    QuantisationReport,
    measure,
)
from vit_convert.exporters.tflite.flatbuffer import LIMIT
from vit_convert.exporters.tflite.model_metadata import add_measured, write_described
from vit_convert.exporters.tflite.opening import open_file
from vit_convert.exporters.tflite.quantisation import (
    OPERATION,
    Layer,
    Mode,
    Ranges,
    calibrate,
    layers_of,
    quantise,
)
from vit_convert.exporters.tflite.writer import TfliteWriter
from vit_convert.progress import Progress, counted

_FEW = 16  # images that single layers are tried on: those that differ most
_SHOWN_COSTS = 5
# parameters of a model -> the number of probe images, and of generated ones, that float32 is run on
# where there are no calibration images: NumPy takes 1 s for four of a ViT-B and 2 s for one of a
# ViT-H, whose file is then compared on the probe image
_FEW_IMAGES = ((200_000_000, 4, 4), (500_000_000, 2, 2), (math.inf, 1, 0))


@dataclass(frozen=True)
class _Work:
    """One export with calibration images.

    Attributes:
        writer: writes files whose weights alone are quantised.
        wide: the float32 file.
        path: where the quantised file is written, and tried.
        metadata: what it says of itself.
        inputs: the images that calibrate and choose layers.
        expected: first output of the float32 file for them.
        ranges: of its tensors; None where activations are not quantised.
    """

    writer: TfliteWriter
    wide: Path
    path: Path
    metadata: Metadata
    inputs: np.ndarray
    expected: np.ndarray
    ranges: Ranges | None

    @property
    def classes(self) -> bool:
        """Whether the outputs belong to classes."""
        return has_classes(self.metadata)

    def make(self, plan: Mapping[Layer, Mode]) -> None:
        """Write the file with these layers quantised; those that are not in the plan stay in
        float."""
        self.path.unlink(missing_ok=True)  # LiteRT may still have the last one mapped
        if self.ranges is not None:
            model = quantise(self.wide, plan, self.ranges, self.metadata.options.precision)
            write_described(self.path, model, self.metadata)
            return
        dynamic = {layer.name for layer, mode in plan.items() if mode == "dynamic"}
        kept = {layer.name for layer in layers_of(self.wide)} - dynamic
        self.writer.write(self.path, "int8-dynamic", kept, self.metadata)

    def outputs(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """The outputs of the written file for some of the images."""
        return first_output(open_file(self.path), self.inputs[rows])

    def difference(self) -> Difference:
        """Between the written file and float32."""
        return measure(self.expected, self.outputs(), self.classes)


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
    size = sum(math.prod(p.shape) for p in spec.parameters())
    probes, count = next((p, g) for limit, p, g in _FEW_IMAGES if size <= limit)
    noise, generated = probe_images(spec, pixels, probes), generated_images(spec, pixels, count)
    inputs = np.concatenate([noise, generated])
    progress("running float32 on generated images")
    expected = writer.float32_outputs(inputs)
    wide = writer.lower()
    metadata = replace(writer.metadata(wide), float32_outputs=expected[:probes])
    writer.write(path, "int8-dynamic", metadata=metadata, progress=progress)
    progress("running the file on the same images")
    compared = slice(probes, None) if count else slice(None)
    got = first_output(open_file(path), inputs[compared].astype(np.float32))
    difference = measure(expected[compared], got, has_classes(metadata))
    measurement = Measurement(len(got), False, difference)
    add_measured(path, replace(metadata, measured=measurement))
    return QuantisationReport(
        measurement=measurement,
        source=f"{count} generated images" if count else f"{probes} image of noise",
        unreadable=(),
        size=path.stat().st_size,
        float_size=wide.model.data_size,
    )


def write_calibrated(writer: TfliteWriter, path: Path, progress: Progress) -> QuantisationReport:
    """Quantise with the help of calibration images, see what can be done where they disagree with
    float32, and measure the agreement on pictures that were held back.

    Layers that the calibration images show to cost too much stay in float: as few of the costliest
    (1, 2, 4, ..., at most a quarter of all) as bring their agreement to 99 %; where none do, those
    that agree best. Not of a float32 file beyond the limit of the format: with one layer quantised,
    it would be beyond it still.

    The file carries what float32 gives for the probe images, and what was measured; see
    `write_uncalibrated`.

    Args:
        writer: of the model, with the options of the export.
        path: the file to write. The float32 file is written beside it.
        progress: told what is being done.
    """
    from vit_convert.exporters.tflite.calibration import (  # imports Pillow
        calibration_images,
        probe_images,
    )

    options, spec = writer.options, writer.spec
    pixels = options.embed_preprocessing
    assert options.calibration is not None
    calibration = calibration_images(options.calibration, spec, pixels, progress)
    wide = path.with_name(f"{path.stem}_of_float32.tflite")
    metadata = writer.write(wide, "float32", progress=progress)
    images, layers = calibration.images, layers_of(wide)
    batch = options.batch_size
    ranges = None
    if options.precision in CALIBRATED:
        ranges = calibrate(wide, images, batch if isinstance(batch, int) else 1, progress)
    progress("running float32 on the same images")
    inputs, source = images.astype(np.float32), open_file(wide)
    expected = first_output(source, inputs)
    outputs = first_output(source, probe_images(spec, pixels).astype(np.float32))
    metadata = replace(metadata, float32_outputs=outputs)
    work = _Work(writer, wide, path, metadata, inputs, expected, ranges)
    plan: dict[Layer, Mode] = {layer: _mode(layer, options.precision) for layer in layers}
    progress("quantising")
    work.make(plan)
    difference = work.difference()
    in_float: list[Cost] = []
    costs: list[Cost] = []
    if difference.score < ENOUGH and wide.stat().st_size < LIMIT:
        ranked = sorted(_costs(work, plan, progress), key=lambda item: -item[1].relative)
        count = _keep_some(work, plan, ranked, difference, progress)
        costs = [cost for _, cost in ranked]
        in_float = costs[:count]
    progress("measuring the agreement on pictures that chose nothing")
    held_out = calibration.held_out.astype(np.float32)
    wanted, got = (first_output(opened, held_out) for opened in (source, open_file(path)))
    found = measure(wanted, got, work.classes)
    measurement = Measurement(len(held_out), True, found)
    add_measured(path, replace(metadata, measured=measurement))
    report = QuantisationReport(
        measurement=measurement,
        source=calibration.source,
        unreadable=calibration.unreadable,
        size=path.stat().st_size,
        float_size=wide.stat().st_size,
        in_float=tuple(in_float),
    )
    return report if report.passed else replace(report, costs=tuple(costs[:_SHOWN_COSTS]))


def _mode(layer: Layer, precision: Precision) -> Mode:
    if precision == "int16x8" or (precision == "int8" and layer.inner):
        return "static"
    return "dynamic"


def has_classes(metadata: Metadata) -> bool:
    """Whether the outputs belong to classes."""
    return metadata.options.output != "features" and metadata.spec.config.num_classes > 0


def first_output(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    """Logits, probabilities or features."""
    return np.asarray(next(iter(artifact.run(inputs).values())))


def _costs(
    work: _Work, plan: Mapping[Layer, Mode], progress: Progress
) -> Iterator[tuple[Layer, Cost]]:
    """Quantise each layer alone, as the plan has it, and run the images on which the written file
    differs most. That file is lost."""
    distances = np.abs(work.expected - work.outputs()).max(axis=-1)
    rows = np.argsort(-distances, kind="stable")[:_FEW]
    step = "measuring what quantising each layer costs"
    for layer, mode in counted(progress, step, [*plan.items()]):
        work.make({layer: mode})
        found = measure(work.expected[rows], work.outputs(rows), work.classes)
        yield layer, Cost(OPERATION, layer.name, found.relative)


def _keep_some(
    work: _Work,
    plan: Mapping[Layer, Mode],
    ranked: Sequence[tuple[Layer, Cost]],
    difference: Difference,
    progress: Progress,
) -> int:
    """Write the file with as few of the costliest layers in float as make it agree well enough, or,
    if none do, with as many as make it agree best; gives how many."""

    def make(count: int) -> None:
        kept: dict[Layer, Mode] = {layer: "float" for layer, _ in ranked[:count]}
        work.make({**plan, **kept})

    best = (0, difference)
    for count in (2**i for i in range((len(ranked) // 4).bit_length())):
        progress(f"trying the costliest {count} of {len(ranked)} layers in float")
        make(count)
        found = work.difference()
        if _rank(found) > _rank(best[1]):
            best = (count, found)
        if found.score >= ENOUGH:
            return count
    make(best[0])
    return best[0]


def _rank(difference: Difference) -> tuple[float, float]:
    """Of files that agree on as many images, one whose outputs are not even similar is the worse;
    beyond that, similarity is not worth a layer in float."""
    return difference.score, min(100 * difference.cosine, ENOUGH)
