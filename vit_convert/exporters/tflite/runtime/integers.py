"""Integers that stand for numbers, as quantised files have them."""

from __future__ import annotations

import numpy as np

from vit_convert.exporters.tflite.runtime.graph import DTYPES, Tensor


def numbers(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """The numbers that a tensor's integers stand for, float32; another array as it is."""
    quantisation = tensor.quantisation
    if quantisation is None or not np.issubdtype(array.dtype, np.integer):
        return array
    wide: np.ndarray = array.astype(np.float64 if array.itemsize > 2 else np.float32)
    scales, zeros = quantisation.scales, quantisation.zero_points
    if len(scales) > 1:
        shape = [1] * array.ndim
        shape[quantisation.axis] = len(scales)
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    if zeros.any():
        wide = wide - zeros.astype(wide.dtype)
    return np.multiply(wide, scales, out=wide).astype(np.float32, copy=False)


def integers(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Numbers as the integers that are nearest to them, of a tensor with one scale; another
    tensor's array as it is."""
    if not _is_quantised(tensor):
        return array
    assert tensor.quantisation is not None
    scales, zeros = tensor.quantisation.scales, tensor.quantisation.zero_points
    dtype: np.dtype = np.dtype(DTYPES[tensor.type])
    limits = np.iinfo(dtype.name)
    places = np.rint(array / scales) + zeros
    return places.clip(limits.min, limits.max).astype(dtype)


def on_grid(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Numbers rounded to those that a tensor's integers can stand for."""
    return numbers(tensor, integers(tensor, array)) if _is_quantised(tensor) else array


def _is_quantised(tensor: Tensor) -> bool:
    dtype = DTYPES.get(tensor.type)
    return tensor.quantisation is not None and dtype is not None and issubclass(dtype, np.integer)
