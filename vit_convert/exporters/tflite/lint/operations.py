"""Operations that some runtime does not take: the file is refused, or runs on the CPU in parts."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint.matching import (
    CLASSIC,
    GPU,
    named,
    operations,
)
from vit_convert.exporters.tflite.lint.rule import Place, Rule


def _custom(graph: TfliteGraph) -> Iterator[Place]:
    for op in graph.operations:
        if op.name.startswith(("CUSTOM", "UNKNOWN", "STABLEHLO_")) or op.name == "DELEGATE":
            yield Place(op.index)


def _shrinking_slice(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "STRIDED_SLICE"):
        masks = ("ShrinkAxisMask", "NewAxisMask", "EllipsisMask")
        found = [mask for mask in masks if graph.option(op.index, mask)]
        if found and not op.prepares:
            yield Place(op.index, ", ".join(found))


def _int64(graph: TfliteGraph) -> Iterator[Place]:
    for op in graph.operations:
        for tensor in (*op.inputs, *op.outputs):
            if not graph.is_prepared(tensor) and graph.tensors[tensor].type == "int64":
                yield Place(op.index, repr(graph.tensors[tensor].name))
                break


def _aligned_corners(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        if graph.option(op.index, "AlignCorners"):
            yield Place(op.index)


def _cast_from_bytes(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "CAST"):
        types = {t.type for t in graph.tensor_inputs(op)} & {"uint8", "int8"}
        if types and not op.prepares:
            yield Place(op.index, f"from {', '.join(types)}")


def _identical_inputs(graph: TfliteGraph) -> Iterator[Place]:
    for op in graph.operations:
        inputs = [t for t in op.inputs if t >= 0]
        if len(inputs) > len(set(inputs)):
            yield Place(op.index, f"{graph.tensors[inputs[0]].name!r} twice")


def _only_constants(graph: TfliteGraph) -> Iterator[Place]:
    for op in graph.operations:
        if op.prepares and op.name != "DEQUANTIZE":
            yield Place(op.index)


OPERATIONS = (
    Rule(
        name="custom-operation",
        title="a custom, Flex or unknown operation",
        severity="refused",
        happens="LiteRT refuses to load the file unless the app brings the operation with it.",
        runtimes="every LiteRT runtime; measured on 2.3.0 with FlexErf",
        evidence="measured",
        threads=(),
        advice="Convert to builtin operations only.",
        check=_custom,
    ),
    Rule(
        name="broadcast-to",
        title="BROADCAST_TO of an activation",
        severity="refused",
        happens="Refused in any rank.",
        runtimes=f"{GPU} 2.3.0, and 2.1.6 on phones; {CLASSIC}",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#9191",),
        advice="Let the next operation broadcast, or store constants in the full shape.",
        check=operations("BROADCAST_TO"),
    ),
    Rule(
        name="shape-operations",
        title="EXPAND_DIMS, SQUEEZE or SHAPE",
        severity="refused",
        happens="The operation is refused.",
        runtimes=f"{GPU} 2.1.3 and 2.3.0",
        evidence="measured",
        threads=(),
        advice="Use RESHAPE with constant sizes.",
        check=operations("EXPAND_DIMS", "SQUEEZE", "SHAPE", "RANK"),
    ),
    Rule(
        name="gather-nd",
        title="GATHER_ND",
        severity="refused",
        happens="The operation is refused.",
        runtimes=f"{GPU} 2.1.3 and 2.3.0",
        evidence="measured",
        threads=(),
        advice="Use SLICE and CONCATENATION.",
        check=operations("GATHER_ND"),
    ),
    Rule(
        name="unsupported-operation",
        title="PACK, UNPACK, SELECT, SELECT_V2 or TRANSPOSE_CONV",
        severity="refused",
        happens="Refused by some versions or delegates; WebGPU 2.1.3 and 2.3.0 take most.",
        runtimes=f"{GPU} on phones, versions not stated; {CLASSIC} (UNPACK)",
        evidence="reported",
        threads=("tensorflow/tensorflow#56545",),
        advice="Use CONCATENATION, SLICE, and MUL by a mask.",
        check=operations("PACK", "UNPACK", "SELECT", "SELECT_V2", "TRANSPOSE_CONV"),
    ),
    Rule(
        name="split",
        title="SPLIT or SPLIT_V",
        severity="refused",
        happens="Refused by some versions.",
        runtimes=f"{GPU} on phones, versions not stated",
        evidence="reported",
        threads=(),
        advice="Use one layer for each part, or SLICE.",
        check=operations("SPLIT", "SPLIT_V"),
    ),
    Rule(
        name="shrinking-slice",
        title="STRIDED_SLICE that drops or adds an axis",
        severity="refused",
        happens="The operation is refused: `x[:, 0]` is, `x[:, 0:1]` is not.",
        runtimes=f"{GPU} 2.1.3 and 2.3.0",
        evidence="measured",
        threads=(),
        advice="Slice without dropping the axis, then RESHAPE.",
        check=_shrinking_slice,
    ),
    Rule(
        name="int64",
        title="an activation of type int64",
        severity="refused",
        happens="The operation is refused.",
        runtimes=f"{GPU} on phones, versions not stated",
        evidence="reported",
        threads=(),
        advice="Use int32.",
        check=_int64,
    ),
    Rule(
        name="relu-0-to-1",
        title="RELU_0_TO_1",
        severity="refused",
        happens="A regression: 2.1.2 and 2.1.3 take it, later ones do not.",
        runtimes=f"{GPU} 2.1.5 to 2.3.0",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#8598",),
        advice="Use MINIMUM and RELU.",
        check=operations("RELU_0_TO_1"),
    ),
    Rule(
        name="aligned-corners",
        title="resizing with align_corners",
        severity="refused",
        happens="The operation is refused.",
        runtimes=f"{GPU} on phones, versions not stated",
        evidence="reported",
        threads=(),
        advice="Resize with half_pixel_centers.",
        check=_aligned_corners,
    ),
    Rule(
        name="cast-from-bytes",
        title="CAST from uint8",
        severity="refused",
        happens="'Not supported cast case'.",
        runtimes=f"{CLASSIC}: MediaPipe 1.2.3; {GPU} 2.1.2 and 2.1.3",
        evidence="measured and reported",
        threads=("tensorflow/tensorflow#56545",),
        advice="Take float32 pixels (`--embed-preprocessing --input-type float32`).",
        check=_cast_from_bytes,
    ),
    Rule(
        name="identical-inputs",
        title="an operation that takes one tensor twice",
        severity="refused",
        happens="'No support of few identical inputs'; BATCH_MATMUL ends the process.",
        runtimes=f"{GPU} 2.1.3 to 2.3.0; {CLASSIC}, TensorFlow 2.16",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#9192", "tensorflow/tensorflow#66597"),
        advice="Use SQUARE for x * x, MUL by 2 for x + x.",
        check=_identical_inputs,
    ),
    Rule(
        name="only-constants",
        title="an operation on constants alone",
        severity="refused",
        happens="The graph is split, and the same values are computed anew in each run.",
        runtimes=f"{GPU} 2.1.3, 2.1.6 and 2.3.0",
        evidence="measured and reported",
        threads=("google-ai-edge/LiteRT#9192", "google-ai-edge/LiteRT#9172"),
        advice="Compute it when converting and store the result.",
        check=_only_constants,
    ),
)
