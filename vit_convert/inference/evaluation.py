"""Accuracy, counted from what artifacts say of labelled pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import Artifact
from vit_convert.inference.running import check_classes
from vit_convert.inference.scoring import Scores
from vit_convert.labels.names import imagenet1k, imagenet1k_synsets
from vit_convert.results import Result, plain


@dataclass(frozen=True)
class ClassAccuracy:
    """The accuracy of an artifact on the pictures of one class.

    Attributes:
        name: the folder's.
        index: the model's class.
        images: how many there were.
        accuracy: top-1, in percent; None without pictures.
    """

    name: str
    index: int
    images: int
    accuracy: float | None


@dataclass(frozen=True)
class Evaluation(Result):
    """The accuracy of one artifact.

    Attributes:
        path, kind: the artifact.
        images: how many pictures were seen.
        top1, top5: accuracy in percent.
        agreement: top-1 agreement with the first artifact, in percent.
        agreements: the same with each artifact, in their order.
        images_per_second: of the model alone on all cores, without decoding; None where that was
            not measured: on Ray, or where all pictures were scored by an earlier run.
        classes: the folder's, in its order.
        confusion: (classes, classes) of the model: how many pictures of the class of a row were
            taken for the class of a column.
        labels: names of the model's classes, where a folder or a label names them; else the index.
        unreadable: files that could not be read.
    """

    path: Path
    kind: str
    images: int
    top1: float
    top5: float
    agreement: float
    agreements: tuple[float, ...]
    images_per_second: float | None
    classes: tuple[ClassAccuracy, ...]
    confusion: np.ndarray
    labels: tuple[str, ...]
    unreadable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows; the confusion matrix as the pairs that occur."""
        pairs = np.argwhere(self.confusion)
        there = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain({name: value for name, value in there.items() if name != "confusion"}) | {
            "confusion": [
                {
                    "class": self.labels[true],
                    "taken_for": self.labels[guess],
                    "images": int(self.confusion[true, guess]),
                }
                for true, guess in pairs
            ],
        }


class Counter:
    """Counts what artifacts say of labelled pictures.

    Args:
        artifacts: open.
        classes: of the folder, in its order.
        folder: where they are, for messages.

    Raises:
        UsageError: the folder's classes are not the model's.
    """

    def __init__(self, artifacts: Sequence[Artifact], classes: Sequence[str], folder: str) -> None:
        self._artifacts, self._folder = artifacts, folder
        self._indices = [class_index(artifact, classes, folder) for artifact in artifacts]
        self._guesses: list[list[np.ndarray]] = [[] for _ in artifacts]
        self._truths: list[str] = []
        self._unreadable: list[str] = []

    def add(self, scores: Scores, true_class: str) -> None:
        """Count a picture."""
        if scores.problem is not None:
            self._unreadable.append(f"{scores.name}: {scores.problem.what}")
            return
        self._truths.append(true_class)
        for guesses, best in zip(self._guesses, scores.classes, strict=True):
            guesses.append(best.astype(np.int32))

    def results(self, rates: Sequence[float | None]) -> list[Evaluation]:
        """Of each artifact.

        Args:
            rates: images per second of each.

        Raises:
            UsageError: no picture can be read.
        """
        if not self._truths:
            raise UsageError(
                f"none of its {len(self._unreadable)} pictures can be read; "
                f"of {self._unreadable[0]}",
                where=self._folder,
                expected="at least one picture",
            )
        best = [np.stack(found) for found in self._guesses]
        return [
            _result(
                artifact,
                best[a],
                np.array([self._indices[a][name] for name in self._truths]),
                self._indices[a],
                agreements=tuple(_percent(best[a][:, 0] == other[:, 0]) for other in best),
                images_per_second=rates[a],
                unreadable=tuple(self._unreadable),
            )
            for a, artifact in enumerate(self._artifacts)
        ]


def _result(
    artifact: Artifact,
    best: np.ndarray,
    truth: np.ndarray,
    indices: Mapping[str, int],
    agreements: tuple[float, ...],
    **measured: Any,
) -> Evaluation:
    """Count.

    Args:
        artifact: what was evaluated.
        best: (images, 5) the model's first guesses, best first.
        truth: (images,) the right classes.
        indices: folder -> class of the model.
        agreements, measured: for the result.
    """
    hits = best[:, 0] == truth
    classes = []
    for name, index in indices.items():
        there = truth == index
        accuracy = _percent(hits[there]) if there.any() else None
        classes.append(ClassAccuracy(name, index, int(there.sum()), accuracy))
    (width,) = artifact.output.shape
    confusion = np.zeros((width, width), np.int64)
    np.add.at(confusion, (truth, best[:, 0]), 1)
    names = list(artifact.spec.labels or map(str, range(width)))
    for name, index in indices.items():
        names[index] = name
    return Evaluation(
        path=artifact.path,
        kind=artifact.kind,
        images=len(truth),
        top1=_percent(hits),
        top5=_percent((best == truth[:, None]).any(axis=1)),
        agreement=agreements[0],
        agreements=agreements,
        classes=tuple(classes),
        confusion=confusion,
        labels=tuple(names),
        **measured,
    )


def _percent(hits: np.ndarray) -> float:
    return float(np.mean(hits)) * 100


def class_index(artifact: Artifact, classes: Sequence[str], folder: str) -> dict[str, int]:
    """Folder name -> class index: by label if the names are labels, by WordNet id for ImageNet's
    classes, else by sorted order."""
    check_classes(artifact)
    labels = artifact.spec.labels
    for names in (labels, imagenet1k_synsets() if labels == imagenet1k() else ()):
        unknown = [name for name in classes if name not in names]
        if not unknown:
            return {name: names.index(name) for name in classes}
        if len(unknown) < len(classes):  # by their order, the others would be taken for each other
            raise UsageError(
                f"{artifact.path.name} knows no class of the name {_first(unknown)}",
                where=folder,
                expected=f"subfolders named as its labels: {_first(names)}",
                hint=f"another name for {folder}/{unknown[0]}, or another place",
            )
    (expected,) = artifact.output.shape
    if len(classes) != expected:
        named = f", or some that are named as its labels: {_first(labels)}" if labels else ""
        raise UsageError(
            f"has {len(classes)} subfolders with pictures ({_first(classes)})",
            where=folder,
            expected=f"{expected} subfolders, in the order of {artifact.path.name}'s classes"
            f"{named}",
        )
    return {name: i for i, name in enumerate(classes)}


def _first(names: Sequence[str]) -> str:
    """The first three for people."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
