"""Float16 as a phone's GPU has it: what is rounded, what overflows, and which digits go.

Sums are compared with loops over NumPy's float16, which round after every step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from one_operation import Operand, constant, in_litert, write
from test_runtime import Chain

from vit_convert.exporters.tflite.runtime import FLOAT16, FLOAT32, FileGraph, run

HALF = np.float16
RNG = np.random.default_rng(0)


def by_hand(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(m, k) @ (k, n): slices of four channels, each sum rounded to float16."""
    total = np.zeros((len(a), b.shape[1]), HALF)
    with np.errstate(all="ignore"):
        for start in range(0, len(b), 4):
            part = a[:, start : start + 4] @ b[start : start + 4]
            total = total + part.astype(HALF)
    return total.astype(np.float32)


def halves(*shape: int, scale: float = 1.0) -> np.ndarray:
    """Numbers that float16 has, and whose products in slices of four are exact in float32."""
    return np.round(RNG.standard_normal(shape) * 64).astype(np.float32) / 64 * np.float32(scale)


def computed(path: Path, operands: list[Operand | None], arithmetic: Any = FLOAT16) -> np.ndarray:
    graph = FileGraph(path)
    given = [o.value for o in operands if o is not None and not o.constant]
    (got,) = run(graph, dict(zip(graph.inputs, given, strict=True)), arithmetic).values()
    return got


def mean_of(values: np.ndarray, folder: Path, kind: str = "MEAN") -> tuple[Path, list[Operand]]:
    options = schema.ReducerOptionsT()
    options.keepDims = True
    operands = [Operand(values), constant([values.ndim - 1])]
    return write(folder / "mean.tflite", kind, operands, options), operands


def connected(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, folder: Path, activation: int = 0
) -> tuple[Path, list[Operand | None]]:
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = activation
    operands: list[Operand | None] = [
        Operand(x),
        constant(weight, np.float32),
        constant(bias, np.float32),
    ]
    return write(folder / "fc.tflite", "FULLY_CONNECTED", operands, options), operands


def test_numbers_are_rounded_as_float16_rounds_them() -> None:
    least, most = 2.0**-26, 70000.0
    x = np.exp(RNG.uniform(np.log(least), np.log(most), 20_000)).astype(np.float32)
    x = np.concatenate([x, -x, [0, 65519.9, 65520, np.inf, -np.inf, np.nan]]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = x.astype(HALF).astype(np.float32)
    np.testing.assert_array_equal(FLOAT16.round(x), expected)
    assert np.isinf(expected).sum() > 10
    assert FLOAT32.round(x) is x


@pytest.mark.parametrize("scale", [2.0**-8, 1.0, 2.0**6])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (300, 261, 270), (5, 300, 3)])
def test_products_of_matrices_are_summed_in_float16(
    shape: tuple[int, int, int], scale: float
) -> None:
    m, k, n = shape
    a, b = halves(m, k, scale=scale), halves(k, n)
    got = FLOAT16.matmul(a, b)
    np.testing.assert_array_equal(FLOAT16.round(got), by_hand(a, b))
    if k > 50:  # many roundings: digits are lost that float32 keeps
        assert np.abs(got - a @ b).max() > 1e-4 * np.abs(got).max()


def test_products_that_overflow_are_infinite_or_nan_where_float16_says_so() -> None:
    a, b = halves(5, 64, scale=128), halves(64, 7, scale=64)
    expected = by_hand(a, b)
    assert 0 < np.isfinite(expected).sum() < expected.size
    np.testing.assert_array_equal(FLOAT16.matmul(a, b), expected)


def test_every_head_is_multiplied_by_itself() -> None:
    a, b = halves(2, 3, 5, 9), halves(1, 3, 9, 4)
    got = FLOAT16.matmul(a, b)
    assert got.shape == (2, 3, 5, 4)
    for batch, head in np.ndindex(2, 3):
        np.testing.assert_array_equal(got[batch, head], by_hand(a[batch, head], b[0, head]))


def test_a_sum_that_passes_65504_on_its_way_is_lost(tmp_path: Path) -> None:
    """Though the result, 400, is small. Float32 gives it."""
    x = np.array([[150] * 4 + [100] * 4 + [-150] * 4 + [-99] * 4], np.float32)
    path, operands = connected(x, np.full((1, 16), 100), np.zeros(1), tmp_path)
    assert computed(path, operands, FLOAT32).item() == 400
    assert in_litert(path, operands)[0].item() == 400
    assert np.isinf(computed(path, operands)).all()
    assert abs(computed(path, [Operand(x / 2), *operands[1:]]).item() - 200) < 32


def test_what_is_too_small_beside_the_sum_is_lost(tmp_path: Path) -> None:
    """4 is half of what lies between float16 numbers from 8192 on."""
    x = np.ones((1, 16_384), np.float32)
    path, operands = connected(x, x, np.zeros(1), tmp_path)
    assert computed(path, operands, FLOAT32).item() == 16_384
    assert computed(path, operands).item() == 8192


def test_a_bias_is_added_to_the_rounded_sum(tmp_path: Path) -> None:
    """2049 is rounded to 2048, and half of 2 added to that is lost, too."""
    x, weight = np.array([[2048, 1]], np.float32), np.ones((1, 2))
    path, operands = connected(x, weight, np.ones(1), tmp_path)
    assert computed(path, operands, FLOAT32).item() == 2050
    assert computed(path, operands).item() == 2048
    path, operands = connected(-x, weight, np.ones(1), tmp_path, activation=1)
    assert computed(path, operands).item() == 0


@pytest.mark.parametrize("kind", ["MEAN", "SUM"])
def test_a_sum_over_channels_is_in_four_lanes_of_float16(kind: str, tmp_path: Path) -> None:
    values = halves(3, 5, 53)
    path, operands = mean_of(values, tmp_path, kind)
    lanes = np.pad(values, [(0, 0), (0, 0), (0, 3)]).reshape(3, 5, -1, 4).astype(HALF)
    total = np.zeros((3, 5, 4), HALF)
    for step in range(lanes.shape[2]):
        total = total + lanes[:, :, step]
    expected = ((total[..., 0] + total[..., 1]) + total[..., 2]) + total[..., 3]
    if kind == "MEAN":
        expected = (expected.astype(np.float32) / 53).astype(HALF)
    np.testing.assert_array_equal(computed(path, operands)[..., 0], expected)


def test_the_norm_of_large_values_is_lost(tmp_path: Path) -> None:
    """Squares of 150 add up to more than 65504, though their mean is less."""
    values = np.full((2, 36), 150.0**2, np.float32)
    path, operands = mean_of(values, tmp_path)
    assert np.isinf(computed(path, operands)).all()
    np.testing.assert_allclose(computed(path, operands, FLOAT32), 150.0**2)
    path, operands = mean_of(values / 16, tmp_path)
    np.testing.assert_allclose(computed(path, operands), 150.0**2 / 16, rtol=2e-3)


def test_a_deep_stream_keeps_nothing_that_is_small_beside_it() -> None:
    """A thousand times 1 added to 2048."""
    graph = Chain([np.ones((3, 5), np.float32)] * 1000)
    x = np.full((3, 5), 2048, np.float32)
    (wide,), (half,) = (run(graph, {0: x}, each).values() for each in (FLOAT32, FLOAT16))
    np.testing.assert_array_equal(wide, 3048)
    np.testing.assert_array_equal(half, 2048)


def test_softmax_is_rounded_once(tmp_path: Path) -> None:
    """GPU delegates read and sum floats there; 5000 equal values would else not add up."""
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    operands = [Operand(np.zeros((2, 5000), np.float32))]
    path = write(tmp_path / "softmax.tflite", "SOFTMAX", operands, options)
    np.testing.assert_array_equal(computed(path, operands), np.float32(HALF(1 / 5000)))


def test_inputs_and_constants_are_rounded() -> None:
    third = np.full((3, 5), 1 / 3, np.float32)
    (got,) = run(Chain([third]), {0: third}, FLOAT16).values()
    np.testing.assert_array_equal(got, np.float32(HALF(1 / 3) + HALF(1 / 3)))


def test_integers_are_not_rounded(tmp_path: Path) -> None:
    """Indices and shapes; 2049 is no float16."""
    index = Operand(np.array([2049, 4095], np.int32))
    operands = [constant(np.arange(4096) % 7, np.float32), index]
    options = schema.GatherOptionsT()
    path = write(tmp_path / "gather.tflite", "GATHER", operands, options)
    np.testing.assert_array_equal(computed(path, operands), [2049 % 7, 4095 % 7])
