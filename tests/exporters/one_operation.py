"""Graphs of one operation: as .tflite files, and what LiteRT's own kernels make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(bool): schema.TensorType.BOOL,
}


@dataclass(frozen=True)
class Operand:
    """An input or output of the operation.

    Attributes:
        value: an input's; of an output only its type counts.
        constant: whether the file holds the value.
        scales, axis: of integers that stand for numbers, with zero points.
        packed: the shape, where the value's bytes hold two integers of four bits each.
    """

    value: np.ndarray
    constant: bool = False
    scales: Sequence[float] = ()
    zero_points: Sequence[int] = ()
    axis: int = 0
    packed: tuple[int, ...] = ()


def constant(value: Any, dtype: type = np.int32) -> Operand:
    return Operand(np.asarray(value, dtype), constant=True)


def write(
    path: Path,
    name: str,
    operands: Sequence[Operand | None],
    options: Any = None,
    outputs: Sequence[Operand] = (Operand(np.zeros((), np.float32)),),
    version: int = 1,
) -> Path:
    """A file of one operation."""
    model = schema.ModelT()
    model.version, model.description = 3, b"one operation"
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.name, graph.tensors = b"main", []

    def add(operand: Operand, label: str) -> int:
        tensor = schema.TensorT()
        tensor.name = label.encode()
        tensor.shape = list(operand.packed or operand.value.shape)
        tensor.hasRank = True
        tensor.type = schema.TensorType.INT4 if operand.packed else TYPES[operand.value.dtype]
        if operand.scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(operand.scales)
            tensor.quantization.zeroPoint = list(operand.zero_points or [0] * len(operand.scales))
            tensor.quantization.quantizedDimension = operand.axis
        if operand.constant:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(operand.value).tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    node = schema.OperatorT()
    node.inputs = [-1 if o is None else add(o, f"input_{i}") for i, o in enumerate(operands)]
    node.outputs = [add(o, f"output_{i}") for i, o in enumerate(outputs)]
    node.builtinOptions = options
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        node.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    graph.operators = [node]
    graph.inputs = [
        index
        for index, operand in zip(node.inputs, operands, strict=True)
        if operand is not None and not operand.constant
    ]
    graph.outputs = node.outputs
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def in_litert(path: Path, operands: Sequence[Operand | None]) -> list[np.ndarray]:
    """The outputs, by the plain kernels."""
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    given = [o for o in operands if o is not None and not o.constant]
    for entry, operand in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(entry["index"], operand.value)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]
