"""Writing a state dict as `torch.save` does, without PyTorch.

See `torch_zip` for the format. The pickle is written opcode by opcode, since the standard library's
pickler writes only names that it can import.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vit_convert.checkpoint.encoding import encode, stored_dtypes
from vit_convert.checkpoint.strided import contiguous

_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
_ALIGNMENT = 64
_LOCAL_HEADER = 30
_ZIP64_FIELD = 20
_PREFIX = "archive"


def write_torch(
    path: str | Path, tensors: Mapping[str, np.ndarray], dtypes: Mapping[str, str] | None = None
) -> None:
    """Write a `.pth` file that `torch.load` opens, also with `weights_only` and `mmap`.

    Args:
        path: the file; what is there is replaced.
        tensors: the arrays, by name.
        dtypes: types to store where they are not the arrays' own; "bfloat16" is given as float32.

    Raises:
        ValueError: a type cannot be stored, or cannot hold one of its values.
        OSError: the file cannot be written.
    """
    kinds = stored_dtypes(tensors, dtypes, _STORAGES)
    shapes = {name: array.shape for name, array in tensors.items()}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        _add(archive, "data.pkl", _pickled(shapes, kinds))
        _add(archive, ".format_version", b"1")
        _add(archive, ".storage_alignment", str(_ALIGNMENT).encode())
        _add(archive, "byteorder", b"little")
        for key, (name, array) in enumerate(tensors.items()):
            _add(archive, f"data/{key}", encode(name, array, kinds[name]))
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    """Store a member so that its content begins at a multiple of the alignment."""
    info = zipfile.ZipInfo(f"{_PREFIX}/{name}")  # dated 1980: the same tensors give the same file
    size = len(content)
    header = _LOCAL_HEADER + len(info.filename.encode()) + 4
    if size * 1.05 > zipfile.ZIP64_LIMIT:  # then zipfile adds a field of its own
        header += _ZIP64_FIELD
    position = archive.start_dir  # where the next member goes
    padding = -(position + header) % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    info.file_size = size
    archive.writestr(info, content)


def _pickled(shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str]) -> bytes:
    """An OrderedDict of `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`."""
    empty = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    parts = [pickle.PROTO + b"\x02", empty, pickle.MARK]
    for key, (name, shape) in enumerate(shapes.items()):
        size = int(np.prod(shape, dtype=np.int64))
        storage = [
            _text("storage"),
            _name("torch", _STORAGES[kinds[name]]),
            _text(str(key)),
            _text("cpu"),
            _integer(size),
        ]
        parts += [
            _text(name),
            _name("torch._utils", "_rebuild_tensor_v2"),
            pickle.MARK,
            _tuple(storage) + pickle.BINPERSID,
            _integer(0),
            _tuple([_integer(side) for side in shape]),
            _tuple([_integer(step) for step in contiguous(shape)]),
            pickle.NEWFALSE,
            empty,
            pickle.TUPLE + pickle.REDUCE,
        ]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _tuple(items: list[bytes]) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    content = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(content)) + content


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", value)
