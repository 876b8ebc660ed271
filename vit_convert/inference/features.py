"""Pictures in, features out: the vectors that search and clustering work on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import DYNAMIC, Artifact
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.images.pictures import Pictures, given_pictures
from vit_convert.images.preprocessing import shown_part, to_pixels
from vit_convert.inference.running import as_input
from vit_convert.progress import Progress, silent
from vit_convert.results import Result


@dataclass(frozen=True)
class Features(Result):
    """What a model makes of one picture, before the head.

    Attributes:
        name: of the picture: its path or address; "picture 3" where it has none.
        values: as the artifact gives them, (dim,) float32.
    """

    name: str
    values: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows."""
        return {"path": self.name, "features": self.values.tolist()}


@overload
def features(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike, pictures: Pictures, *, progress: Progress = silent
) -> list[Features]: ...


@overload
def features(
    artifacts: Iterable[ArtifactLike], pictures: Pictures, *, progress: Progress = silent
) -> list[list[Features]]: ...


def features(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    pictures: Pictures,
    *,
    progress: Progress = silent,
) -> list[Features] | list[list[Features]]:
    """What the heads of models would see of pictures.

    Args:
        artifacts: the path of an artifact that was exported with `output="features"` or has no
            head, an open one, or several of either.
        pictures: one or several, as `predict` takes them.
        progress: told how many pictures are done.

    Returns:
        the features of each picture, in their order. Of several artifacts, a list of these for
        each.

    Raises:
        UsageError: an artifact or a picture is none, an artifact gives classes, or does not take
            RGB.
        ArtifactError: an artifact cannot be opened.
        ImageError: a picture cannot be read.
    """
    given, found = given_artifacts(artifacts), given_pictures(pictures)
    opened = given.open(progress)
    for artifact in opened:
        _check(artifact)
    results: list[list[Features]] = [[] for _ in opened]
    for start in range(0, len(found), DYNAMIC):
        progress("pictures", start, len(found))
        images = [found.decode(picture) for picture in found.each[start : start + DYNAMIC]]
        names = found.names[start : start + DYNAMIC]
        for artifact, seen in zip(opened, results, strict=True):
            size, how = artifact.spec.config.image_size, artifact.spec.preprocessing
            pixels = np.stack([to_pixels(image, size, how) for image in images])
            values = artifact.first_output(as_input(pixels, artifact))
            seen += map(Features, names, values)
    progress("pictures", len(found), len(found))
    return results if given.several else results[0]


def patch_tokens(
    artifact: str | Path, pictures: Pictures, progress: Progress = silent
) -> tuple[list[np.ndarray], np.ndarray]:
    """The part of each picture that a model sees, and the tokens of its patches.

    Args:
        artifact: path of an artifact that was exported with `output="tokens"`.
        pictures: one or several, as `predict` takes them.
        progress: told how many pictures are done.

    Returns:
        pictures (height, width, 3) uint8, as `shown_part` gives them; tokens (pictures, rows,
        columns, dim) float32.

    Raises:
        UsageError, ArtifactError, ImageError: as `features`.
    """
    given, found = given_artifacts(artifact), given_pictures(pictures)
    (opened,) = given.open(progress)
    if opened.output.kind != "tokens":
        raise UsageError(
            f"gives {opened.output.kind}, not tokens",
            where=str(opened.path),
            expected="an artifact that was exported with --output tokens",
            hint="vit-convert export MODEL --output tokens",
        )
    size, how = opened.spec.config.image_size, opened.spec.preprocessing
    seen, tokens = [], []
    for done, picture in enumerate(found.each):
        progress("pictures", done, len(found))
        image = found.decode(picture)
        seen.append(shown_part(image, size, opened.spec.config.seen_size, how))
        pixels = to_pixels(image, size, how)
        tokens.append(opened.first_output(as_input(pixels[None], opened)))
    progress("pictures", len(found), len(found))
    return seen, np.concatenate(tokens)


def _check(artifact: Artifact) -> None:
    """Raises UsageError for an artifact that gives no vector of each picture."""
    if not artifact.output.is_vector:
        raise UsageError(
            f"gives {artifact.output.kind}, not features",
            where=str(artifact.path),
            expected="an artifact that was exported with --output embedding or --output features, "
            "or has no head",
            hint="vit-convert export --output embedding",
        )
