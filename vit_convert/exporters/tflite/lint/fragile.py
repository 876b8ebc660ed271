"""Forms that work, but cost time or have been trouble elsewhere; ours are free of them."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint.matching import FULL_RANK, named
from vit_convert.exporters.tflite.lint.rule import Place, Rule, shown


def _low_rank(graph: TfliteGraph) -> Iterator[Place]:
    # Outputs are exempt, also before they are widened to float: (batch, classes) is what a user
    # wants, and nothing is computed from it.
    widened = (op for op in named(graph, "DEQUANTIZE") if {*op.outputs} & {*graph.outputs})
    outputs = {*graph.outputs}.union(*(op.inputs for op in widened))
    for op in graph.operations:
        for tensor in op.outputs if not op.prepares else ():
            shape = graph.tensors[tensor].shape
            if len(shape) != FULL_RANK and tensor not in outputs:
                yield Place(op.index, shown(shape))
                break


def _unfused_bias(graph: TfliteGraph) -> Iterator[Place]:
    for op in named(graph, "FULLY_CONNECTED", "CONV_2D"):
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            continue
        for reader in graph.consumers.get(op.outputs[0], []) if op.outputs else ():
            adding = graph.operations[reader]
            others = [t for t in adding.inputs if t >= 0 and graph.is_prepared(t)]
            if adding.name == "ADD" and any(len(graph.tensors[t].shape) == 1 for t in others):
                yield Place(op.index, f"followed by ADD of {shown(graph.tensors[others[0]].shape)}")


FRAGILE = (
    Rule(
        name="low-rank",
        title="an activation below rank 4",
        severity="fragile",
        happens="Runtimes extend lower ranks by guesses that differ; most defects need one.",
        runtimes="GPU delegates",
        evidence="reported",
        threads=("google-ai-edge/LiteRT#8619", "google-ai-edge/LiteRT#8980"),
        advice="Keep rank 4, (batch, 1, tokens, channels); graph outputs may have any.",
        check=_low_rank,
    ),
    Rule(
        name="unfused-bias",
        title="a bias that is added by an operation of its own",
        severity="fragile",
        happens="One more pass over the activation.",
        runtimes="every runtime",
        evidence="measured",
        threads=(),
        advice="Give the bias to FULLY_CONNECTED or CONV_2D.",
        check=_unfused_bias,
    ),
)
