"""NumPy arrays, dtypes and scalars inside pickles, made from their plain bytes only."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from vit_convert.checkpoint.strided import MAX_RANK, whole
from vit_convert.errors import CheckpointError

_PLAIN_CODE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdFD]|[biufcSU]\d{1,9})")


class NumpyType:
    """`numpy.dtype(code, align, copy)`, whose byte order comes later, by BUILD."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.dtype: np.dtype | None = None
        if _PLAIN_CODE.fullmatch(code):
            try:
                self.dtype = np.dtype(code)
            except TypeError:  # f3, i5, ...
                self.dtype = None

    def build(self, state: Any) -> None:
        """State: (version, byte order, subarray, names, fields, item size, alignment, flags)."""
        match state:
            case (int(), str() as order, None, None, None, *_) if order in ("<", ">", "|", "="):
                if self.dtype is not None:
                    self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]  # a str
            case _:
                self.dtype = None  # structured


class NumpyArray:
    """`numpy.ndarray`, empty until BUILD; one of objects, or of structures, stays so."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """State: (version, shape, dtype, Fortran order, bytes)."""
        match state:
            case (int(), tuple() as shape, NumpyType() as kind, bool(fortran), raw) | (
                tuple() as shape,
                NumpyType() as kind,
                bool(fortran),
                raw,
            ):
                content = as_bytes(raw)
                if content is not None and kind.dtype is not None:
                    self.array = from_bytes(content, kind.dtype, shape, fortran)


def as_bytes(value: Any) -> bytes | None:
    """The bytes that Python 2 and 3 pickled, or None."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def from_bytes(
    content: bytes, dtype: np.dtype, shape: tuple[Any, ...], fortran: bool
) -> np.ndarray:
    """An array in native byte order.

    Raises:
        CheckpointError: shape and bytes contradict each other.
    """
    sane = len(shape) <= MAX_RANK and all(map(whole, shape))
    if not sane or dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise CheckpointError("a NumPy array in the pickle has not as many bytes as its shape says")
    if 0 in shape:
        if math.prod(max(side, 1) for side in shape) >= 1 << 40:
            raise CheckpointError("a NumPy array in the pickle has an impossible shape")
        return np.empty(shape, dtype.newbyteorder("="))
    flat = np.frombuffer(content, dtype)
    return flat.astype(dtype.newbyteorder("=")).reshape(shape, order="F" if fortran else "C")


def scalar(args: tuple[Any, ...]) -> Any:
    """`numpy.core.multiarray.scalar(dtype, bytes)` -> a Python number or string."""
    match args:
        case (NumpyType(dtype=np.dtype() as dtype), raw):
            content = as_bytes(raw)
            if content is not None and len(content) == dtype.itemsize > 0:
                return np.frombuffer(content, dtype)[0].item()
    return NotImplemented


def reconstruct(args: tuple[Any, ...]) -> Any:
    """`numpy.core.multiarray._reconstruct(class, shape, code)`: an array for BUILD to fill."""
    return NumpyArray() if len(args) == 3 else NotImplemented


def frombuffer(args: tuple[Any, ...]) -> Any:
    """`numpy._core.numeric._frombuffer(buffer, dtype, shape, order, axes)`, of pickle protocol 5:
    arrays with their axes in any order are "K" since NumPy 2.3, and the others have no axes."""
    match args:
        case (
            buffer,
            NumpyType(dtype=np.dtype() as dtype),
            tuple() as shape,
            str() as order,
            *axes,
        ):
            content = as_bytes(buffer)
            if content is None or order not in ("C", "F", "K") or (order == "K") != bool(axes):
                return NotImplemented
            made = NumpyArray()
            made.array = from_bytes(content, dtype, shape, order == "F")
            if axes:
                if not _is_order(axes[0], len(shape)):
                    return NotImplemented
                made.array = made.array.transpose(axes[0])
            return made
    return NotImplemented


def _is_order(axes: Any, rank: int) -> bool:
    """Whether it is a permutation of so many axes."""
    return isinstance(axes, tuple) and all(map(whole, axes)) and sorted(axes) == [*range(rank)]


def dtype_of(args: tuple[Any, ...]) -> Any:
    """`numpy.dtype(code, ...)`."""
    match args:
        case (str() as code, *_):
            return NumpyType(code)
    return NotImplemented
