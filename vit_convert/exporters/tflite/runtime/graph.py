"""A graph as the runtime reads it, and a .tflite file as such a graph.

Constants are read each time they are asked for, so that the weights need never be in memory all at
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vit_convert.errors import VitConvertError
from vit_convert.exporters.tflite.flatbuffer import Quantised, TfliteModel, operation_name, text_of
from vit_convert.exporters.tflite.graph_reader import TfliteGraph

# schema.TensorType -> the NumPy type that holds its values
DTYPES: Mapping[int, type[np.generic]] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float64,
    15: np.uint32,
    16: np.uint16,
}
_INT4 = 17


@dataclass(frozen=True)
class Quantisation:
    """The meaning of a tensor's integers: scale * (integer - zero_point).

    Attributes:
        scales: one, or one for each index of `axis`.
        zero_points: as many.
        axis: that `scales` belong to, where there are several.
    """

    scales: np.ndarray
    zero_points: np.ndarray
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: its name in the file.
        shape: as the file declares it; a dynamic batch is declared as 1.
        type: as `schema.TensorType`.
        quantisation: None where the numbers stand for themselves.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    quantisation: Quantisation | None = None


@dataclass(frozen=True)
class Node:
    """An operation.

    Attributes:
        name: as LiteRT calls it, "BATCH_MATMUL".
        inputs, outputs: indices of tensors; -1 stands for an input that is left out.
        options: the object that `schema_py_generated` has for this kind of operation, or None.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


class Graph(Protocol):
    """A graph that can be run."""

    @property
    def tensors(self) -> Sequence[Tensor]:
        """All tensors; the indices of nodes point into them."""

    @property
    def nodes(self) -> Sequence[Node]:
        """All operations, in the order of execution."""

    @property
    def inputs(self) -> Sequence[int]:
        """Indices of the tensors that a caller gives."""

    @property
    def outputs(self) -> Sequence[int]:
        """Indices of the tensors that a caller gets."""

    def constant(self, index: int) -> np.ndarray | None:
        """A constant in its own type and shape, read now; None if the tensor is computed."""


class FileGraph:
    """A .tflite file as a graph.

    Attributes:
        reader: the file.
        output_names: index of an output -> its name in the file's first signature.
    """

    def __init__(self, path: Path) -> None:
        self.reader = TfliteGraph(path)
        main, names = self.reader.main, self.reader.operations
        self.tensors = [_tensor(each) for each in main.tensors]
        self.nodes = [
            Node(names[i].name, _indices(node.inputs), _indices(node.outputs), node.builtinOptions)
            for i, node in enumerate(main.operators)
        ]
        self.inputs = _indices(main.inputs)
        self.outputs = _indices(main.outputs)
        signatures = self.reader.model.signatureDefs or []
        self.output_names: dict[int, str] = {
            int(entry.tensorIndex): entry.name.decode()
            for signature in signatures[:1]
            for entry in signature.outputs
        }

    def constant(self, index: int) -> np.ndarray | None:
        """See Graph."""
        entry = self.reader.main.tensors[index]
        data = self.reader.data(entry.buffer)
        if data is None:
            return None
        tensor = self.tensors[index]
        raw = np.asarray(data)
        if tensor.type == _INT4:
            return _unpacked(raw, tensor.shape)
        if tensor.type not in DTYPES:
            raise VitConvertError(
                f"constants of TensorType {tensor.type} cannot be read", where=tensor.name
            )
        return raw.view(DTYPES[tensor.type]).reshape(tensor.shape)


class BuiltGraph:
    """A model on its way into a file as a graph. Its constants are made when they are asked for."""

    def __init__(self, model: TfliteModel) -> None:
        (main,) = model.tree.subgraphs
        self._buffers = [tensor.buffer for tensor in main.tensors]
        self._contents = model.contents
        self.tensors = [_tensor(each) for each in main.tensors]
        self.nodes = [
            Node(
                operation_name(model.tree.operatorCodes[node.opcodeIndex]),
                _indices(node.inputs),
                _indices(node.outputs),
                node.builtinOptions,
            )
            for node in main.operators
        ]
        self.inputs = _indices(main.inputs)
        self.outputs = _indices(main.outputs)

    def constant(self, index: int) -> np.ndarray | None:
        """See Graph."""
        content = self._contents.get(self._buffers[index])
        if content is None:
            return None
        data = content.read()
        return data.values if isinstance(data, Quantised) else data


def _indices(array: Any) -> tuple[int, ...]:
    return tuple(map(int, array if array is not None else ()))


def _tensor(entry: Any) -> Tensor:
    name = text_of(entry.name or "")
    shape = _indices(entry.shape)
    found = entry.quantization
    if found is None or found.scale is None or not len(found.scale):
        return Tensor(name, shape, entry.type)
    scales = np.asarray(found.scale, np.float32)
    zeros = np.zeros(len(scales), np.int64)
    if found.zeroPoint is not None and len(found.zeroPoint):
        zeros = np.asarray(found.zeroPoint, np.int64)
    quantisation = Quantisation(scales, zeros, int(found.quantizedDimension))
    return Tensor(name, shape, entry.type, quantisation)


def _unpacked(raw: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Integers of 4 bits, two in a byte, the lower half first."""
    pairs = raw.view(np.int8)
    low = (pairs << 4).astype(np.int8) >> 4
    both = np.stack([low, pairs >> 4], axis=-1).reshape(-1)
    return both[: int(np.prod(shape))].reshape(shape)
