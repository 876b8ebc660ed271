"""Operations that move numbers and compute none."""

from __future__ import annotations

import numpy as np

from vit_convert.errors import VitConvertError
from vit_convert.exporters.tflite.runtime.graph import DTYPES
from vit_convert.exporters.tflite.runtime.kernels.call import Call, Kernel, activated


def _reshape(call: Call) -> np.ndarray:
    shape: tuple[int, ...] = call.outputs[0].shape
    if len(call.inputs) > 1 and call.inputs[1] is not None:
        shape = call.integers(1)
    elif call.option("newShape", None) is not None:
        shape = tuple(int(size) for size in call.options.newShape)
    return call.array(0).reshape(shape)


def _concatenation(call: Call) -> np.ndarray:
    parts = [call.array(place) for place in range(len(call.inputs))]
    return activated(call, np.concatenate(parts, call.option("axis")))


def _pack(call: Call) -> np.ndarray:
    parts = [call.array(place) for place in range(len(call.inputs))]
    return np.stack(parts, call.option("axis"))


def _slice(call: Call) -> np.ndarray:
    begins, sizes = call.integers(1), call.integers(2)
    ends = [None if size < 0 else start + size for start, size in zip(begins, sizes, strict=True)]
    return call.array(0)[tuple(map(slice, begins, ends))]


def _strided_slice(call: Call) -> np.ndarray:
    if call.option("ellipsisMask") or call.option("newAxisMask"):
        raise VitConvertError(
            "no kernel has a STRIDED_SLICE with an ellipsis or a new axis",
            where=call.outputs[0].name,
        )
    entries: list[slice | int] = []
    for axis, (begin, end, step) in enumerate(
        zip(call.integers(1), call.integers(2), call.integers(3), strict=True)
    ):
        if call.option("shrinkAxisMask") >> axis & 1:
            entries.append(begin)
            continue
        first = None if call.option("beginMask") >> axis & 1 else begin
        last = None if call.option("endMask") >> axis & 1 else end
        if call.option("offset", False) and first is not None and last is not None:
            last += first
        entries.append(slice(first, last, step))
    return call.array(0)[tuple(entries)]


def _split(call: Call) -> list[np.ndarray]:
    return np.split(call.array(1), call.option("numSplits"), int(call.array(0).item()))


def _pad(call: Call) -> np.ndarray:
    value = call.array(2).item() if len(call.inputs) > 2 else 0
    widths = np.asarray(call.array(1)).tolist()
    return np.pad(call.array(0), widths, constant_values=value)


def _gather(call: Call) -> np.ndarray:
    if call.option("batchDims"):
        raise VitConvertError("no kernel has a GATHER of batches", where=call.outputs[0].name)
    return np.take(call.array(0), call.array(1), axis=call.option("axis"))


def _squeeze(call: Call) -> np.ndarray:
    dims = call.option("squeezeDims", None)
    axes = None if dims is None or not len(dims) else tuple(int(axis) for axis in dims)
    return np.squeeze(call.array(0), axis=axes)


def _shape(call: Call) -> np.ndarray:
    return np.array(call.array(0).shape, DTYPES[call.outputs[0].type])


KERNELS: dict[str, Kernel] = {
    "BROADCAST_TO": lambda call: np.broadcast_to(call.array(0), call.integers(1)),
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": lambda call: np.expand_dims(call.array(0), call.integers(1)),
    "GATHER": _gather,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TILE": lambda call: np.tile(call.array(0), call.integers(1)),
    "TRANSPOSE": lambda call: call.array(0).transpose(call.integers(1)),
}
