"""The one way in which files of somebody else are opened.

A pipe, a device or a terminal instead of a file would make a reader wait, or read, for ever. So
what is opened is checked after it is open, without waiting, and small files are read up to a limit.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from vit_convert.runtime.limits import VARIABLE, Limit

if TYPE_CHECKING:
    import numpy as np

# Where the system has it: opening a pipe without a writer would wait for one.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_input(path: str | Path) -> int:
    """Open a regular file to be read, and return its descriptor, which the caller closes.

    Raises:
        OSError: it is not there, may not be read, or is no regular file. `strerror` says so.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a null character in the path
        raise OSError(errno.EINVAL, "has a name that no file can have") from error
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, f"is {_kind(kind)}, not a regular file")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_input(path: str | Path, limit: Limit) -> bytes:
    """All bytes of a small file.

    Raises:
        OSError: as `open_input`; or it is larger than the limit.
    """
    most = limit.allowed()
    with os.fdopen(open_input(path), "rb") as file:
        # Getting room for `most` bytes takes longer than reading a small file. In /proc, files
        # have no size.
        size = os.fstat(file.fileno()).st_size or most
        content = file.read(min(size, most) + 1)
    if len(content) > most:
        raise OSError(
            errno.EFBIG,
            f"is larger than the limit `{limit.name}`, {most:,} {limit.what} "
            f"({VARIABLE}={limit.name}={10 * most} raises it)",
        )
    return content


def read_head(path: str | Path, count: int) -> bytes:
    """The first bytes of a file; fewer where it is shorter.

    Raises:
        OSError: as `open_input`.
    """
    with os.fdopen(open_input(path), "rb") as file:
        return file.read(count)


def load_input(path: str | Path, most: int) -> np.ndarray:
    """A file's bytes, (size,) uint8, which are only read.

    They are in memory, because a mapped file that is truncated meanwhile (by a download, another
    export, another user) ends the process with SIGBUS. Larger files are mapped all the same: a copy
    of those would cost too much.

    Args:
        path: the file.
        most: bytes to have in memory.

    Raises:
        OSError: as `open_input`.
        ValueError: it is empty.
    """
    import numpy as np

    with os.fdopen(open_input(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            return np.memmap(file, np.uint8, mode="r")
        content = file.read()
    if not content:
        raise ValueError("the file is empty")
    return np.frombuffer(content, np.uint8)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
