"""A TFLite graph as it grows: tensors, constants, and operations in the order of execution."""

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
DType = Literal["float32", "float16", "int8", "uint8", "int32", "bool"]
BATCH = -1  # the size of an axis that is known when the model runs

TYPES: dict[str, int] = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("float32", "float16", "int8", "uint8", "int32", "bool")
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


class GrowingGraph:
    """The graph as every operation needs it. Methods raise ValueError for what cannot be built."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._buffers = 1  # the first is always empty
        self._contents: dict[int, Content] = {}
        self._names: set[str] = set()
        self._scopes: list[str] = []
        self._vectors: dict[bytes, Tensor] = {}
        self._inputs: dict[str, Tensor] = {}
        self._read: set[int] = set()

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
        scale: float = 0.0,
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
            scale: of values that stand for multiples of it; 0 where they stand for themselves.
        """
        tensor = self._tensor(name, shape, dtype, constant=True, scoped=False)
        entry = self._tensors[tensor.index]
        entry.buffer = self._buffers
        self._buffers += 1
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self._contents[entry.buffer] = Content(size, read, tensor.index if channel_scales else None)
        if channel_scales or scale:
            # those of channels are not known yet
            scales = np.full(shape[0] if channel_scales else 1, scale, np.float32)
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = scales
            entry.quantization.zeroPoint = np.zeros(len(scales), np.int64)
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

    def integers(self, values: Sequence[Any]) -> Tensor:
        """A constant of integers, nested as deep as its rank: sizes, axes, places. Equal ones are
        one tensor."""
        array = np.array(values, np.int32)
        key = array.tobytes() + bytes(array.shape)
        if key not in self._vectors:
            name = f"integers/{len(self._vectors)}"
            self._vectors[key] = self.constant(name, array.shape, lambda: array, "int32")
        return self._vectors[key]

    def operation(
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
        """Add an operation that has one output.

        Args:
            kind: its name in `schema.BuiltinOperator`.
            inputs: in order; None for one that is left out.
            shape, name, dtype: of the output.
            options: the object of `schema` for this kind, None where it has none.
            version: of the operation.
            prepares: it only prepares a constant, so that its output counts as one.
        """
        present = [tensor for tensor in inputs if tensor is not None]
        self.check(len({t.index for t in present}) == len(present), kind, *present)
        self.check(prepares or not all(t.constant for t in present), kind, *present)
        self.check(len(shape) <= _MOST_AXES, kind, *present)
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
        entry.name, entry.type, entry.buffer, entry.hasRank = full, TYPES[dtype], 0, True
        entry.shape = [1 if size == BATCH else size for size in shape]
        if BATCH in shape:
            entry.shapeSignature = list(shape)
        self._tensors.append(entry)
        return Tensor(len(self._tensors) - 1, full, shape, dtype, constant)

    def _full_name(self, name: str) -> str:
        return "/".join([*self._scopes, *([name] if name else [])])

    @staticmethod
    def check(holds: bool, kind: str, *inputs: Tensor) -> None:
        """Raise ValueError, with the shapes of the inputs, unless a condition holds."""
        if not holds:
            shapes = ", ".join(f"{t.name} {t.shape}" for t in inputs)
            raise ValueError(f"{kind} cannot take {shapes}")

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


def _entry(name: str, tensor: Tensor) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor.index
    return entry


def _operator_code(builtin: int, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)
    return code
