"""Pictures wherever they are: on this machine, or in object storage (s3://, gs://, ...) by pyarrow.

A picture has one name, a text: a path, or the address under which it was found with the rest of its
key as it is, not percent-encoded. `Storage` knows the addresses, and reads by such names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from vit_convert.errors import MissingDependencyError
from vit_convert.images.decoding import ImageError, read_picture
from vit_convert.images.folders import SUFFIXES, ImageFolder, is_picture, picture_names
from vit_convert.runtime.limits import IMAGE_FILE_BYTES

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
PARQUET_HINT = 'pip install "vit-convert[parquet]"'


@dataclass(frozen=True)
class Storage:
    """Reads pictures by their names.

    Attributes:
        addresses: under which some of them are; all others are files of this machine.
        folder: that relative paths begin at; the current one by default.
    """

    addresses: tuple[str, ...] = ()
    folder: str = ""

    def read(self, name: str) -> bytes:
        """The bytes of a picture.

        Raises:
            ImageError: it is not there, cannot be read, or is over the limit IMAGE_FILE_BYTES.
        """
        for address in self.addresses:
            if name == address or name.startswith(f"{address}/"):
                system, base = file_system(address)
                return _object(system, base + name[len(address) :], name)
        return read_picture(os.path.join(self.folder, name))


def storage_of(paths: Sequence[str | Path]) -> Storage:
    """The storage that has the pictures of these paths."""
    texts = (local(str(path)) for path in paths)
    return Storage(tuple(text.rstrip("/") for text in texts if is_address(text)))


def find_pictures(paths: Sequence[str | Path]) -> list[str]:
    """The pictures that are meant by paths: files as they are, of folders all in them, sorted.

    Args:
        paths: files, folders, and addresses of either, in the order of the pictures.

    Raises:
        ImageError: there is no such file or folder, or no picture in a folder.
        MissingDependencyError: pyarrow is not installed, and an address is among them.
    """
    found: list[str] = []
    for path in map(local, map(str, paths)):
        if is_address(path):
            found += _listed(path.rstrip("/"))
        elif os.path.isdir(path):
            found += picture_names(path)
        elif os.path.lexists(path):
            found.append(path)
        else:
            read_picture(path)  # which says what is wrong
    return found


def find_labelled(folder: str | Path) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The classes of a folder with one subfolder for each, and (picture, class) of all pictures.

    As `ImageFolder`; in object storage, a class without pictures does not exist.

    Raises:
        ImageError: as `ImageFolder`.
        MissingDependencyError: pyarrow is not installed, and the folder is an address.
    """
    path = local(str(folder))
    if not is_address(path):
        pictures = ImageFolder(path)
        return pictures.classes, [(str(picture), name) for picture, name in pictures]
    address = path.rstrip("/")
    split = [(name, name[len(address) + 1 :].partition("/")) for name in _listed(address)]
    labelled = [(name, parts[0]) for name, parts in split if parts[2]]
    if not labelled:
        raise ImageError(
            "holds no labelled pictures",
            where=address,
            expected="one subfolder per class, with the pictures of that class in it",
        )
    return tuple(sorted({name for _, name in labelled})), labelled


def is_address(path: str) -> bool:
    """Whether a path is an address: SCHEME://..."""
    return bool(_ADDRESS.match(path))


def local(path: str) -> str:
    """The path that a file:// address stands for; others as they are."""
    parts = urlparse(path) if path.lower().startswith("file://") else None
    return path if parts is None or parts.netloc else unquote(parts.path, errors="surrogateescape")


@cache
def file_system(address: str) -> tuple[Any, str]:
    """The file system of pyarrow's that an address belongs to, and the path in it.

    Raises:
        ImageError: pyarrow cannot go there.
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem
    except ImportError as error:
        raise MissingDependencyError(
            "pyarrow reads it, and is not installed", where=address, hint=PARQUET_HINT
        ) from error
    try:
        system, path = FileSystem.from_uri(address)
    except (ArrowException, OSError, ValueError, ImportError) as error:
        raise ImageError(
            f"cannot be opened: {_first_line(error)}",
            where=address,
            expected="an address that pyarrow.fs knows, such as s3://BUCKET/FOLDER",
        ) from error
    return system, path.rstrip("/")


def _listed(address: str) -> list[str]:
    """Names of all pictures under an address, sorted; or of the one object that it is."""
    from pyarrow.fs import FileSelector, FileType

    system, base = file_system(address)
    try:
        entry = system.get_file_info(base)
        if entry.type == FileType.File:
            return [address]
        entries = system.get_file_info(FileSelector(base, allow_not_found=True, recursive=True))
    except OSError as error:
        raise ImageError(f"cannot be listed: {_first_line(error)}", where=address) from error
    keys = [e.path[len(base) + 1 :].split("/") for e in entries if e.type == FileType.File]
    shown = (key for key in keys if not any(part.startswith(".") for part in key))
    found = sorted(key for key in shown if is_picture(key[-1]))
    if not found:
        raise ImageError(
            "holds no pictures" if entries else "there is no such folder",
            where=address,
            expected=f"files that end in one of {', '.join(sorted(SUFFIXES))}",
        )
    return [f"{address}/{'/'.join(key)}" for key in found]


def _object(system: Any, path: str, name: str) -> bytes:
    most = IMAGE_FILE_BYTES.allowed()
    try:
        with system.open_input_stream(path) as stream:
            content: bytes = stream.read(most + 1)
    except OSError as error:
        raise ImageError(f"cannot be read: {_first_line(error)}", where=name) from error
    IMAGE_FILE_BYTES.check(len(content), name, error=ImageError)
    return content


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
