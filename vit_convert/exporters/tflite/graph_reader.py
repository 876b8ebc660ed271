"""The operations of a .tflite file: their names, and the blocks of the model they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Tensors bear the names of the layer and operation that they come from ("blocks.3/attn/MatMul"),
# of parameters ("blocks.3.attn.qkv.weight"), or of the block that they leave ("blocks.3").
_LAYER = re.compile(
    r"(?:^|/)(embeddings|[a-z_]+\.\d+|patch_embed|[a-z]+_token|pos_embed|norm(?:_pre)?|fc_norm"
    r"|pool(?:_\d+)?|head(?:_dist)?)(?=[/.]|$)"
)
_BLOCK = re.compile(r"embeddings|[a-z_]+\.\d+")


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        index: its place in the order of execution.
        name: as LiteRT calls it, "BATCH_MATMUL".
        tensor: the name of its first output.
        block: what it belongs to: "blocks.3", "embeddings", "head", ...; "" where no name tells.
        prepares: whether it only prepares constants, as DEQUANTIZE of float16 weights.
    """

    index: int
    name: str
    tensor: str
    block: str
    prepares: bool


class TfliteGraph:
    """The main graph of a .tflite file; its weights stay on the disk.

    Attributes:
        schema: the module that knows the format.
        model, main: the file and its main graph, as objects of `schema`. They are not to be
            changed.
        producers: index of a tensor -> index of the operation that gives it.
        operations: all, in the order of execution.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self._data = np.memmap(path, np.uint8, mode="r")
        self.model = schema.ModelT.InitFromPackedBuf(self._data)
        self.main = self.model.subgraphs[0]
        self.producers = {
            int(tensor): index
            for index, node in enumerate(self.main.operators)
            for tensor in node.outputs
        }
        self.is_prepared = cache(self._is_prepared)
        self._names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        self.operations = [self._operation(i) for i in range(len(self.main.operators))]

    def blocks(self) -> dict[str, int]:
        """ "embeddings", "blocks.0", ... -> index of the tensor (batch, tokens, dim) of that name,
        which leaves it."""
        names = ((i, self._tensor_name(i)) for i in range(len(self.main.tensors)))
        return {name: index for index, name in names if _BLOCK.fullmatch(name)}

    def preparing(self, index: int) -> list[int]:
        """The operations that prepare an operation's constants, in the order of execution."""
        found: set[int] = set()
        for tensor in map(int, self.main.operators[index].inputs):
            producer = self.producers.get(tensor)
            if producer is not None and self.is_prepared(tensor):
                found |= {*self.preparing(producer), producer}
        return sorted(found)

    def data(self, buffer: int) -> np.ndarray | None:
        """A buffer's bytes, also where the file keeps them behind the tables; None if empty."""
        entry = self.model.buffers[buffer]
        if entry.offset > 1:  # 0 and 1 say that they are not there
            return self._data[entry.offset : entry.offset + entry.size]
        return entry.data

    def _operation(self, index: int) -> Operation:
        node = self.main.operators[index]
        code = self.model.operatorCodes[node.opcodeIndex]
        name = self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name == "CUSTOM":
            name = f"CUSTOM {(code.customCode or b'').decode()}"
        outputs = [self._tensor_name(int(t)) for t in node.outputs]
        weights = [self._tensor_name(int(t)) for t in node.inputs if self.is_prepared(int(t))]
        # The graph's output is not named after its layer: weights then tell.
        layers = (_LAYER.search(tensor) for tensor in (*outputs, *weights))
        return Operation(
            index,
            name,
            outputs[0],
            next((found[1] for found in layers if found), ""),
            prepares=len(weights) == len(node.inputs),
        )

    def _tensor_name(self, index: int) -> str:
        return (self.main.tensors[index].name or b"").decode() if index >= 0 else ""

    def _is_prepared(self, tensor: int) -> bool:
        """Whether a tensor is absent, a constant, or made of constants alone."""
        if tensor < 0 or self.data(self.main.tensors[tensor].buffer) is not None:
            return True
        producer = self.producers.get(tensor)
        if producer is None:
            return False
        return all(self.is_prepared(int(t)) for t in self.main.operators[producer].inputs)
