"""The format of `torch.save` before PyTorch 1.6: several pickles, then raw storages.

pickle  0x1950a86a20f9469cfc6c
pickle  1001, the version of the protocol
pickle  {"protocol_version", "little_endian", "type_sizes"}
pickle  the object; a storage is ("storage", class, key, device, elements, view),
        where view is None or (key, offset, elements) of a part of it
pickle  the keys of the storages, in the order in which they follow:
each    the number of elements in 8 bytes, then the elements
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vit_convert.checkpoint import dtypes
from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import described
from vit_convert.checkpoint.strided import Storage, whole
from vit_convert.checkpoint.torch_pickles import storage_dtype
from vit_convert.checkpoint.unpickler import load_pickle
from vit_convert.errors import CheckpointError

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = b"\x8a\x0a" + _MAGIC.to_bytes(10, "little")
_PROTOCOL = 1001


def is_torch_legacy(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    # behind two bytes for the pickle's protocol, and from protocol 4 on nine for a frame
    return head[:1] == b"\x80" and head.find(_MAGIC_BYTES, 2, 23) in (2, 11)


def read_torch_legacy(file: FileBytes) -> Any:
    """The saved object, its tensors lazy.

    Raises:
        CheckpointError: the file is truncated or damaged.
    """
    return _Reader(file).read()


class _Reader:
    def __init__(self, file: FileBytes) -> None:
        self.file = file
        self.stream = file.stream()
        self.where = str(file.path)
        self.expected: dict[str, int] = {}  # key -> bytes that the pickle says it has
        self.element_size: dict[str, int] = {}
        self.starts: dict[str, int] = {}  # key -> where its elements begin
        self.big_endian: bool  # its third pickle says so

    def read(self) -> Any:
        magic, protocol, system = (self._pickle() for _ in range(3))
        if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
            raise CheckpointError(
                "its first pickles are not those of a checkpoint", where=self.where
            )
        self.big_endian = system.get("little_endian") is False
        content = load_pickle(self.stream, self.file.size, self.where, self._persistent)
        self._locate(self._pickle())
        return content

    def _pickle(self) -> Any:
        return load_pickle(self.stream, self.file.size, self.where)

    def _persistent(self, pid: Any) -> Any:
        match pid:
            case ("module", kind, *_):
                return kind  # a class, with its source text, which is not used
            case ("storage", kind, str() as key, str(), count, *rest) if whole(count):
                return self._storage(kind, key, count, rest[0] if rest else None)
        raise CheckpointError("it names a storage in a way that is not known here")

    def _storage(self, kind: Any, key: str, count: int, part: Any) -> Storage:
        dtype = storage_dtype(kind)
        if dtype is None:
            raise CheckpointError(f"it has a storage of an unknown kind, {described(kind)}")
        size = dtypes.bits(dtype) // 8 if dtype else 1
        nbytes = count * size
        if self.expected.setdefault(key, nbytes) != nbytes:
            raise CheckpointError("it names one storage with two sizes")
        self.element_size[key] = size
        first, last = 0, nbytes
        match part:
            case None:
                pass
            case (_, offset, length) if (
                whole(offset) and whole(length) and offset + length <= count
            ):
                first, last = offset * size, (offset + length) * size
            case _:
                raise CheckpointError("a part of a storage reaches outside it")

        def load(start: int, stop: int) -> np.ndarray:
            return self.file.span(self.starts[key] + first + start, stop - start)

        return Storage(dtype, last - first, load, self.big_endian)

    def _locate(self, keys: Any) -> None:
        """Find the storages behind the pickles, without touching their elements."""
        if (
            not isinstance(keys, list)
            or not all(isinstance(key, str) for key in keys)
            or set(keys) != set(self.expected)
            or len(keys) != len(self.expected)
        ):
            raise CheckpointError(
                "the storages it lists are not those that its tensors need", where=self.where
            )
        position = self.stream.tell()
        for key in keys:
            count = int(self.file.span(position, 8).view("<i8")[0])
            position += 8
            if count * self.element_size[key] != self.expected[key]:
                raise CheckpointError(
                    "a storage in it has not the size that its tensors need", where=self.where
                )
            self.file.check(position, self.expected[key])
            self.starts[key] = position
            position += self.expected[key]
