"""Renames that never lose a file: onto nothing, and in exchange for what is there.

Linux has both as one system call, renameat2 (see its manual page, renameat2(2)). Where the system
or the file system lacks it, the same is done in steps, each of which is undone if the next one
fails.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the current folder
_NOREPLACE, _EXCHANGE = 1, 2  # RENAME_NOREPLACE and RENAME_EXCHANGE of <linux/fs.h>
_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that is free.

    Raises:
        FileExistsError: something has the name already; it is kept, and so is `source`.
        OSError: as the system says.
    """
    if _renamed(source, target, _NOREPLACE):
        return
    exists = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    if os.path.lexists(target):
        raise exists
    if source.is_dir():
        # If another run is faster: the system replaces no folder with something in it.
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise exists from None
            raise
        return
    if _linked(source, target):
        with suppress(OSError):  # what is left is in a scratch folder, and goes with it
            os.unlink(source)
    else:
        os.rename(source, target)  # of two runs within microseconds the later one would win


def replace(source: Path, target: Path, aside: Path) -> None:
    """Put a file or folder in the place of what is there, which is then at `source`.

    Args:
        source: what takes the place.
        target: the place; if nothing is there, nothing is at `source` afterwards.
        aside: a free name for what was there, used for a moment where the system cannot exchange
            two names. If the process is killed in that moment, it is there still.

    Raises:
        OSError: as the system says. `target` is what it was, or, if not even that can be had, what
            was there is at `aside`.
    """
    if not os.path.lexists(target):
        try:
            rename_new(source, target)
            return
        except FileExistsError:
            pass  # it has come meanwhile
    if _renamed(source, target, _EXCHANGE):
        return
    with ExitStack() as undo:
        linked = not (source.is_dir() or target.is_dir()) and _linked(target, aside)
        if linked:  # the place is never empty
            undo.callback(_put_back, aside, target)
        else:
            os.rename(target, aside)
            undo.callback(os.rename, aside, target)
        os.replace(source, target)
        if not linked:
            undo.callback(os.rename, target, source)
        os.rename(aside, source)
        undo.pop_all()


def _linked(target: Path, aside: Path) -> bool:
    """Give a file a second name; False where the file system has no such thing."""
    try:
        os.link(target, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return False
        raise
    return True


def _put_back(aside: Path, target: Path) -> None:
    os.replace(aside, target)
    with suppress(FileNotFoundError):  # two names of one file are both left (rename(2))
        os.unlink(aside)


def _renamed(source: Path, target: Path, flag: int) -> bool:
    """Call renameat2; False where it cannot do that.

    Raises:
        OSError: as the system says.
    """
    rename = _renameat2()
    if rename is None:
        return False
    number = rename(os.fsencode(source), os.fsencode(target), flag)
    if number in _NOT_SUPPORTED:
        return False
    if number:
        raise OSError(number, os.strerror(number), str(source), None, str(target))
    return True


@cache
def _renameat2() -> Callable[[bytes, bytes, int], int] | None:
    """The system call as a function that gives an error number, 0 for success."""
    if sys.platform != "linux":
        return None
    import ctypes  # here, because few commands write files

    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:  # a C library older than glibc 2.28
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )

    def call(source: bytes, target: bytes, flag: int) -> int:
        done = function(_HERE, source, _HERE, target, flag)
        return 0 if done == 0 else ctypes.get_errno()

    return call
