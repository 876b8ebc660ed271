"""The float32 file that quantised files of a model are made from, and what it gives: made once for
all precisions of an export."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.registry import SourceModel
from vit_convert.exporters.tflite.opening import open_file
from vit_convert.exporters.tflite.quantisation import Layer, Ranges, calibrate, layers_of
from vit_convert.exporters.tflite.writer import TfliteWriter
from vit_convert.progress import Progress


@dataclass
class Float32Reference:
    """A float32 file, and what it gives for calibration pictures.

    Attributes:
        path: of the file.
        metadata: what it says of itself.
        layers: its linear layers, in the order of execution.
        images: (n, height, width, channels) as the file takes them, which calibrate and choose
            layers.
        expected: (n, ...), its first output for them.
        held_out: as `images`, pictures that choose nothing.
        held_out_expected: its first output for these.
        probed: its first output for the probe images.
        source: what the held-out pictures are, for people.
        unreadable: pictures that could not be read, and why.
    """

    path: Path
    metadata: Metadata
    layers: list[Layer]
    images: np.ndarray
    expected: np.ndarray
    held_out: np.ndarray
    held_out_expected: np.ndarray
    probed: np.ndarray
    source: str
    unreadable: tuple[str, ...]
    _ranges: Ranges | None = field(default=None, init=False)

    def ranges(self, progress: Progress) -> Ranges:
        """The ranges of its tensors, which are found when they are first asked for.

        Args:
            progress: told how many images are done.
        """
        if self._ranges is None:
            batch = self.metadata.options.batch_size
            size = batch if isinstance(batch, int) else 1
            self._ranges = calibrate(self.path, self.images, size, progress)
        return self._ranges


# of each model that is open, by the options that its precisions share
_made: WeakKeyDictionary[SourceModel, dict[ExportOptions, Float32Reference]] = WeakKeyDictionary()


def float32_reference(
    model: SourceModel, options: ExportOptions, path: Path, progress: Progress
) -> Float32Reference:
    """The float32 file for an export with calibration pictures.

    Args:
        model: while it is open, its next precision gets the same file.
        options: of the export.
        path: the quantised file. The float32 file is written beside it, where there is none yet.
        progress: told what is being done.

    Raises:
        ImageError, UsageError: see `calibration_images`.
    """
    shared = replace(options, precision="float32", keep_float="auto")
    known = _made.setdefault(model, {})
    found = known.get(shared)
    if found is None or not found.path.exists():  # it goes with the files of its export
        wide = path.with_name("of_float32.tflite")
        known[shared] = found = _make(TfliteWriter(model, shared), wide, progress)
    return found


def _make(writer: TfliteWriter, path: Path, progress: Progress) -> Float32Reference:
    from vit_convert.exporters.tflite.calibration import (  # imports Pillow
        calibration_images,
        probe_images,
    )

    options, spec = writer.options, writer.spec
    pixels = options.embed_preprocessing
    assert options.calibration is not None
    calibration = calibration_images(options.calibration, spec, pixels, progress)
    metadata = writer.write(path, "float32", progress=progress)
    progress("running float32 on the same images")
    opened = open_file(path)
    return Float32Reference(
        path,
        metadata,
        layers_of(path),
        calibration.images,
        opened.first_output(calibration.images),
        calibration.held_out,
        opened.first_output(calibration.held_out),
        opened.first_output(probe_images(spec, pixels)),
        calibration.source,
        calibration.unreadable,
    )
