"""`.npz`: a zip archive of NumPy's `.npy` files. Arrays of objects, which are pickles, are refused.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
from functools import partial

import numpy as np

from vit_convert.checkpoint import dtypes
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.strided import MAX_EXPANDED, MAX_RANK, whole
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.checkpoint.zip_archive import ZipArchive
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import TENSORS

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_HEADER = re.compile(  # NumPy for Python 2 wrote long integers as 3L
    r"\{'descr': (?P<descr>'[^'\\]{0,20}'|\[.*\]), 'fortran_order': (?P<order>True|False), "
    r"'shape': (?P<shape>\((?:\d{1,19}L?(?:, ?\d{1,19}L?)*,?)?\)), ?\}"
)
_NUMERIC = re.compile(r"[<>|=]?([biufc]\d{1,2})")


def read_npz(archive: ZipArchive) -> dict[str, LazyTensor]:
    """The arrays, by name.

    Raises:
        CheckpointError: one is damaged. Arrays that are not numeric are refused when they are used.
    """
    names = [name for name in archive.members if name.endswith(".npy")]
    TENSORS.check(len(names), str(archive.file.path))
    return {name.removesuffix(".npy"): _tensor(archive, name) for name in names}


def _tensor(archive: ZipArchive, name: str) -> LazyTensor:
    damaged = CheckpointError(
        f"the array {printable(name)} is damaged",
        where=str(archive.file.path),
        expected="a complete checkpoint",
        hint="download or copy it again",
    )
    start, descr, fortran, shape = _header(archive.head(name, _MAX_HEADER), damaged)
    if len(shape) > MAX_RANK or not all(map(whole, shape)):
        raise damaged
    dtype, big_endian = _dtype(descr)
    if not dtypes.readable(dtype):
        return LazyTensor(name, shape, dtype, partial(_refuse, dtype))
    nbytes = math.prod(shape) * dtypes.bits(dtype) // 8
    extent = math.prod(max(side, 1) for side in shape)
    if archive.size(name) - start != nbytes or extent > max(nbytes, MAX_EXPANDED):
        raise damaged

    def read() -> np.ndarray:
        elements = archive.read(name, start).view(dtypes.stored(dtype, big_endian))
        return dtypes.decode(elements.reshape(shape, order="F" if fortran else "C"), dtype)

    return LazyTensor(name, shape, dtype, read)


def _header(head: bytes, damaged: CheckpointError) -> tuple[int, str, bool, tuple[int, ...]]:
    """Parse the header: where the elements begin, their type as it is written, whether they are in
    Fortran order, and the shape.

    NumPy evaluates it as a literal of Python, which takes long where it is an odd one. NumPy itself
    writes one form only.
    """
    if len(head) < 12 or head[:6] != _MAGIC or head[6] not in (1, 2, 3):
        raise damaged
    width = 2 if head[6] == 1 else 4
    start = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    if start > len(head):
        raise damaged
    match = _HEADER.fullmatch(head[8 + width : start].decode("latin-1").strip())
    if match is None:
        raise damaged
    shape = tuple(int(side.rstrip("L")) for side in re.findall(r"\d+L?", match["shape"]))
    return start, match["descr"], match["order"] == "True", shape


def _dtype(descr: str) -> tuple[str, bool]:
    """A dtype's name and whether it is big-endian; of unreadable ones, words for people."""
    if not descr.startswith("'"):
        return f"structures, {printable(descr)}", False
    descr = descr[1:-1]
    if descr in ("|V2", "<V2"):
        return "bfloat16", False  # how NumPy files hold JAX's
    if _NUMERIC.fullmatch(descr):
        try:
            return np.dtype(descr).name, descr[0] == ">"
        except TypeError:
            pass
    is_object = descr.lstrip("|<>=").startswith("O")
    return ("object" if is_object else printable(descr)), False


def _refuse(dtype: str) -> np.ndarray:
    if dtype == "object":
        raise CheckpointError(
            "it is an array of Python objects, which is a pickle and is not opened",
            expected="arrays of numbers",
        )
    dtypes.stored(dtype)
    raise AssertionError(f"{dtype} is readable")
