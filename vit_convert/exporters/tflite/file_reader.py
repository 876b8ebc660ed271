"""Everything that a .tflite file holds but its weights, which stay bytes, those
of large files on the disk; anybody's file.

The numbers of fields are those of the schema, tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import ArtifactError
from vit_convert.exporters.tflite.flatbuffer import ENTRY, TABLES, is_tflite
from vit_convert.exporters.tflite.tables import MOST_ENTRIES, BrokenFile, Reader, Table
from vit_convert.runtime.input_file import load_input

STANDARD_ENTRY = "TFLITE_METADATA"
_DETAILS = {  # what an entry of the metadata table is
    ENTRY: "vit-convert's own",
    STANDARD_ENTRY: "TFLite's standard: normalisation and labels, for Task Library and MediaPipe",
}


@dataclass(frozen=True)
class Tensor:
    """A tensor.

    Attributes:
        name: "" where it has none.
        shape: () of a scalar; -1 where a size is dynamic.
        type: "float32", "int8", ...
        buffer: the index of its data.
        size: bytes of its data; 0 where it is no constant.
        scales: how many it has: 0 of a float, 1 of a tensor quantised as a whole, more where each
            channel has one.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    buffer: int
    size: int
    scales: int

    @property
    def elements(self) -> int:
        """Their number; a dynamic size counts as 1."""
        return math.prod(max(1, size) for size in self.shape)


@dataclass(frozen=True)
class Node:
    """An operation as the file has it.

    Attributes:
        name: as LiteRT calls it, "BATCH_MATMUL"; "CUSTOM FlexErf" of a custom operation.
        version: of the operation.
        inputs, outputs: indices of tensors; -1 for an input that is left out.
        options_type: the number of the kind of its options; 0 without options.
        options: where its options are in the file; 0 without options.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: int


@dataclass(frozen=True)
class Subgraph:
    """A graph: the main one, or the body of a loop or a branch."""

    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Signature:
    """A signature: its key, its graph, and name -> index of a tensor."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class TfliteFile:
    """A .tflite file.

    Attributes:
        path: where it is.
        data: all its bytes, (size,) uint8.
        description: what its maker says.
        subgraphs: at least one; the first is the main graph.
        signatures: how it can be called by name.
        buffers: where the data of each begin in the file, and how many bytes there are.
        metadata: name of an entry -> its buffer.
    """

    path: Path
    data: np.ndarray
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    buffers: tuple[tuple[int, int], ...]
    metadata: dict[str, int]

    @property
    def minimum_runtime(self) -> str:
        """The oldest TensorFlow Lite that runs it, as its converter says; "" where it does not."""
        if "min_runtime_version" not in self.metadata:
            return ""
        start, size = self.buffers[self.metadata["min_runtime_version"]]
        text = bytes(self.data[start : start + min(size, 32)]).split(b"\0")[0]
        return text.decode(errors="replace")

    def entries(self) -> dict[str, str]:
        """Name of a metadata entry -> its size, and what it is where that is known."""
        return {
            name: f"{self.buffers[buffer][1]} bytes"
            + (f" ({_DETAILS[name]})" if name in _DETAILS else "")
            for name, buffer in self.metadata.items()
        }


def read_file(path: Path) -> TfliteFile:
    """Read all but the weights.

    Raises:
        ArtifactError: it is no .tflite file, or a truncated or damaged one.
    """
    if not is_tflite(path):
        raise ArtifactError(
            "is no .tflite file", where=str(path), expected="a file whose bytes 4 to 8 are TFL3"
        )
    data = load_input(path, TABLES)
    try:
        return _read(path, data)
    except (BrokenFile, ValueError, IndexError, OverflowError) as error:
        raise ArtifactError(
            f"is a .tflite file, but truncated or damaged ({error})",
            where=str(path),
            expected="a whole file",
            hint="copy or convert it again",
        ) from error


def _read(path: Path, data: np.ndarray) -> TfliteFile:
    root = Reader(data).root()
    buffers = tuple(_place(table, data.size) for table in root.tables(4))
    codes = [_operation(table) for table in root.tables(1)]
    subgraphs = tuple(_subgraph(table, codes, buffers) for table in root.tables(2))
    if not subgraphs:
        raise BrokenFile("it has no graph")
    signatures = tuple(_signature(table) for table in root.tables(7))
    for signature in signatures:
        tensors = (*signature.inputs.values(), *signature.outputs.values())
        _check(tensors, len(subgraphs[signature.subgraph].tensors))
    metadata = {table.text(0): table.number(1, "<I") for table in root.tables(6)[:MOST_ENTRIES]}
    _check(tuple(metadata.values()), len(buffers))
    return TfliteFile(path, data, root.text(3), subgraphs, signatures, buffers, metadata)


def _place(table: Table, size: int) -> tuple[int, int]:
    """The place of a buffer's data: in the table, or behind all tables where they are too much
    for it."""
    offset, length = table.number(1, "<Q"), table.number(2, "<Q")
    if offset <= 1:  # 0 and 1 are no places
        return table.vector(0, 1)
    if offset + length > size:
        raise BrokenFile("the data of a tensor are missing")
    return offset, length


def _operation(table: Table) -> tuple[str, int]:
    """Name and version of a kind of operation."""
    # The older field has 8 bits and 127 for all that are newer.
    code = max(table.number(0, "<b"), table.number(3, "<i"))
    name = _names("BuiltinOperator").get(code, f"UNKNOWN {code}")
    return f"CUSTOM {table.text(1)}" if name == "CUSTOM" else name, table.number(2, "<i", 1)


def _subgraph(
    table: Table, codes: list[tuple[str, int]], buffers: tuple[tuple[int, int], ...]
) -> Subgraph:
    tensors = tuple(_tensor(item, buffers) for item in table.tables(0))
    nodes = []
    for item in table.tables(3):
        name, version = codes[item.number(0, "<I")]
        kind = item.number(3, "<B")
        options = item.table(4) if kind else None
        place = options.position if options else 0
        nodes.append(Node(name, version, item.integers(1), item.integers(2), kind, place))
        _check(nodes[-1].inputs, len(tensors), lowest=-1)
        _check(nodes[-1].outputs, len(tensors))
    inputs, outputs = table.integers(1), table.integers(2)
    _check((*inputs, *outputs), len(tensors))
    return Subgraph(table.text(4), tensors, inputs, outputs, tuple(nodes))


def _tensor(table: Table, buffers: tuple[tuple[int, int], ...]) -> Tensor:
    shape, signature = table.integers(0), table.integers(7)
    if len(signature) == len(shape):
        shape = signature
    kind = table.number(1, "<b")
    quantisation = table.table(4)
    buffer = table.number(2, "<I")
    return Tensor(
        name=table.text(3),
        shape=shape,
        type=_names("TensorType").get(kind, f"unknown {kind}").lower(),
        buffer=buffer,
        size=buffers[buffer][1],
        scales=quantisation.vector(2, 4)[1] if quantisation else 0,
    )


def _signature(table: Table) -> Signature:
    inputs, outputs = (
        {entry.text(0): entry.number(1, "<I") for entry in table.tables(side)} for side in (0, 1)
    )
    return Signature(table.text(2), table.number(4, "<I"), inputs, outputs)


def _check(indices: tuple[int, ...], count: int, lowest: int = 0) -> None:
    if indices and not (lowest <= min(indices) and max(indices) < count):
        raise BrokenFile("it speaks of a tensor or buffer that it does not have")


@cache
def _names(enumeration: str) -> dict[int, str]:
    """Number -> name, of an enumeration of the schema."""
    from ai_edge_litert import schema_py_generated as schema

    found: Any = vars(getattr(schema, enumeration))
    return {value: name for name, value in found.items() if isinstance(value, int)}
