"""Operations on each number by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vit_convert.exporters.tflite.runtime.erf import erf
from vit_convert.exporters.tflite.runtime.graph import DTYPES
from vit_convert.exporters.tflite.runtime.kernels.call import Call, Kernel, activated


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Kernel:
    return lambda call: function(call.array(0))


def _binary(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Kernel:
    return lambda call: activated(call, function(call.array(0), call.array(1)))


def _squared_difference(call: Call) -> np.ndarray:
    difference = call.arithmetic.round(call.array(0) - call.array(1))
    return difference * difference


def _gelu(call: Call) -> np.ndarray:
    """x * Phi(x), or its approximation by tanh (Hendrycks and Gimpel, arXiv:1606.08415)."""
    x = call.array(0)
    if call.option("approximate", False):
        inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inner))
    return np.float32(0.5) * x * (1 + erf(x * np.float32(np.sqrt(0.5))))


def _logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without an overflow for large |x|."""
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, power) / (1 + power)


def _cast(call: Call) -> np.ndarray:
    return call.array(0).astype(DTYPES[call.outputs[0].type])


KERNELS: dict[str, Kernel] = {
    "ABS": _unary(np.abs),
    "ADD": _binary(np.add),
    "CAST": _cast,
    "COS": _unary(np.cos),
    "DEQUANTIZE": _unary(lambda x: x),  # the runtime has done it
    "DIV": _binary(np.divide),
    "EQUAL": _binary(np.equal),
    "EXP": _unary(np.exp),
    "GELU": _gelu,
    "LOGISTIC": _unary(_logistic),
    "MAXIMUM": _binary(np.maximum),
    "MINIMUM": _binary(np.minimum),
    "MUL": _binary(np.multiply),
    "NEG": _unary(np.negative),
    "QUANTIZE": _unary(lambda x: x),  # the runtime rounds it
    "RELU": _unary(lambda x: np.maximum(x, 0)),
    "RELU6": _unary(lambda x: np.clip(x, 0, 6)),
    "RSQRT": _unary(lambda x: 1 / np.sqrt(x)),
    "SIN": _unary(np.sin),
    "SQRT": _unary(np.sqrt),
    "SQUARE": _unary(np.square),
    "SQUARED_DIFFERENCE": _squared_difference,
    "SUB": _binary(np.subtract),
    "TANH": _unary(np.tanh),
}
