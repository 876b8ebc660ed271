"""Making .tflite files of a few operations, as any converter might."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_DTYPES = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "int32": np.int32,
    "int64": np.int64,
}


class Tiny:
    """A graph in the making.

    Its methods give indices of tensors.
    """

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.graph = schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []

    def tensor(self, *shape: int, dtype: str = "float32", buffer: int = 0, scales: int = 0) -> int:
        made = schema.TensorT()
        made.name = f"t{len(self.graph.tensors)}"
        made.shape, made.buffer, made.hasRank = [abs(size) for size in shape], buffer, True
        if min(shape, default=1) < 0:
            made.shapeSignature = [*shape]
        made.type = getattr(schema.TensorType, dtype.upper())
        if scales:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.full(scales, 0.5, np.float32)
            made.quantization.zeroPoint = np.zeros(scales, np.int64)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def x(self, *shape: int, dtype: str = "float32") -> int:
        """An input of the graph."""
        self.graph.inputs.append(self.tensor(*shape, dtype=dtype))
        return self.graph.inputs[-1]

    def c(self, *shape: int, dtype: str = "float32", values: Any = 1, scales: int = 0) -> int:
        """A constant."""
        buffer = schema.BufferT()
        array = np.broadcast_to(np.asarray(values, _DTYPES[dtype]), shape)
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return self.tensor(*shape, dtype=dtype, buffer=len(self.model.buffers) - 1, scales=scales)

    def op(
        self, name: str, *inputs: int, shape: Any, dtype: str = "float32", **options: Any
    ) -> int:
        """An operation with one output; `options` are `kind="AddOptions"` and its attributes."""
        code = schema.OperatorCodeT()
        code.version = 1
        code.customCode = name.removeprefix("CUSTOM ") if name.startswith("CUSTOM ") else None
        code.builtinCode = getattr(schema.BuiltinOperator, name.split()[0])
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        node = schema.OperatorT()
        node.opcodeIndex = len(self.model.operatorCodes) - 1
        node.inputs = [*inputs]
        node.outputs = [self.tensor(*shape, dtype=dtype)]
        kind = options.pop("kind", None)
        if kind is not None:
            node.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            node.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                setattr(node.builtinOptions, key, value)
        self.graph.operators.append(node)
        return node.outputs[0]

    def content(self, *outputs: int) -> bytes:
        """The file, with these outputs of the graph."""
        self.graph.outputs = [*outputs]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def write(self, path: Path, *outputs: int) -> Path:
        """As `content`, into a file."""
        path.write_bytes(self.content(*outputs))
        return path
