"""Accuracy of artifacts over a folder of labelled pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.architectures import Preprocessing
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.exporters.artifact import Artifact
from vit_convert.images.folders import ImageFolder
from vit_convert.images.preprocessing import load_image, to_pixels
from vit_convert.inference.predict import as_input, probabilities
from vit_convert.labels.names import imagenet1k, imagenet1k_synsets
from vit_convert.progress import Progress, silent

# (path, class name) of the pictures that can be read, their pixels, problems of the others
_Decoded = tuple[list[tuple[Path, str]], list[np.ndarray], list[str]]


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
class Evaluation:
    """The accuracy of one artifact.

    Attributes:
        path, kind: the artifact.
        images: how many pictures were seen.
        top1, top5: accuracy in percent.
        agreement: top-1 agreement with the first artifact, in percent.
        agreements: the same with each artifact, in their order.
        images_per_second: of the model alone, without decoding.
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
    images_per_second: float
    classes: tuple[ClassAccuracy, ...]
    confusion: np.ndarray
    labels: tuple[str, ...]
    unreadable: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """In values that JSON knows; the confusion matrix as the pairs that occur."""
        pairs = np.argwhere(self.confusion)
        return {item.name: getattr(self, item.name) for item in fields(self)} | {
            "path": str(self.path),
            "classes": [asdict(each) for each in self.classes],
            "confusion": [
                {
                    "class": self.labels[true],
                    "taken_for": self.labels[guess],
                    "images": int(self.confusion[true, guess]),
                }
                for true, guess in pairs
            ],
        }


def evaluate(
    artifacts: Sequence[Artifact],
    folder: Path,
    *,
    limit: int | None = None,
    batch: int = 50,
    progress: Progress = silent,
) -> list[Evaluation]:
    """Evaluate artifacts on the same pictures.

    Args:
        artifacts: open artifacts, of models with the same classes.
        folder: one subfolder per class, named as the labels or in the order of the classes.
        limit: at most so many pictures, spread evenly over the folder.
        batch: pictures decoded at a time.
        progress: told how many pictures are done.

    Returns:
        one result for each artifact, in their order, over the pictures that can be read.

    Raises:
        UsageError: the folder's classes are not the model's, no picture can be read, or an artifact
            gives no classes.
        ImageError: there is no such folder, or no picture in a subfolder of it.
    """
    pictures = ImageFolder(folder)
    items = list(pictures)
    if limit is not None and limit < len(items):
        items = [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
    if not items:
        raise UsageError("there are no pictures", where=str(folder), expected="<class>/<picture>")
    class_index = [_class_index(artifact, pictures.classes, folder) for artifact in artifacts]
    guesses: list[list[np.ndarray]] = [[] for _ in artifacts]
    truths: list[list[int]] = [[] for _ in artifacts]
    seconds = [0.0] * len(artifacts)
    unreadable: list[str] = []
    for start in range(0, len(items), batch):
        progress("pictures", start, len(items))
        part = items[start : start + batch]
        decoded: dict[tuple[Any, Preprocessing], _Decoded] = {}
        for a, artifact in enumerate(artifacts):
            how = (artifact.spec.config.image_size, artifact.spec.preprocessing)
            if how not in decoded:
                decoded[how] = _decode(part, *how)
            readable, pixels, problems = decoded[how]
            if a == 0:
                unreadable += problems
            if not readable:
                continue
            images = as_input(np.stack(pixels), artifact)
            began = time.perf_counter()
            scores = probabilities(artifact, images)
            seconds[a] += time.perf_counter() - began
            guesses[a].append(np.argsort(-scores, axis=1, kind="stable")[:, :5])
            truths[a] += [class_index[a][name] for _, name in readable]
    progress("pictures", len(items), len(items))
    if not truths[0]:
        raise UsageError(
            f"none of its {len(items)} pictures can be read; of {unreadable[0]}",
            where=str(folder),
            expected="at least one picture",
        )
    best = [np.concatenate(found) for found in guesses]
    return [
        _result(
            artifact,
            best[a],
            np.array(truths[a]),
            class_index[a],
            agreements=tuple(_percent(best[a][:, 0] == other[:, 0]) for other in best),
            images_per_second=len(truths[a]) / seconds[a],
            unreadable=tuple(unreadable),
        )
        for a, artifact in enumerate(artifacts)
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
    width = artifact.spec.config.num_classes
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


def _decode(
    items: Sequence[tuple[Path, str]], size: tuple[int, int], preprocessing: Preprocessing
) -> _Decoded:
    """The pictures that can be read, their pixels, and what is wrong with the others."""
    readable, pixels, problems = [], [], []
    for path, name in items:
        try:
            pixels.append(to_pixels(load_image(path), size, preprocessing))
        except VitConvertError as error:
            problems.append(f"{path}: {error.what}")
            continue
        readable.append((path, name))
    return readable, pixels, problems


def _class_index(artifact: Artifact, classes: Sequence[str], folder: Path) -> dict[str, int]:
    """Folder name -> class index: by label if the names are labels, by WordNet id for ImageNet's
    classes, else by sorted order."""
    labels = artifact.spec.labels
    for names in (labels, imagenet1k_synsets() if labels == imagenet1k() else ()):
        unknown = [name for name in classes if name not in names]
        if not unknown:
            return {name: names.index(name) for name in classes}
        if len(unknown) < len(classes):  # by their order, the others would be taken for each other
            raise UsageError(
                f"{artifact.path.name} knows no class of the name {_first(unknown)}",
                where=str(folder),
                expected=f"subfolders named as its labels: {_first(names)}",
                hint=f"another name for {folder / unknown[0]}, or another place",
            )
    expected = artifact.spec.config.num_classes
    if len(classes) != expected:
        named = f", or some that are named as its labels: {_first(labels)}" if labels else ""
        raise UsageError(
            f"has {len(classes)} subfolders with pictures ({_first(classes)})",
            where=str(folder),
            expected=f"{expected} subfolders, in the order of {artifact.path.name}'s classes"
            f"{named}",
        )
    return {name: i for i, name in enumerate(classes)}


def _first(names: Sequence[str]) -> str:
    """The first three for people."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
