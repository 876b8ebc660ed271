"""The search for linear layers that cost too much in int8, and stay in float."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vit_convert.architectures import OutputSpec
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.quantisation_report import (
    ENOUGH,
    Cost,
    Difference,
    KeptLayer,
    agreement_sentence,
    difference_of,
)
from vit_convert.exporters.tflite.float32_reference import Float32Reference
from vit_convert.exporters.tflite.model_metadata import write_described
from vit_convert.exporters.tflite.opening import open_file
from vit_convert.exporters.tflite.quantisation import OPERATION, Layer, Mode, Ranges, quantise
from vit_convert.exporters.tflite.writer import TfliteWriter
from vit_convert.progress import Progress, counted, duration

_log = logging.getLogger(__name__)
_FEW = 16  # images that single layers are tried on: those that differ most


@dataclass
class Candidate:
    """A quantised file that is written, and tried, with different layers in float.

    Attributes:
        writer: writes files whose weights alone are quantised.
        reference: the float32 file.
        path: where the quantised file is written.
        metadata: what it says of itself.
        ranges: of the tensors; None where activations are not quantised.
        output: what is compared, its first output.
        making: seconds that writing the file took last.
        running: seconds that an image took last.
    """

    writer: TfliteWriter
    reference: Float32Reference
    path: Path
    metadata: Metadata
    ranges: Ranges | None
    output: OutputSpec
    making: float = 0.0
    running: float = 0.0

    def make(self, plan: Mapping[Layer, Mode], kept: Sequence[KeptLayer] = ()) -> None:
        """Write the file with these layers quantised; those that are not in the plan stay in
        float.

        Args:
            plan: what becomes of which layer.
            kept: layers of which the file says that they are in float.
        """
        began = time.perf_counter()
        self.path.unlink(missing_ok=True)  # LiteRT may still have the last one mapped
        said = replace(self.metadata, in_float=tuple(kept))
        if self.ranges is not None:
            wide, precision = self.reference.path, self.metadata.options.precision
            write_described(self.path, quantise(wide, plan, self.ranges, precision), said)
        else:
            dynamic = {layer.name for layer, mode in plan.items() if mode == "dynamic"}
            in_float = {layer.name for layer in self.reference.layers} - dynamic
            self.writer.write(self.path, "int8-dynamic", in_float, said)
        self.making = time.perf_counter() - began

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """The outputs of the written file."""
        began = time.perf_counter()
        found = open_file(self.path).first_output(images)
        self.running = (time.perf_counter() - began) / len(images)
        return found

    def difference(self, outputs: np.ndarray) -> Difference:
        """Between outputs for the images that choose layers, and those of float32."""
        return self.between(self.reference.expected, outputs)

    def between(self, expected: np.ndarray, got: np.ndarray) -> Difference:
        """Between outputs of float32 and of the written file."""
        return difference_of(self.output, expected, got)


def search(
    work: Candidate, plan: Mapping[Layer, Mode], outputs: np.ndarray, progress: Progress
) -> tuple[tuple[KeptLayer, ...], tuple[Cost, ...]]:
    """Write the file with as few of the costliest layers in float as make it agree well enough, or,
    if none do, with as many as make it agree best.

    1, 2, 4, ... of the costliest are tried, at most a quarter of all. How long that takes is logged
    before it begins, from the time that the file took with all layers quantised.

    Args:
        work: the file, written with all layers quantised.
        plan: how.
        outputs: what it gives for the images that choose layers.
        progress: told what is being tried.

    Returns:
        the layers that are in float; what quantising each layer costs. Both the costliest first.
    """
    images = work.reference.images
    distances = np.abs(work.reference.expected - outputs).reshape(len(images), -1).max(axis=-1)
    rows = np.argsort(-distances, kind="stable")[:_FEW]
    tries = [2**i for i in range((len(plan) // 4).bit_length())]
    seconds = len(plan) * (work.making + len(rows) * work.running)
    seconds += len(tries) * (work.making + len(images) * work.running)
    difference = work.difference(outputs)
    _log.info(
        "%s %s that calibrate; the search for layers to keep in float takes up to %s "
        "(%d layers, each on %d pictures); --keep-float none does without",
        work.metadata.options.precision,
        agreement_sentence(difference.score, len(images), work.output.has_classes, "pictures", ""),
        duration(seconds),
        len(plan),
        len(rows),
    )
    ranked = sorted(_costs(work, plan, rows, progress), key=lambda item: -item[1].relative)
    kept = _keep_some(work, plan, ranked, tries, difference, progress)
    return kept, tuple(cost for _, cost in ranked)


def _costs(
    work: Candidate, plan: Mapping[Layer, Mode], rows: np.ndarray, progress: Progress
) -> Iterator[tuple[Layer, Cost]]:
    """Quantise each layer alone, as the plan has it, and run some of the images. The written file
    is lost."""
    images, expected = work.reference.images[rows], work.reference.expected[rows]
    step = "measuring what quantising each layer costs"
    for layer, mode in counted(progress, step, [*plan.items()]):
        work.make({layer: mode})
        found = work.between(expected, work.outputs(images))
        yield layer, Cost(OPERATION, layer.name, found.relative)


def _keep_some(
    work: Candidate,
    plan: Mapping[Layer, Mode],
    ranked: Sequence[tuple[Layer, Cost]],
    tries: Sequence[int],
    difference: Difference,
    progress: Progress,
) -> tuple[KeptLayer, ...]:
    """Write the file with as few of the costliest layers in float as make it agree well enough, or,
    if none do, with as many as make it agree best; gives these."""

    def make(count: int) -> tuple[KeptLayer, ...]:
        kept = tuple(KeptLayer.of(cost) for _, cost in ranked[:count])
        in_float: dict[Layer, Mode] = {layer: "float" for layer, _ in ranked[:count]}
        work.make({**plan, **in_float}, kept)
        return kept

    best = (0, difference)
    for count in tries:
        progress(f"trying the costliest {count} of {len(ranked)} layers in float")
        kept = make(count)
        found = work.difference(work.outputs(work.reference.images))
        if rank(found) > rank(best[1]):
            best = (count, found)
        if found.score >= ENOUGH:
            return kept
    return make(best[0])


def rank(difference: Difference) -> tuple[float, float]:
    """Of files that agree on as many images, one whose outputs are not even similar is the worse;
    beyond that, similarity is not worth a layer in float."""
    return difference.score, min(100 * difference.cosine, ENOUGH)
