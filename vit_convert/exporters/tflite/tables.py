"""Reading flatbuffers of anybody: every offset is checked, and the work is bounded.

The readers that flatbuffers generates trust the file. A small file that refers a million times to
the same table makes them build a million objects, and a name may claim to be the whole file. Here
each table, element and character that is read is counted against what the file can honestly hold.
The format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from vit_convert.runtime.limits import TFLITE_STEPS, VARIABLE

_LONGEST = 4096  # bytes of a text
MOST_ENTRIES = 1000  # of metadata
_FIELDS = 64  # of a table; TFLite's largest has 15
_TABLE = 3  # what a table counts for; it takes 12 bytes at least, and most of the work


class BrokenFile(ValueError):  # noqa: N818 - it is turned into the error that users see
    """An offset leads out of the file, or the file asks for more work than its size allows."""


class Reader:
    """The bytes of a file, and how much may still be read of its tables.

    Args:
        data: all bytes, (size,) uint8; they may stay on the disk.
    """

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.view = memoryview(data)  # type: ignore[arg-type]  # an array is a buffer
        self.size = data.size
        self._left = TFLITE_STEPS.allowed(self.size)

    def root(self) -> Table:
        """The table that the file begins with."""
        return Table(self, self.number("<I", 0))

    def spend(self, count: int) -> None:
        """Count what is read.

        Raises:
            BrokenFile: it is more than the file can hold.
        """
        self._left -= count
        if self._left < 0:
            raise BrokenFile(
                "its tables refer to each other too often: it is over the limit "
                f"`{TFLITE_STEPS.name}`, which {VARIABLE} raises"
            )

    def number(self, form: str, position: int) -> Any:
        """The number at a position, in a form of `struct`.

        Raises:
            BrokenFile: it is outside the file.
        """
        if not 0 <= position <= self.size - struct.calcsize(form):
            raise BrokenFile("an offset leads out of the file")
        return struct.unpack_from(form, self.view, position)[0]


class Table:
    """A table of the file. Fields are told by their number in the schema, from 0; a field that is
    not there has its default.

    Raises:
        BrokenFile: from every method, where an offset leads out of the file.
    """

    __slots__ = ("_fields", "_position", "_reader")

    def __init__(self, reader: Reader, position: int) -> None:
        reader.spend(_TABLE)
        self._reader, self._position = reader, position
        vtable = position - reader.number("<i", position)
        count = min(_FIELDS, max(0, reader.number("<H", vtable) - 4) // 2)
        reader.number("<H", vtable + 2 + 2 * count)  # the last one is within the file
        self._fields = struct.unpack_from(f"<{count}H", reader.view, vtable + 4)

    @property
    def position(self) -> int:
        """Its place in the file."""
        return self._position

    def number(self, field: int, form: str, default: int = 0) -> Any:
        """A number, in a form of `struct`."""
        place = self._place(field)
        return self._reader.number(form, place) if place else default

    def text(self, field: int) -> str:
        """A string, cut where it is endless."""
        start, length = self.vector(field, 1)
        length = min(length, _LONGEST)
        self._reader.spend(length // 16)
        return bytes(self._reader.view[start : start + length]).decode(errors="replace")

    def table(self, field: int) -> Table | None:
        """A table that this one refers to; None where there is none."""
        place = self._place(field)
        return Table(self._reader, self._follow(place)) if place else None

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        start, length = self.vector(field, 4)
        self._reader.spend(length)
        places = range(start, start + 4 * length, 4)
        return [Table(self._reader, self._follow(place)) for place in places]

    def integers(self, field: int) -> tuple[int, ...]:
        """A vector of 32-bit integers."""
        start, length = self.vector(field, 4)
        self._reader.spend(length)
        return struct.unpack_from(f"<{length}i", self._reader.view, start)

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """The place of a vector of elements of `width` bytes in the file, and their number;
        (0, 0) where there is none."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = self._follow(place)
        length = self._reader.number("<I", start)
        if start + 4 + width * length > self._reader.size:
            raise BrokenFile("a vector ends outside the file")
        return start + 4, length

    def _place(self, field: int) -> int:
        offset = self._fields[field] if field < len(self._fields) else 0
        return self._position + offset if offset else 0

    def _follow(self, place: int) -> int:
        return place + int(self._reader.number("<I", place))
