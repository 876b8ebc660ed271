"""Artifacts as they are given to the public functions: paths or open, one or several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vit_convert.errors import UsageError, described
from vit_convert.exporters import open_artifact
from vit_convert.exporters.artifact import Artifact
from vit_convert.progress import Progress, counted

ArtifactLike: TypeAlias = Artifact | str | os.PathLike[str]
_EXPECTED = "the path of an artifact, what `vit_convert.open_artifact` gives, or a list of these"


@dataclass(frozen=True)
class GivenArtifacts:
    """The artifacts that were given; paths are not opened yet.

    Attributes:
        each: an open artifact, or the path of one.
        several: whether they were given as several, and results are to be.
    """

    each: tuple[Artifact | Path, ...]
    several: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where they are."""
        return tuple(a.path if isinstance(a, Artifact) else a for a in self.each)

    def open(self, progress: Progress) -> tuple[Artifact, ...]:
        """All of them, open, for pictures.

        Raises:
            ArtifactError: as `open_artifact`.
            UsageError: one takes no pictures.
        """
        found = tuple(map(opened, counted(progress, "opening artifacts", self.each)))
        for artifact in found:
            artifact.check_takes_pictures()
        return found


def opened(artifact: Artifact | Path) -> Artifact:
    """An artifact that may be open already.

    Raises:
        ArtifactError: as `open_artifact`.
    """
    return artifact if isinstance(artifact, Artifact) else open_artifact(artifact)


def given_artifacts(artifacts: ArtifactLike | Iterable[ArtifactLike]) -> GivenArtifacts:
    """Tell what somebody gave as artifacts. Nothing is opened.

    Raises:
        UsageError: it is something else, or nothing at all.
    """
    if isinstance(artifacts, (Artifact, str, os.PathLike)):
        return GivenArtifacts((_one(artifacts, "artifacts"),), several=False)
    if not isinstance(artifacts, Iterable) or isinstance(artifacts, (Mapping, bytes)):
        raise _refused(artifacts, "artifacts")
    each = tuple(_one(each, f"artifacts[{place}]") for place, each in enumerate(artifacts))
    if not each:
        raise UsageError("there are none", where="artifacts", expected=_EXPECTED)
    return GivenArtifacts(each, several=True)


def _one(artifact: ArtifactLike, where: str) -> Artifact | Path:
    if isinstance(artifact, Artifact):
        return artifact
    if not isinstance(artifact, (str, os.PathLike)):
        raise _refused(artifact, where)
    return Path(artifact)


def _refused(given: object, where: str) -> UsageError:
    model = callable(getattr(given, "get_config", None))  # a Keras model or layer
    return UsageError(
        f"cannot be {described(given)}",
        where=where,
        expected=_EXPECTED,
        hint='model.save("model.keras"), and that path' if model else "",
    )
