"""An artifact that was opened: a function from images to outputs, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vit_convert.architectures import ModelSpec, OutputSpec
from vit_convert.errors import UsageError
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.exporters.quantisation_report import Measurement

Outputs = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Outputs]

# Enough to keep all cores busy, and little enough for memory
DYNAMIC = 32


@dataclass(frozen=True)
class Repeatable:
    """An `Artifact.run` whose file can be opened again, to be run by several threads at a time.

    Attributes:
        run: what it is; by one thread at a time.
        again: opens the same file once more, for inferences on one core.
    """

    run: Run
    again: Callable[[], Run]

    def __call__(self, images: np.ndarray) -> Outputs:
        """As `Artifact.run`."""
        return self.run(images)


@dataclass(frozen=True)
class Artifact:
    """A model file or folder, opened.

    Attributes:
        path: where it is.
        kind: the name of its target.
        spec: what it is, from its metadata.
        options: what it was exported with.
        input_range: how pixels enter.
        run: images (n, height, width, channels) float32 in `input_range`, or tokens (n, context)
            int32, any n -> output name -> array (n, ...). The first output is what `output`
            describes. By one thread at a time; a `Repeatable` can be opened again for others.
        blocks: the same images -> "embeddings", "blocks.0", ... -> tokens (n, tokens, dim), for
            telling where a difference begins; None where the artifact cannot tell.
        attention: the same images -> "attention.0", ... (n, heads, tokens, tokens), and for CaiT
            "class_attention.0", ... (n, heads, 1, 1 + patches); None where the artifact does not
            give its attention maps.
        float32_outputs: where it is quantised, the first output of the float32 file that it was
            made of, for `vit_convert.exporters.tflite.calibration.probe_images`; else None.
        measured: where it is quantised, how well it agrees with its float32, as `export` measured;
            None in files that do not tell.
    """

    path: Path
    kind: str
    spec: ModelSpec
    options: ExportOptions
    input_range: InputRange
    run: Callable[[np.ndarray], Outputs]
    blocks: Callable[[np.ndarray], Outputs] | None = None
    attention: Callable[[np.ndarray], Outputs] | None = None
    float32_outputs: np.ndarray | None = None
    measured: Measurement | None = None

    @cached_property  # asked for with every picture
    def output(self) -> OutputSpec:
        """What its first output is."""
        return self.spec.output(self.options.output, self.options.block)

    def check_takes_pictures(self) -> None:
        """Raises UsageError for one that takes anything else."""
        entry = self.spec.input()
        if entry.kind != "images":
            raise UsageError(
                f"takes {entry.name} of texts, and no pictures",
                where=str(self.path),
                expected="an artifact of a model of pictures",
                hint="the image tower, vit-convert torch2keras CHECKPOINT without --tower text; "
                "a text tower is run by `vit_convert.open_artifact(...).run`",
            )

    def first_output(self, images: np.ndarray) -> np.ndarray:
        """What `output` describes, (n, ...), of images as `run` takes them, of any type."""
        typed = images.astype(self.spec.input().dtype, copy=False)
        return np.asarray(next(iter(self.run(typed).values())))


@dataclass(frozen=True)
class Inference:
    """One inference of an artifact, ready to be timed.

    Attributes:
        run: makes one, of random images, and waits until it is done.
        batch: how many images: 1, unless the artifact was exported with another batch size.
        operations: how many operations its graph has; None where they are not to be counted.
        delegated: how many of them run on XNNPACK's kernels; None as well.
    """

    run: Callable[[], object]
    batch: int
    operations: int | None = None
    delegated: int | None = None


def in_batches(
    run: Callable[[np.ndarray], Outputs], images: np.ndarray, static: int | None = None
) -> Outputs:
    """Concatenate what `run` gives for slices of `images`.

    Args:
        run: images (batch, ...) -> output name -> array (batch, ...).
        images: (n, ...), n >= 1.
        static: the only batch size that `run` takes, None if it takes any. The last slice is padded
            with zeros to it, and what comes of them is dropped.
    """
    size = static or DYNAMIC
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = static - len(part) if static else 0
        padding = [(0, missing)] + [(0, 0)] * (part.ndim - 1)
        parts.append(run(np.pad(part, padding) if missing else part))
    return {
        name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]
    }
