"""Compares a quantised artifact with the float32 artifact that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# percent of the calibration images on which both must give the same class first, and, of models
# without classes, percent of similarity
ENOUGH = 99.0


@dataclass(frozen=True)
class Difference:
    """Outputs of a quantised model against those of its float32.

    Attributes:
        agreement: percent of images whose largest output is the same one; None for features.
        cosine: mean over the images of the cosine of both outputs.
        max_abs: the largest |difference|.
        relative: max_abs over the largest |value| of float32.
    """

    agreement: float | None
    cosine: float
    max_abs: float
    relative: float

    @property
    def score(self) -> float:
        """In percent, what `ENOUGH` is asked of."""
        return 100 * self.cosine if self.agreement is None else self.agreement


@dataclass(frozen=True)
class Cost:
    """The error that quantising one layer alone causes in the outputs.

    Attributes:
        operation: as LiteRT calls it.
        layer: its name in the model, "blocks.3.mlp.fc2".
        relative: the largest |difference| of an output, over the largest |value|.
    """

    operation: str
    layer: str
    relative: float

    def __str__(self) -> str:
        return f"{self.operation} {self.layer} (relative difference {self.relative:.1e} alone)"


@dataclass(frozen=True)
class QuantisationReport:
    """The comparison of a quantised artifact with its float32, for the user.

    Attributes:
        images: how many both were run on.
        source: what those were, for people.
        calibrated: whether they were calibration images; a check is only made on those.
        unreadable: files of the calibration folder that could not be read.
        difference: between the two.
        size, float_size: of the two files, in bytes.
        in_float: layers that compute in float, because otherwise the calibration images agreed too
            rarely; the costliest first. Their weights are int8 all the same.
        costs: of the costliest layers, where the check fell short.
    """

    images: int
    source: str
    calibrated: bool
    unreadable: tuple[str, ...]
    difference: Difference
    size: int
    float_size: int
    in_float: tuple[Cost, ...] = ()
    costs: tuple[Cost, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the artifact agrees with its float32 on enough of the calibration images."""
        return not self.calibrated or self.difference.score >= ENOUGH


def measure(expected: np.ndarray, got: np.ndarray, classes: bool) -> Difference:
    """Compare outputs (n, classes) or (n, dim); what is not finite agrees with nothing.

    Args:
        expected: of float32.
        got: of the quantised model.
        classes: whether the outputs belong to classes.
    """
    wide, narrow = expected.astype(np.float64), got.astype(np.float64)
    if not np.isfinite(narrow).all():
        infinite = float("inf")
        return Difference(0.0 if classes else None, 0.0, infinite, infinite)
    norms = np.linalg.norm(wide, axis=-1) * np.linalg.norm(narrow, axis=-1)
    cosines = (wide * narrow).sum(axis=-1) / np.maximum(norms, np.finfo(np.float64).tiny)
    largest = float(np.abs(wide - narrow).max())
    scale = max(float(np.abs(wide).max()), float(np.finfo(np.float32).tiny))
    same = wide.argmax(axis=-1) == narrow.argmax(axis=-1)
    return Difference(
        100 * float(same.mean()) if classes else None,
        float(cosines.mean()),
        largest,
        largest / scale,
    )
