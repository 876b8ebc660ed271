"""Collects the facts that a report shows about an artifact, beside its parity."""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.errors import option_of
from vit_convert.exporters import Artifact, Metadata, describe_artifact, open_artifact
from vit_convert.exporters.summary import summary
from vit_convert.images.decoding import load_image
from vit_convert.images.folders import find_images
from vit_convert.images.preprocessing import to_pixels
from vit_convert.inference.attention import attention_of, look
from vit_convert.inference.benchmark import Benchmark, benchmark
from vit_convert.inference.running import as_input
from vit_convert.parity.recorded import read_reference
from vit_convert.progress import Progress, silent
from vit_convert.reporting.attention_figure import attention_png

if TYPE_CHECKING:
    from vit_convert.parity.result import VerifyResult

_RUNS = 30  # inferences timed


@dataclass(frozen=True)
class Subject:
    """One artifact of a report.

    Attributes:
        result: its parity, with a profile.
        summary: as `vit_convert.exporters.summary.summary`.
        operations: kind of operation -> how many; empty for what is no .tflite file.
        timing: how fast it is.
        attention: a PNG as base64, "" where there is none.
        no_attention: why there is none.
        commands: that make such an artifact.
    """

    result: VerifyResult
    summary: dict[str, Any]
    operations: dict[str, int]
    timing: Benchmark
    attention: str
    no_attention: str
    commands: tuple[str, ...]


def collect(
    result: VerifyResult,
    *,
    images: Path | None = None,
    reference: Path | None = None,
    progress: Progress = silent,
) -> Subject:
    """Look at an artifact that was verified.

    Args:
        result: of `verify(..., profile=True)`.
        images: the folder of pictures that it was verified on.
        reference: the recording that it was verified with.
        progress: told what is being done.

    Raises:
        ArtifactError: the artifact cannot be opened or run.
    """
    path = result.artifact
    metadata = describe_artifact(path)
    (timing,) = benchmark([path], runs=_RUNS, progress=progress)
    progress("drawing attention")
    picture = _picture(metadata.spec, images, reference)
    attention, reason = b"", "the artifact was exported without --attention"
    if picture is None:
        reason = "there is no picture: verify with --images or --reference"
    elif metadata.target == "keras" or len(metadata.outputs) > 1:
        attention, reason = _attention(open_artifact(path), *picture), ""
    return Subject(
        result=result,
        summary=summary(path, metadata),
        operations=_operations(path) if metadata.target == "tflite" else {},
        timing=timing,
        attention=base64.b64encode(attention).decode(),
        no_attention=reason,
        commands=commands(metadata, path),
    )


def commands(metadata: Metadata, path: Path) -> tuple[str, ...]:
    """The commands that make an artifact from its source."""
    spec, options = metadata.spec, metadata.options
    model = f"{Path(spec.source.file or 'CHECKPOINT').stem}.h5"
    convert = ["vit-convert", "torch2keras", spec.source.file or "CHECKPOINT", "-o", model]
    for name, provenance in spec.source.provenance.items():
        if provenance == "given":
            owner = spec.config if hasattr(spec.config, name) else spec.preprocessing
            convert += [option_of(name), _as_option(getattr(owner, name))]
    if (tower := architecture(spec.architecture).tower) != "image":
        convert += ["--tower", tower]
    if metadata.target == "keras":
        return (shlex.join(convert),)
    export = ["vit-convert", "export", model, option_of(metadata.target)]
    if metadata.target == "tflite":
        export += ["--precision", options.precision]
    if options.batch_size is not None:
        export += ["--batch-size", str(options.batch_size)]
    if options.output != "logits":
        export += ["--output", options.output]
    if options.block is not None:
        export += ["--block", str(options.block)]
    export += ["--attention"] * options.attention
    export += ["--embed-preprocessing"] * options.embed_preprocessing
    return shlex.join(convert), shlex.join(export)


def _as_option(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    separator = "x" if all(isinstance(part, int) for part in value) else ","
    return separator.join(f"{part:g}" for part in value)


def _operations(path: Path) -> dict[str, int]:
    from vit_convert.exporters.tflite.graph_reader import TfliteGraph

    return dict(Counter(operation.name for operation in TfliteGraph(path).operations).most_common())


def _picture(
    spec: ModelSpec, images: Path | None, reference: Path | None
) -> tuple[np.ndarray, str] | None:
    """(height, width, 3) uint8 and a name: the first of what was verified."""
    how = spec.preprocessing
    if images is not None:
        path = find_images(images)[0]
        return to_pixels(load_image(path), spec.config.image_size, how), path.name
    takes_pictures = spec.input().kind == "images"
    if reference is None or not takes_pictures or spec.config.in_channels != len(how.mean):
        return None
    recording = read_reference(reference)
    unit = recording.images[0] * np.array(how.std) + np.array(how.mean)
    name = recording.names[0] if recording.names else "the first recorded picture"
    return np.rint(unit * 255).clip(0, 255).astype(np.uint8), name


def _attention(artifact: Artifact, pixels: np.ndarray, name: str) -> bytes:
    maps = attention_of(artifact, as_input(pixels[None], artifact))
    return attention_png(pixels, look(artifact.spec, maps), name)
