"""Each kernel of the NumPy runtime computes what LiteRT's own kernel does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from one_operation import Operand, constant, in_litert, write

from vit_convert.errors import VitConvertError
from vit_convert.exporters.tflite.runtime import FileGraph, run
from vit_convert.exporters.tflite.runtime.erf import erf
from vit_convert.exporters.tflite.runtime.kernels import KERNELS

RNG = np.random.default_rng(0)
FLOAT = Operand(np.zeros((), np.float32))
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}


@dataclass
class Case:
    """An operation with operands, and options by name."""

    name: str
    operands: list[Operand | None]
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    outputs: tuple[Operand, ...] = (FLOAT,)
    version: int = 1
    label: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.label}".strip()

    def options_object(self) -> Any:
        if not self.kind:
            return None
        made = getattr(schema, f"{self.kind}OptionsT")()
        for key, value in self.options.items():
            assert hasattr(made, key), key
            setattr(made, key, value)
        return made


def numbers(*shape: int, least: float = -3, most: float = 3) -> Operand:
    return Operand(RNG.uniform(least, most, shape).astype(np.float32))


def fixed(*shape: int) -> Operand:
    return constant(RNG.standard_normal(shape), np.float32)


def unary(name: str, kind: str = "", least: float = -3, **options: Any) -> Case:
    return Case(name, [numbers(2, 3, 5, 7, least=least)], options, kind)


def binary(name: str, kind: str, **options: Any) -> list[Case]:
    shapes = [((2, 3, 5, 7), (2, 3, 5, 7)), ((2, 3, 5, 7), (7,)), ((2, 3, 5, 7), (2, 1, 5, 1))]
    return [
        Case(name, [numbers(*a), numbers(*b, least=0.5)], options, kind, label=f"{b}")
        for a, b in shapes
    ]


def reduction(name: str, axes: tuple[int, ...], keep: bool) -> Case:
    operands = [numbers(2, 3, 5, 7), constant(axes)]
    return Case(name, operands, {"keepDims": keep}, "Reducer", label=f"{axes} {keep}")


def convolution(
    label: str, image: tuple[int, ...], kernel: tuple[int, ...], **options: Any
) -> Case:
    settings = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1} | options
    operands = [numbers(*image), fixed(*kernel), fixed(kernel[0])]
    return Case("CONV_2D", operands, settings, "Conv2D", label=label)


def depthwise(label: str, image: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> Case:
    settings = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1} | options
    settings["depthMultiplier"] = kernel[3] // image[3]
    operands = [numbers(*image), fixed(*kernel), fixed(kernel[3])]
    return Case("DEPTHWISE_CONV_2D", operands, settings, "DepthwiseConv2D", label=label)


def connected(
    label: str, x: Operand, weight: Operand, bias: Operand | None, **options: Any
) -> Case:
    return Case(
        "FULLY_CONNECTED", [x, weight, bias], options, "FullyConnected", version=5, label=label
    )


def product(x: Operand, y: Operand, label: str = "", **options: Any) -> Case:
    return Case("BATCH_MATMUL", [x, y], options, "BatchMatMul", label=label)


def resized(label: str, image: tuple[int, ...], size: tuple[int, int], **options: Any) -> Case:
    operands = [numbers(*image), constant(size)]
    return Case("RESIZE_BILINEAR", operands, options, "ResizeBilinear", version=3, label=label)


def strided(begin: list[int], end: list[int], step: list[int], **options: Any) -> Case:
    operands = [numbers(4, 5, 7), constant(begin), constant(end), constant(step)]
    version = 8 if "offset" in options else 1
    label = f"{begin} {options}"
    return Case("STRIDED_SLICE", operands, options, "StridedSlice", version=version, label=label)


WHOLE = Operand(RNG.integers(-127, 128, (3, 5, 7)).astype(np.int8))
CASES = [
    *(unary(name) for name in ("NEG", "EXP", "COS", "SQUARE", "ABS", "TANH", "LOGISTIC", "SIN")),
    *(unary(name) for name in ("RELU", "RELU6")),
    *(unary(name, least=0.1) for name in ("SQRT", "RSQRT")),
    unary("GELU", "Gelu", approximate=False),
    unary("GELU", "Gelu", approximate=True),
    *binary("ADD", "Add"),
    *binary("SUB", "Sub"),
    *binary("MUL", "Mul"),
    *binary("DIV", "Div"),
    *(
        c
        for name, f in ACTIVATIONS.items()
        for c in binary("ADD", "Add", fusedActivationFunction=f)
    ),
    *binary("MAXIMUM", ""),
    *binary("MINIMUM", ""),
    *binary("SQUARED_DIFFERENCE", ""),
    *(
        reduction(name, axes, keep)
        for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
        for axes in ((-1,), (1,), (1, 2))
        for keep in (True, False)
    ),
    Case("SOFTMAX", [numbers(2, 3, 5, 7)], {"beta": 1.0}, "Softmax"),
    Case("SOFTMAX", [numbers(2, 3, 5, 7)], {"beta": 0.5}, "Softmax", label="beta"),
    Case("CONCATENATION", [numbers(2, 3, 5), numbers(2, 4, 5)], {"axis": 1}, "Concatenation"),
    Case("CONCATENATION", [numbers(2, 3), fixed(2, 4)], {"axis": -1}, "Concatenation"),
    Case("PACK", [numbers(2, 3), numbers(2, 3)], {"axis": 1, "valuesCount": 2}, "Pack"),
    Case("RESHAPE", [numbers(2, 3, 5), constant([5, 6])]),
    Case("RESHAPE", [numbers(2, 3, 5), constant([3, -1])], label="-1"),
    Case("TRANSPOSE", [numbers(2, 3, 5, 7), constant([2, 0, 3, 1])]),
    Case("SLICE", [numbers(4, 5, 7), constant([1, 0, 2]), constant([2, -1, 5])]),
    strided([1, 0, -5], [3, 5, -1], [1, 2, 3]),
    strided([1, 2, 0], [3, 4, 0], [1, 1, 1], beginMask=1, endMask=4),
    strided([0, 2, 0], [4, 3, 7], [1, 1, 1], shrinkAxisMask=2),
    strided([3, 0, 0], [0, 5, 7], [-1, 1, 1]),
    strided([1, 2, 3], [2, 3, 4], [1, 1, 2], offset=True),
    Case("SPLIT", [constant(1), numbers(2, 6, 5)], {"numSplits": 3}, "Split", outputs=(FLOAT,) * 3),
    Case("PAD", [numbers(2, 3, 5, 7), constant([[0, 0], [1, 2], [0, 0], [3, 0]])]),
    Case("PADV2", [numbers(2, 3), constant([[0, 1], [2, 0]]), constant(-1.5, np.float32)]),
    Case("TILE", [numbers(2, 3, 5), constant([3, 1, 2])]),
    Case("BROADCAST_TO", [numbers(1, 3, 1), constant([2, 3, 5])], version=2),
    Case("GATHER", [numbers(4, 5, 7), constant([2, 0, 2])], {"axis": 1}, "Gather"),
    Case("GATHER", [fixed(4, 5), Operand(np.array([[1, 3]], np.int32))], {"axis": 0}, "Gather"),
    Case(
        "ARG_MAX",
        [Operand(np.array([[3, 9, 9, 1], [0, 0, 0, 0]], np.int32)), constant([1])],
        {"outputType": schema.TensorType.INT32},
        "ArgMax",
        outputs=(Operand(np.zeros((), np.int32)),),
        label="of equals, the first",
    ),
    Case(
        "EQUAL",
        [Operand(np.array([[3], [7]], np.int32)), constant([[7, 3, 5]])],
        outputs=(Operand(np.zeros((), bool)),),
    ),
    Case("EXPAND_DIMS", [numbers(2, 3), constant([1])]),
    Case("SQUEEZE", [numbers(2, 1, 3, 1)], {"squeezeDims": [1]}, "Squeeze"),
    Case(
        "SHAPE",
        [numbers(2, 3, 5)],
        {"outType": schema.TensorType.INT32},
        "Shape",
        outputs=(Operand(np.zeros((), np.int32)),),
    ),
    Case("CAST", [Operand(RNG.integers(0, 256, (2, 3)).astype(np.uint8))], {}, "Cast"),
    Case("DEQUANTIZE", [constant(RNG.standard_normal((3, 5)), np.float16)], version=3),
    Case("DEQUANTIZE", [Operand(WHOLE.value, scales=(0.03,), zero_points=(7,))], version=2),
    Case(
        "QUANTIZE",
        [numbers(3, 5, 7)],
        outputs=(Operand(np.zeros((), np.int8), scales=(0.02,), zero_points=(-9,)),),
    ),
    Case(
        "QUANTIZE",
        [numbers(3, 5, 7)],
        outputs=(Operand(np.zeros((), np.int16), scales=(0.0001,), zero_points=(0,)),),
        version=2,
        label="int16",
    ),
    Case(
        "DEQUANTIZE",
        [Operand(WHOLE.value.astype(np.int16) * 200, scales=(0.0001,), zero_points=(0,))],
        version=3,
        label="int16",
    ),
    convolution("patches", (2, 12, 15, 3), (5, 4, 3, 3), strideH=4, strideW=3, padding=1),
    convolution("overlapping", (2, 9, 11, 3), (5, 3, 2, 3), strideH=2, strideW=3, padding=1),
    convolution("same", (2, 9, 11, 3), (5, 3, 2, 3), strideH=2, padding=0),
    convolution("dilated", (1, 9, 11, 3), (4, 3, 2, 3), dilationHFactor=2, padding=0),
    depthwise("of one row", (2, 1, 11, 3), (1, 1, 4, 3), padding=0),
    depthwise("far apart", (2, 20, 6, 3), (1, 4, 1, 3), dilationHFactor=5, padding=1),
    depthwise("twice", (1, 7, 6, 3), (1, 2, 3, 6), strideH=2, strideW=2, padding=1),
    connected("kept", numbers(2, 3, 5), fixed(4, 5), fixed(4), keepNumDims=True),
    connected("flat", numbers(2, 3, 5), fixed(4, 5), fixed(4)),
    connected("no bias", numbers(6, 5), fixed(4, 5), None),
    connected("relu", numbers(6, 5), fixed(4, 5), fixed(4), fusedActivationFunction=1),
    resized("larger", (2, 3, 5, 7), (7, 11), halfPixelCenters=True),
    resized("smaller", (2, 9, 11, 3), (4, 5), halfPixelCenters=True),
    resized("aligned", (2, 3, 5, 7), (7, 11), alignCorners=True),
    product(numbers(2, 3, 5, 7), numbers(2, 3, 7, 4)),
    product(numbers(2, 3, 7, 5), numbers(2, 3, 7, 4), "adjoint x", adjX=True),
    product(numbers(2, 3, 5, 7), numbers(2, 3, 4, 7), "adjoint y", adjY=True),
    product(numbers(2, 3, 5, 7), numbers(1, 3, 7, 4), "broadcast"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_litert_s(case: Case, tmp_path: Path) -> None:
    path = write(
        tmp_path / "one.tflite",
        case.name,
        case.operands,
        case.options_object(),
        case.outputs,
        case.version,
    )
    graph = FileGraph(path)
    given = [o.value for o in case.operands if o is not None and not o.constant]
    got = list(run(graph, dict(zip(graph.inputs, given, strict=True))).values())
    expected = in_litert(path, case.operands)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_every_kernel_is_compared() -> None:
    assert {case.name for case in CASES} == set(KERNELS)


def test_an_operation_without_a_kernel_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "one.tflite", "FLOOR", [numbers(2, 3)])
    graph = FileGraph(path)
    with pytest.raises(VitConvertError, match="operation FLOOR") as caught:
        run(graph, {graph.inputs[0]: np.zeros((2, 3), np.float32)})
    assert caught.value.where == "output_0"


@pytest.mark.parametrize(
    "case",
    [
        strided([1, 0, 0], [3, 5, 7], [1, 1, 1], ellipsisMask=1),
        strided([1, 0, 0], [3, 5, 7], [1, 1, 1], newAxisMask=1),
        Case(
            "GATHER", [numbers(2, 5), constant([[1], [0]])], {"axis": 1, "batchDims": 1}, "Gather"
        ),
        connected("shuffled", numbers(2, 4), fixed(4, 4), None, weightsFormat=1),
        convolution("grouped", (1, 4, 4, 4), (6, 2, 2, 2), padding=1),
        binary("ADD", "Add", fusedActivationFunction=4)[0],
        resized("from corners", (1, 3, 5, 2), (6, 7)),
    ],
    ids=str,
)
def test_what_a_kernel_cannot_do_is_refused(case: Case, tmp_path: Path) -> None:
    path = write(tmp_path / "one.tflite", case.name, case.operands, case.options_object())
    graph = FileGraph(path)
    given = [o.value for o in case.operands if o is not None and not o.constant]
    with pytest.raises(VitConvertError, match="no kernel has"):
        run(graph, dict(zip(graph.inputs, given, strict=True)))


def test_integers_of_channels_stand_for_numbers(tmp_path: Path) -> None:
    """int8 weights of float activations, as int8-dynamic has them: the numbers they stand for."""
    weight = RNG.integers(-127, 128, (4, 5)).astype(np.int8)
    scales = RNG.uniform(0.001, 0.1, 4).astype(np.float32)
    x, bias = numbers(3, 5), fixed(4)
    quantised = Operand(weight, constant=True, scales=tuple(scales.tolist()))
    case = connected("int8", x, quantised, bias)
    path = write(tmp_path / "one.tflite", case.name, case.operands, case.options_object())
    graph = FileGraph(path)
    (got,) = run(graph, {graph.inputs[0]: x.value}).values()
    expected = x.value @ (weight * scales[:, None]).T + bias.value
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_integers_of_four_bits_are_unpacked(tmp_path: Path) -> None:
    """Two in a byte, the lower half first, an odd number of them."""
    values = RNG.integers(-8, 8, (3, 5)).astype(np.int8)
    halves = np.append(values.reshape(-1), 0).astype(np.uint8) & 15
    packed = halves[0::2] | halves[1::2] << 4
    weight = Operand(packed.view(np.int8), constant=True, scales=(0.5,), packed=(3, 5))
    x = numbers(2, 5)
    case = connected("int4", x, weight, None)
    path = write(tmp_path / "one.tflite", case.name, case.operands, case.options_object())
    graph = FileGraph(path)
    (got,) = run(graph, {graph.inputs[0]: x.value}).values()
    np.testing.assert_allclose(got, x.value @ (values * 0.5).T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("span", [1e-3, 1.0, 4.5, 100.0])
def test_erf_is_right_to_1e_7(span: float) -> None:
    x = np.linspace(-span, span, 20_001, dtype=np.float32)
    expected = np.array([math.erf(value) for value in x.tolist()])
    assert np.abs(erf(x) - expected).max() <= 1e-7
    assert np.isnan(erf(np.array([np.nan, 1], np.float32)))[0]
