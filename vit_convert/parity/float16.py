"""A .tflite file computed as a phone's GPU does, in float16, and how its blocks stand that.

`vit_convert.exporters.tflite.runtime.arithmetic` says what is emulated and what is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import Artifact, Outputs, in_batches
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.tflite.flatbuffer import read_entry
from vit_convert.exporters.tflite.graph_reader import Operation
from vit_convert.exporters.tflite.runtime import FLOAT16, FLOAT32, FileGraph, run, trace
from vit_convert.exporters.tflite.runtime.graph import DTYPES
from vit_convert.parity.block_ranges import LARGEST, BlockRange, Float16Profile
from vit_convert.parity.compare import TOLERANCES
from vit_convert.parity.result import VerifyResult
from vit_convert.progress import Progress

# Of the logits, relative as always; twice the largest seen. 86 randomised models (ViT, LayerScale,
# average pooling, DeiT, CaiT; 2 to 24 blocks, width 36 to 192, 3 seeds each; and one of each option
# that ViT's descendants added), 36 of them with float16 weights, too, differed from PyTorch's
# float32 by 2.5e-3 in the median and 9.3e-3 at most. One rounding to float16 is up to 4.9e-4.
TOLERANCE = 0.02

# What they give is what a block has read out of the residual stream.
_LINEAR = ("FULLY_CONNECTED", "CONV_2D")
Check = Callable[[Artifact, "float | None"], VerifyResult]


def verify_in_float16(
    artifact: Artifact, num_images: int, check: Check, progress: Progress
) -> VerifyResult:
    """Compare a .tflite file that is computed in float16 with a reference.

    Args:
        artifact: opened as always.
        num_images: how many the reference has.
        check: compares an artifact, given the tolerance that its arithmetic needs by default (None:
            that of the artifact's precision).
        progress: told what is being done.

    Raises:
        UsageError: the artifact is no .tflite file.
    """
    step = "computing in float16"
    emulated, recorder = in_float16(
        artifact, lambda done: progress(step, min(done, num_images), num_images)
    )
    result = check(emulated, max(TOLERANCE, TOLERANCES[artifact.options.precision]))
    profile = recorder.profile()
    result = replace(result, arithmetic="float16", float16=profile)
    if result.comparison.passed:
        return result
    blame = (
        "the same file is right in float32: a GPU that computes in float16 gets it wrong"
        if check(artifact, None).comparison.passed
        else "the same file differs in float32, too"
    )
    note = f"{blame}; {result.note}" if result.note else blame
    if profile.first_bad is None:
        return replace(result, note=note)
    return replace(result, note=note, where=str(profile.first_bad), first_difference=None)


def in_float16(
    artifact: Artifact, told: Callable[[int], None] = lambda done: None
) -> tuple[Artifact, Float16Recorder]:
    """A .tflite file that is computed in float16 from now on, and what records its blocks.

    Every image that is run is computed in float32 beside that, which is what blocks are compared
    with.

    Args:
        artifact: opened as always.
        told: is told how many images are done.

    Raises:
        UsageError: the artifact is no .tflite file.
    """
    if artifact.kind != "tflite":
        raise UsageError(
            f"only TFLite files are computed in float16, and this is a {artifact.kind} artifact",
            where="--arithmetic float16",
            expected="a .tflite file",
            hint="vit-convert export MODEL.h5 --tflite",
        )
    recorder = Float16Recorder(artifact, told)
    blocks = recorder.blocks if recorder.tensors else None
    return replace(artifact, run=recorder.run, blocks=blocks), recorder


class Float16Recorder:
    """Runs a file in float16 and keeps what its blocks' values are.

    Attributes:
        tensors: block -> the tensor that leaves it; empty unless the file names all of them.
    """

    def __init__(self, artifact: Artifact, told: Callable[[int], None]) -> None:
        self._told, self._done = told, 0
        self.metadata = Metadata.from_json(read_entry(artifact.path) or b"", str(artifact.path))
        self.graph = FileGraph(artifact.path)
        (self._input,) = self.graph.inputs
        entry = self.graph.reader.main.tensors[self._input]
        sizes = entry.shape if entry.shapeSignature is None else entry.shapeSignature
        self._batch = max(int(sizes[0]), 1)  # -1 is any
        self._dtype = DTYPES[self.graph.tensors[self._input].type]
        operations = self.graph.reader.operations
        self._places = _places(self.graph, operations)
        config = self.metadata.spec.config
        count = 1 + config.depth + getattr(config, "depth_token_only", 0)
        found = self.graph.reader.blocks()
        self.tensors = {block: self.graph.tensors[i].name for block, i in found.items()}
        if len(self.tensors) != count:
            self.tensors = {}
        # what leaves each block: the tensor of its name, else the last one in it
        last = {place.block: name for name, place in self._places.items()}
        self._leaving = {last[block]: block for block in last} | {
            tensor: block for block, tensor in self.tensors.items()
        }
        self._ranges: dict[str, BlockRange] = {}

    def run(self, images: np.ndarray) -> Outputs:
        """As `Artifact.run`, in float16; remembers the ranges."""
        outputs = in_batches(self._run, images.astype(self._dtype), self._batch)
        return {name: outputs[name] for name in self.metadata.outputs}

    def blocks(self, images: np.ndarray) -> Outputs:
        """As `Artifact.blocks`, in float16."""

        def kept(part: np.ndarray) -> Outputs:
            found = run(self.graph, {self._input: part}, FLOAT16, keep=self.tensors.values())
            return {block: found[tensor] for block, tensor in self.tensors.items()}

        return self.metadata.unscaled(in_batches(kept, images.astype(self._dtype), self._batch))

    def profile(self) -> Float16Profile:
        """Of all images that were run."""
        blocks = tuple(self._ranges.values())
        return Float16Profile(blocks, next((b for b in blocks if b.problem), None))

    def _run(self, images: np.ndarray) -> Outputs:
        """Images of the file's batch size in both arithmetics, tensor by tensor."""
        wanted = {self.graph.tensors[i].name: n for i, n in self.graph.output_names.items()}
        traces = (trace(self.graph, {self._input: images}, each) for each in (FLOAT32, FLOAT16))
        outputs: Outputs = {}
        for (name, wide), (_, half) in zip(*traces, strict=True):
            if np.issubdtype(wide.dtype, np.floating) and wide.size:
                self._record(name, wide, half)
            if name in wanted:
                outputs[wanted[name]] = half
        self._done += len(images)
        self._told(self._done)
        return outputs

    def _record(self, name: str, wide: np.ndarray, half: np.ndarray) -> None:
        """Add what a tensor shows to its block."""
        block, kind = self._places[name]
        least, most = float(wide.min()), float(wide.max())
        found = self._ranges.get(block) or BlockRange(block, least, most, -1.0, "", 0.0, 0.0)
        found = replace(found, least=min(found.least, least), most=max(found.most, most))
        largest = max(-least, most)
        if largest > found.largest:
            headroom = LARGEST / largest if largest else float("inf")
            found = replace(found, largest=largest, largest_at=name, headroom=headroom)
        if kind in _LINEAR or self._leaving.get(name) == block:
            relative = _relative(wide, half)
            if relative > found.relative:
                found = replace(found, relative=relative, relative_at=name)
        if not found.overflow_at and math.isfinite(largest) and not np.isfinite(half).all():
            found = replace(found, overflow_at=name, overflow_of=kind)
        self._ranges[block] = found


def _relative(wide: np.ndarray, half: np.ndarray) -> float:
    """The largest |difference| over the largest |value| of `wide`."""
    largest = float(np.abs(wide).max())
    difference = float(np.abs(half - wide).max())
    if difference == 0:
        return 0.0
    return difference / largest if largest and math.isfinite(difference) else float("inf")


class _Place(NamedTuple):
    """The origin of a tensor."""

    block: str
    operation: str


def _places(graph: FileGraph, operations: Sequence[Operation]) -> dict[str, _Place]:
    """The name of each computed tensor -> its block ("embeddings", "blocks.0", ..., "head") and the
    kind of its operation, in the order of execution.

    Whatever comes before the first block belongs to the embeddings, and what comes after the last
    one to the head.
    """
    computing = [each for each in operations if not each.prepares]
    inside = [each.index for each in computing if each.block.startswith("blocks")]
    found, current = {}, "embeddings"
    for operation in computing:
        index = operation.index
        if operation.block.startswith("blocks"):
            current = operation.block
        elif inside and index > inside[-1]:
            current = "head"
        for tensor in graph.nodes[index].outputs:
            found[graph.tensors[tensor].name] = _Place(current, operation.name)
    return found
