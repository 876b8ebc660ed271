"""Labelled pictures: folders, their split, and what is wrong with them before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.images.folders import ImageFolder


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures and their classes.

    Attributes:
        paths: the files.
        labels: (pictures,) int64, indices of `classes`.
        classes: their names.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, indices: Sequence[int] | np.ndarray) -> LabelledPictures:
        """Some of them."""
        chosen = [int(i) for i in indices]
        return LabelledPictures(
            tuple(self.paths[i] for i in chosen), self.labels[chosen], self.classes
        )

    def ordered_as(self, classes: Sequence[str]) -> LabelledPictures:
        """The same pictures, with the classes in another order."""
        place = {name: i for i, name in enumerate(classes)}
        indices = np.array([place[name] for name in self.classes], np.int64)
        return LabelledPictures(self.paths, indices[self.labels], tuple(classes))


def read_folder(folder: Path) -> LabelledPictures:
    """The pictures of a folder to train on, which has one subfolder per class.

    Raises:
        ImageError: there is no such folder, or no picture in a subfolder of it.
        UsageError: there is one class alone, or one without pictures.
    """
    found = ImageFolder(folder)
    if len(found.classes) < 2:
        raise UsageError(
            f"there is one class alone, {found.classes[0]!r}",
            where=str(folder),
            expected="a subfolder for each of two or more classes",
        )
    counts = Counter(name for _, name in found)
    if empty := [name for name in found.classes if not counts[name]]:
        raise UsageError(
            f"there is no picture of the class {empty[0]!r}",
            where=str(folder / empty[0]),
            expected="pictures in each of the subfolders",
            hint="remove the folder, or fill it",
        )
    return _labelled(found, found.classes)


def read_validation(folder: Path, classes: Sequence[str]) -> LabelledPictures:
    """The pictures of a folder to validate on, with the classes of training.

    Raises:
        ImageError: as `read_folder`.
        UsageError: there is a class that training does not have.
    """
    found = ImageFolder(folder)
    used = dict.fromkeys(name for _, name in found)
    if unknown := [name for name in used if name not in classes]:
        raise UsageError(
            f"the class {unknown[0]!r} is in the validation folder only",
            where=str(folder / unknown[0]),
            expected=f"the classes of training: {', '.join(classes[:10])}"
            f"{', ...' if len(classes) > 10 else ''}",
        )
    return _labelled(found, classes)


def split(
    pictures: LabelledPictures, fraction: float, seed: int
) -> tuple[LabelledPictures, LabelledPictures]:
    """Pictures to train on, and pictures to validate on: the same share of each class.

    Raises:
        UsageError: the fraction makes no sense, or a class has a single picture.
    """
    if not 0 < fraction < 1:
        raise UsageError(
            f"{fraction:g} of the pictures cannot be held back",
            where="--validation",
            expected="a fraction between 0 and 1, or a folder",
        )
    kept: list[int] = []
    held: list[int] = []
    for label, name in enumerate(pictures.classes):
        indices = np.flatnonzero(pictures.labels == label)
        if len(indices) < 2:
            raise UsageError(
                f"the class {name!r} has a single picture, and one must be held back",
                where="--validation",
                expected="two or more pictures of each class, or a validation folder",
            )
        count = min(max(1, round(fraction * len(indices))), len(indices) - 1)
        order = np.random.default_rng((seed, label)).permutation(indices)
        held += order[:count].tolist()
        kept += order[count:].tolist()
    return pictures.subset(sorted(kept)), pictures.subset(sorted(held))


def _labelled(found: ImageFolder, classes: Sequence[str]) -> LabelledPictures:
    place = {name: i for i, name in enumerate(classes)}
    labels = np.array([place[name] for _, name in found], np.int64)
    return LabelledPictures(tuple(path for path, _ in found), labels, tuple(classes))
