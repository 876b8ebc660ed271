"""Pictures in, class probabilities out, whatever the artifact."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from vit_convert.errors import PictureWarning, UsageError
from vit_convert.exporters import Artifact
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.images.pictures import Pictures, given_pictures
from vit_convert.inference.rows import Row, Table
from vit_convert.inference.running import check_classes
from vit_convert.inference.scoring import Pool
from vit_convert.labels.names import given_labels
from vit_convert.progress import Progress, silent
from vit_convert.results import Result


@dataclass(frozen=True)
class Prediction(Result):
    """The prediction of a model for one picture.

    Attributes:
        name: of the picture: its path or address; "picture 3" where it has none.
        classes: indices of the most probable classes, best first.
        labels: their names; the index as text where names are not known.
        probabilities: theirs, 0..1.
        error: why the picture cannot be read, where that is no error; then the three before are
            empty.
    """

    name: str
    classes: tuple[int, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str | None = None

    @property
    def path(self) -> Path:
        """The picture's file."""
        return Path(self.name)

    def to_dict(self) -> dict[str, Any]:
        """The row of a picture; see `vit_convert.inference.rows`."""
        return {"path" if key == "name" else key: v for key, v in super().to_dict().items()}

    @staticmethod
    def of(row: Row) -> Prediction:
        """The inverse of `to_dict`."""
        return Prediction(
            row["path"],
            tuple(row["classes"]),
            tuple(row["labels"]),
            tuple(row["probabilities"]),
            row["error"],
        )


@overload
def predict(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    pictures: Pictures,
    *,
    top: int = 5,
    labels: Sequence[str] = (),
    unreadable: Literal["raise", "warn"] = "raise",
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Prediction]: ...


@overload
def predict(
    artifacts: Iterable[ArtifactLike],
    pictures: Pictures,
    *,
    top: int = 5,
    labels: Sequence[str] = (),
    unreadable: Literal["raise", "warn"] = "raise",
    workers: int | None = None,
    progress: Progress = silent,
) -> list[list[Prediction]]: ...


def predict(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    pictures: Pictures,
    *,
    top: int = 5,
    labels: Sequence[str] = (),
    unreadable: Literal["raise", "warn"] = "raise",
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Prediction] | list[list[Prediction]]:
    """The most probable classes of pictures.

    Args:
        artifacts: the path of an artifact, an open one, or several of either.
        pictures: paths, folders (of which all pictures are taken, sorted), addresses in object
            storage, Pillow images, the bytes of files, and arrays (height, width, 3) of uint8, RGB;
            one or several.
        top: how many classes of each.
        labels: class names; those that the artifact carries by default.
        unreadable: whether a picture that cannot be read is an error, or is warned of.
        workers: threads that decode and score; as many as there are cores by default.
        progress: told how many pictures are done.

    Returns:
        a prediction for each picture, in their order; probabilities are the softmax of the logits.
        Of several artifacts, a list of these for each.

    Raises:
        UsageError: an artifact or a picture is none, the number of labels is not the number of
            classes, there are no classes, or the artifact does not take RGB.
        ArtifactError: the artifact cannot be opened.
        ImageError: a picture cannot be read, or none can, or a folder holds none.

    Warns:
        PictureWarning: for each picture that cannot be read, if that is no error.
    """
    given, found = given_artifacts(artifacts), given_pictures(pictures)
    if top < 1 or unreadable not in ("raise", "warn"):
        raise UsageError(
            f"top={top!r}, unreadable={unreadable!r}",
            expected='at least one class, and "raise" or "warn"',
        )
    opened = given.open(progress)
    table = Table(top, tuple(class_names(artifact, labels) for artifact in opened))
    pool = Pool(opened, top, found.storage.read, workers)
    results: list[list[Prediction]] = [[] for _ in opened]
    progress("pictures", 0, len(found))
    for chunk in pool.scores(found.each):
        for scores in chunk:
            if scores.problem is not None:
                if unreadable == "raise":
                    raise scores.problem
                message = f"{scores.name} {scores.problem.what}"
                warnings.warn(PictureWarning(message), stacklevel=2)
            for predictions, row in zip(results, table.rows(scores), strict=True):
                predictions.append(Prediction.of(row))
        progress("pictures", len(results[0]), len(found))
    pool.refuse_if_none_was_read(len(found))
    return results if given.several else results[0]


def class_names(artifact: Artifact, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of an artifact's classes: those given, else its own, else their indices.

    Raises:
        UsageError: it gives no classes, or the number of labels is not that of its classes.
    """
    check_classes(artifact)
    (classes,) = artifact.output.shape
    names = given_labels(labels) or artifact.spec.labels or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise UsageError(
            f"there are {len(names)} labels",
            where="--labels",
            expected=f"{classes}, one for each class of {artifact.path.name}",
        )
    return names
