"""Writes files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vit_convert.errors import OutputError
from vit_convert.runtime.renames import rename_new, replace
from vit_convert.runtime.scratch import Scratch, sync, sync_folder
from vit_convert.runtime.signals import uninterrupted


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
    if os.path.lexists(path) and not force:
        raise _exists(path)
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
    """Write one file or folder, as `atomic_writes` does."""
    with atomic_writes([(path, folder_with)], force) as (inside,):
        yield inside


@contextmanager
def atomic_writes(outputs: Sequence[tuple[Path, str]], force: bool) -> Iterator[list[Path]]:
    """Give a temporary path for each output; rename all of them when the block succeeds.

    If the block fails, or one of the outputs cannot be put in its place, or the process is stopped
    by a signal, then all places are as they were, and nothing is left beside them. If the process
    is killed or the machine stops, each place has the old output or the new one whole, and what is
    left beside them is removed by the next run that writes into the folder.

    Args:
        outputs: (path, its `folder_with`, see `check_output`).
        force: replace what is there.

    Yields:
        the temporary paths, beside the outputs, in their order.

    Raises:
        OutputError: as `check_output`, also if the output has come while the block ran; and where
            the system refuses to write (no space left, no permission, file too large).
    """
    for path, folder_with in outputs:
        check_output(path, force, folder_with)
    made: list[tuple[Path, Scratch]] = []
    place = Path()  # what an error is about
    try:
        with _cleaned_up(made):
            with uninterrupted():
                for place, _ in outputs:
                    made.append((place, Scratch(place.parent, place.name)))
            yield [scratch.new for _, scratch in made]
            for place, scratch in made:  # noqa: B007 - the place of an error
                sync(scratch.new)
            with uninterrupted() as waiting, ExitStack() as undo:
                for place, scratch in made:
                    # It may have come, or changed, since it was checked.
                    check_output(place, force, dict(outputs)[place])
                    undo.callback(_publish(place, scratch, force))
                for folder in {path.parent for path, _ in outputs}:
                    sync_folder(folder)
                if not waiting:
                    undo.pop_all()
    except FileExistsError as error:
        if force or not os.path.lexists(place):
            raise _as_output_error(error, place) from error
        raise _exists(place) from error
    except OSError as error:
        kept = [s.old for _, s in made if os.path.lexists(s.old)]
        raise _as_output_error(error, place, kept) from error


@contextmanager
def _cleaned_up(made: Sequence[tuple[Path, Scratch]]) -> Iterator[None]:
    """Remove the scratch folders that the block has made, whatever ends it."""

    def remove() -> None:
        with uninterrupted():
            for _, scratch in made:
                scratch.remove()

    try:
        try:
            yield
        finally:
            remove()
    except BaseException:
        remove()  # a signal may have come just before the signals were made to wait
        raise


def _publish(path: Path, scratch: Scratch, force: bool) -> Callable[[], None]:
    """Put an output in its place, and give what undoes that.

    Raises:
        FileExistsError: something is there, and may not be replaced.
        OSError: as the system says; the place is as it was.
    """
    new = scratch.new
    if force:
        replace(new, path, scratch.old)
    else:
        rename_new(new, path)

    def undo() -> None:
        if os.path.lexists(new):
            replace(new, path, scratch.old)
        else:
            os.rename(path, new)

    return undo


def _exists(path: Path) -> OutputError:
    return OutputError(
        "exists already, and is kept", where=str(path), hint="--force, or another name"
    )


def _as_output_error(error: OSError, path: Path, kept: Sequence[Path] = ()) -> OutputError:
    # HDF5 reports a failed write in words only: "... error message = 'No space left on device'"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        return _no_space(path.parent, "enough free space for the output")
    reason = error.strerror or str(error).splitlines()[0]
    where_kept = f"; what was there is {kept[0]}" if kept else ""
    return OutputError(
        f"cannot be written: {reason}{where_kept}",
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
