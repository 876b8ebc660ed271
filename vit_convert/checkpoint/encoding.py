"""Arrays as a file holds them: in the type that was asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from vit_convert.checkpoint.dtypes import stored


def stored_dtypes(
    tensors: Mapping[str, np.ndarray], dtypes: Mapping[str, str] | None, writable: Collection[str]
) -> dict[str, str]:
    """The type to store each tensor in: the one given, else the array's own.

    Raises:
        ValueError: a type that the format cannot hold, or is given for no tensor.
    """
    given = dtypes or {}
    if given.keys() - tensors.keys():
        raise ValueError(f"types for no tensor: {sorted(given.keys() - tensors.keys())}")
    chosen = {name: given.get(name, array.dtype.name) for name, array in tensors.items()}
    for name, dtype in chosen.items():
        if dtype not in writable:
            raise ValueError(f"{name}: {dtype} cannot be written")
    return chosen


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Floating-point values rounded to the nearest of another type, halves to the even one, as
    PyTorch's `Tensor.to` does; other arrays as they are.

    Args:
        array: any.
        dtype: "float32", "float16", or "bfloat16", whose values are given as float32.

    Raises:
        ValueError: a finite value is beyond what the type holds.
    """
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        if dtype == "bfloat16":
            values = np.ascontiguousarray(array, np.float32)
            words = values.view(np.uint32)
            even = words + np.uint32(0x7FFF) + ((words >> 16) & 1)
            found = np.where(np.isnan(values), words | np.uint32(0x400000), even)
            result = (found & np.uint32(0xFFFF0000)).view(np.float32)
        else:
            result = array.astype(dtype)
    lost = np.isfinite(array) & ~np.isfinite(result)
    if lost.any():
        raise ValueError(f"{array[lost].flat[0]:g} is beyond {dtype}")
    return result


def encode(name: str, array: np.ndarray, dtype: str) -> memoryview:
    """A tensor's bytes, little-endian in C order; `dtype` "bfloat16" takes float32 values.

    Raises:
        ValueError: a value of the array is none of that type.
    """
    if dtype == "bfloat16":
        words = np.ascontiguousarray(array, dtype="<f4").view("<u4")
        elements = (words >> 16).astype("<u2")
        same = not np.any(words & np.uint32(0xFFFF)) and array.dtype.itemsize <= 4
    else:
        target = np.dtype(np.bool_) if dtype == "bool" else stored(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            elements = np.ascontiguousarray(array, dtype=target)
        same = array.dtype == target or np.array_equal(
            elements, array, equal_nan=array.dtype.kind == target.kind == "f"
        )
    if not same:
        raise ValueError(f"{name}: not every value is a {dtype}")
    return elements.reshape(-1).view(np.uint8).data
