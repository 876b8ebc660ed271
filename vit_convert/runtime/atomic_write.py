"""Writes files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vit_convert.errors import OutputError


def check_output(path: Path, force: bool, folder_with: str = "") -> None:
    """Refuse to write where something is already, or where nothing can be written.

    Args:
        path: what is to be written.
        force: replace what is there, except a folder that vit-convert did not write.
        folder_with: a file that every folder written here contains; "" if a file is written.

    Raises:
        OutputError: `path` exists and may not be replaced, or its folder does not exist.
    """
    if path.is_dir() and not folder_with:
        raise OutputError(
            "is a folder, and is kept",
            where=str(path),
            expected="the name of the file to write",
            hint=f"{path / 'NAME'}",
        )
    if path.exists() and not force:
        raise OutputError(
            "exists already, and is kept", where=str(path), hint="--force, or another name"
        )
    if path.is_dir() and any(path.iterdir()) and not (path / folder_with).exists():
        raise OutputError(
            "is a folder with other things in it, and is kept",
            where=str(path),
            expected="a folder that vit-convert wrote, or none",
            hint="another name",
        )
    if not path.parent.is_dir():
        raise OutputError(
            "the folder to write to does not exist",
            where=str(path.parent),
            expected="an existing folder",
            hint=f"mkdir -p {path.parent}",
        )


def check_space(folder: Path, needed: int) -> None:
    """Raises OutputError if the disk of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _no_space(folder, f"{needed / 1e6:.0f} MB free; there are {free / 1e6:.0f} MB")


@contextmanager
def atomic_write(path: Path, force: bool, folder_with: str = "") -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    If the block fails, the temporary path is removed and `path` stays as it was.

    Raises:
        OutputError: as `check_output`; and where the system refuses to write (no space left, no
            permission, file too large).
    """
    check_output(path, force, folder_with)
    scratch = Path(_scratch_folder(path))
    inside = scratch / path.name
    try:
        yield inside
        if path.is_dir() and not path.is_symlink():
            # A folder cannot be replaced in one step: the old one steps aside, and only goes
            # away once the new one is in its place.
            os.rename(path, scratch / "old")
        os.replace(inside, path)
    except OSError as error:
        raise _as_output_error(error, path) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch_folder(path: Path) -> str:
    try:
        return tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _as_output_error(error, path) from error


def _as_output_error(error: OSError, path: Path) -> OutputError:
    # HDF5 reports a failed write in words only: "... error message = 'No space left on device'"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        return _no_space(path.parent, "enough free space for the output")
    reason = error.strerror or str(error).splitlines()[0]
    return OutputError(
        f"cannot be written: {reason}",
        where=str(path),
        expected="a place that can be written to",
        hint="another -o",
    )


def _no_space(folder: Path, expected: str) -> OutputError:
    return OutputError(
        "no space left on the disk; nothing was written",
        where=str(folder),
        expected=expected,
        hint="free some space, or -o on another disk",
    )
