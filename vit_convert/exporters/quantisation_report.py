"""Compares a quantised artifact with the float32 artifact that it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vit_convert.architectures import OutputSpec

# percent of the pictures on which both must give the same class first, and, of models without
# classes, percent of similarity
ENOUGH = 99.0
_STORED = ("agreement", "cosine", "max_abs", "relative")  # of a Difference


@dataclass(frozen=True)
class Difference:
    """Outputs of a quantised model against those of its float32.

    Attributes:
        agreement: percent of images whose largest output is the same one; None where there are no
            values for classes.
        cosine: mean over the images (or patches, or pixels) of the cosine of both outputs; for
            depth, of the deviations from the mean of float32's map.
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
class Measurement:
    """The agreement of a quantised artifact with its float32; the artifact carries it.

    Attributes:
        images: how many both were run on.
        pictures: whether they were the user's, and had no part in making the artifact. Where they
            were not, nothing is asked of the agreement.
        difference: between the two.
    """

    images: int
    pictures: bool
    difference: Difference

    @property
    def passed(self) -> bool:
        """Whether the artifact agrees with its float32 on enough pictures."""
        return not self.pictures or self.difference.score >= ENOUGH

    @property
    def sentence(self) -> str:
        """What was measured, in the words that every verdict has."""
        found, kind = self.difference, "pictures" if self.pictures else "generated images"
        asked = f" (at least {ENOUGH:g} asked)" if self.pictures else ""
        classes = found.agreement is not None
        return agreement_sentence(found.score, self.images, classes, kind, asked)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON knows: numbers that are not finite are None."""
        found = self.difference
        return {
            "images": self.images,
            "pictures": self.pictures,
            "agreement": found.agreement,
            "cosine": found.cosine,
            "max_abs": found.max_abs if math.isfinite(found.max_abs) else None,
            "relative": found.relative if math.isfinite(found.relative) else None,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is nothing that `to_dict` gave.
        """
        infinite = {"max_abs": math.inf, "relative": math.inf}
        values: dict[str, Any] = {
            key: data[key] if data[key] is not None else infinite.get(key) for key in _STORED
        }
        if not all(v is None or -math.inf < v <= math.inf for v in values.values()):
            raise ValueError("NaN")
        if values["cosine"] is None:
            raise ValueError("no cosine")
        return Measurement(int(data["images"]), bool(data["pictures"]), Difference(**values))


def agreement_sentence(score: float, images: int, classes: bool, kind: str, asked: str) -> str:
    """ "agrees on 99.2 % of 64 pictures (at least 99 asked)".

    Args:
        score: percent of the images with the same class, or of similarity.
        images: how many there were.
        classes: whether the outputs belong to classes.
        kind: what the images are.
        asked: what is asked, to be added.
    """
    if classes:
        return f"agrees on {rounded_down(score)} % of {images} {kind}{asked}"
    return f"is similar by {rounded_down(score)} % on {images} {kind}{asked}"


def rounded_down(percent: float) -> str:
    """ "98.9" of 98.96: what falls short never looks like enough."""
    return f"{math.floor(10 * percent + 1e-6) / 10:.1f}"


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
class KeptLayer:
    """A linear layer of a quantised artifact that computes in float, and why; the artifact carries
    it.

    Attributes:
        operation: as LiteRT calls it.
        layer: its name in the model, "blocks.3.mlp.fc2".
        pattern: the one that it was asked for by; "" where a search found that it costs too much.
        relative: what the search found: see `Cost`. None where there was none, or it is infinite.
    """

    operation: str
    layer: str
    pattern: str = ""
    relative: float | None = None

    @property
    def why(self) -> str:
        """ "asked for by blocks.0.*", for people."""
        if self.pattern:
            return f"asked for by {self.pattern}"
        if self.relative is None:
            return "not finite alone"
        return f"relative difference {self.relative:.1e} alone"

    def __str__(self) -> str:
        return f"{self.operation} {self.layer} ({self.why})"

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows, with the reason for people."""
        return {**asdict(self), "why": self.why}

    @staticmethod
    def of(cost: Cost) -> KeptLayer:
        """A layer that a search found."""
        relative = cost.relative if math.isfinite(cost.relative) else None
        return KeptLayer(cost.operation, cost.layer, relative=relative)


@dataclass(frozen=True)
class QuantisationReport:
    """The comparison of a quantised artifact with its float32, for the user.

    Attributes:
        measurement: how well both agree.
        source: what the images are that it was measured on, for people.
        unreadable: files of the calibration folder that could not be read.
        size, float_size: of the two files, in bytes.
        in_float: layers that compute in float, because they were asked for, or because otherwise
            the pictures that calibrate agreed too rarely; then the costliest first.
        costs: of the costliest layers, where the check fell short.
    """

    measurement: Measurement
    source: str
    unreadable: tuple[str, ...]
    size: int
    float_size: int
    in_float: tuple[KeptLayer, ...] = ()
    costs: tuple[Cost, ...] = ()

    @property
    def difference(self) -> Difference:
        """Between the two."""
        return self.measurement.difference

    @property
    def passed(self) -> bool:
        """Whether the artifact agrees with its float32 on enough of the pictures."""
        return self.measurement.passed


def measure(
    expected: np.ndarray, got: np.ndarray, *, classes: bool, depth: bool = False
) -> Difference:
    """Compare outputs (n, ..., values), or maps of depth; what is not finite agrees with nothing.

    Args:
        expected: of float32.
        got: of the quantised model.
        classes: whether the outputs belong to classes.
        depth: whether they are (n, height, width), one number for each pixel.
    """
    wide, narrow = expected.astype(np.float64), got.astype(np.float64)
    if not np.isfinite(narrow).all():
        infinite = float("inf")
        return Difference(0.0 if classes else None, 0.0, infinite, infinite)
    largest = float(np.abs(wide - narrow).max())
    scale = max(float(np.abs(wide).max()), float(np.finfo(np.float32).tiny))
    if depth:  # no number is below zero, so that any two maps look alike without this
        wide, narrow = (maps.reshape(len(maps), -1) for maps in (wide, narrow))
        mean = wide.mean(axis=-1, keepdims=True)
        wide, narrow = wide - mean, narrow - mean
    norms = np.linalg.norm(wide, axis=-1) * np.linalg.norm(narrow, axis=-1)
    cosines = (wide * narrow).sum(axis=-1) / np.maximum(norms, np.finfo(np.float64).tiny)
    cosines[(wide == narrow).all(axis=-1)] = 1  # also where there are zeros alone
    same = wide.argmax(axis=-1) == narrow.argmax(axis=-1)
    return Difference(
        100 * float(same.mean()) if classes else None,
        float(cosines.mean()),
        largest,
        largest / scale,
    )


def difference_of(output: OutputSpec, expected: np.ndarray, got: np.ndarray) -> Difference:
    """`measure`, of an output that is described."""
    return measure(expected, got, classes=output.has_classes, depth=output.kind == "depth")
