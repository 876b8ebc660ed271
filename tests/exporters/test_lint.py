"""Each rule of the table of known defects finds its defect in a file that has it, and nothing in a
file that does the same otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_tflite import Tiny

from vit_convert.exporters.tflite.file_reader import read_file
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import RULES, findings, findings_of_file

RULE = {rule.name: rule for rule in RULES}
Make = Callable[[Tiny], "int | tuple[int, ...]"]


def product(t: Tiny, *batch: int, **flags: bool) -> int:
    left, right = t.x(*batch, 5, 6), t.x(*batch, 6, 7)
    return t.op(
        "BATCH_MATMUL", left, right, shape=(*batch, 5, 7), kind="BatchMatMulOptions", **flags
    )


def add(t: Tiny, left: int, right: int, *shape: int) -> int:
    return t.op("ADD", left, right, shape=shape, kind="AddOptions")


def concatenation(t: Tiny, axis: int, *inputs: int, shape: tuple[int, ...]) -> int:
    return t.op("CONCATENATION", *inputs, shape=shape, kind="ConcatenationOptions", axis=axis)


def reduction(t: Tiny, name: str, axes: list[int], shape: tuple[int, ...]) -> int:
    where = t.c(len(axes), dtype="int32", values=axes)
    return t.op(name, t.x(1, 8, 9, 4), where, shape=shape, kind="ReducerOptions", keepDims=True)


def layer(t: Tiny, entering: int, *shape: int, weights: str = "float32", bias: bool = True) -> int:
    scales = 7 if weights == "int8" else 0
    parts = (t.c(7, 6, dtype=weights, scales=scales), *([t.c(7)] if bias else []))
    kind = "FullyConnectedOptions"
    return t.op("FULLY_CONNECTED", entering, *parts, shape=shape, kind=kind, keepNumDims=True)


def strided(t: Tiny, shape: tuple[int, ...], shrink: int) -> int:
    bounds = [t.c(4, dtype="int32", values=v) for v in ([0] * 4, [1, 1, 5, 6], [1] * 4)]
    kind = "StridedSliceOptions"
    entering = t.x(1, 3, 5, 6)
    return t.op("STRIDED_SLICE", entering, *bounds, shape=shape, kind=kind, shrinkAxisMask=shrink)


def read_on(t: Tiny, name: str, *shape: int, copied: bool = False) -> tuple[int, int]:
    """An operation's result that is an output, or whose copy is one, and that is read on."""
    entering = [t.x(*shape) for _ in range(2 if name == "ADD" else 1)]
    middle = t.op(name, *entering, shape=shape)
    given = t.op("MUL", middle, t.c(1), shape=shape) if copied else middle
    return given, t.op("GELU", middle, shape=shape)


def sliced_output(t: Tiny, size: int) -> tuple[int, int]:
    middle = t.op("GELU", t.x(1, 1, 5, 6), shape=(1, 1, 5, 6))
    bounds = [t.c(4, dtype="int32", values=v) for v in ([0] * 4, [1, 1, size, 6])]
    return middle, t.op("SLICE", middle, *bounds, shape=(1, 1, size, 6))


def padded(t: Tiny, *amounts: list[int]) -> int:
    where = t.c(len(amounts), 2, dtype="int32", values=amounts)
    shape = (1, 5, 6)[-len(amounts) :] if len(amounts) < 4 else (1, 1, 5, 6)
    out = tuple(size + sum(amount) for size, amount in zip(shape, amounts, strict=True))
    return t.op("PAD", t.x(*shape), where, shape=out)


def of_constants(t: Tiny, name: str, dtype: str) -> int:
    made = t.op(name, t.c(1, 1, 5, 6, dtype=dtype), shape=(1, 1, 5, 6))
    return add(t, t.x(1, 1, 5, 6), made, 1, 1, 5, 6)


def scaled(t: Tiny, *factor: int) -> int:
    hidden = layer(t, t.x(1, 6), 1, 7)
    return t.op("MUL", hidden, t.c(*factor), shape=(1, 7) if len(factor) == 1 else (1, 1, 7))


def biased(t: Tiny, inside: bool) -> int:
    hidden = layer(t, t.x(1, 1, 5, 6), 1, 1, 5, 7, bias=inside)
    return hidden if inside else add(t, hidden, t.c(7), 1, 1, 5, 7)


def split_and(t: Tiny, name: str) -> int:
    axis = t.c(dtype="int32", values=3)
    left = t.op("SPLIT", axis, t.x(1, 3, 5, 6), shape=(1, 3, 5, 3))
    right = t.tensor(1, 3, 5, 3)
    t.graph.operators[-1].outputs = [left, right]
    return t.op(name, left, right, shape=(1, 3, 5, 3))


def one(name: str, dtype: str = "float32", to: str = "float32") -> Make:
    """One operation on an activation of rank 4."""
    return lambda t: t.op(name, t.x(1, 3, 5, 6, dtype=dtype), shape=(1, 3, 5, 6), dtype=to)


def resized(t: Tiny, aligned: bool) -> int:
    size, kind = t.c(2, dtype="int32", values=[6, 10]), "ResizeBilinearOptions"
    entering = t.x(1, 3, 5, 6)
    return t.op(
        "RESIZE_BILINEAR", entering, size, shape=(1, 6, 10, 6), kind=kind, alignCorners=aligned
    )


# rule -> (what makes a file that breaks it, what makes one that does the same otherwise)
CASES: dict[str, tuple[Make, Make]] = {
    "rank-3-attention": (lambda t: product(t, 4), lambda t: product(t, 1, 4)),
    "mask-on-scores": (
        lambda t: add(t, product(t, 1, 4), t.c(1, 1, 5, 7), 1, 4, 5, 7),
        lambda t: add(t, product(t, 1, 4), t.c(1, 4, 5, 7), 1, 4, 5, 7),
    ),
    "mixed-ranks": (
        lambda t: add(t, t.x(4, 5, 7), t.x(1, 1, 5, 7), 1, 4, 5, 7),
        lambda t: add(t, t.x(1, 4, 5, 7), t.x(1, 1, 5, 7), 1, 4, 5, 7),
    ),
    "split-added": (lambda t: split_and(t, "ADD"), lambda t: split_and(t, "MUL")),
    "elementwise-output-read-on": (
        lambda t: read_on(t, "ADD", 1, 1, 5, 6),
        lambda t: read_on(t, "ADD", 1, 1, 5, 6, copied=True),
    ),
    "low-rank-output-read-on": (
        lambda t: read_on(t, "SOFTMAX", 1, 5, 6),
        lambda t: read_on(t, "SOFTMAX", 1, 1, 5, 6),
    ),
    "output-into-whole-slice": (lambda t: sliced_output(t, 5), lambda t: sliced_output(t, 4)),
    "transposed-product": (lambda t: product(t, 1, 4, adjY=True), lambda t: product(t, 1, 4)),
    "two-axis-reduction": (
        lambda t: reduction(t, "MEAN", [1, 2], (1, 1, 1, 4)),
        lambda t: reduction(t, "MEAN", [0, 2], (1, 8, 1, 4)),  # of axis 0 there is one
    ),
    "float16-sum": (
        lambda t: reduction(t, "SUM", [2], (1, 8, 1, 4)),
        lambda t: reduction(t, "MEAN", [2], (1, 8, 1, 4)),
    ),
    "rank-2-constant": (
        lambda t: add(t, t.x(5, 6), t.c(5, 6), 5, 6),
        lambda t: add(t, t.x(5, 6), t.c(1, 6), 5, 6),
    ),
    "concatenated-batch": (
        lambda t: concatenation(t, 0, t.x(1, 6), t.x(5, 6), shape=(6, 6)),
        lambda t: concatenation(t, -2, t.x(1, 1, 1, 6), t.x(1, 1, 5, 6), shape=(1, 1, 6, 6)),
    ),
    "rank-3-pad": (
        lambda t: padded(t, [0, 0], [1, 0], [0, 0]),
        lambda t: padded(t, [0, 0], [0, 0], [1, 0], [0, 0]),
    ),
    "integer-constant": (
        lambda t: t.op(
            "ADD", t.x(1, 1, 5, 6, dtype="int32"), t.c(6, dtype="int32"), shape=(1, 1, 5, 6)
        ),
        lambda t: add(t, t.x(1, 1, 5, 6), t.c(6), 1, 1, 5, 6),
    ),
    "rank-5": (
        lambda t: t.op("GELU", t.x(1, 2, 3, 4, 5), shape=(1, 2, 3, 4, 5)),
        one("GELU"),
    ),
    "dynamic-shape": (lambda t: t.op("GELU", t.x(-1, 1, 5, 6), shape=(-1, 1, 5, 6)), one("GELU")),
    "batch": (lambda t: t.op("GELU", t.x(3, 1, 5, 6), shape=(3, 1, 5, 6)), one("GELU")),
    "heads-as-batch": (
        lambda t: t.op("RESHAPE", t.x(1, 4, 5, 6), shape=(4, 1, 5, 6)),
        lambda t: t.op("RESHAPE", t.x(1, 4, 5, 6), shape=(1, 1, 20, 6)),
    ),
    "int8-on-rank-3": (
        lambda t: layer(t, t.x(1, 5, 6), 1, 5, 7, weights="int8"),
        lambda t: layer(t, t.x(1, 1, 5, 6), 1, 1, 5, 7, weights="int8"),
    ),
    "constant-left": (
        lambda t: t.op("BATCH_MATMUL", t.c(1, 5, 5), t.x(1, 5, 6), shape=(1, 5, 6)),
        lambda t: product(t, 1, 4),
    ),
    "concatenated-constant": (
        lambda t: concatenation(t, 1, t.c(1, 1, 6), t.x(1, 5, 6), shape=(1, 6, 6)),
        lambda t: concatenation(t, 2, t.c(1, 1, 1, 6), t.x(1, 1, 5, 6), shape=(1, 1, 6, 6)),
    ),
    "low-rank-constant": (
        lambda t: add(t, t.x(1, 5, 6), t.c(1, 5, 6), 1, 5, 6),
        lambda t: add(t, add(t, t.x(1, 1, 5, 6), t.c(1, 1, 5, 6), 1, 1, 5, 6), t.c(6), 1, 1, 5, 6),
    ),
    "rank-2-layer-then-scale": (lambda t: scaled(t, 1, 1, 7), lambda t: scaled(t, 7)),
    "custom-operation": (one("CUSTOM FlexErf"), one("GELU")),
    "broadcast-to": (one("BROADCAST_TO"), one("GELU")),
    "shape-operations": (one("EXPAND_DIMS"), one("RESHAPE")),
    "gather-nd": (one("GATHER_ND"), one("RESHAPE")),
    "unsupported-operation": (one("PACK"), one("RESHAPE")),
    "split": (one("SPLIT"), one("SLICE")),
    "shrinking-slice": (
        lambda t: strided(t, (1, 5, 6), 0b0010),
        lambda t: strided(t, (1, 1, 5, 6), 0),
    ),
    "int64": (one("ABS", "int64", "int64"), one("ABS", "int32", "int32")),
    "relu-0-to-1": (one("RELU_0_TO_1"), one("RELU6")),
    "aligned-corners": (lambda t: resized(t, True), lambda t: resized(t, False)),
    "cast-from-bytes": (one("CAST", "uint8"), one("CAST", "int32")),
    "identical-inputs": (
        lambda t: (lambda x: t.op("MUL", x, x, shape=(1, 1, 5, 6)))(t.x(1, 1, 5, 6)),
        lambda t: t.op("SQUARE", t.x(1, 1, 5, 6), shape=(1, 1, 5, 6)),
    ),
    "only-constants": (
        lambda t: of_constants(t, "EXP", "float32"),
        lambda t: of_constants(t, "DEQUANTIZE", "float16"),
    ),
    "low-rank": (
        lambda t: t.op("RESHAPE", t.op("GELU", t.x(1, 5, 6), shape=(1, 5, 6)), shape=(1, 1, 5, 6)),
        lambda t: t.op("RESHAPE", t.op("GELU", t.x(1, 1, 1, 6), shape=(1, 1, 1, 6)), shape=(1, 6)),
    ),
    "unfused-bias": (lambda t: biased(t, False), lambda t: biased(t, True)),
}


def graph_of(make: Make, path: Path) -> TfliteGraph:
    tiny = Tiny()
    outputs = make(tiny)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return TfliteGraph(tiny.write(path, *outputs))


def test_there_is_a_pair_for_each_rule() -> None:
    assert CASES.keys() == RULE.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_its_defect(name: str, tmp_path: Path) -> None:
    graph = graph_of(CASES[name][0], tmp_path / "bad.tflite")
    found = {finding.rule.name: finding for finding in findings(graph)}
    assert name in found
    assert found[name].count == (
        2 if name == "dynamic-shape" else 1
    )  # the input, and what it gives
    assert found[name].operation is not None or name in ("batch", "dynamic-shape")


@pytest.mark.parametrize("name", CASES)
def test_a_rule_is_silent_of_the_same_done_otherwise(name: str, tmp_path: Path) -> None:
    graph = graph_of(CASES[name][1], tmp_path / "good.tflite")
    assert name not in {finding.rule.name for finding in findings(graph)}


def test_a_scaled_product_is_still_a_product(tmp_path: Path) -> None:
    def make(t: Tiny) -> int:
        scores = t.op("MUL", product(t, 1, 4), t.c(), shape=(1, 4, 5, 7))
        return add(t, t.c(1, 1, 5, 7), scores, 1, 4, 5, 7)

    names = [f.rule.name for f in findings(graph_of(make, tmp_path / "m.tflite"))]
    assert "mask-on-scores" in names


def test_an_output_may_have_any_rank_also_before_it_is_widened(tmp_path: Path) -> None:
    def make(t: Tiny) -> int:
        narrow = t.op("RESHAPE", t.x(1, 1, 1, 7, dtype="int16"), shape=(1, 7), dtype="int16")
        return t.op("DEQUANTIZE", narrow, shape=(1, 7))

    assert findings(graph_of(make, tmp_path / "m.tflite")) == []


def test_the_first_place_is_told_and_all_are_counted(tmp_path: Path) -> None:
    def make(t: Tiny) -> int:
        x = t.op("GELU", t.x(1, 1, 5, 6), shape=(1, 1, 5, 6))
        for _ in range(3):
            x = t.op("SPLIT", x, shape=(1, 1, 5, 6))
        return x

    (found,) = findings(graph_of(make, tmp_path / "m.tflite"))
    assert (found.rule.name, found.count) == ("split", 3)
    assert found.operation is not None
    assert found.operation.index == 1


def test_bodies_of_loops_are_looked_at_too(tmp_path: Path) -> None:
    tiny, body = Tiny(), Tiny()
    outer = tiny.op("GELU", tiny.x(1, 1, 5, 6), shape=(1, 1, 5, 6))
    inner = body.op("GELU", body.x(1, 1, 5, 6), shape=(1, 1, 5, 6))
    body.op("GELU", inner, shape=(1, 1, 5, 6))
    body.graph.outputs = [1]
    tiny.model.operatorCodes[0].builtinCode = 150
    body.graph.operators[1].inputs = [0]
    tiny.model.subgraphs.append(body.graph)
    for node in body.graph.operators:
        node.opcodeIndex = 1
    split = Tiny()
    split.op("SPLIT", split.x(1), shape=(1,))
    tiny.model.operatorCodes.append(split.model.operatorCodes[0])
    file = read_file(tiny.write(tmp_path / "m.tflite", outer))
    assert [(f.rule.name, f.subgraph, f.count) for f in findings_of_file(file)] == [("split", 1, 2)]


def test_a_file_of_nothing_has_no_defect(tmp_path: Path) -> None:
    tiny = Tiny()
    assert findings(TfliteGraph(tiny.write(tmp_path / "m.tflite", tiny.x(1, 4)))) == []


def test_values_of_small_constants_are_read(tmp_path: Path) -> None:
    tiny = Tiny()
    axes = tiny.c(2, dtype="int32", values=[1, -2])
    result = tiny.op("MEAN", tiny.x(1, 4, 5, 6), axes, shape=(1, 6))
    graph = TfliteGraph(tiny.write(tmp_path / "m.tflite", result))
    values = graph.integers(axes)
    assert values is not None
    assert np.array_equal(values, [1, -2])
    assert graph.integers(result) is None
