"""A file's bytes, of which nothing is read until it is used.

They are read, not mapped: a mapped file that is truncated meanwhile (by a download, a training run,
another user) ends the process with SIGBUS. Reading costs a copy, and a short read is an error.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import CheckpointError, similar_to
from vit_convert.runtime.input_file import open_input


class FileBytes:
    """An open file, read-only.

    Attributes:
        path: where it is.
        size: in bytes when it was opened, at least one.
    """

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path, self.size = path, size
        self._descriptor = descriptor

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self._descriptor)  # a default, because `os` may be gone when Python ends

    @staticmethod
    def open(path: Path) -> FileBytes:
        """Open a file.

        Raises:
            CheckpointError: there is no such file, it is no regular file, empty, or may not be
                read.
        """
        where = str(path)
        try:
            descriptor = open_input(path)
        except FileNotFoundError:
            raise CheckpointError(
                "there is no such file",
                where=where,
                expected="a checkpoint file",
                hint=similar_to(path),
            ) from None
        except OSError as error:
            raise CheckpointError(
                f"cannot be opened: it {error.strerror}"
                if error.filename is None
                else f"cannot be opened: {error.strerror}",
                where=where,
                expected="a checkpoint",
            ) from error
        file = FileBytes(path, descriptor, os.fstat(descriptor).st_size)
        if file.size == 0:
            raise CheckpointError("the file is empty", where=where, expected="a checkpoint")
        return file

    def span(self, offset: int, count: int) -> np.ndarray:
        """`count` bytes from `offset` on, as read-only uint8.

        Raises:
            CheckpointError: the file ends before, or cannot be read.
        """
        self.check(offset, count)
        content = np.empty(count, np.uint8)
        try:
            done = self.read_into(content.data, offset)
        except OSError as error:
            raise CheckpointError(
                f"cannot be read: {error.strerror or error}", where=str(self.path)
            ) from error
        if done < count:
            raise self._truncated("the file became shorter while it was read")
        content.flags.writeable = False
        return content

    def check(self, offset: int, count: int) -> None:
        """Raises CheckpointError where the file has no `count` bytes from `offset` on."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self._truncated("the file ends before its data does: it is truncated or damaged")

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill a buffer with the bytes from `offset` on, and return their number.

        Raises:
            OSError: the file cannot be read.
        """
        done = 0
        while done < len(target):
            got = os.preadv(self._descriptor, [target[done:]], offset + done)
            if not got:
                break
            done += got
        return done

    def stream(self) -> Stream:
        """The same bytes as a seekable stream."""
        return Stream(self)

    def _truncated(self, what: str) -> CheckpointError:
        return CheckpointError(
            what,
            where=str(self.path),
            expected="a complete checkpoint",
            hint="download or copy it again",
        )


class _Raw(io.RawIOBase):
    """The unbuffered part of a stream."""

    def __init__(self, file: FileBytes) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        count = max(0, min(len(view), self._file.size - self._position))
        done = self._file.read_into(view[:count], self._position)
        self._position += done
        return done

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a place before the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


class Stream(io.BufferedReader):
    """A file's bytes one after the other. However much is asked for at once, no more memory is
    taken than the file has bytes."""

    def __init__(self, file: FileBytes) -> None:
        super().__init__(_Raw(file))
        self._size = file.size

    def read(self, count: int | None = -1, /) -> bytes:
        """Up to `count` bytes."""
        left = max(0, self._size - self.tell())
        return super().read(left if count is None or count < 0 else min(count, left))
