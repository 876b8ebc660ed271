"""A TFLite graph, built operation by operation.

One method for each builtin operation. It checks its inputs, infers the shape of its output, and
gives the output a name of its own after the module that it belongs to (`blocks.3/attn/q`).
Constants are read when the file is written.

Some of what runtimes of phones get wrong cannot be built: an operation that takes one tensor twice
(google-ai-edge/LiteRT#9192), one that takes only constants, a reduction over two axes, a
BATCH_MATMUL of a constant or with transposing flags (#8913), ranks above 4, an output that is read
on (#8599).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from vit_convert.exporters.tflite.flatbuffer import Content, TfliteModel

Shape = tuple[int, ...]
Activation = Literal["none", "relu"]
DType = Literal["float32", "float16", "int8", "uint8", "int32"]
BATCH = -1  # the size of an axis that is known when the model runs

_TYPES: dict[str, int] = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("float32", "float16", "int8", "uint8", "int32")
}
_ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
}
_MOST_AXES = 4


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a graph.

    Attributes:
        index: its place among the tensors of the graph.
        name: unique in the graph.
        shape: sizes of its axes; BATCH where the size is not fixed.
        dtype: of its elements.
        constant: whether its values are in the file.
    """

    index: int
    name: str
    shape: Shape
    dtype: DType
    constant: bool = False


class GraphBuilder:
    """See the module. Axes are counted from 0; shapes of activations are (batch, ...).

    All methods raise ValueError for what cannot be built, which is a mistake of the caller's.
    """

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._buffers = 1  # the first is always empty
        self._contents: dict[int, Content] = {}
        self._names: set[str] = set()
        self._scopes: list[str] = []
        self._integers: dict[bytes, Tensor] = {}
        self._inputs: dict[str, Tensor] = {}
        self._read: set[int] = set()

    # Names, inputs and constants

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Let names of tensors begin with that of a module."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def input(self, name: str, shape: Shape, dtype: DType = "float32") -> Tensor:
        """An input of the model."""
        tensor = self._tensor(name, shape, dtype)
        self._inputs[name] = tensor
        return tensor

    def constant(
        self,
        name: str,
        shape: Shape,
        read: Callable[[], Any],
        dtype: DType = "float32",
        channel_scales: bool = False,
    ) -> Tensor:
        """A constant whose values are read when the file is written.

        Args:
            name: of the tensor, whatever the scope is.
            shape: of the array.
            read: gives the array, in the dtype; with `channel_scales` a
                `vit_convert.exporters.tflite.flatbuffer.Quantised`.
            dtype: of its elements.
            channel_scales: the values are quantised, with one scale for each index of the first
                axis.
        """
        tensor = self._tensor(name, shape, dtype, constant=True, scoped=False)
        entry = self._tensors[tensor.index]
        entry.buffer = self._buffers
        self._buffers += 1
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self._contents[entry.buffer] = Content(size, read, tensor.index if channel_scales else None)
        if channel_scales:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = np.zeros(shape[0], np.float32)  # not known yet
            entry.quantization.zeroPoint = np.zeros(shape[0], np.int64)
        return tensor

    def values(self, name: str, array: Any) -> Tensor:
        """A small constant of float32 values."""
        values = np.asarray(array, np.float32)
        return self.constant(self._full_name(name), values.shape, lambda: values)

    def renamed(self, tensor: Tensor, name: str) -> Tensor:
        """The tensor under another name, whatever the scope is."""
        if name in self._names:
            raise ValueError(f"there is a tensor called {name} already")
        self._names.add(name)
        self._tensors[tensor.index].name = name
        return replace(tensor, name=name)

    def _vector(self, values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        """A constant of integers: sizes, axes, places. Equal ones are one tensor."""
        array = np.array(values, np.int32)
        key = array.tobytes() + bytes(array.shape)
        if key not in self._integers:
            name = f"integers/{len(self._integers)}"
            self._integers[key] = self.constant(name, array.shape, lambda: array, "int32")
        return self._integers[key]

    # Elementwise operations

    def add(self, x: Tensor, y: Tensor, name: str = "add") -> Tensor:
        """x + y, broadcast."""
        return self._elementwise("ADD", (x, y), name, schema.AddOptionsT())

    def sub(self, x: Tensor, y: Tensor, name: str = "sub") -> Tensor:
        """x - y, broadcast."""
        return self._elementwise("SUB", (x, y), name, schema.SubOptionsT())

    def mul(self, x: Tensor, y: Tensor, name: str = "mul") -> Tensor:
        """x * y, broadcast."""
        return self._elementwise("MUL", (x, y), name, schema.MulOptionsT())

    def square(self, x: Tensor, name: str = "square") -> Tensor:
        """x * x"""
        return self._elementwise("SQUARE", (x,), name, schema.SquareOptionsT())

    def rsqrt(self, x: Tensor, name: str = "rsqrt") -> Tensor:
        """1 / sqrt(x)"""
        return self._elementwise("RSQRT", (x,), name)

    def logistic(self, x: Tensor, name: str = "logistic") -> Tensor:
        """1 / (1 + exp(-x))"""
        return self._elementwise("LOGISTIC", (x,), name)

    def relu(self, x: Tensor, name: str = "relu") -> Tensor:
        """max(x, 0)"""
        return self._elementwise("RELU", (x,), name)

    def gelu(self, x: Tensor, approximate: bool, name: str = "gelu") -> Tensor:
        """GELU, exact or by tanh."""
        options = schema.GeluOptionsT()
        options.approximate = approximate
        return self._elementwise("GELU", (x,), name, options)

    def softmax(self, x: Tensor, name: str = "softmax") -> Tensor:
        """Softmax over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._elementwise("SOFTMAX", (x,), name, options)

    def cast(self, x: Tensor, dtype: DType, name: str = "cast") -> Tensor:
        """x as another type."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = _TYPES[x.dtype], _TYPES[dtype]
        return self._operation("CAST", (x,), x.shape, name, options, dtype=dtype)

    def dequantize(self, x: Tensor, name: str) -> Tensor:
        """A constant of float16 as float32: how files keep float16 weights. CPU kernels widen it
        once, GPU delegates take it as it is."""
        options = schema.DequantizeOptionsT()
        return self._operation("DEQUANTIZE", (x,), x.shape, name, options, 3, prepares=True)

    # Reductions; the axis stays, with size 1

    def mean(self, x: Tensor, axis: int, name: str = "mean") -> Tensor:
        """The mean over one axis."""
        return self._reduction("MEAN", x, axis, name)

    def maximum(self, x: Tensor, axis: int, name: str = "max") -> Tensor:
        """The largest value over one axis."""
        return self._reduction("REDUCE_MAX", x, axis, name)

    # Products

    def fully_connected(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: Activation = "none",
        name: str = "linear",
    ) -> Tensor:
        """x (..., inputs) -> x @ weight^T + bias (..., outputs); weight (outputs, inputs)."""
        outputs, inputs = weight.shape
        self._check(x.shape[-1] == inputs, "FULLY_CONNECTED", x, weight)
        self._check(bias is None or bias.shape == (outputs,), "FULLY_CONNECTED", x, weight)
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        # 5 has keepNumDims; 12 has float activations and weights with a scale per channel
        version = 12 if weight.dtype == "int8" else 5
        shape = (*x.shape[:-1], outputs)
        return self._operation("FULLY_CONNECTED", (x, weight, bias), shape, name, options, version)

    def batch_matmul(self, x: Tensor, y: Tensor, name: str = "matmul") -> Tensor:
        """(b, h, n, k), (b, h, k, m) -> (b, h, n, m), of two activations."""
        self._check(not (x.constant or y.constant), "BATCH_MATMUL", x, y)
        self._check(x.shape[:-2] == y.shape[:-2], "BATCH_MATMUL", x, y)
        self._check(x.shape[-1] == y.shape[-2], "BATCH_MATMUL", x, y)
        shape = (*x.shape[:-1], y.shape[-1])
        return self._operation("BATCH_MATMUL", (x, y), shape, name, schema.BatchMatMulOptionsT())

    def conv_2d(
        self, x: Tensor, kernel: Tensor, bias: Tensor, stride: tuple[int, int], name: str = "conv"
    ) -> Tensor:
        """x (b, height, width, channels), kernel (outputs, kh, kw, channels) -> (b, rows, columns,
        outputs), without padding."""
        outputs, kh, kw, channels = kernel.shape
        self._check(x.shape[3] == channels and bias.shape == (outputs,), "CONV_2D", x, kernel)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH, options.strideW = stride
        rows = (x.shape[1] - kh) // stride[0] + 1
        columns = (x.shape[2] - kw) // stride[1] + 1
        shape = (x.shape[0], rows, columns, outputs)
        return self._operation("CONV_2D", (x, kernel, bias), shape, name, options)

    def depthwise_conv_2d(
        self, x: Tensor, kernel: Tensor, bias: Tensor, dilation: int, name: str = "depthwise"
    ) -> Tensor:
        """x (b, height, width, channels), kernel (1, kh, 1, channels) -> (b, height - (kh - 1) *
        dilation, width, channels), without padding; dilated in height."""
        one, kh, kw, channels = kernel.shape
        self._check((one, kw, channels) == (1, 1, x.shape[3]), "DEPTHWISE_CONV_2D", x, kernel)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = options.depthMultiplier = 1
        options.dilationHFactor = dilation
        shape = (x.shape[0], x.shape[1] - (kh - 1) * dilation, *x.shape[2:])
        inputs = (x, kernel, bias)
        return self._operation("DEPTHWISE_CONV_2D", inputs, shape, name, options, 2)

    # Places

    def reshape(self, x: Tensor, shape: Shape, name: str = "reshape") -> Tensor:
        """x in another shape; BATCH stands where x has it."""
        fixed = [math.prod(size for size in s if size != BATCH) for s in (x.shape, shape)]
        self._check(fixed[0] == fixed[1], "RESHAPE", x)
        self._check(x.shape.count(BATCH) == shape.count(BATCH) <= 1, "RESHAPE", x)
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        return self._operation("RESHAPE", (x, self._vector(shape)), shape, name, options)

    def transpose(self, x: Tensor, axes: tuple[int, ...], name: str = "transpose") -> Tensor:
        """Axis i of the result is axis axes[i] of x."""
        self._check(sorted(axes) == list(range(len(x.shape))), "TRANSPOSE", x)
        shape = tuple(x.shape[axis] for axis in axes)
        inputs = (x, self._vector(axes))
        return self._operation("TRANSPOSE", inputs, shape, name, schema.TransposeOptionsT())

    def slice(self, x: Tensor, axis: int, start: int, stop: int, name: str = "slice") -> Tensor:
        """A part of x along one axis."""
        self._check(0 <= start < stop <= x.shape[axis], "SLICE", x)
        begin, size = [0] * len(x.shape), list(x.shape)
        begin[axis], size[axis] = start, stop - start
        shape = tuple(size)
        sizes = [-1 if s == BATCH else s for s in shape]
        inputs = (x, self._vector(begin), self._vector(sizes))
        return self._operation("SLICE", inputs, shape, name, schema.SliceOptionsT())

    def concatenation(self, parts: Sequence[Tensor], axis: int, name: str = "concat") -> Tensor:
        """Tensors one after the other along one axis."""
        first = parts[0].shape
        for part in parts:
            others = [s for i, s in enumerate(part.shape) if i != axis]
            self._check(
                others == [s for i, s in enumerate(first) if i != axis], "CONCATENATION", part
            )
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        total = sum(part.shape[axis] for part in parts)
        shape = (*first[:axis], total, *first[axis + 1 :])
        return self._operation("CONCATENATION", tuple(parts), shape, name, options)

    def pad(self, x: Tensor, axis: int, before: int, name: str = "pad") -> Tensor:
        """Zeros before x along one axis."""
        paddings = [[before if i == axis else 0, 0] for i in range(len(x.shape))]
        shape = tuple(size + before if i == axis else size for i, size in enumerate(x.shape))
        return self._operation(
            "PAD", (x, self._vector(paddings)), shape, name, schema.PadOptionsT()
        )

    # The whole

    def finish(self, outputs: Mapping[str, Tensor], description: str) -> TfliteModel:
        """The graph, ready to be written.

        Args:
            outputs: names of the model's outputs -> tensors, in order.
            description: what the file says of itself.
        """
        for tensor in outputs.values():
            if tensor.index in self._read or tensor.constant:
                raise ValueError(f"the output {tensor.name} is read on, or a constant")
        main, signature, model = schema.SubGraphT(), schema.SignatureDefT(), schema.ModelT()
        main.name = "main"
        main.tensors, main.operators = self._tensors, self._operators
        main.inputs = [tensor.index for tensor in self._inputs.values()]
        main.outputs = [tensor.index for tensor in outputs.values()]
        signature.signatureKey = "serving_default"
        signature.inputs = [_entry(name, tensor) for name, tensor in self._inputs.items()]
        signature.outputs = [_entry(name, tensor) for name, tensor in outputs.items()]
        model.version, model.description = 3, description
        model.operatorCodes = [_operator_code(*key) for key in self._codes]
        model.subgraphs, model.signatureDefs = [main], [signature]
        model.buffers = [schema.BufferT() for _ in range(self._buffers)]
        model.metadata = []
        return TfliteModel(model, self._contents)

    def _elementwise(
        self, kind: str, inputs: tuple[Tensor, ...], name: str, options: Any = None
    ) -> Tensor:
        shapes = [tensor.shape for tensor in inputs]
        rank = max(map(len, shapes))
        aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        shape = []
        for sizes in zip(*aligned, strict=True):
            several = {size for size in sizes if size != 1}
            self._check(len(several) <= 1, kind, *inputs)
            shape.append(several.pop() if several else 1)
        return self._operation(kind, inputs, tuple(shape), name, options)

    def _reduction(self, kind: str, x: Tensor, axis: int, name: str) -> Tensor:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return self._operation(kind, (x, self._vector([axis])), shape, name, options)

    def _operation(
        self,
        kind: str,
        inputs: tuple[Tensor | None, ...],
        shape: Shape,
        name: str,
        options: Any = None,
        version: int = 1,
        dtype: DType = "float32",
        prepares: bool = False,
    ) -> Tensor:
        present = [tensor for tensor in inputs if tensor is not None]
        self._check(len({t.index for t in present}) == len(present), kind, *present)
        self._check(prepares or not all(t.constant for t in present), kind, *present)
        self._check(len(shape) <= _MOST_AXES, kind, *present)
        output = self._tensor(name, shape, dtype)
        self._read.update(tensor.index for tensor in present)
        node = schema.OperatorT()
        key = (getattr(schema.BuiltinOperator, kind), version)
        node.opcodeIndex = self._codes.setdefault(key, len(self._codes))
        node.inputs = [-1 if tensor is None else tensor.index for tensor in inputs]
        node.outputs = [output.index]
        if options is not None:
            union = type(options).__name__.removesuffix("T")
            node.builtinOptionsType = getattr(schema.BuiltinOptions, union)
            node.builtinOptions = options
        self._operators.append(node)
        return output if not prepares else Tensor(output.index, output.name, shape, dtype, True)

    def _tensor(
        self, name: str, shape: Shape, dtype: DType, constant: bool = False, scoped: bool = True
    ) -> Tensor:
        full = base = self._full_name(name) if scoped else name
        again = 0
        while full in self._names:
            again += 1
            full = f"{base}_{again}"
        self._names.add(full)
        entry = schema.TensorT()
        entry.name, entry.type, entry.buffer, entry.hasRank = full, _TYPES[dtype], 0, True
        entry.shape = [1 if size == BATCH else size for size in shape]
        if BATCH in shape:
            entry.shapeSignature = list(shape)
        self._tensors.append(entry)
        return Tensor(len(self._tensors) - 1, full, shape, dtype, constant)

    def _full_name(self, name: str) -> str:
        return "/".join([*self._scopes, *([name] if name else [])])

    @staticmethod
    def _check(holds: bool, kind: str, *inputs: Tensor) -> None:
        if not holds:
            shapes = ", ".join(f"{t.name} {t.shape}" for t in inputs)
            raise ValueError(f"{kind} cannot take {shapes}")


def _entry(name: str, tensor: Tensor) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor.index
    return entry


def _operator_code(builtin: int, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)
    return code
