"""Operations over axes: sums, means, maxima, softmax."""

from __future__ import annotations

import numpy as np

from vit_convert.exporters.tflite.runtime.graph import DTYPES
from vit_convert.exporters.tflite.runtime.kernels.call import Call, Kernel


def _axes(call: Call) -> tuple[int, ...]:
    rank = call.array(0).ndim
    return tuple(sorted({axis % rank for axis in call.integers(1)}))


def _kept(call: Call, array: np.ndarray) -> np.ndarray:
    """Without the reduced axes, unless they are to stay."""
    return array if call.option("keepDims", False) else np.squeeze(array, axis=_axes(call))


def _sum(call: Call) -> np.ndarray:
    return _kept(call, call.arithmetic.sum(call.array(0), _axes(call)))


def _mean(call: Call) -> np.ndarray:
    x, axes = call.array(0), _axes(call)
    count = np.float32(np.prod([x.shape[axis] for axis in axes]))
    return _kept(call, call.arithmetic.sum(x, axes) / count)


def _softmax(call: Call) -> np.ndarray:
    x = call.array(0) * np.float32(call.option("beta", 1.0))
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def _arg_max(call: Call) -> np.ndarray:
    """The first place of the largest."""
    (axis,) = call.integers(1)
    return call.array(0).argmax(axis=axis).astype(DTYPES[call.outputs[0].type])


KERNELS: dict[str, Kernel] = {
    "ARG_MAX": _arg_max,
    "MEAN": _mean,
    "REDUCE_MAX": lambda call: _kept(call, call.array(0).max(axis=_axes(call), keepdims=True)),
    "REDUCE_MIN": lambda call: _kept(call, call.array(0).min(axis=_axes(call), keepdims=True)),
    "SOFTMAX": _softmax,
    "SUM": _sum,
}
