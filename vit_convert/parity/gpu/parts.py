"""Parts and variations of a .tflite file, as files of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.exporters.tflite.flatbuffer import TfliteModel, write
from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph


def write_alone(graph: TfliteGraph, operation: Operation, path: Path) -> None:
    """Write a file of one operation, with its constants and what prepares them."""
    model, part = graph.schema.ModelT(), graph.schema.SubGraphT()
    model.version, model.operatorCodes = graph.model.version, graph.model.operatorCodes
    model.buffers, model.subgraphs = [graph.schema.BufferT()], [part]
    part.tensors, part.operators = [], []
    places = {-1: -1}
    for index in (*graph.preparing(operation.index), operation.index):
        node = copy.copy(graph.main.operators[index])
        for tensor in map(int, (*node.inputs, *node.outputs)):
            if tensor not in places:
                places[tensor] = len(part.tensors)
                part.tensors.append(_copied(graph, tensor, model.buffers))
        node.inputs = [places[int(t)] for t in node.inputs]
        node.outputs = [places[int(t)] for t in node.outputs]
        part.operators.append(node)
    wanted = graph.main.operators[operation.index]
    entering = {int(t) for t in wanted.inputs if not graph.is_prepared(int(t))}
    part.inputs = sorted(places[t] for t in entering)
    part.outputs = [places[int(t)] for t in wanted.outputs]
    write(path, TfliteModel(model, {}))


def write_with_outputs(graph: TfliteGraph, tensors: Mapping[str, int], path: Path) -> None:
    """Write a copy that gives these float32 tensors too, under these names.

    Each is multiplied by one to make the output: the GPU delegate drops a slice that takes
    everything, and an output of the graph that such a slice takes stays zero.
    """
    schema = graph.schema
    model, main = copy.copy(graph.model), copy.copy(graph.main)
    signature = copy.copy(model.signatureDefs[0])
    model.subgraphs, model.signatureDefs = [main, *model.subgraphs[1:]], [signature]
    main.tensors, main.operators = list(main.tensors), list(main.operators)
    main.outputs, signature.outputs = list(main.outputs), list(signature.outputs)
    buffers = [graph.data(i) for i in range(len(model.buffers))]
    buffers.append(np.frombuffer(np.float32(1).tobytes(), np.uint8))
    model.buffers = [_buffer(schema, data) for data in buffers]
    code = schema.OperatorCodeT()
    code.version = 1
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MUL
    model.operatorCodes = [*model.operatorCodes, code]
    one = schema.TensorT()
    one.name, one.shape, one.buffer = "one", [], len(buffers) - 1
    main.tensors.append(one)
    factor = len(main.tensors) - 1
    for name, index in tensors.items():
        output = copy.copy(main.tensors[index])
        output.name = name
        place = len(main.tensors)
        main.tensors.append(output)
        node = schema.OperatorT()
        node.opcodeIndex = len(model.operatorCodes) - 1
        node.builtinOptionsType = schema.BuiltinOptions.MulOptions
        node.builtinOptions = schema.MulOptionsT()
        node.inputs, node.outputs = [index, factor], [place]
        main.operators.append(node)
        main.outputs.append(place)
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, place
        signature.outputs.append(entry)
    write(path, TfliteModel(model, {}))


def _copied(graph: TfliteGraph, index: int, buffers: list[Any]) -> Any:
    """A tensor whose data, if it has any, is the last one of `buffers`."""
    tensor = copy.copy(graph.main.tensors[index])
    data = graph.data(tensor.buffer)
    tensor.buffer = 0
    if data is not None:
        tensor.buffer = len(buffers)
        buffers.append(_buffer(graph.schema, data))
    return tensor


def _buffer(schema: Any, data: np.ndarray | None) -> Any:
    buffer = schema.BufferT()
    buffer.data = data
    return buffer
