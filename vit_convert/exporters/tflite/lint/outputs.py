"""Outputs of the graph that some GPU writes wrongly, because they are read on."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph
from vit_convert.exporters.tflite.lint.matching import ELEMENTWISE, FULL_RANK, GPU
from vit_convert.exporters.tflite.lint.rule import Place, Rule, shown

_UNARY = {
    "ABS", "COS", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG",
    "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SIN", "SQRT", "SQUARE", "TANH",
}  # fmt: skip


def _outputs_read_on(graph: TfliteGraph) -> Iterator[tuple[int, Operation | None]]:
    for tensor in graph.outputs:
        if tensor in graph.consumers and tensor not in graph.inputs:
            maker = graph.producers.get(tensor)
            yield tensor, None if maker is None else graph.operations[maker]


def _elementwise_output_read_on(graph: TfliteGraph) -> Iterator[Place]:
    for tensor, maker in _outputs_read_on(graph):
        if maker is not None and maker.name in ELEMENTWISE | _UNARY:
            yield Place(maker.index, shown(graph.tensors[tensor].shape))


def _low_rank_output_read_on(graph: TfliteGraph) -> Iterator[Place]:
    for tensor, maker in _outputs_read_on(graph):
        shape = graph.tensors[tensor].shape
        elementwise = maker is not None and maker.name in ELEMENTWISE | _UNARY
        if maker is not None and not elementwise and len(shape) < FULL_RANK:
            yield Place(maker.index, shown(shape))


def _output_into_whole_slice(graph: TfliteGraph) -> Iterator[Place]:
    for tensor in graph.outputs:
        for index in graph.consumers.get(tensor, []):
            op = graph.operations[index]
            same = op.outputs and graph.tensors[op.outputs[0]].shape == graph.tensors[tensor].shape
            if op.name in ("SLICE", "STRIDED_SLICE") and same:
                yield Place(index, shown(graph.tensors[tensor].shape))


OUTPUTS = (
    Rule(
        name="elementwise-output-read-on",
        title="an elementwise result that is an output and is read on",
        severity="wrong",
        happens="The output holds an operand, or what comes later, and not the result.",
        runtimes=f"{GPU}: WebGPU 2.1.2 to 2.1.5, right from 2.1.6; OpenCL on Mali, 2.1.6 too",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#8599",),
        advice="Give a copy of its own as the output (MUL by 1, or a RESHAPE at the end).",
        check=_elementwise_output_read_on,
    ),
    Rule(
        name="low-rank-output-read-on",
        title="an activation below rank 4 that is an output and is read on",
        severity="wrong",
        happens="The output is overwritten by what comes later; in rank 4 it is not.",
        runtimes=f"{GPU} (OpenCL), versions not stated",
        evidence="reported",
        threads=(),
        advice="Compute such activations in rank 4, or give a copy of its own as the output.",
        check=_low_rank_output_read_on,
    ),
    Rule(
        name="output-into-whole-slice",
        title="an output that a slice takes as a whole",
        severity="wrong",
        happens="The output is never written: the GPU drops the slice and the tensor with it.",
        runtimes=f"{GPU} (WebGPU) 2.1.2 to 2.3.0",
        evidence="measured",
        threads=(),
        advice="Leave out the slice, which does nothing.",
        check=_output_into_whole_slice,
    ),
)
