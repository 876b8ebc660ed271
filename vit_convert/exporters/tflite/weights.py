"""The storage of the weights of linear layers, of the patch embedding and of tables in a .tflite
file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.builder import GraphBuilder, Tensor
from vit_convert.exporters.tflite.flatbuffer import Quantised
from vit_convert.exporters.tflite.growing_graph import Shape
from vit_convert.folding import Weight

_SMALLEST_RANGE = 1e-9  # AI Edge Quantizer's: no scale is zero
_LARGEST = 127
_BYTES_AT_ONCE = 2**22


def weight_store(precision: Precision, in_float: Collection[str] = ()) -> WeightStore:
    """The storage of weights in a precision.

    Args:
        precision: "float32", "float16", or "int8-dynamic".
        in_float: linear layers that stay in float32 where the precision is int8-dynamic.
    """
    return WeightStore(precision, frozenset(in_float))


@dataclass(frozen=True)
class WeightStore:
    """See `weight_store`, and `vit_convert.exporters.tflite.lowering.layers.StoreWeight`."""

    precision: Precision
    in_float: frozenset[str]

    def __call__(self, g: GraphBuilder, name: str, weight: Weight) -> Tensor:
        """The tensor of a weight of a linear layer or convolution."""
        if self.precision == "float32":
            return _float32(g, name, weight)
        if self.precision == "float16":
            return _float16(g, name, weight)
        return _int8(g, name, weight, self.in_float)

    def rows(
        self, g: GraphBuilder, name: str, table: Weight, places: Tensor, shape: Shape
    ) -> Tensor:
        """Rows of a table. They are widened after they were taken, so that the table is never in
        float32 in memory. No kernel takes rows of int8 with a scale for each, wherefore these are
        taken too, and multiplied."""

        def taken(stored: Tensor, what: str) -> Tensor:
            return g.reshape(g.gather(stored, places, what), (*shape, stored.shape[1]), what)

        def narrow() -> np.ndarray:
            return table.array().astype(np.float16)

        def values() -> np.ndarray:
            return quantised(table.array()).values

        def scales() -> np.ndarray:
            return quantised(table.array()).scales[:, None]

        if self.precision == "float32":
            return taken(_float32(g, name, table), "rows")
        if self.precision == "float16":
            stored = g.constant(name, table.shape, narrow, "float16")
            return g.cast(taken(stored, "narrow"), "float32", "rows")
        stored = g.constant(name, table.shape, values, "int8", scale=1.0)
        factors = g.constant(f"{name}/scales", (table.shape[0], 1), scales)
        rows = g.dequantize(taken(stored, "narrow"), "wide")
        return g.mul(rows, taken(factors, "scales"), "rows")


def quantised(weight: np.ndarray) -> Quantised:
    """Symmetric int8, one scale for each output, as AI Edge Quantizer's `min_max_uniform_quantize`:
    scale = max |row| / 127, value = round(weight / scale), to the nearest even number at a half.

    Args:
        weight: (outputs, inputs) float32.
    """
    values = np.empty(weight.shape, np.int8)
    scales = np.empty(len(weight), np.float32)
    rows = max(1, _BYTES_AT_ONCE // (4 * weight.shape[1]))
    for start in range(0, len(weight), rows):
        part = weight[start : start + rows]
        largest = np.maximum(part.max(axis=1), -part.min(axis=1))
        scale = np.maximum(largest, np.float32(_SMALLEST_RANGE)) / np.float32(_LARGEST)
        ratio = part / scale[:, None]
        np.rint(ratio, out=ratio)
        values[start : start + rows] = np.clip(ratio, -_LARGEST, _LARGEST, out=ratio)
        scales[start : start + rows] = scale
    return Quantised(values, scales)


def _float32(g: GraphBuilder, name: str, weight: Weight) -> Tensor:
    return g.constant(name, weight.shape, weight.array)


def _float16(g: GraphBuilder, name: str, weight: Weight) -> Tensor:
    def narrow() -> np.ndarray:
        return weight.array().astype(np.float16)

    stored = g.constant(f"{name}/float16", weight.shape, narrow, "float16")
    return g.renamed(g.dequantize(stored, "wide"), name)


def _int8(g: GraphBuilder, name: str, weight: Weight, in_float: frozenset[str]) -> Tensor:
    """The patch embedding stays in float32: nothing makes up for it, and it cost three times what
    any linear layer did."""
    if len(weight.shape) != 2 or name.removesuffix(".weight") in in_float:
        return _float32(g, name, weight)

    def narrow() -> Quantised:
        return quantised(weight.array())

    return g.constant(name, weight.shape, narrow, "int8", channel_scales=True)
