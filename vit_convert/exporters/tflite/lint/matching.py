"""Questions that rules ask about a graph."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph
from vit_convert.exporters.tflite.lint.rule import Check, Place

GPU = "LiteRT's GPU accelerator"
CLASSIC = "the classic delegate (MediaPipe, Play services)"
FULL_RANK = 4
ELEMENTWISE = {
    "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE", "FLOOR_DIV",
    "FLOOR_MOD", "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL",
}  # fmt: skip


def named(graph: TfliteGraph, *names: str) -> Iterator[Operation]:
    """The operations of these kinds."""
    return (operation for operation in graph.operations if operation.name in names)


def runtime_shapes(graph: TfliteGraph, operation: Operation) -> list[tuple[int, ...]]:
    """Shapes of the inputs that are no constants, nor made of constants alone."""
    return [graph.tensors[t].shape for t in operation.inputs if not graph.is_prepared(t)]


def shape_of(graph: TfliteGraph, tensor: int) -> tuple[int, ...]:
    """The shape of an operation's input; () where it is left out."""
    return graph.tensors[tensor].shape if tensor >= 0 else ()


def operations(*names: str) -> Check:
    """A check for operations that some runtime does not have."""

    def check(graph: TfliteGraph) -> Iterator[Place]:
        for op in named(graph, *names):
            if not op.prepares:
                yield Place(op.index)

    return check
