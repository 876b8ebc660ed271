"""Tensors as PyTorch stores them: views, by offset and strides, of storages that may be shared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from vit_convert.checkpoint import dtypes
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import CheckpointError

MAX_RANK = 32  # NumPy 1's limit; no model comes near
# Strides of 0 make tensors of any size from one number; beyond this many elements, an attack
MAX_EXPANDED = 1 << 24
_LIMIT = 1 << 62


@dataclass(frozen=True)
class Storage:
    """A run of bytes that tensors are views of.

    Attributes:
        dtype: of its elements, "" for an untyped storage.
        nbytes: its size.
        load: (first byte, the one behind the last) -> these bytes as a uint8 array.
        big_endian: the order of the bytes in each element.
    """

    dtype: str
    nbytes: int
    load: Callable[[int, int], np.ndarray]
    big_endian: bool = False


def whole(value: Any, limit: int = _LIMIT) -> bool:
    """Whether this is a count that a file of this world can hold."""
    return type(value) is int and 0 <= value < limit


def view(storage: Storage, dtype: str, offset: Any, shape: Any, stride: Any) -> LazyTensor:
    """The nameless tensor that lies in a storage; offset and strides count elements.

    Raises:
        CheckpointError: it would reach outside its storage, or is no geometry at all.
    """
    if not (
        isinstance(shape, tuple)
        and isinstance(stride, tuple)
        and len(shape) == len(stride) <= MAX_RANK
        and all(map(whole, (offset, *shape, *stride)))
    ):
        raise CheckpointError("a tensor has an impossible shape, stride or offset")
    if not dtypes.known(dtype):
        raise CheckpointError(f"a tensor has elements of an unknown type, {printable(dtype)}")
    size = dtypes.bits(dtype) // 8
    count = storage.nbytes // size
    extent = math.prod(max(side, 1) for side in shape)
    last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if (0 not in shape and last >= count) or extent > max(count, MAX_EXPANDED):
        raise CheckpointError(
            f"a tensor of shape {shape} does not fit its storage of {count} elements",
            expected="a complete checkpoint",
            hint="the file is damaged: download or copy it again",
        )

    def read() -> np.ndarray:
        stored = dtypes.stored(dtype, storage.big_endian)
        if 0 in shape:
            return dtypes.decode(np.empty(shape, stored), dtype)
        elements = storage.load(offset * size, (last + 1) * size).view(stored)
        # the stride of an axis of length 1 is never used, and may be anything
        steps = tuple(
            step * size if side > 1 else 0 for side, step in zip(shape, stride, strict=True)
        )
        return dtypes.decode(as_strided(elements, shape, steps, writeable=False), dtype)

    return LazyTensor("", shape, dtype, read)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array in C order, as PyTorch states them."""
    return tuple(
        math.prod(max(side, 1) for side in shape[axis + 1 :]) for axis in range(len(shape))
    )


def unreadable(kind: str, shape: Any, reason: str) -> LazyTensor:
    """A tensor that is listed, and refused when it is used."""

    def read() -> np.ndarray:
        raise CheckpointError(
            f"it is {reason}, which cannot be read",
            expected="an ordinary dense tensor",
            hint="convert the checkpoint in PyTorch first, e.g. tensor.dequantize() or .to_dense()",
        )

    sane = isinstance(shape, tuple) and len(shape) <= MAX_RANK and all(map(whole, shape))
    return LazyTensor("", shape if sane else (), kind, read)
