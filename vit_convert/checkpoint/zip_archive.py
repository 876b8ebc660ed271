"""Zip archives, whose members are read in parts where they are stored, and else unpacked whole.

A small archive can unpack to a thousand times its size, again for each tensor: what is unpacked is
limited in all, and the last member is kept.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np

from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import printable
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import DIRECTORY_BYTES, REPEATS, UNPACKED_BYTES, Budget

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 1
_UTF_8 = 0x800
_DEFLATE_RATIO = 1032  # its greatest
_TAIL = (1 << 16) + 200  # the end of the directory is within a comment of 64 KB


class ZipArchive:
    """The members of a zip file.

    Raises:
        CheckpointError: the archive is truncated or damaged, or a name occurs twice.
    """

    def __init__(self, file: FileBytes) -> None:
        self.file = file
        where = str(file.path)
        DIRECTORY_BYTES.check(_directory_size(file), where)
        try:
            with zipfile.ZipFile(file.stream()) as archive:
                infos = archive.infolist()
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            NotImplementedError,
            ValueError,
            OverflowError,
            MemoryError,
            struct.error,
            OSError,
        ) as error:
            raise self._error("the zip archive is truncated or damaged") from error
        self.members = {info.filename: info for info in infos}
        if len(self.members) != len(infos):
            raise self._error("the zip archive has two members of the same name")
        unpacked = sum(i.file_size for i in infos if i.compress_type != zipfile.ZIP_STORED)
        UNPACKED_BYTES.check(unpacked, where, file.size)
        self._budget = Budget(REPEATS, where=where)
        self._budget.left *= unpacked
        self._kept: tuple[str, np.ndarray] = ("", np.empty(0, np.uint8))

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked.

        Raises:
            CheckpointError: there is no such member.
        """
        return self._member(name).file_size

    def read(
        self, name: str, start: int = 0, stop: int | None = None, *, check: bool = False
    ) -> np.ndarray:
        """A member's bytes as uint8, or some of them.

        Args:
            name: of the member.
            start, stop: the first byte, and the one behind the last; by default all.
            check: also compare the checksum of a stored member, which reads all of it.

        Raises:
            CheckpointError: there is no such member, or it is damaged, encrypted or packed oddly.
        """
        info = self._member(name)
        stop = info.file_size if stop is None else stop
        if info.compress_type != zipfile.ZIP_STORED:
            return self._unpacked(info)[start:stop]
        place, size = self._place(info)
        if check:
            content = self.file.span(place, size)
            self._compare(info, content)
            return content[start:stop]
        return self.file.span(place + start, min(stop, size) - start)

    def _unpacked(self, info: zipfile.ZipInfo) -> np.ndarray:
        """A deflated member; the last one is kept, because tensors often share one."""
        name, content = self._kept
        if name != info.filename or not name:
            self._kept = ("", np.empty(0, np.uint8))  # so that only one is in memory
            self._budget.spend(info.file_size)
            content = self._inflate(info, self.file.span(*self._place(info)))
            self._compare(info, content)
            self._kept = (info.filename, content)
        return content

    def _compare(self, info: zipfile.ZipInfo, content: np.ndarray) -> None:
        # PyTorch has an option to leave checksums out; they are 0 then
        if info.CRC not in (0, zlib.crc32(content.data)):
            raise self._damaged(info)

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes of a member, or all if it has fewer; only they are unpacked.

        Raises:
            CheckpointError: see `read`.
        """
        info = self._member(name)
        place, size = self._place(info)
        if info.compress_type == zipfile.ZIP_STORED:
            return self.file.span(place, min(size, count)).tobytes()
        packed = self.file.span(place, min(size, 2 * count))
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed.data, count)
        except zlib.error as error:
            raise self._damaged(info) from error

    def _place(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        """Where a member's bytes begin in the file, and how many there are."""
        shown = printable(info.filename)
        if info.flag_bits & _ENCRYPTED:
            raise self._error(f"{shown} in the zip archive is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._error(
                f"{shown} in the zip archive is packed by method {info.compress_type}",
                expected="stored or deflated members",
            )
        start = info.header_offset
        header = self.file.span(start, _LOCAL_HEADER.size).tobytes()
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start += _LOCAL_HEADER.size
        name = self.file.span(start, name_length).tobytes()
        extra = self.file.span(start + name_length, extra_length).tobytes()
        stored = info.compress_type == zipfile.ZIP_STORED
        if (
            signature != b"PK\x03\x04"
            or name != info.orig_filename.encode("utf-8" if info.flag_bits & _UTF_8 else "cp437")
            or not _are_fields(extra)
            or (stored and info.compress_size != info.file_size)
        ):
            raise self._damaged(info)
        start += name_length + extra_length
        return start, info.compress_size

    def _inflate(self, info: zipfile.ZipInfo, packed: np.ndarray) -> np.ndarray:
        if info.file_size > _DEFLATE_RATIO * (info.compress_size + 1):
            raise self._damaged(info)
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = unpacker.decompress(packed.data, info.file_size + 1)
        except (zlib.error, MemoryError) as error:
            raise self._damaged(info) from error
        if len(content) != info.file_size:
            raise self._damaged(info)
        return np.frombuffer(content, np.uint8)

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self.members:
            raise self._error(f"{printable(name)} is missing in the zip archive")
        return self.members[name]

    def _damaged(self, info: zipfile.ZipInfo) -> CheckpointError:
        return self._error(f"{printable(info.filename)} in the zip archive is damaged")

    def _error(self, what: str, expected: str = "") -> CheckpointError:
        return CheckpointError(
            what,
            where=str(self.file.path),
            expected=expected or "a complete checkpoint",
            hint="" if expected else "download or copy it again",
        )


def _directory_size(file: FileBytes) -> int:
    """Bytes of the directory at the end of a zip file, as it says; 0 where it does not.

    Python's zipfile makes an object of each entry before anybody can count them.
    """
    tail = file.span(max(0, file.size - _TAIL), min(file.size, _TAIL)).tobytes()
    end = tail.rfind(b"PK\x05\x06")
    wide = tail.rfind(b"PK\x06\x06")
    if 0 <= wide < end - 40:
        return int.from_bytes(tail[wide + 40 : wide + 48], "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0


def _are_fields(extra: bytes) -> bool:
    """Whether a header's extra bytes are what they must be: fields of (id, size, content).

    If not, its length is wrong, and with it the place where the member begins.
    """
    position = 0
    while position + 4 <= len(extra):
        position += 4 + int.from_bytes(extra[position + 2 : position + 4], "little")
    return position == len(extra)
