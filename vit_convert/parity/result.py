"""The result of verifying an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vit_convert.exporters import Artifact, artifact_size
from vit_convert.parity.block_ranges import Float16Profile
from vit_convert.parity.compare import BlockDifference, Comparison, default_tolerance
from vit_convert.parity.gpu.delegate import GpuReport

Delegate = Literal["cpu", "gpu"]
Numbers = Literal["float32", "float16"]


@dataclass(frozen=True)
class Profile:
    """The differences of every output and block.

    Attributes:
        outputs: of each logit (or probability, or feature) the largest |difference| over the
            images, relative to the largest |value| of the reference; empty where nothing can be
            compared.
        blocks: every block, where reference and artifact tell what they give; else empty.
    """

    outputs: tuple[float, ...]
    blocks: tuple[BlockDifference, ...]


@dataclass(frozen=True)
class VerifyResult:
    """The result of comparing one artifact with its source.

    Attributes:
        artifact: its path.
        kind: the name of its target: "keras", "saved_model", "hub" or "tflite".
        size: bytes of the file, or of all files in the folder.
        output: what was compared: "logits", "softmax" or "features".
        comparison: the numbers.
        num_images: how many were run.
        reference: what it was compared with, library versions included.
        first_difference: the first block that differs, where parity failed and a block does.
        where: where the difference begins, for people; "" where parity holds.
        note: a limit of the comparison, or a difference that is not the artifact's fault; or "".
        seconds: the time that verifying took.
        delegate: the processor that a TFLite file ran on, "cpu" or "gpu".
        gpu: the operations that the GPU runs and refuses, if `delegate` is "gpu". Nothing is
            compared unless the GPU runs all of them.
        profile: the difference of every output and block, where that was asked.
        made_of: for a quantised artifact, how far the float32 that it was made of is from the
            source, held to the tolerance of float32; None where that cannot be told.
        arithmetic: that the artifact was computed in.
        float16: how its blocks stand float16, where it was computed in that.
    """

    artifact: Path
    kind: str
    size: int
    output: str
    comparison: Comparison
    num_images: int
    reference: str
    first_difference: BlockDifference | None
    where: str
    note: str
    seconds: float
    delegate: Delegate = "cpu"
    gpu: GpuReport | None = None
    profile: Profile | None = None
    made_of: Comparison | None = None
    arithmetic: Numbers = "float32"
    float16: Float16Profile | None = None

    @property
    def passed(self) -> bool:
        """Whether the artifact is equal to its source within the tolerance, and so is what it was
        made of."""
        return self.comparison.passed and (self.made_of is None or self.made_of.passed)


def not_run(artifact: Artifact, reference: str, report: GpuReport) -> VerifyResult:
    """The result for a graph that the GPU does not take."""
    infinite = float("inf")
    comparison = Comparison(
        infinite, infinite, infinite, 0.0, default_tolerance(artifact), False, report.problem
    )
    return VerifyResult(
        artifact=artifact.path,
        kind=artifact.kind,
        size=artifact_size(artifact.path),
        output=artifact.options.output,
        comparison=comparison,
        num_images=0,
        reference=reference,
        first_difference=None,
        where=report.first_refused.block if report.first_refused else "",
        note="",
        seconds=0.0,
    )
