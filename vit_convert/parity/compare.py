"""Measures how far an artifact is from its reference, and finds where the difference begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vit_convert.architectures import OutputSpec
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.options import Precision
from vit_convert.inference.running import softmax

# Relative to the largest value of the reference. A right conversion in float32 is within about
# 2e-6 of PyTorch's; weights rounded to float16 have a relative error of 5e-4 each. For int8 it is
# about twice the largest difference that was measured on four images of noise. Over 21 randomised
# models (ViT, LayerScale, average pooling, DeiT, CaiT; 8 blocks, width 96, 3 seeds each, no layer
# spared), the median was 0.019 and the maximum 0.032 with weights in int8. It was 0.033 and 0.137
# with activations in int8 too, because noise leaves the ranges of the calibration pictures. The
# two models of weights/ had 0.012 and 0.029, and a randomised ViT-H/14 had 0.031. With activations
# in int16, whose ranges have room, 21 such models of 2 to 8 blocks had 0.014 and 0.025. These
# limits bound the effect of rounding. parity/float32_parity.py finds the mistakes that hide below
# them, and `export` counts the images whose class changes.
TOLERANCES: dict[Precision, float] = {
    "float32": 1e-5,
    "float16": 5e-3,
    "int8-dynamic": 0.08,
    "int8": 0.25,
    "int16x8": 0.06,
}
# Blocks are held to a part of the tolerance for logits, because an error that is still small where
# it is made grows on the way to them. Float noise of a right block stays below it.
_BLOCK_SHARE = 0.25


@dataclass(frozen=True)
class Comparison:
    """Two arrays of the same outputs.

    Attributes:
        max_abs: the largest |difference|.
        relative: max_abs over the largest |value| of the reference.
        mean_abs: the mean |difference|.
        top1_agreement: percent of images (or patches) whose largest output is the same one.
        tolerance: what `relative` may be at most.
        passed: whether it is.
        problem: why the numbers cannot be compared, "" where they can. They are then infinite.
    """

    max_abs: float
    relative: float
    mean_abs: float
    top1_agreement: float
    tolerance: float
    passed: bool
    problem: str = ""


@dataclass(frozen=True)
class BlockDifference:
    """The difference between a block's output and the reference's.

    Attributes:
        name: "embeddings", "blocks.3", ...; see `Architecture.block_names`.
        max_abs, relative: as in Comparison, over this block's output alone.
        tolerance: what `relative` may be at most.
        problem: as in Comparison.
    """

    name: str
    max_abs: float
    relative: float
    tolerance: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the block is equal within its tolerance."""
        return not self.problem and self.relative <= self.tolerance

    def __str__(self) -> str:
        what = (
            self.problem or f"relative difference {self.relative:.1e}, {self.tolerance:g} allowed"
        )
        return f"{self.name} ({what})"


def default_tolerance(artifact: Artifact) -> float:
    """The largest relative difference that rounding alone can explain."""
    return TOLERANCES[artifact.options.precision]


def tolerance_for_softmax(tolerance: float, logits: np.ndarray) -> float:
    """The tolerance for probabilities, relative to the largest, that follows from one for logits.

    If no logit is off by more than d, d(log p_i) = dz_i - sum_j p_j dz_j is at most 2 d, and so is
    |dp| / p_max. Logits within the tolerance have d = tolerance * max |logit|.
    """
    return tolerance * max(1.0, 2.0 * float(np.abs(logits).max()))


def as_output(outputs: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Turn a source's outputs into those of an artifact: as they are, their softmax, or divided by
    their lengths."""
    if output.unit == "probability":
        return softmax(outputs)
    if output.unit == "length":
        wide = outputs.astype(np.float64)
        return wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return outputs


def compare(reference: np.ndarray, got: np.ndarray, tolerance: float) -> Comparison:
    """Compare outputs (n, ..., values). NaN, infinity or another shape never passes, on either
    side."""
    max_abs, relative, problem = _distance(reference, got)
    if problem:
        infinite = float("inf")
        return Comparison(infinite, infinite, infinite, 0.0, tolerance, False, problem)
    same = reference.argmax(axis=-1) == got.argmax(axis=-1)
    return Comparison(
        max_abs=max_abs,
        relative=relative,
        mean_abs=float(np.abs(_difference(reference, got)).mean()),
        top1_agreement=100 * float(same.mean()),
        tolerance=tolerance,
        passed=relative <= tolerance,
    )


def first_difference(
    reference: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    tolerance: float,
) -> BlockDifference | None:
    """The first block of the reference whose output is not the artifact's; None if all are equal.

    Args:
        reference, got, tolerance: as `block_differences`.
    """
    differences = block_differences(reference, got, tolerance)
    return next((d for d in differences if not d.passed), None)


def block_differences(
    reference: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    tolerance: float,
) -> Iterator[BlockDifference]:
    """Every block of the reference.

    Where the artifact's tokens have a mean of zero over their channels (see vit_convert.folding),
    the reference may have another: every norm after them takes it away.

    Args:
        reference, got: block name -> (n, tokens, dim), for the same images; the reference's in the
            order of computation.
        tolerance: for the logits; blocks are held to a quarter of it.
    """
    limit = tolerance * _BLOCK_SHARE
    for name, expected in reference.items():
        if name not in got:
            yield BlockDifference(
                name, float("inf"), float("inf"), limit, "the artifact has no such block"
            )
            continue
        max_abs, relative, problem = _distance(expected, got[name])
        if not problem and relative > limit and _is_centred(got[name], limit):
            max_abs, relative, problem = _distance(_centred(expected), got[name])
        yield BlockDifference(name, max_abs, relative, limit, problem)


def relative_differences(reference: np.ndarray, got: np.ndarray) -> tuple[float, ...]:
    """Of each output (n, ..., classes) the largest |difference| over the largest |value| of the
    reference; () where the arrays cannot be compared."""
    scale = float(np.abs(reference).max()) if reference.size else 0.0
    if _distance(reference, got)[2] or scale == 0:
        return ()
    worst = np.abs(_difference(reference, got)).max(axis=tuple(range(reference.ndim - 1)))
    return tuple(float(value) / scale for value in worst)


def _distance(reference: np.ndarray, got: np.ndarray) -> tuple[float, float, str]:
    """Largest |difference|, the same relative to the largest |reference|, and what is wrong."""
    problem = ""
    if reference.shape != got.shape:
        problem = f"shape {got.shape} instead of {reference.shape}"
    elif not reference.size:
        problem = "there is nothing to compare"
    elif not np.isfinite(got).all():
        problem = "NaN or infinity in the artifact's output"
    elif not np.isfinite(reference).all():
        problem = "NaN or infinity in the reference"
    if problem:
        return float("inf"), float("inf"), problem
    largest = float(np.abs(_difference(reference, got)).max())
    scale = float(np.abs(reference).max())
    if scale == 0:
        return largest, 0.0 if largest == 0 else float("inf"), ""
    return largest, largest / scale, ""


def _difference(reference: np.ndarray, got: np.ndarray) -> np.ndarray:
    return got.astype(np.float64) - reference.astype(np.float64)


def _centred(tokens: np.ndarray) -> np.ndarray:
    wide = tokens.astype(np.float64)
    return wide - wide.mean(axis=-1, keepdims=True)


def _is_centred(tokens: np.ndarray, limit: float) -> bool:
    means = tokens.astype(np.float64).mean(axis=-1)
    return bool(np.abs(means).max() <= limit * np.abs(tokens).max())
