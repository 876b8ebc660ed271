"""An int8 file from a float32 one, and how well both agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.quantisation_report import (
    ENOUGH,
    Cost,
    Difference,
    QuantisationReport,
    measure,
)
from vit_convert.exporters.tflite.flatbuffer import LIMIT
from vit_convert.exporters.tflite.model_metadata import write_described
from vit_convert.exporters.tflite.quantisation import (
    OPERATION,
    Layer,
    Mode,
    Ranges,
    calibrate,
    layers_of,
    quantise,
)
from vit_convert.progress import Progress, counted

if TYPE_CHECKING:
    from vit_convert.exporters.tflite.calibration import CalibrationImages

_FEW = 16  # images that single layers are tried on: those that differ most
_SHOWN_COSTS = 5


@dataclass(frozen=True)
class _Work:
    """One export.

    Attributes:
        wide: the float32 file.
        path: where the quantised file is written, and tried.
        metadata: what it says of itself.
        inputs: the images that both are run on.
        expected: first output of the float32 file for them.
        ranges: of its tensors; None where activations are not quantised.
        open: opens a .tflite file.
    """

    wide: Path
    path: Path
    metadata: Metadata
    inputs: np.ndarray
    expected: np.ndarray
    ranges: Ranges | None
    open: Callable[[Path], Artifact]

    @property
    def classes(self) -> bool:
        """Whether the outputs belong to classes."""
        metadata = self.metadata
        return metadata.options.output != "features" and metadata.spec.config.num_classes > 0

    def make(self, plan: Mapping[Layer, Mode]) -> None:
        """Write the file with these layers quantised."""
        tree = quantise(self.wide, plan, self.ranges)
        self.path.unlink(missing_ok=True)  # LiteRT may still have the last one mapped
        write_described(self.path, tree, {}, self.metadata)

    def outputs(self, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """What the written file gives for some of the images."""
        return first_output(self.open(self.path), self.inputs[rows])

    def difference(self) -> Difference:
        """Between the written file and float32."""
        return measure(self.expected, self.outputs(), self.classes)


def write_quantised(
    wide: Path,
    path: Path,
    metadata: Metadata,
    calibration: CalibrationImages,
    open_file: Callable[[Path], Artifact],
    progress: Progress,
) -> QuantisationReport:
    """Quantise a float32 file, compare both, and see what can be done where they disagree.

    Layers that the calibration images show to cost too much stay in float: as few of the costliest
    (1, 2, 4, ..., at most a quarter of all) as bring the agreement to 99 %; where none do, those
    that agree best. Not of a float32 file beyond the limit of the format: with one layer quantised,
    it would be beyond it still.

    The file carries what float32 gives for a few images of noise, so that it can be told later
    whether a difference from the source is the quantisation's or the conversion's.

    Args:
        wide: the float32 file.
        path: the file to write.
        metadata: what it is to say of itself; its precision is int8 or int8-dynamic.
        calibration: the images.
        open_file: opens a .tflite file.
        progress: told what is being done.
    """
    from vit_convert.exporters.tflite.calibration import witness_images  # imports Pillow

    images, layers = calibration.images, layers_of(wide)
    static = metadata.options.precision == "int8"
    batch = metadata.options.batch_size
    ranges = None
    if static:
        ranges = calibrate(wide, images, batch if isinstance(batch, int) else 1, progress)
    progress("running float32 on the same images")
    inputs, source = images.astype(np.float32), open_file(wide)
    expected = first_output(source, inputs)
    witnesses = witness_images(metadata.spec, metadata.options.embed_preprocessing)
    outputs = first_output(source, witnesses.astype(np.float32))
    metadata = replace(metadata, float32_outputs=outputs)
    work = _Work(wide, path, metadata, inputs, expected, ranges, open_file)
    plan: dict[Layer, Mode]
    plan = {layer: "static" if static and layer.inner else "dynamic" for layer in layers}
    progress("quantising")
    work.make(plan)
    difference = work.difference()
    in_float: list[Cost] = []
    costs: list[Cost] = []
    if calibration.calibrated and difference.score < ENOUGH and wide.stat().st_size < LIMIT:
        ranked = sorted(_costs(work, plan, progress), key=lambda item: -item[1].relative)
        count, difference = _keep_some(work, plan, ranked, difference, progress)
        costs = [cost for _, cost in ranked]
        in_float = costs[:count]
    report = QuantisationReport(
        images=len(images),
        source=calibration.source,
        calibrated=calibration.calibrated,
        unreadable=calibration.unreadable,
        difference=difference,
        size=path.stat().st_size,
        float_size=wide.stat().st_size,
        in_float=tuple(in_float),
    )
    return report if report.passed else replace(report, costs=tuple(costs[:_SHOWN_COSTS]))


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
) -> tuple[int, Difference]:
    """Write the file with as few of the costliest layers in float as make it agree well enough, or,
    if none do, with as many as make it agree best; gives how many, and what differs then."""

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
            return best
    make(best[0])
    return best


def _rank(difference: Difference) -> tuple[float, float]:
    """Of files that agree on as many images, one whose outputs are not even similar is the worse;
    beyond that, similarity is not worth a layer in float."""
    return difference.score, min(100 * difference.cosine, ENOUGH)
