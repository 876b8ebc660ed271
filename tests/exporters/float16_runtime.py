"""Runs a .tflite file as a GPU does that computes in float16: each operation rounds what it gives.

Sums and products inside of an operation are in float32, but for a mean, which adds in float16.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.exporters.tflite.graph_reader import TfliteGraph

_erf = np.vectorize(math.erf, otypes=[np.float32])
_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # of schema.TensorType
Kernel = Callable[..., Any]


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """The first output for images of the file's batch size."""
    graph = TfliteGraph(path)
    values: dict[int, Any] = {-1: None, int(graph.main.inputs[0]): images.astype(np.float16)}
    for index, tensor in enumerate(graph.main.tensors):
        data = graph.data(tensor.buffer)
        if data is not None:
            array = np.asarray(data).view(_DTYPES[tensor.type]).reshape(tensor.shape)
            values[index] = array if array.dtype == np.int32 else array.astype(np.float16)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for operation in graph.operations:
            node = graph.main.operators[operation.index]
            inputs = [_wide(values[int(i)]) for i in node.inputs]
            results = _KERNELS[operation.name](*inputs, options=node.builtinOptions)
            results = results if isinstance(results, list) else [results]
            for place, result in zip(node.outputs, results, strict=True):
                values[int(place)] = result.astype(np.float16)
    return _wide(values[int(graph.main.outputs[0])])


def _wide(array: Any) -> Any:
    return array.astype(np.float32) if array is not None and array.dtype == np.float16 else array


def _convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, options: Any) -> np.ndarray:
    """Of patches that do not overlap: (b, h, w, c), (out, kh, kw, c)."""
    units, rows, columns, channels = kernel.shape
    b, h, w = len(x), x.shape[1] // rows, x.shape[2] // columns
    x = x[:, : h * rows, : w * columns].reshape(b, h, rows, w, columns, channels)
    patches = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)
    return patches @ kernel.reshape(units, -1).T + bias


def _mixed_heads(x: np.ndarray, kernel: np.ndarray, bias: Any, options: Any) -> np.ndarray:
    """A depthwise convolution that reaches from head to head: (b, heads * rows, w, c),
    (1, heads, 1, c)."""
    rows = options.dilationHFactor
    assert kernel.shape == (1, x.shape[1] // rows, 1, x.shape[3])
    heads = x.reshape(len(x), -1, rows, *x.shape[2:])
    return (heads * kernel[0, :, None]).sum(axis=1) + (0 if bias is None else bias)


def _connected(x: np.ndarray, weight: np.ndarray, bias: Any, options: Any) -> np.ndarray:
    rows = x if options.keepNumDims else x.reshape(-1, weight.shape[1])
    return rows @ weight.T + (0 if bias is None else bias)


def _mean(x: np.ndarray, axes: np.ndarray, options: Any) -> np.ndarray:
    """As LiteRT's newer delegate adds (google-ai-edge/LiteRT#9249), in float16."""
    axis = tuple(axes.reshape(-1).tolist())
    total = np.add.reduce(x.astype(np.float16), axis=axis, keepdims=True, dtype=np.float16)
    return total.astype(np.float32) / np.prod([x.shape[a] for a in axis])


def _softmax(x: np.ndarray, options: Any) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _slice(x: np.ndarray, begin: Any, end: Any, step: Any, options: Any) -> np.ndarray:
    def bound(mask: int, axis: int, value: Any) -> int | None:
        return None if mask >> axis & 1 else int(value)

    return x[
        tuple(
            slice(bound(options.beginMask, i, b), bound(options.endMask, i, e), int(s))
            for i, (b, e, s) in enumerate(zip(begin, end, step, strict=True))
        )
    ]


_KERNELS: dict[str, Kernel] = {
    "ADD": lambda a, b, options: a + b,
    "BATCH_MATMUL": lambda a, b, options: a @ b,
    "CONCATENATION": lambda *parts, options: np.concatenate(parts, options.axis),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _mixed_heads,
    "DEQUANTIZE": lambda x, options: x,
    "FULLY_CONNECTED": _connected,
    "GELU": lambda x, options: x * (1 + _erf(x / np.float32(2**0.5))) / 2,
    "MEAN": _mean,
    "MUL": lambda a, b, options: a * b,
    "RESHAPE": lambda x, shape, options: x.reshape(shape),
    "RSQRT": lambda x, options: 1 / np.sqrt(x),
    "SOFTMAX": _softmax,
    "SPLIT": lambda axis, x, options: np.split(x, options.numSplits, int(axis.item())),
    "SQUARE": lambda x, options: x * x,
    "STRIDED_SLICE": _slice,
    "TRANSPOSE": lambda x, axes, options: x.transpose(axes),
}
