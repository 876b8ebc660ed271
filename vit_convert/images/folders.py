"""Folders of pictures, with and without a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vit_convert.errors import similar_to
from vit_convert.images.decoding import ImageError

# those of torchvision's ImageFolder
SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def find_images(folder: str | Path) -> list[Path]:
    """Every picture in a folder and its subfolders, recognised by its suffix, sorted.

    Names that begin with a dot are passed over; symbolic links are followed.

    Raises:
        ImageError: there is no such folder, or no picture in it.
    """
    return [Path(name) for name in picture_names(folder)]


def picture_names(folder: str | Path) -> list[str]:
    """As `find_images`, as texts, which take less memory where there are millions.

    Raises:
        ImageError: as `find_images`.
    """
    found = sorted(_pictures(_folder(folder)), key=lambda name: name.split(os.sep))
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise ImageError(
            "holds no pictures", where=str(folder), expected=f"files that end in one of {suffixes}"
        )
    return found


class ImageFolder:
    """Labelled pictures, `folder/<class>/.../<picture>`, in the order of torchvision's ImageFolder.

    Iterating gives (path, class name).

    Attributes:
        classes: the names of the subfolders, sorted. A class without pictures is kept, so that the
            others keep their indices.
        samples: (path, class name), class after class, sorted within each.

    Raises:
        ImageError: there is no such folder, no class in it, or no picture in any of them.
    """

    def __init__(self, folder: str | Path) -> None:
        root = _folder(folder)
        found = {
            entry.name: [Path(name) for name in _pictures(entry)]
            for entry in sorted(root.iterdir(), key=lambda entry: entry.name)
            if entry.is_dir() and not entry.name.startswith(".")
        }
        self.classes: tuple[str, ...] = tuple(found)
        self.samples: tuple[tuple[Path, str], ...] = tuple(
            (path, name) for name, paths in found.items() for path in paths
        )
        if not self.samples:
            raise ImageError(
                "holds no labelled pictures",
                where=str(folder),
                expected="one subfolder per class, with the pictures of that class in it",
                hint=f"{Path(folder, 'cat', '1.jpg')}, if it is a cat's",
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[Path, str]]:
        return iter(self.samples)


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise ImageError(
            "is not a folder" if folder.exists() else "there is no such folder",
            where=str(path),
            expected="a folder with pictures",
            hint="" if folder.exists() else similar_to(path),
        )
    return folder


def is_picture(name: str) -> bool:
    """Whether a name ends as a picture's does, and does not begin with a dot."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _pictures(folder: Path) -> list[str]:
    """Pictures under a folder, in the order of `sorted(os.walk(folder))`."""
    names: dict[str, list[str]] = {}
    seen = {os.path.realpath(folder)}  # a link back up must not be followed for ever
    for root, folders, files in os.walk(folder, followlinks=True):
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(root, name))
            if name.startswith(".") or real in seen:
                folders.remove(name)
            seen.add(real)
        names[root] = files
    return [
        str(Path(root, name))
        for root in sorted(names)
        for name in sorted(names[root])
        if is_picture(name)
    ]
