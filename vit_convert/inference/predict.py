"""Pictures in, class probabilities out, whatever the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact, open_artifact
from vit_convert.images.storage import find_pictures, storage_of
from vit_convert.inference.scoring import Pool
from vit_convert.progress import Progress, silent


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model for one picture.

    Attributes:
        path: the picture.
        classes: indices of the most probable classes, best first.
        labels: their names; the index as text where names are not known.
        probabilities: theirs, 0..1.
    """

    path: Path
    classes: tuple[int, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict(
    artifact: Artifact | str | Path,
    paths: Sequence[str | Path],
    *,
    top: int = 5,
    labels: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Prediction]:
    """The most probable classes of pictures.

    Args:
        artifact: an open artifact, or the path of one.
        paths: picture files, and folders, of which all pictures are taken, sorted.
        top: how many classes of each.
        labels: class names; those that the artifact carries by default.
        workers: threads that decode and score; as many as there are cores by default.
        progress: told how many pictures are done.

    Returns:
        a prediction for each picture, in their order; probabilities are the softmax of the logits.

    Raises:
        UsageError: the number of labels is not the number of classes, there are no classes, or the
            artifact does not take RGB.
        ArtifactError: the artifact cannot be opened.
        ImageError: a file cannot be read as a picture, or a folder holds none.
    """
    if not isinstance(artifact, Artifact):
        artifact = open_artifact(artifact)
    names = class_names(artifact, labels)
    pictures = find_pictures(paths)
    pool = Pool([artifact], top, storage_of(paths).read, workers)
    results: list[Prediction] = []
    progress("pictures", 0, len(pictures))
    for chunk in pool.scores(pictures):
        for scores in chunk:
            if scores.problem is not None:
                raise scores.problem
            (best,), (values,) = scores.classes, scores.probabilities
            results.append(
                Prediction(
                    Path(scores.name),
                    tuple(int(i) for i in best),
                    tuple(names[i] for i in best),
                    tuple(float(value) for value in values),
                )
            )
        progress("pictures", len(results), len(pictures))
    return results


def class_names(artifact: Artifact, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of an artifact's classes: those given, else its own, else their indices.

    Raises:
        UsageError: the number of labels is not the number of classes.
    """
    classes = artifact.spec.config.num_classes
    names = tuple(labels) or artifact.spec.labels or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise UsageError(
            f"there are {len(names)} labels",
            where="--labels",
            expected=f"{classes}, one for each class of {artifact.path.name}",
        )
    return names
