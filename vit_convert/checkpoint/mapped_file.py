"""A file mapped into memory: nothing of it is read until it is used."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_convert.errors import CheckpointError, similar_to


@dataclass(frozen=True)
class MappedFile:
    """A file's bytes, read-only.

    Attributes:
        path: where it is.
        size: in bytes, at least one.
        buffer: the mapping; it lives as long as any array made from it.
    """

    path: Path
    size: int
    buffer: mmap.mmap

    @staticmethod
    def open(path: Path) -> MappedFile:
        """Map a file.

        Raises:
            CheckpointError: there is no such file, it is a folder, empty, or may not be read.
        """
        where = str(path)
        try:
            if path.is_dir():
                raise CheckpointError("this is a folder", where=where, expected="a checkpoint")
            if path.exists() and not path.is_file():  # opening a pipe could wait for ever
                raise CheckpointError("this is no file", where=where, expected="a checkpoint")
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size == 0:
                    raise CheckpointError("the file is empty", where=where, expected="a checkpoint")
                return MappedFile(path, size, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError:
            raise CheckpointError(
                "there is no such file",
                where=where,
                expected="a checkpoint file",
                hint=similar_to(path),
            ) from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"it cannot be opened: {error}", where=where) from error

    def span(self, offset: int, count: int) -> np.ndarray:
        """`count` bytes from `offset` on, as uint8, without copying.

        Raises:
            CheckpointError: the file ends before.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise CheckpointError(
                "the file ends before its data does: it is truncated or damaged",
                where=str(self.path),
                expected="a complete checkpoint",
                hint="download or copy it again",
            )
        if count == 0:
            return np.empty(0, np.uint8)
        return np.frombuffer(self.buffer, np.uint8, count, offset)
