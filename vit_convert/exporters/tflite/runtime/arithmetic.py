"""The numbers that a graph is computed in: float32, or float16 as a phone's GPU has it.

GPU delegates for phones compute in float16 unless they are told otherwise, whatever the file says:
LiteRT's documentation calls that the default, and TFLite's delegate asks for a "precision loss
allowed". Sources for what happens then are TFLite's GPU delegate (tensorflow/lite/delegates/gpu,
CalculationsPrecision::F16), and the texts of the kernels in ML Drift, as ai-edge-litert ships it.

Emulated:
- Constants, inputs and the output of every operation are rounded to float16 (round to nearest even,
  infinite from 65520 on, multiples of 2**-24 below 2**-14). Infinities and NaN travel on.
- Products of matrices (FULLY_CONNECTED, CONV_2D, BATCH_MATMUL) sum as common/tasks/
  fully_connected.cc and conv_generic.cc do: channels come in slices of four, the four products of a
  slice are summed in half precision, and that is added to an accumulator of half precision. The
  bias is added to the rounded sum, and rounded again.
- SUM and MEAN add in float16, as google-ai-edge/LiteRT#9249 reports of ML Drift (reduce.cc of the
  older delegate adds in float32): four lanes of every fourth value, one after the other, then the
  lanes.
- SOFTMAX, RSQRT, SQRT, exponentials, GELU: computed in float32 from the rounded inputs and rounded
  once. softmax.cc and softmax1x1.cc read and sum floats, and ML Drift widens to float4 for RSQRT
  and its like.

Not emulated:
- The roundings inside of a slice of four products, and flushing of the smallest numbers to zero:
  what a GPU does there differs from one to the next.
- Sums that several threads share, or that Winograd's transform rearranges, and fused operations
  that round less often. A GPU may so be better than what is computed here.
- F32_F16, which some delegates choose: float16 values, sums in float32. It loses fewer digits than
  this and overflows in the same stored values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SLICE = 4  # channels that a GPU delegate keeps and sums together
_TILE = 256  # rows and columns of a product that stay in the cache
_LIMIT = 65504.0  # the largest float16
_SPLIT = np.float32(2**13 + 1)


@dataclass(frozen=True)
class Arithmetic:
    """A way to round and sum numbers.

    Attributes:
        name: "float32" or "float16".
    """

    name: str

    def round(self, array: np.ndarray) -> np.ndarray:
        """A float array as this arithmetic keeps it, (...) float32."""
        return array

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(..., m, k) @ (..., k, n); leading axes are broadcast."""
        return np.matmul(a, b)

    def sum(self, array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """Over some axes, which stay with length 1."""
        return np.sum(array, axis=axes, keepdims=True)


class _Half(Arithmetic):
    """See the module."""

    def round(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return array.astype(np.float16).astype(np.float32)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        result = np.empty((*leading, a.shape[-2], b.shape[-1]), np.float32)
        a = np.broadcast_to(a, (*leading, *a.shape[-2:]))
        b = np.broadcast_to(b, (*leading, *b.shape[-2:]))
        with np.errstate(all="ignore"):
            for index in np.ndindex(leading):
                _product(a[index], b[index], result[index])
        return result

    def sum(self, array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        with np.errstate(all="ignore"):
            for axis in axes:
                array = np.expand_dims(_total(np.moveaxis(array, axis, 0)), axis)
        return array


FLOAT32 = Arithmetic("float32")
FLOAT16 = _Half("float16")


def _product(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> None:
    """(m, k) @ (k, n) into result (m, n), tile by tile."""
    # By Cauchy and Schwarz no partial sum is larger than this.
    largest = np.linalg.norm(a, axis=1).max(initial=0) * np.linalg.norm(b, axis=0).max(initial=0)
    may_overflow = not largest < _LIMIT  # NaN included
    for row in range(0, len(a), _TILE):
        rows = a[row : row + _TILE]
        for column in range(0, b.shape[1], _TILE):
            columns = np.ascontiguousarray(b[:, column : column + _TILE])
            part = _accumulated(rows, columns, may_overflow)
            result[row : row + _TILE, column : column + _TILE] = part


def _accumulated(a: np.ndarray, b: np.ndarray, may_overflow: bool) -> np.ndarray:
    """(m, k) @ (k, n), rounded after every slice of k."""
    total = np.zeros((len(a), b.shape[1]), np.float32)
    partial, scratch = np.empty_like(total), np.empty_like(total)
    for start in range(0, len(b), _SLICE):
        np.matmul(a[:, start : start + _SLICE], b[start : start + _SLICE], out=partial)
        _round_in_place(partial, scratch, may_overflow)
        np.add(total, partial, out=total)
        _round_in_place(total, scratch, may_overflow)
    return total


def _round_in_place(x: np.ndarray, scratch: np.ndarray, may_overflow: bool) -> None:
    """Keep 11 significant bits of float32 numbers, as float16 has, by Veltkamp's splitting
    (T. J. Dekker, "A floating-point technique for extending the available precision", 1971): four
    times as fast as a conversion to float16 and back. Numbers below 2**-14 keep more digits."""
    if may_overflow:
        x[:] = x.astype(np.float16)
        return
    np.multiply(x, _SPLIT, out=scratch)
    np.subtract(scratch, x, out=x)
    np.subtract(scratch, x, out=x)


def _total(array: np.ndarray) -> np.ndarray:
    """The sum over the first axis, in four lanes of float16."""
    missing = -len(array) % _SLICE
    if missing:
        array = np.concatenate([array, np.zeros((missing, *array.shape[1:]), np.float32)])
    lanes = array.reshape(-1, _SLICE, *array.shape[1:])
    total = np.zeros(lanes.shape[1:], np.float16)
    for each in lanes.astype(np.float16):
        total += each
    result = total[0]
    for lane in total[1:]:
        result = result + lane
    return result.astype(np.float32)
