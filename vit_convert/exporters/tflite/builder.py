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
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ai_edge_litert import schema_py_generated as schema

from vit_convert.exporters.tflite.growing_graph import (
    BATCH,
    TYPES,
    DType,
    GrowingGraph,
    Shape,
    Tensor,
)

Activation = Literal["none", "relu"]
_ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
}


class GraphBuilder(GrowingGraph):
    """See the module. Axes are counted from 0; shapes of activations are (batch, ...).

    All methods raise ValueError for what cannot be built, which is a mistake of the caller's.
    """

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

    def abs(self, x: Tensor, name: str = "abs") -> Tensor:
        """|x|"""
        return self._elementwise("ABS", (x,), name, schema.AbsOptionsT())

    def rsqrt(self, x: Tensor, name: str = "rsqrt") -> Tensor:
        """1 / sqrt(x)"""
        return self._elementwise("RSQRT", (x,), name)

    def relu(self, x: Tensor, name: str = "relu") -> Tensor:
        """max(x, 0)"""
        return self._elementwise("RELU", (x,), name)

    def logistic(self, x: Tensor, name: str = "logistic") -> Tensor:
        """1 / (1 + exp(-x))"""
        return self._elementwise("LOGISTIC", (x,), name)

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
        options.inDataType, options.outDataType = TYPES[x.dtype], TYPES[dtype]
        return self.operation("CAST", (x,), x.shape, name, options, dtype=dtype)

    def dequantize(self, x: Tensor, name: str) -> Tensor:
        """float16, or int8 with a scale, as float32. Of a constant of float16: how files keep
        float16 weights. CPU kernels widen it once, GPU delegates take it as it is."""
        options, version = schema.DequantizeOptionsT(), 3 if x.dtype == "float16" else 2
        return self.operation(
            "DEQUANTIZE", (x,), x.shape, name, options, version, prepares=x.constant
        )

    # Whole numbers

    def equal(self, x: Tensor, y: Tensor, name: str = "equal") -> Tensor:
        """Whether x is y, broadcast."""
        return self._elementwise("EQUAL", (x, y), name, schema.EqualOptionsT(), "bool")

    def arg_max(self, x: Tensor, axis: int, name: str = "arg_max") -> Tensor:
        """The first place of the largest value along an axis, which is gone then."""
        options = schema.ArgMaxOptionsT()
        options.outputType = TYPES["int32"]
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        inputs = (x, self.integers([axis]))
        return self.operation("ARG_MAX", inputs, shape, name, options, dtype="int32")

    def gather(self, table: Tensor, rows: Tensor, name: str = "rows") -> Tensor:
        """Rows of a table: (rows, channels), whole numbers (...) -> (..., channels)."""
        self.check(len(table.shape) == 2 and rows.dtype == "int32", "GATHER", table, rows)
        shape = (*rows.shape, table.shape[1])
        options = schema.GatherOptionsT()
        inputs = (table, rows)
        return self._moved(
            table, self.operation("GATHER", inputs, shape, name, options, dtype=table.dtype)
        )

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
        self.check(x.shape[-1] == inputs, "FULLY_CONNECTED", x, weight)
        self.check(bias is None or bias.shape == (outputs,), "FULLY_CONNECTED", x, weight)
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        # 5 has keepNumDims; 12 has float activations and weights with a scale per channel
        version = 12 if weight.dtype == "int8" else 5
        shape = (*x.shape[:-1], outputs)
        return self.operation("FULLY_CONNECTED", (x, weight, bias), shape, name, options, version)

    def batch_matmul(self, x: Tensor, y: Tensor, name: str = "matmul") -> Tensor:
        """(b, h, n, k), (b, h, k, m) -> (b, h, n, m), of two activations."""
        self.check(not (x.constant or y.constant), "BATCH_MATMUL", x, y)
        self.check(x.shape[:-2] == y.shape[:-2], "BATCH_MATMUL", x, y)
        self.check(x.shape[-1] == y.shape[-2], "BATCH_MATMUL", x, y)
        shape = (*x.shape[:-1], y.shape[-1])
        return self.operation("BATCH_MATMUL", (x, y), shape, name, schema.BatchMatMulOptionsT())

    def conv_2d(
        self,
        x: Tensor,
        kernel: Tensor,
        bias: Tensor,
        stride: tuple[int, int],
        activation: Activation = "none",
        same: bool = False,
        name: str = "conv",
    ) -> Tensor:
        """x (b, height, width, channels), kernel (outputs, kh, kw, channels) -> (b, rows, columns,
        outputs), without padding; or with the zeros that keep the size, where the stride is 1 and
        the filter's sides are odd."""
        outputs, kh, kw, channels = kernel.shape
        self.check(x.shape[3] == channels and bias.shape == (outputs,), "CONV_2D", x, kernel)
        self.check(not same or (stride == (1, 1) and kh % 2 == kw % 2 == 1), "CONV_2D", x, kernel)
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME if same else schema.Padding.VALID
        options.strideH, options.strideW = stride
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        rows = x.shape[1] if same else (x.shape[1] - kh) // stride[0] + 1
        columns = x.shape[2] if same else (x.shape[2] - kw) // stride[1] + 1
        shape = (x.shape[0], rows, columns, outputs)
        return self.operation("CONV_2D", (x, kernel, bias), shape, name, options)

    def depthwise_conv_2d(
        self, x: Tensor, kernel: Tensor, bias: Tensor, dilation: int, name: str = "depthwise"
    ) -> Tensor:
        """x (b, height, width, channels), kernel (1, kh, 1, channels) -> (b, height - (kh - 1) *
        dilation, width, channels), without padding; dilated in height."""
        one, kh, kw, channels = kernel.shape
        self.check((one, kw, channels) == (1, 1, x.shape[3]), "DEPTHWISE_CONV_2D", x, kernel)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = options.depthMultiplier = 1
        options.dilationHFactor = dilation
        shape = (x.shape[0], x.shape[1] - (kh - 1) * dilation, *x.shape[2:])
        inputs = (x, kernel, bias)
        return self.operation("DEPTHWISE_CONV_2D", inputs, shape, name, options, 2)

    def resize_bilinear(self, x: Tensor, size: tuple[int, int], name: str = "resize") -> Tensor:
        """x (b, height, width, channels) -> (b, *size, channels); pixel i of n stands at (i + 0.5)
        / n, as PyTorch has it without aligned corners."""
        options = schema.ResizeBilinearOptionsT()
        options.halfPixelCenters = True
        shape = (x.shape[0], *size, x.shape[3])
        inputs = (x, self.integers(size))
        return self.operation("RESIZE_BILINEAR", inputs, shape, name, options, 3)

    # Places

    def reshape(self, x: Tensor, shape: Shape, name: str = "reshape") -> Tensor:
        """x in another shape; BATCH stands where x has it."""
        fixed = [math.prod(size for size in s if size != BATCH) for s in (x.shape, shape)]
        self.check(fixed[0] == fixed[1], "RESHAPE", x)
        self.check(x.shape.count(BATCH) == shape.count(BATCH) <= 1, "RESHAPE", x)
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        inputs = (x, self.integers(shape))
        return self._moved(
            x, self.operation("RESHAPE", inputs, shape, name, options, dtype=x.dtype)
        )

    def transpose(self, x: Tensor, axes: tuple[int, ...], name: str = "transpose") -> Tensor:
        """Axis i of the result is axis axes[i] of x."""
        self.check(sorted(axes) == list(range(len(x.shape))), "TRANSPOSE", x)
        shape = tuple(x.shape[axis] for axis in axes)
        inputs = (x, self.integers(axes))
        return self.operation("TRANSPOSE", inputs, shape, name, schema.TransposeOptionsT())

    def slice(self, x: Tensor, axis: int, start: int, stop: int, name: str = "slice") -> Tensor:
        """A part of x along one axis."""
        self.check(0 <= start < stop <= x.shape[axis], "SLICE", x)
        begin, size = [0] * len(x.shape), list(x.shape)
        begin[axis], size[axis] = start, stop - start
        shape = tuple(size)
        sizes = [-1 if s == BATCH else s for s in shape]
        inputs = (x, self.integers(begin), self.integers(sizes))
        return self.operation("SLICE", inputs, shape, name, schema.SliceOptionsT())

    def concatenation(self, parts: Sequence[Tensor], axis: int, name: str = "concat") -> Tensor:
        """Tensors one after the other along one axis."""
        first = parts[0].shape
        for part in parts:
            others = [s for i, s in enumerate(part.shape) if i != axis]
            self.check(
                others == [s for i, s in enumerate(first) if i != axis], "CONCATENATION", part
            )
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        total = sum(part.shape[axis] for part in parts)
        shape = (*first[:axis], total, *first[axis + 1 :])
        return self.operation("CONCATENATION", tuple(parts), shape, name, options)

    def pad(self, x: Tensor, axes: Mapping[int, tuple[int, int]], name: str = "pad") -> Tensor:
        """Zeros around x: axis -> how many before and behind it."""
        paddings = [list(axes.get(i, (0, 0))) for i in range(len(x.shape))]
        shape = tuple(size + sum(axes.get(i, ())) for i, size in enumerate(x.shape))
        return self.operation(
            "PAD", (x, self.integers(paddings)), shape, name, schema.PadOptionsT()
        )

    def _moved(self, x: Tensor, result: Tensor) -> Tensor:
        """The result of an operation that moves x's values; integers stand for the same numbers."""
        self._tensors[result.index].quantization = self._tensors[x.index].quantization
        return result

    def _elementwise(
        self,
        kind: str,
        inputs: tuple[Tensor, ...],
        name: str,
        options: Any = None,
        dtype: DType = "float32",
    ) -> Tensor:
        shapes = [tensor.shape for tensor in inputs]
        rank = max(map(len, shapes))
        aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        shape = []
        for sizes in zip(*aligned, strict=True):
            several = {size for size in sizes if size != 1}
            self.check(len(several) <= 1, kind, *inputs)
            shape.append(several.pop() if several else 1)
        return self.operation(kind, inputs, tuple(shape), name, options, dtype=dtype)

    def _reduction(self, kind: str, x: Tensor, axis: int, name: str) -> Tensor:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return self.operation(kind, (x, self.integers([axis])), shape, name, options)
