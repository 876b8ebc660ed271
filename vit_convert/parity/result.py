"""The result of verifying an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vit_convert.exporters import Artifact, artifact_size
from vit_convert.exporters.options import Precision
from vit_convert.exporters.quantisation_report import Measurement
from vit_convert.parity.block_ranges import Float16Profile
from vit_convert.parity.compare import BlockDifference, Comparison, default_tolerance
from vit_convert.parity.gpu.delegate import GpuReport
from vit_convert.parity.search_result import SearchResult
from vit_convert.parity.verdict import Verdict, verdict_of
from vit_convert.results import Result, plain

Delegate = Literal["cpu", "gpu"]
Numbers = Literal["float32", "float16"]


@dataclass(frozen=True)
class Profile:
    """The differences of every output and block.

    Attributes:
        outputs: of each logit (or probability, or value of a vector) the largest |difference| over
            the images, relative to the largest |value| of the reference; empty where nothing can
            be compared.
        blocks: every block, where reference and artifact tell what they give; else empty.
    """

    outputs: tuple[float, ...]
    blocks: tuple[BlockDifference, ...]


@dataclass(frozen=True)
class VerifyResult(Result):
    """The result of comparing one artifact with its source.

    Attributes:
        artifact: its path.
        kind: the name of its target: "keras", "saved_model", "hub" or "tflite".
        size: bytes of the file, or of all files in the folder.
        output: what was compared, as `export --output` calls it.
        comparison: the numbers.
        num_images: how many images, or texts, were run.
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
        precision: of the artifact.
        rounding: the relative difference of the output that the precision explains.
        tolerance_of_blocks: the relative difference that is allowed in any block.
        measured: how well a quantised artifact agrees with its float32, as `export` measured it.
        assumed: values that artifact and source share only because they are assumed, such as
            "num_heads 12"; nothing here says that they are right.
        search: which assumed value is wrong, where that was looked for.
        has_classes: whether there was a value for each class; else `top1_agreement` says nothing.
        examples: what was run, images or texts.
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
    precision: Precision = "float32"
    rounding: float = 0.0
    tolerance_of_blocks: float = 0.0
    measured: Measurement | None = None
    assumed: tuple[str, ...] = ()
    search: SearchResult | None = None
    has_classes: bool = True
    examples: Literal["images", "texts"] = "images"

    @property
    def verdict(self) -> Verdict:
        """What verifying came to."""
        return verdict_of(self)

    @property
    def passed(self) -> bool:
        """Whether the artifact is what it should be."""
        return self.verdict.passed

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows, with the verdict; numbers that are not finite are None."""
        verdict = self.verdict
        return super().to_dict() | {
            "passed": verdict.passed,
            "verdict": {"word": verdict.word, "text": verdict.text},
            "measured": self.measured and self.measured.to_dict(),
            "search": self.search and plain(self.search) | {"text": str(self.search)},
        }


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
        gpu=report,
        precision=artifact.options.precision,
        has_classes=artifact.output.has_classes,
        examples=artifact.spec.input().examples,
    )
