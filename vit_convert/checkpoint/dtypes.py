"""Element types: the names files use, their sizes, and what NumPy reads them as.

Names are PyTorch's: "float32", "bfloat16", "float8_e4m3fn". NumPy has no bfloat16: its bits are
read as uint16 and widened to float32, which holds every bfloat16 exactly.
"""

from __future__ import annotations

import numpy as np

from vit_convert.errors import CheckpointError

# name -> how its bytes are first seen
_STORED = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "u1",
}
# name -> bits, of types that are listed but cannot be read
_REFUSED = {
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "float6_e2m3": 6,
    "float6_e3m2": 6,
    "float4_e2m1": 4,
    "float4_e2m1fn_x2": 8,
    "complex32": 32,
    "complex64": 64,
    "complex128": 128,
    "qint8": 8,
    "quint8": 8,
    "qint32": 32,
    "quint4x2": 8,
    "quint2x4": 8,
}


def known(dtype: str) -> bool:
    """Whether the size of such elements is known, so that their place in a file can be checked."""
    return dtype in _STORED or dtype in _REFUSED


def readable(dtype: str) -> bool:
    """Whether NumPy can hold such elements."""
    return dtype in _STORED


def bits(dtype: str) -> int:
    """Bits of one element."""
    return _REFUSED[dtype] if dtype in _REFUSED else stored(dtype).itemsize * 8


def stored(dtype: str, big_endian: bool = False) -> np.dtype:
    """The NumPy type of the bytes in a file.

    Raises:
        CheckpointError: NumPy cannot hold such elements.
    """
    if dtype not in _STORED:
        raise CheckpointError(
            f"its elements are {dtype}, which cannot be read",
            expected="a real floating-point type of 16 bits or more, integers or booleans",
            hint="convert the checkpoint in PyTorch first, e.g. tensor.float()",
        )
    return np.dtype((">" if big_endian else "<") + _STORED[dtype])


def decode(array: np.ndarray, dtype: str) -> np.ndarray:
    """Elements as `stored` gives them -> values in native order; a view where that is possible."""
    decoded = array
    if dtype == "bool":
        decoded = array != 0
    elif not array.dtype.isnative:
        decoded = array.astype(array.dtype.newbyteorder("="))
    if dtype == "bfloat16":
        decoded = np.left_shift(decoded, 16, dtype=np.uint32).view(np.float32)
    return decoded
