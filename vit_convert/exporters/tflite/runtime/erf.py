"""The error function, fast."""

from __future__ import annotations

import numpy as np

# The rational approximation x P(x^2) / Q(x^2) of Eigen (Eigen/src/SpecialFunctions, erf for float),
# which TensorFlow uses, too. From the highest power down.
_P = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_Q = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_BEYOND = 4.0  # from here on it is 1 in float32
_CHUNK = 1 << 14  # numbers that stay in the cache from one step to the next


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of float32 numbers of any shape, right to 1e-7."""
    result = np.empty(x.shape, np.float32)
    source, target = np.ascontiguousarray(x, np.float32).reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _CHUNK):
        target[start : start + _CHUNK] = _approximation(source[start : start + _CHUNK])
    return result


def _approximation(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, -_BEYOND, _BEYOND).astype(np.float64)
    squared = x * x
    return x * _polynomial(squared, _P) / _polynomial(squared, _Q)


def _polynomial(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """By Horner's scheme."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value
