"""Ranks and shapes that some runtime does not take: the file is refused, or runs in parts."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint.matching import (
    CLASSIC,
    ELEMENTWISE,
    FULL_RANK,
    GPU,
    named,
)
from vit_convert.exporters.tflite.lint.rule import Place, Rule, shown

_INT_WEIGHTS = {"int8", "int4", "int2", "uint8"}


def _rank_5(graph: TfliteGraph) -> Iterator[Place]:
    for op in graph.operations:
        for tensor in (*op.inputs, *op.outputs):
            if tensor >= 0 and len(graph.tensors[tensor].shape) > FULL_RANK:
                yield Place(op.index, shown(graph.tensors[tensor].shape))
                break


def _dynamic(graph: TfliteGraph) -> Iterator[Place]:
    for tensor in graph.inputs:
        if -1 in graph.tensors[tensor].shape:
            yield Place(-1, f"input {shown(graph.tensors[tensor].shape)}")
    for op in graph.operations:
        for tensor in op.outputs:
            if -1 in graph.tensors[tensor].shape:
                yield Place(op.index, shown(graph.tensors[tensor].shape))
                break


def _batch(graph: TfliteGraph) -> Iterator[Place]:
    for tensor in graph.inputs:
        shape = graph.tensors[tensor].shape
        if len(shape) > 1 and shape[0] > 1:
            yield Place(-1, f"input {shown(shape)}")


def _heads_as_batch(graph: TfliteGraph) -> Iterator[Place]:
    batches = {graph.tensors[t].shape[0] for t in graph.inputs if graph.tensors[t].shape}
    for op in graph.operations:
        for tensor in op.outputs if not op.prepares else ():
            shape = graph.tensors[tensor].shape
            if len(shape) > 1 and shape[0] > 1 and shape[0] not in batches:
                yield Place(op.index, shown(shape))
                break


def _int8_rank_3(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "FULLY_CONNECTED"):
        if len(op.inputs) < 2 or min(op.inputs[:2]) < 0 or not op.outputs:
            continue
        entering, weights = (graph.tensors[t] for t in op.inputs[:2])
        if weights.type in _INT_WEIGHTS and entering.type == "float32" and len(entering.shape) == 3:
            readers = (graph.operations[i].name for i in graph.consumers.get(op.outputs[0], []))
            added = ", followed by ADD" if "ADD" in readers else ""
            yield Place(op.index, f"{weights.type} weights on {shown(entering.shape)}{added}")


def _constant_left(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "BATCH_MATMUL"):
        if op.inputs and graph.is_prepared(op.inputs[0]) and not op.prepares:
            yield Place(op.index, shown(graph.tensors[op.inputs[0]].shape))


def _constants(graph: TfliteGraph, *names: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The operations of these kinds that have constants beside activations, and their shapes."""
    for op in named(graph, *names):
        if not op.prepares:
            for tensor in op.inputs:
                if tensor >= 0 and graph.is_prepared(tensor):
                    yield op.index, graph.tensors[tensor].shape


def _concatenated_constant(graph: TfliteGraph) -> Iterator[Place]:
    for index, shape in _constants(graph, "CONCATENATION"):
        if len(shape) < FULL_RANK:
            yield Place(index, f"constant {shown(shape)}")


def _low_rank_constant(graph: TfliteGraph) -> Iterator[Place]:
    for index, shape in _constants(graph, *ELEMENTWISE):
        if len(shape) in (2, 3):
            yield Place(index, f"constant {shown(shape)}")


def _rank_2_layer_then_scale(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "FULLY_CONNECTED"):
        for output in op.outputs:
            if len(graph.tensors[output].shape) != 2:
                continue
            for reader in graph.consumers.get(output, []):
                other = [graph.tensors[t].shape for t in graph.operations[reader].inputs if t >= 0]
                scales = [s for s in other if len(s) == 3 and s[:2] == (1, 1)]
                if graph.operations[reader].name == "MUL" and scales:
                    yield Place(reader, f"by {shown(scales[0])}")


SHAPES = (
    Rule(
        name="rank-5",
        title="a tensor of rank above 4",
        severity="refused",
        happens="The operation is refused, and with it the whole file or this part of it.",
        runtimes=f"{GPU} 2.1.3 and 2.3.0",
        evidence="measured",
        threads=(),
        advice="Split, reshape and transpose in rank 4.",
        check=_rank_5,
    ),
    Rule(
        name="dynamic-shape",
        title="a size that is not known before the run",
        severity="refused",
        happens="GPU delegates take static sizes only.",
        runtimes=f"{GPU} 2.3.0; {CLASSIC}",
        evidence="measured and reported",
        threads=("tensorflow/tensorflow#92098",),
        advice="Export with a fixed batch (`--batch-size 1`) and image size.",
        check=_dynamic,
    ),
    Rule(
        name="batch",
        title="a batch of more than one image",
        severity="refused",
        happens="Some operations are refused, or the delegate fails to initialise.",
        runtimes=f"{CLASSIC}; conv and fused ReLU on OpenCL, TensorFlow 2.11",
        evidence="reported",
        threads=("tensorflow/tensorflow#92798", "tensorflow/tensorflow#59560"),
        advice="Export with a batch of one.",
        check=_batch,
    ),
    Rule(
        name="heads-as-batch",
        title="an activation whose first axis is not the batch",
        severity="refused",
        happens="'Batch size != 1 is not supported', 'Batch size mismatch', or mixed axes.",
        runtimes=f"{CLASSIC}: MediaPipe 1.2.3 (OpenGL), TensorFlow 2.18",
        evidence="measured and reported",
        threads=("tensorflow/tensorflow#92798", "google-ai-edge/LiteRT#8980"),
        advice="Keep the batch axis first throughout.",
        check=_heads_as_batch,
    ),
    Rule(
        name="int8-on-rank-3",
        title="FULLY_CONNECTED with integer weights on a rank-3 activation",
        severity="refused",
        happens="'Unable to parse bc coord for BATCH axis', where an ADD follows it.",
        runtimes=f"{GPU} (OpenCL) 2.1.3 and 2.1.5 on Mali; LiteRT.js 2.5.3 (WebGPU)",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#9277", "google-ai-edge/LiteRT#9481"),
        advice="Keep the activations in rank 4: (1, 1, tokens, channels).",
        check=_int8_rank_3,
    ),
    Rule(
        name="constant-left",
        title="BATCH_MATMUL with a constant on the left",
        severity="refused",
        happens="'Not supported batched mat mul case'.",
        runtimes=f"{GPU} 2.1.3 and 2.3.0; {CLASSIC}: MediaPipe 1.2.3, TensorFlow 2.16",
        evidence="measured and reported",
        threads=("tensorflow/tensorflow#66727",),
        advice="Transpose and use FULLY_CONNECTED.",
        check=_constant_left,
    ),
    Rule(
        name="concatenated-constant",
        title="CONCATENATION of a constant below rank 4",
        severity="refused",
        happens="'Conversion from TfLite model failed', for a class token of (1, 1, channels).",
        runtimes=f"{CLASSIC}: MediaPipe 1.2.3",
        evidence="measured and reported",
        threads=("tensorflow/tensorflow#38701",),
        advice="Store the constant, and keep the activations, in rank 4.",
        check=_concatenated_constant,
    ),
    Rule(
        name="low-rank-constant",
        title="a constant of rank 2 or 3 in an elementwise operation",
        severity="refused",
        happens="Rank 2 is refused ('Expected a 3D tensor'); rank 3 passes in MediaPipe 1.2.3.",
        runtimes=f"{CLASSIC}: TensorFlow 2.4",
        evidence="reported",
        threads=("tensorflow/tensorflow#45845",),
        advice="Store constants in rank 4, or as vectors.",
        check=_low_rank_constant,
    ),
    Rule(
        name="rank-2-layer-then-scale",
        title="FULLY_CONNECTED on rank 2, then MUL by (1, 1, channels)",
        severity="refused",
        happens="The two layouts conflict.",
        runtimes=f"{GPU} on phones, versions not stated",
        evidence="reported",
        threads=(),
        advice="Scale by a vector, or put the factor into the weights.",
        check=_rank_2_layer_then_scale,
    ),
)
