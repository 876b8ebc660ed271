"""The operations of a .tflite file: their names, and the blocks of the model they belong to."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.exporters.tflite.file_reader import Tensor, TfliteFile, read_file

# Tensors bear the names of the layer and operation that they come from ("blocks.3/attn/MatMul"),
# of parameters ("blocks.3.attn.qkv.weight"), or of the block that they leave ("blocks.3").
_LAYER = re.compile(
    r"(?:^|/)(embeddings|[a-z_]+\.\d+|patch_embed|[a-z]+_token|pos_embed|norm(?:_pre)?|fc_norm"
    r"|pool(?:_\d+)?|head(?:_dist)?|dense_head)(?=[/.]|$)"
)
_BLOCK = re.compile(r"embeddings|[a-z_]+\.\d+")
_SMALL = 4096  # bytes of a constant that is read to look at it
_FORMS: dict[str, np.dtype[Any]] = {"int32": np.dtype("<i4"), "int64": np.dtype("<i8")}


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        index: its place in the order of execution.
        name: as LiteRT calls it, "BATCH_MATMUL".
        tensor: the name of its first output.
        block: what it belongs to: "blocks.3", "embeddings", "head", ...; "" where no name tells.
        prepares: whether it only prepares constants, as DEQUANTIZE of float16 weights.
        inputs, outputs: indices of tensors; -1 for an input that is left out.
    """

    index: int
    name: str
    tensor: str
    block: str
    prepares: bool
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


class TfliteGraph:
    """A graph of a .tflite file, anybody's; its weights stay on the disk.

    Attributes:
        file: all that the file holds.
        tensors: of the graph, by their index.
        inputs, outputs: of the graph, as indices of tensors.
        producers: index of a tensor -> index of the operation that gives it.
        consumers: index of a tensor -> indices of the operations that take it, in their order.
        operations: all, in the order of execution.

    Args:
        source: the path of the file, or what `read_file` found there.
        subgraph: which of its graphs; the main one by default.

    Raises:
        ArtifactError: it is no .tflite file, or a truncated or damaged one.
    """

    def __init__(self, source: Path | TfliteFile, subgraph: int = 0) -> None:
        self.file = read_file(source) if isinstance(source, Path) else source
        graph = self.file.subgraphs[subgraph]
        self.tensors = graph.tensors
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._nodes = graph.nodes
        self.producers: dict[int, int] = {}
        self.consumers: dict[int, list[int]] = {}
        for index, node in enumerate(graph.nodes):
            self.producers.update(dict.fromkeys(node.outputs, index))
            for tensor in dict.fromkeys(node.inputs):
                if tensor >= 0:
                    self.consumers.setdefault(tensor, []).append(index)
        self._prepared = self._find_prepared()
        self.operations = [self._operation(index) for index in range(len(graph.nodes))]

    @property
    def schema(self) -> Any:
        """The module that knows the format."""
        from ai_edge_litert import schema_py_generated

        return schema_py_generated

    @cached_property
    def model(self) -> Any:
        """The file as an object of `schema`, not to be changed. Of our own files only: what a
        stranger made can be told to fill the memory."""
        return self.schema.ModelT.InitFromPackedBuf(self.file.data)

    @property
    def main(self) -> Any:
        """The main graph of `model`."""
        return self.model.subgraphs[0]

    def blocks(self) -> dict[str, int]:
        """ "embeddings", "blocks.0", ... -> index of the tensor (batch, tokens, dim) of that name,
        which leaves it."""
        names = ((i, tensor.name) for i, tensor in enumerate(self.tensors))
        return {name: index for index, name in names if _BLOCK.fullmatch(name)}

    def preparing(self, index: int) -> list[int]:
        """The operations that prepare an operation's constants, in the order of execution."""
        found: set[int] = set()
        wanted = [*self._nodes[index].inputs]
        while wanted:
            tensor = wanted.pop()
            producer = self.producers.get(tensor)
            if producer is not None and producer not in found and self.is_prepared(tensor):
                found.add(producer)
                wanted += self._nodes[producer].inputs
        return sorted(found)

    def is_prepared(self, tensor: int) -> bool:
        """Whether a tensor is absent, a constant, or made of constants alone."""
        return tensor < 0 or tensor in self._prepared

    def is_constant(self, tensor: int) -> bool:
        """Whether the file has the tensor's values."""
        return tensor >= 0 and self.tensors[tensor].size > 0 and tensor not in self.producers

    def data(self, buffer: int) -> np.ndarray | None:
        """A buffer's bytes, also where the file keeps them behind the tables; None if empty."""
        start, size = self.file.buffers[buffer]
        return self.file.data[start : start + size] if size else None

    def integers(self, tensor: int) -> np.ndarray | None:
        """The values of a small constant of integers, as sizes and axes; None of others."""
        if not self.is_constant(tensor):
            return None
        found, form = self.tensors[tensor], _FORMS.get(self.tensors[tensor].type)
        if form is None or found.size > _SMALL or found.size != found.elements * form.itemsize:
            return None
        data = self.data(found.buffer)
        if data is None:
            return None
        return np.frombuffer(data.tobytes(), form).reshape([max(1, n) for n in found.shape])

    def option(self, index: int, name: str) -> Any:
        """An option of an operation by the name of its getter in `schema` ("AdjX"); None where the
        operation has no such option."""
        node = self._nodes[index]
        kinds = vars(self.schema.BuiltinOptions).items()
        kind = next((key for key, value in kinds if value == node.options_type), None)
        if not node.options or kind is None:
            return None
        options = getattr(self.schema, kind)()
        options.Init(self.file.data, node.options)
        try:
            return getattr(options, name)() if hasattr(options, name) else None
        except (struct.error, ValueError, TypeError):  # damaged: it is outside the file
            return None

    def tensor_inputs(self, operation: Operation) -> list[Tensor]:
        """The inputs that are not left out."""
        return [self.tensors[t] for t in operation.inputs if t >= 0]

    def _operation(self, index: int) -> Operation:
        node = self._nodes[index]
        outputs = [self.tensors[t].name for t in node.outputs]
        weights = [self.tensors[t].name for t in node.inputs if t >= 0 and self.is_prepared(t)]
        # The graph's output is not named after its layer: weights then tell.
        layers = (_LAYER.search(tensor) for tensor in (*outputs, *weights))
        return Operation(
            index,
            node.name,
            outputs[0] if outputs else "",
            next((found[1] for found in layers if found), ""),
            prepares=all(self.is_prepared(t) for t in node.inputs) and bool(node.inputs),
            inputs=node.inputs,
            outputs=node.outputs,
        )

    def _find_prepared(self) -> set[int]:
        """The constants, and what is made of constants alone."""
        found = {i for i in range(len(self.tensors)) if self.is_constant(i)} - {*self.inputs}
        for node in self._nodes:
            if node.inputs and all(tensor < 0 or tensor in found for tensor in node.inputs):
                found.update(node.outputs)
        return found
