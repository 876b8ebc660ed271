"""Forms that run, without an error, and give wrong numbers on some GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph
from vit_convert.exporters.tflite.lint.matching import (
    CLASSIC,
    ELEMENTWISE,
    GPU,
    named,
    runtime_shapes,
)
from vit_convert.exporters.tflite.lint.rule import Place, Rule, shown

REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"}
_FLOATS = {"float32", "float16"}


def _split_added(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "ADD"):
        makers = [graph.producers.get(t) for t in op.inputs]
        maker = makers[0] if len(makers) == 2 and makers[0] == makers[1] else None
        different = len({*op.inputs}) == len(op.inputs)
        if maker is not None and different and graph.operations[maker].name.startswith("SPLIT"):
            yield Place(op.index, shown(graph.tensors[op.inputs[0]].shape))


def _reduction_axes(graph: TfliteGraph, op: Operation) -> list[int]:
    """The axes that a reduction removes and that hold more than one value."""
    axes = graph.integers(op.inputs[1]) if len(op.inputs) > 1 else None
    shape = graph.tensors[op.inputs[0]].shape if op.inputs and op.inputs[0] >= 0 else ()
    if axes is None or not shape:
        return []
    return sorted({a % len(shape) for a in axes.reshape(-1).tolist() if shape[a % len(shape)] != 1})


def _rank_3_attention(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "BATCH_MATMUL"):
        shapes = runtime_shapes(graph, op)
        if len(shapes) == 2 and all(len(s) == 3 and s[0] != 1 for s in shapes):
            yield Place(op.index, f"{shown(shapes[0])} by {shown(shapes[1])}")


def _mask_on_scores(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "ADD"):
        pairs = (op.inputs, op.inputs[::-1]) if len(op.inputs) == 2 else ()
        for scores, mask in pairs:
            if scores < 0 or mask < 0 or len(graph.tensors[mask].shape) < 2:
                continue
            maker = graph.producers.get(scores)
            if maker is not None and graph.operations[maker].name == "MUL":  # by the scale
                scaled = graph.operations[maker]
                scalar = any(not t.shape for t in graph.tensor_inputs(scaled))
                made = (graph.producers.get(t) for t in scaled.inputs if scalar)
                maker = next((m for m in made if m is not None), None)
            small, large = graph.tensors[mask].shape, graph.tensors[scores].shape
            is_product = maker is not None and graph.operations[maker].name == "BATCH_MATMUL"
            if is_product and math.prod(small) < math.prod(large):
                yield Place(op.index, f"{shown(large)} + {shown(small)}")


def _mixed_ranks(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, *ELEMENTWISE):
        shapes = runtime_shapes(graph, op)
        ranks = {len(s) for s in shapes}
        if len(shapes) == 2 and len(ranks) == 2 and 0 not in ranks:
            yield Place(op.index, f"{shown(shapes[0])} and {shown(shapes[1])}")


def _transposed_product(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "BATCH_MATMUL"):
        flags = [name for name in ("AdjX", "AdjY") if graph.option(op.index, name)]
        if flags:
            said = " and ".join({"AdjX": "adj_x", "AdjY": "adj_y"}[flag] for flag in flags)
            yield Place(op.index, said)


def _two_axes(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, *REDUCTIONS):
        axes = _reduction_axes(graph, op)
        if len(axes) > 1:
            yield Place(op.index, f"axes {axes} of {shown(graph.tensors[op.inputs[0]].shape)}")


def _float16_sum(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "SUM"):
        if _reduction_axes(graph, op) and graph.tensors[op.inputs[0]].type in _FLOATS:
            yield Place(op.index, f"of {shown(graph.tensors[op.inputs[0]].shape)}")


def _rank_2_constant(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, *ELEMENTWISE):
        shapes = [t.shape for t in graph.tensor_inputs(op)]
        constant = [t for t in op.inputs if t >= 0 and graph.is_prepared(t)]
        rows = graph.tensors[constant[0]].shape if len(constant) == 1 else ()
        if {len(s) for s in shapes} == {2} and rows and rows[0] != 1:
            yield Place(op.index, shown(rows))


def _concatenated_batch(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "CONCATENATION"):
        shapes = [t.shape for t in graph.tensor_inputs(op)]
        rank = len(shapes[0]) if shapes else 0
        axis = graph.option(op.index, "Axis")
        if rank > 1 and axis is not None and axis % rank == 0 and not op.prepares:
            yield Place(op.index, " and ".join(map(shown, shapes[:2])))


def _rank_3_pad(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "PAD", "PADV2"):
        shape = graph.tensors[op.inputs[0]].shape if op.inputs and op.inputs[0] >= 0 else ()
        amounts = graph.integers(op.inputs[1]) if len(op.inputs) > 1 else None
        if len(shape) == 3 and (amounts is None or amounts.reshape(-1, 2)[:-1].any()):
            yield Place(op.index, shown(shape))


def _integer_constant(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, *ELEMENTWISE):
        runtime = runtime_shapes(graph, op)
        for tensor in op.inputs:
            if tensor >= 0 and graph.is_constant(tensor) and runtime:
                found = graph.tensors[tensor]
                low = 0 < len(found.shape) < len(runtime[0])
                if low and found.type not in _FLOATS and not found.scales:
                    yield Place(op.index, f"{found.type} {shown(found.shape)}")


WRONG = (
    Rule(
        name="rank-3-attention",
        title="attention in rank 3, with the heads as the batch",
        severity="wrong",
        happens="The whole graph runs on the GPU and gives noise: correlation 0.265 with the CPU.",
        runtimes=f"{GPU} (OpenCL) 2.1.3 on Mali; the classic delegate 1.4.5 on Adreno",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#8619",),
        advice="Keep q, k and v in rank 4: (1, heads, tokens, channels).",
        check=_rank_3_attention,
    ),
    Rule(
        name="mask-on-scores",
        title="ADD of a broadcast tensor to the result of BATCH_MATMUL",
        severity="wrong",
        happens="A mask or position bias is added wrongly: plausible attention, wrong values.",
        runtimes=f"{GPU} (OpenCL) 2.1.3 and 2.1.5; right from 2.1.6",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#8593",),
        advice="Store the mask in the full shape of the scores, (1, heads, queries, keys).",
        check=_mask_on_scores,
    ),
    Rule(
        name="mixed-ranks",
        title="elementwise operation on two activations of different rank",
        severity="wrong",
        happens="The smaller one is aligned with the wrong axes.",
        runtimes=f"{GPU}: WebGPU 2.1.2 to 2.1.5, right from 2.1.6; {CLASSIC}",
        evidence="measured and reported",
        threads=(
            "google-ai-edge/LiteRT#8980",
            "google-ai-edge/LiteRT#141",
            "tensorflow/tensorflow#61594",
        ),
        advice="RESHAPE the smaller one to the other's rank first.",
        check=_mixed_ranks,
    ),
    Rule(
        name="split-added",
        title="ADD of two parts of one SPLIT",
        severity="wrong",
        happens="Wrong by as much as the values are; SLICE instead of SPLIT is right, and MUL is.",
        runtimes=f"{GPU} (WebGPU) 2.1.2 to 2.3.0",
        evidence="measured",
        threads=(),
        advice="Take the parts by SLICE, or from layers of their own.",
        check=_split_added,
    ),
    Rule(
        name="transposed-product",
        title="BATCH_MATMUL with adj_x or adj_y",
        severity="wrong",
        happens="The flag is ignored; 2.1.1 and 2.1.2 refuse some. WebGPU is right from 2.1.5.",
        runtimes=f"{GPU} (OpenCL), up to 2.1.6 at least",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#8913", "google-ai-edge/LiteRT#6518"),
        advice="TRANSPOSE first, and multiply without flags.",
        check=_transposed_product,
    ),
    Rule(
        name="two-axis-reduction",
        title="a reduction over two axes at once",
        severity="wrong",
        happens="NaN for large maps; one axis after the other is right.",
        runtimes=f"{GPU} on phones, in float16; versions not stated",
        evidence="reported",
        threads=(),
        advice="Reduce one axis after the other.",
        check=_two_axes,
    ),
    Rule(
        name="float16-sum",
        title="SUM of floats",
        severity="wrong",
        happens="Totals are kept in float16: above 65504 they are infinite, and the output is NaN.",
        runtimes=f"{GPU} 2.1.5 on Metal and on an iPhone 17 Pro; any GPU that computes in float16",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#9249",),
        advice="Use MEAN, or divide before summing.",
        check=_float16_sum,
    ),
    Rule(
        name="rank-2-constant",
        title="a rank-2 activation and a rank-2 constant of several rows",
        severity="wrong",
        happens="The constant's rows are taken for the batch: as wrong as the values are large.",
        runtimes=f"{GPU} (WebGPU) 2.1.3 and 2.3.0",
        evidence="measured",
        threads=(),
        advice="Keep the batch axis: (1, rows, channels), better (1, 1, rows, channels).",
        check=_rank_2_constant,
    ),
    Rule(
        name="concatenated-batch",
        title="CONCATENATION along the first axis",
        severity="fragile",
        happens="Wrong by 4e-2 in a ViT whose tokens had rank 2; right where tried alone.",
        runtimes=f"{GPU} (WebGPU) 2.3.0",
        evidence="measured",
        threads=(),
        advice="Keep the batch axis first and concatenate along another.",
        check=_concatenated_batch,
    ),
    Rule(
        name="rank-3-pad",
        title="PAD of a rank-3 tensor along another axis than the last",
        severity="wrong",
        happens="Rows come out shifted by one.",
        runtimes=f"{GPU} (Metal) on macOS",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#9272",),
        advice="Pad in rank 4.",
        check=_rank_3_pad,
    ),
    Rule(
        name="integer-constant",
        title="elementwise operation with an integer constant of lower rank",
        severity="wrong",
        happens="The constant's first axis is taken for the batch: one value goes to all channels.",
        runtimes=f"{GPU} (WebGPU) 2.1.2 to 2.3.0, and in Chromium",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#9664",),
        advice="Store the constant in the activation's rank.",
        check=_integer_constant,
    ),
)
