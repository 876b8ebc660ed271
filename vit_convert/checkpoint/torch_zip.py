"""The zip archives that `torch.save` (since PyTorch 1.6) and `torch.jit.save` write.

PREFIX/data.pkl     the pickled object; a storage is ("storage", class, key, device, elements)
PREFIX/data/KEY     the bytes of each storage
PREFIX/byteorder    "little" or "big" (absent before 2.1: little)
PREFIX/version      of the format
PREFIX/code/        TorchScript's programs, which are not looked at
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import numpy as np

from vit_convert.checkpoint import dtypes
from vit_convert.checkpoint.inert import described, printable
from vit_convert.checkpoint.strided import Storage, whole
from vit_convert.checkpoint.torch_pickles import storage_dtype
from vit_convert.checkpoint.unpickler import load_pickle
from vit_convert.checkpoint.zip_archive import ZipArchive
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import PICKLE_BYTES

_PICKLE = "data.pkl"


def pickles_in(archive: ZipArchive) -> list[str]:
    """The names of the archive's main pickles, at its top or one folder down."""
    return [
        name
        for name in archive.members
        if name.rpartition("/")[2] == _PICKLE and name.count("/") < 2
    ]


def read_torch_zip(archive: ZipArchive) -> Any:
    """The saved object, its tensors lazy.

    Raises:
        CheckpointError: the archive is damaged, or contradicts itself.
    """
    where = str(archive.file.path)
    names = pickles_in(archive)
    if len(names) != 1:
        raise CheckpointError(f"it holds {len(names)} saved objects", where=where, expected="one")
    prefix = names[0].removesuffix(_PICKLE)
    big_endian = False
    if prefix + "byteorder" in archive.members:
        order = archive.head(prefix + "byteorder", 16)
        if order not in (b"little", b"big"):
            raise CheckpointError("its byte order is neither little nor big", where=where)
        big_endian = order == b"big"

    def persistent(pid: Any) -> Storage:
        match pid:
            case ("storage", kind, str() | int() as key, str() as location, count) if whole(count):
                return _storage(archive, f"{prefix}data/{key}", kind, location, count, big_endian)
        raise CheckpointError("it names a storage in a way that is not known here")

    PICKLE_BYTES.check(archive.size(names[0]), where, archive.file.size)
    content = io.BytesIO(archive.read(names[0], check=True).tobytes())
    return load_pickle(content, archive.file.size, where, persistent)


def _storage(
    archive: ZipArchive, name: str, kind: Any, location: str, count: int, big_endian: bool
) -> Storage:
    dtype = storage_dtype(kind)
    if dtype is None:
        raise CheckpointError(f"it has a storage of an unknown kind, {described(kind)}")
    nbytes = count * (dtypes.bits(dtype) // 8 if dtype else 1)
    if location == "meta":
        return Storage(dtype, nbytes, _no_values, big_endian)
    if archive.size(name) != nbytes:
        raise CheckpointError(
            f"{printable(name)} has {archive.size(name)} bytes where the tensors need {nbytes}",
            where=str(archive.file.path),
            expected="a complete checkpoint",
            hint="the file is damaged: download or copy it again",
        )
    return Storage(dtype, nbytes, partial(archive.read, name), big_endian)


def _no_values(start: int, stop: int) -> np.ndarray:
    raise CheckpointError("it is a tensor on the meta device, without any values")
