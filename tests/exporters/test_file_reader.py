"""Reading .tflite files of strangers: a clear error or what is there, in little time and memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import Tiny

from vit_convert.errors import ArtifactError
from vit_convert.exporters.tflite.description import described
from vit_convert.exporters.tflite.file_reader import read_file
from vit_convert.exporters.tflite.graph_reader import TfliteGraph


def content() -> bytes:
    """A small file with options, constants, a scale for each channel and a dynamic size."""
    tiny = Tiny()
    x = tiny.x(-1, 5, 6)
    weights = tiny.c(7, 6, dtype="int8", scales=7)
    kind = "FullyConnectedOptions"
    x = tiny.op("FULLY_CONNECTED", x, weights, -1, shape=(-1, 5, 7), kind=kind, keepNumDims=True)
    axis = tiny.c(1, dtype="int32", values=[-1])
    x = tiny.op("MEAN", x, axis, shape=(-1, 5, 1), kind="ReducerOptions", keepDims=True)
    return tiny.content(tiny.op("CUSTOM FlexErf", x, shape=(-1, 5, 1)))


def test_everything_but_the_weights_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content())
    file = read_file(path)
    (graph,) = file.subgraphs
    first, _, last = graph.nodes
    assert [node.name for node in graph.nodes] == ["FULLY_CONNECTED", "MEAN", "CUSTOM FlexErf"]
    assert first.inputs[2] == -1
    weights = graph.tensors[first.inputs[1]]
    assert (weights.shape, weights.type, weights.size, weights.scales) == ((7, 6), "int8", 42, 7)
    assert graph.tensors[graph.inputs[0]].shape == (-1, 5, 6)
    assert graph.outputs == last.outputs
    options = TfliteGraph(file)
    assert options.option(0, "KeepNumDims") is True
    assert options.option(1, "KeepDims") is True
    assert options.option(1, "AdjX") is None
    assert options.option(2, "KeepDims") is None
    assert file.minimum_runtime == ""
    assert file.signatures == ()


def test_our_own_files_read_as_flatbuffers_reads_them(exported: Callable[..., Path]) -> None:
    for options in ({}, {"precision": "int8-dynamic"}):
        path = exported("tflite", "cait", **options)
        file = read_file(path)
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
        (theirs,), (ours,) = model.subgraphs, file.subgraphs
        assert [t.name.decode() for t in theirs.tensors] == [t.name for t in ours.tensors]
        assert [tuple(node.inputs) for node in theirs.operators] == [n.inputs for n in ours.nodes]
        shapes = [() if t.shape is None else tuple(t.shape) for t in theirs.tensors]
        assert shapes == [t.shape for t in ours.tensors]
        graph = TfliteGraph(file)
        for index, buffer in enumerate(model.buffers):
            data = graph.data(index)
            same = np.zeros(0, np.uint8) if buffer.data is None else buffer.data
            assert np.array_equal(np.zeros(0, np.uint8) if data is None else data, same)


def test_data_behind_the_tables_are_found_and_missed(tmp_path: Path) -> None:
    tiny = Tiny()
    tiny.c(4, dtype="int32", values=[1, 2, 3, 4])
    tiny.model.buffers[1].data = None
    tiny.model.buffers[1].offset = tiny.model.buffers[1].size = 16
    tables = len(tiny.content(0))
    tiny.model.buffers[1].offset = -(-tables // 16) * 16
    whole = tiny.content(0).ljust(-(-tables // 16) * 16) + np.arange(4, dtype="<i4").tobytes()
    path = tmp_path / "m.tflite"
    path.write_bytes(whole)
    values = TfliteGraph(path).integers(0)
    assert values is not None
    assert np.array_equal(values, [0, 1, 2, 3])
    path.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="data of a tensor are missing"):
        read_file(path)


@pytest.mark.parametrize("size", [0, 3, 8, 9, 40])
def test_a_beginning_is_no_file(size: int, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content()[:size])
    with pytest.raises(ArtifactError, match="damaged" if size >= 8 else "is no .tflite file"):
        read_file(path)


def test_all_beginnings_are_refused_or_read(tmp_path: Path) -> None:
    whole, path = content(), tmp_path / "m.tflite"
    refused = 0
    for size in range(8, len(whole), 7):
        path.write_bytes(whole[:size])
        try:
            described(read_file(path))
        except ArtifactError:
            refused += 1
    assert refused > 0.9 * len(range(8, len(whole), 7))


def test_changed_bytes_give_an_error_or_a_description(tmp_path: Path) -> None:
    """Never another exception, and never much work."""
    whole, path = content(), tmp_path / "m.tflite"
    rng = np.random.default_rng(0)
    began, refused = time.monotonic(), 0
    for _ in range(1500):
        changed = bytearray(whole)
        for place in rng.integers(8, len(whole), rng.integers(1, 6)):
            changed[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path.write_bytes(changed)
        try:
            described(read_file(path))
        except ArtifactError:
            refused += 1
    assert 100 < refused < 1400
    assert time.monotonic() - began < 60


def bomb(width: int) -> bytes:
    """A file whose graph is one table that is listed `width` times, with one tensor that is listed
    `width` times."""
    builder = flatbuffers.Builder(1024)

    def repeated(table: int) -> int:
        builder.StartVector(4, width, 4)
        for _ in range(width):
            builder.PrependUOffsetTRelative(table)
        return int(builder.EndVector())

    schema.TensorStart(builder)
    tensors = repeated(schema.TensorEnd(builder))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = repeated(schema.SubGraphEnd(builder))
    schema.BufferStart(builder)
    buffer = schema.BufferEnd(builder)
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("width", [3000, 100_000])
def test_a_small_file_cannot_ask_for_endless_work(width: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tflite"
    path.write_bytes(bomb(width))
    began = time.process_time()  # of computing, so that a busy machine fails nothing
    with pytest.raises(ArtifactError, match="refer to each other too often"):
        read_file(path)
    assert time.process_time() - began < 5


def test_the_same_shape_with_less_repetition_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(bomb(10))
    assert len(read_file(path).subgraphs) == 10


def test_weights_stay_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content())
    with path.open("r+b") as file:
        file.truncate(400_000_000)  # a sparse file: it takes no place on the disk
    tracemalloc.start()
    described(read_file(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_endless_and_missing_names_are_survived(tmp_path: Path) -> None:
    tiny = Tiny()
    result = tiny.op("GELU", tiny.x(1, 4), shape=(1, 4))
    tiny.graph.tensors[0].name = None
    tiny.graph.tensors[1].name = "x" * 1_000_000
    tiny.model.operatorCodes[0].builtinCode = 10_000
    tiny.graph.tensors[0].type = 99
    found = described(read_file(tiny.write(tmp_path / "m.tflite", result)))
    assert found["inputs"] == [{"name": "", "type": "unknown 99", "shape": [1, 4]}]
    assert len(found["outputs"][0]["name"]) < 200
    assert found["operations"] == {"UNKNOWN 10000": 1}


def test_long_chains_of_constants_are_no_recursion(tmp_path: Path) -> None:
    tiny = Tiny()
    x = tiny.c(1, 4)
    for _ in range(3000):
        x = tiny.op("EXP", x, shape=(1, 4))
    graph = TfliteGraph(tiny.write(tmp_path / "m.tflite", x))
    assert graph.is_prepared(x)
    assert len(graph.preparing(2999)) == 2999


def test_an_operation_that_feeds_itself_is_survived(tmp_path: Path) -> None:
    tiny = Tiny()
    x = tiny.op("EXP", tiny.x(1, 4), shape=(1, 4))
    tiny.graph.operators[0].inputs = [x]
    found = described(read_file(tiny.write(tmp_path / "m.tflite", x)))
    assert found["operations"] == {"EXP": 1}
