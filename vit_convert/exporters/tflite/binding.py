"""From a skeleton to the model: weights become constants, and the operations that take them what
the converter would have made of them.

Given a skeleton, in which a linear layer is BATCH_MATMUL(x, weight) or, behind a TRANSPOSE of the
weight, FULLY_CONNECTED, each followed by the ADD of a constant bias or not.
Result: every linear layer is one FULLY_CONNECTED with its bias inside, its weight a constant that
is read when the file is written; no weight is an input any more, and no block an output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from vit_convert.architectures import Parameter
from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.flatbuffer import Content, tree_of
from vit_convert.exporters.tflite.skeleton import Skeleton

_OPERATORS = schema.BuiltinOperator
_STRIP = 16


@dataclass
class BoundModel:
    """A model in flatbuffers' object form, with what fills its large buffers.

    Attributes:
        tree: the model; a large buffer has no data.
        contents: index of a buffer -> what belongs into it.
    """

    tree: Any
    contents: dict[int, Content]


def bind(skeleton: Skeleton, weights: Mapping[str, np.ndarray], precision: Precision) -> BoundModel:
    """Make a model of a skeleton.

    Args:
        skeleton: as converted.
        weights: canonical name -> array in PyTorch's layout; read when the file is written.
        precision: of the weights of linear layers and of the convolution.
    """
    graph = _Graph(tree_of(skeleton.content))
    matrices = graph.take_inputs(skeleton.weights)
    graph.name_blocks(skeleton.blocks)
    matrices = graph.connect(matrices)
    graph.fuse_biases()
    contents: dict[int, Content] = {}
    dtype = np.dtype(precision)
    for index, parameter in matrices.items():
        tensor = graph.main.tensors[index]
        tensor.buffer = graph.add_buffer()
        size = math.prod(parameter.shape) * dtype.itemsize
        contents[tensor.buffer] = Content(size, _reader(weights, parameter, dtype))
    if precision == "float16":
        graph.narrow(matrices)
    graph.drop_unused()
    return BoundModel(graph.tree, contents)


def _reader(
    weights: Mapping[str, np.ndarray], parameter: Parameter, dtype: np.dtype
) -> Callable[[], np.ndarray]:
    return lambda: _contiguous(weights[parameter.name], dtype)


def _contiguous(matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Row by row in memory. A matrix of an .h5 lies there column by column; turning it around in
    strips, whose lines fit into the processor's cache, takes half the time."""
    rows = np.empty(matrix.shape, dtype)
    for start in range(0, matrix.shape[1], _STRIP):
        rows[:, start : start + _STRIP] = matrix[:, start : start + _STRIP]
    return rows


class _Graph:
    """The one subgraph of a model, being changed."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        (self.main,) = tree.subgraphs
        (self.signature,) = tree.signatureDefs
        for holder in (*self.main.operators, self.main):  # these are read-only arrays
            holder.inputs = [int(i) for i in holder.inputs]
            holder.outputs = [int(i) for i in holder.outputs]

    def kind(self, operator: Any) -> int:
        code = self.tree.operatorCodes[operator.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)

    def add_buffer(self) -> int:
        self.tree.buffers.append(schema.BufferT())
        return len(self.tree.buffers) - 1

    def take_inputs(self, weights: Mapping[str, Parameter]) -> dict[int, Parameter]:
        """Take the weights from the inputs: index of the tensor -> parameter."""
        taken = {
            entry.tensorIndex: weights[name]
            for entry in self.signature.inputs
            if (name := entry.name.decode()) in weights
        }
        assert len(taken) == len(weights)
        self.main.inputs = [i for i in self.main.inputs if i not in taken]
        self.signature.inputs = [e for e in self.signature.inputs if e.tensorIndex not in taken]
        for index, parameter in taken.items():
            self.main.tensors[index].name = parameter.name.encode()
        return taken

    def name_blocks(self, blocks: tuple[str, ...]) -> None:
        """Take the blocks from the outputs, and name their tensors after them."""
        found = {e.tensorIndex: e.name for e in self.signature.outputs if e.name.decode() in blocks}
        assert len(found) == len(blocks)
        self.main.outputs = [i for i in self.main.outputs if i not in found]
        self.signature.outputs = [e for e in self.signature.outputs if e.tensorIndex not in found]
        for index, name in found.items():
            self.main.tensors[index].name = name

    def connect(self, matrices: dict[int, Parameter]) -> dict[int, Parameter]:
        """Let FULLY_CONNECTED take each matrix, as PyTorch has it: (outputs, inputs).

        Returns:
            those that are used: without its output, a head is not.
        """
        transposed: dict[int, int] = {}
        operators, used = [], {}
        for operator in self.main.operators:
            kind = self.kind(operator)
            if kind == _OPERATORS.TRANSPOSE and operator.inputs[0] in matrices:
                transposed[operator.outputs[0]] = operator.inputs[0]
                continue
            operators.append(operator)
            if kind == _OPERATORS.BATCH_MATMUL and operator.inputs[1] in matrices:
                assert not operator.builtinOptions.adjX
                assert not operator.builtinOptions.adjY
                self._make_fully_connected(operator)
            elif kind == _OPERATORS.FULLY_CONNECTED and operator.inputs[1] in transposed:
                operator.inputs[1] = transposed[operator.inputs[1]]
            for place, index in enumerate(operator.inputs):
                if index in matrices:
                    assert (self.kind(operator), place) == (_OPERATORS.FULLY_CONNECTED, 1)
                    used[index] = matrices[index]
        self.main.operators = operators
        for index, parameter in used.items():
            tensor = self.main.tensors[index]
            tensor.shape, tensor.shapeSignature = list(parameter.shape), None
        return used

    def _make_fully_connected(self, operator: Any) -> None:
        operator.opcodeIndex = self._code(_OPERATORS.FULLY_CONNECTED, version=5)  # keepNumDims
        operator.inputs = [*operator.inputs, -1]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        operator.builtinOptions.keepNumDims = True

    def _code(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self.tree.operatorCodes):
            if code.builtinCode == builtin and code.version >= version:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = version
        self.tree.operatorCodes.append(code)
        return len(self.tree.operatorCodes) - 1

    def fuse_biases(self) -> None:
        """Put the ADD of a constant vector into the FULLY_CONNECTED before it."""
        consumers: dict[int, list[Any]] = {}
        for operator in self.main.operators:
            for index in operator.inputs:
                consumers.setdefault(index, []).append(operator)
        fused = []
        for operator in self.main.operators:
            if self.kind(operator) != _OPERATORS.FULLY_CONNECTED or operator.inputs[2] >= 0:
                continue
            (product,) = operator.outputs
            following = consumers.get(product, [])
            if len(following) != 1 or product in self.main.outputs:
                continue
            (add,) = following
            if self.kind(add) == _OPERATORS.ADD and add.inputs[0] == product:
                bias = add.inputs[1]
                if self._is_vector(bias, consumers):
                    self.main.tensors[bias].shape = self.main.tensors[bias].shape[-1:]
                    operator.inputs[2] = bias
                    activation = add.builtinOptions.fusedActivationFunction  # ReLU
                    operator.builtinOptions.fusedActivationFunction = activation
                    operator.outputs = add.outputs
                    fused.append(id(add))
        self.main.operators = [o for o in self.main.operators if id(o) not in fused]

    def _is_vector(self, index: int, consumers: Mapping[int, list[Any]]) -> bool:
        """Whether a tensor is a constant (channels,), or (1, 1, channels) for one operation only:
        the converter adds CaiT's class token to the bias of what is added to it first."""
        tensor = self.main.tensors[index]
        if self.tree.buffers[tensor.buffer].data is None:
            return False
        if len(tensor.shape) == 1:
            return True
        return bool(math.prod(tensor.shape) == tensor.shape[-1]) and len(consumers[index]) == 1

    def narrow(self, matrices: dict[int, Parameter]) -> None:
        """Store matrices and the convolution's filter as float16, behind a DEQUANTIZE each.

        This is the form in which the converter stores float16 weights: CPU kernels widen them once,
        GPU delegates take them as they are. Biases and what is added to tokens stay float32.
        """
        indices = set(matrices)
        for operator in self.main.operators:
            if self.kind(operator) == _OPERATORS.CONV_2D and operator.inputs[1] not in indices:
                self._narrow_data(operator.inputs[1])
                indices.add(operator.inputs[1])
        wide = {index: self._widened(index) for index in sorted(indices)}
        for operator in self.main.operators:
            operator.inputs = [wide.get(index, index) for index in operator.inputs]
        code = self._code(_OPERATORS.DEQUANTIZE, version=3)
        dequantize = []
        for narrow, widened in wide.items():
            operator = schema.OperatorT()
            operator.opcodeIndex = code
            operator.inputs, operator.outputs = [narrow], [widened]
            operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
            operator.builtinOptions = schema.DequantizeOptionsT()
            dequantize.append(operator)
        self.main.operators = [*dequantize, *self.main.operators]

    def _narrow_data(self, index: int) -> None:
        old = self.tree.buffers[self.main.tensors[index].buffer].data
        self.main.tensors[index].buffer = self.add_buffer()
        narrow = np.asarray(old, np.uint8).view(np.float32).astype(np.float16)
        self.tree.buffers[-1].data = narrow.view(np.uint8)

    def _widened(self, index: int) -> int:
        """Make the tensor float16, and give the index of a new float32 one of its shape."""
        narrow, wide = self.main.tensors[index], schema.TensorT()
        wide.name, narrow.name = narrow.name, narrow.name + b"/float16"
        wide.shape, wide.type, wide.buffer = narrow.shape, schema.TensorType.FLOAT32, 0
        narrow.type = schema.TensorType.FLOAT16
        self.main.tensors.append(wide)
        return len(self.main.tensors) - 1

    def drop_unused(self) -> None:
        """Leave only tensors that an operation takes or gives, and data that something takes."""
        used = {i for o in self.main.operators for i in (*o.inputs, *o.outputs) if i >= 0}
        used |= {*self.main.inputs, *self.main.outputs}
        place = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
        self.main.tensors = [t for i, t in enumerate(self.main.tensors) if i in used]
        for holder in (*self.main.operators, self.main):
            holder.inputs = [place[i] for i in holder.inputs]
            holder.outputs = [place[i] for i in holder.outputs]
        for entry in (*self.signature.inputs, *self.signature.outputs):
            entry.tensorIndex = place[entry.tensorIndex]
        filled = {t.buffer for t in self.main.tensors} | {m.buffer for m in self.tree.metadata}
        for index, buffer in enumerate(self.tree.buffers):
            if index not in filled:
                buffer.data = None
