"""Zip archives whose uncompressed members are mapped straight from the file."""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np

from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.mapped_file import MappedFile
from vit_convert.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 1
_UTF_8 = 0x800
_DEFLATE_RATIO = 1032  # its greatest


class ZipArchive:
    """The members of a zip file.

    Raises:
        CheckpointError: the archive is truncated or damaged, or a name occurs twice.
    """

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        try:
            with zipfile.ZipFile(file.path) as archive:
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

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked.

        Raises:
            CheckpointError: there is no such member.
        """
        return self._member(name).file_size

    def read(self, name: str, *, check: bool = False) -> np.ndarray:
        """A member's bytes as uint8: mapped if it is stored, unpacked if it is deflated.

        Args:
            name: of the member.
            check: also compare the checksum of a stored member, which touches all of it.

        Raises:
            CheckpointError: there is no such member, or it is damaged, encrypted or packed oddly.
        """
        info = self._member(name)
        packed = self._packed(info)
        if info.compress_type == zipfile.ZIP_STORED:
            content = packed
        else:
            content, check = self._inflate(info, packed), True
        # PyTorch has an option to leave checksums out; they are 0 then
        if check and info.CRC not in (0, zlib.crc32(content.data)):
            raise self._damaged(info)
        return content

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes of a member, or all if it has fewer; only they are unpacked.

        Raises:
            CheckpointError: see `read`.
        """
        info = self._member(name)
        packed = self._packed(info)
        if info.compress_type == zipfile.ZIP_STORED:
            return packed[:count].tobytes()
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed[: 2 * count].data, count)
        except zlib.error as error:
            raise self._damaged(info) from error

    def _packed(self, info: zipfile.ZipInfo) -> np.ndarray:
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
        return self.file.span(start, info.compress_size)

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


def _are_fields(extra: bytes) -> bool:
    """Whether a header's extra bytes are what they must be: fields of (id, size, content).

    If not, its length is wrong, and with it the place where the member begins.
    """
    position = 0
    while position + 4 <= len(extra):
        position += 4 + int.from_bytes(extra[position + 2 : position + 4], "little")
    return position == len(extra)
