"""`.safetensors`: 8 bytes with the header's length, a JSON header, then the tensors' bytes.

The format and what makes a file invalid: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from vit_convert.checkpoint import dtypes
from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.strided import MAX_EXPANDED, MAX_RANK, whole
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import HEADER_BYTES, TENSORS

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "F4": "float4_e2m1",
    "C64": "complex64",
}


class _InvalidError(Exception):
    """The header is damaged. The message says how."""


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins like this is meant to be one."""
    # no text has a byte under 9, and no length of less than 2**56 is without
    return head[8:9] == b"{" and min(head[:8]) < 9


def read_safetensors(file: FileBytes) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """The tensors, in the order of the header, and its `__metadata__`.

    Raises:
        CheckpointError: the file is truncated, or its header is not a valid one.
    """
    try:
        return _read(file)
    except _InvalidError as error:
        raise CheckpointError(
            f"the safetensors file is truncated or damaged: {error}",
            where=str(file.path),
            expected="a complete checkpoint",
            hint="download or copy it again",
        ) from error


def _read(file: FileBytes) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    length = int.from_bytes(file.span(0, min(8, file.size)).tobytes(), "little")
    if 8 + length > file.size:
        raise _InvalidError(f"its header would be {length} bytes long")
    HEADER_BYTES.check(length, str(file.path))
    try:
        header = json.loads(file.span(8, length).tobytes(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _InvalidError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise _InvalidError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _InvalidError("its __metadata__ is not a table of texts")
    TENSORS.check(len(header), str(file.path))
    tensors: dict[str, LazyTensor] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        begin, end, tensors[name] = _tensor(file, 8 + length, printable(name), entry)
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _InvalidError("its tensors overlap, or leave a gap")
        position = end
    if 8 + length + position != file.size:
        raise _InvalidError(
            f"its tensors take {position} bytes, but {file.size - 8 - length} follow the header"
        )
    return tensors, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _InvalidError("its header names something twice")
    return table


def _tensor(file: FileBytes, base: int, name: str, entry: Any) -> tuple[int, int, LazyTensor]:
    match entry:
        case {
            "dtype": str() as kind,
            "shape": list() as sides,
            "data_offsets": [begin, end],
        } if len(entry) == 3:
            pass
        case _:
            raise _InvalidError(f"{name} lacks dtype, shape or data_offsets")
    if kind not in DTYPES:
        raise _InvalidError(f"{name} is of the unknown type {printable(kind)}")
    if not all(map(whole, sides)) or len(sides) > MAX_RANK:
        raise _InvalidError(f"the shape of {name} is impossible")
    if not whole(begin) or not whole(end) or begin > end:
        raise _InvalidError(f"the offsets of {name} are impossible")
    shape, dtype, nbytes = tuple(sides), DTYPES[kind], end - begin
    if math.prod(shape) * dtypes.bits(dtype) != nbytes * 8:
        raise _InvalidError(f"{name} of shape {shape} has {nbytes} bytes")
    if math.prod(max(side, 1) for side in shape) > max(nbytes * 8, MAX_EXPANDED):
        raise _InvalidError(f"the shape of {name} is impossible")

    def read() -> np.ndarray:
        stored = dtypes.stored(dtype)
        return dtypes.decode(file.span(base + begin, nbytes).view(stored).reshape(shape), dtype)

    return begin, end, LazyTensor(name, shape, dtype, read)
