"""Products with matrices: linear layers, convolutions, attention."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vit_convert.architectures.dense.resizing import bilinear_weights
from vit_convert.errors import VitConvertError
from vit_convert.exporters.tflite.runtime.kernels.call import Call, Kernel, activated

_SAME = 0  # schema.Padding


def _fully_connected(call: Call) -> np.ndarray:
    """(..., in) and (out, in) -> (..., out), or (rows, out) unless the axes are to be kept."""
    x, weight = call.array(0), call.array(1)
    if call.option("weightsFormat"):
        raise VitConvertError("no kernel has shuffled weights", where=call.outputs[0].name)
    units, channels = weight.shape
    shape = (*x.shape[:-1], units) if call.option("keepNumDims", False) else (-1, units)
    product = call.arithmetic.matmul(x.reshape(-1, channels), weight.T)
    return _with_bias(call, product).reshape(shape)


def _batch_matmul(call: Call) -> np.ndarray:
    a, b = call.array(0), call.array(1)
    if call.option("adjX", False):
        a = a.swapaxes(-1, -2)
    if call.option("adjY", False):
        b = b.swapaxes(-1, -2)
    return call.arithmetic.matmul(a, b)


def _conv_2d(call: Call) -> np.ndarray:
    """(n, h, w, in) and (out, rows, columns, in) -> (n, h', w', out)."""
    kernel = call.array(1)
    units, rows, columns, channels = kernel.shape
    if call.array(0).shape[-1] != channels:
        raise VitConvertError("no kernel has grouped convolutions", where=call.outputs[0].name)
    windows = _windows(call, rows, columns)
    n, height, width = windows.shape[:3]
    # (n, h', w', in, rows, columns) -> a row for each place
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * height * width, -1)
    product = call.arithmetic.matmul(patches, kernel.reshape(units, -1).T)
    return _with_bias(call, product).reshape(n, height, width, units)


def _depthwise_conv_2d(call: Call) -> np.ndarray:
    """(n, h, w, in) and (1, rows, columns, in * multiplier) -> (n, h', w', in * multiplier).

    The products are summed one after the other and rounded each time.
    """
    x, kernel = call.array(0), call.array(1)
    _, rows, columns, units = kernel.shape
    multiplier = units // x.shape[-1]
    windows = _windows(call, rows, columns)
    total = np.zeros((*windows.shape[:3], units), np.float32)
    for row, column in np.ndindex(rows, columns):
        values = windows[..., row, column]
        if multiplier > 1:
            values = np.repeat(values, multiplier, axis=-1)
        total = call.arithmetic.round(total + values * kernel[0, row, column])
    return _with_bias(call, total)


def _resize_bilinear(call: Call) -> np.ndarray:
    """(n, h, w, channels) -> (n, h', w', channels), one axis after the other."""
    x, aligned = call.array(0), call.option("alignCorners", False)
    if not aligned and not call.option("halfPixelCenters", False):
        raise VitConvertError("no kernel has resizing from corners", where=call.outputs[0].name)
    rows, columns = (
        bilinear_weights(old, new, aligned).astype(np.float32)
        for old, new in zip(x.shape[1:3], call.integers(1), strict=True)
    )
    x = call.arithmetic.matmul(columns, x)
    n, height, width, channels = x.shape
    tall = call.arithmetic.matmul(rows, x.reshape(n, height, width * channels))
    return tall.reshape(n, -1, width, channels)


def _with_bias(call: Call, product: np.ndarray) -> np.ndarray:
    """(..., out), which is rounded already, plus the bias (out,), if there is one, and the fused
    activation."""
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    if bias is not None:
        product = product + bias
    return activated(call, product)


def _windows(call: Call, rows: int, columns: int) -> np.ndarray:
    """A view of what each place of a convolution sees, (n, h', w', channels, rows, columns)."""
    x = call.array(0)
    strides = call.option("strideH", 1), call.option("strideW", 1)
    dilations = call.option("dilationHFactor", 1), call.option("dilationWFactor", 1)
    extents = tuple(1 + d * (k - 1) for d, k in zip(dilations, (rows, columns), strict=True))
    if call.option("padding") == _SAME:
        pads = [
            max((-(-size // stride) - 1) * stride + extent - size, 0)
            for size, stride, extent in zip(x.shape[1:3], strides, extents, strict=True)
        ]
        x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    windows = sliding_window_view(x, extents, axis=(1, 2))
    return windows[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]


KERNELS: dict[str, Kernel] = {
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "RESIZE_BILINEAR": _resize_bilinear,
}
