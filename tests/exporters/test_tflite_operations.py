"""Which operations there are in a .tflite file. Rules of phones are in test_phone_rules.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from exporting import FAMILIES

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
# All that a folded model needs. GPU delegates refuse what is not among it: BROADCAST_TO,
# EXPAND_DIMS, SQUEEZE, SHAPE, PACK, custom operations (Flex), ...
ALLOWED = {
    "ADD", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
    "GELU", "LOGISTIC", "MEAN", "MUL", "PAD", "REDUCE_MAX", "RESHAPE", "RSQRT", "SLICE", "SOFTMAX",
    "SQUARE", "SUB", "TRANSPOSE",
}  # fmt: skip
EXTRA = {"float32": set(), "float16": {"DEQUANTIZE"}, "int8-dynamic": set()}


@dataclass(frozen=True)
class Operation:
    name: str
    node: schema.OperatorT
    inputs: list[schema.TensorT]
    constant: list[bool]  # which of the inputs are constants


@cache
def graph(path: Path) -> tuple[schema.SubGraphT, list[Operation]]:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    (main,) = model.subgraphs
    operations = []
    for node in main.operators:
        code = model.operatorCodes[node.opcodeIndex]
        inputs = [main.tensors[i] for i in node.inputs if i >= 0]
        constant = [model.buffers[t.buffer].data is not None for t in inputs]
        name = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        operations.append(Operation(name, node, inputs, constant))
    return main, operations


@pytest.mark.parametrize("precision", EXTRA)
@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_builtin_and_known_to_delegates(exported, family, precision):
    _, operations = graph(exported("tflite", family, precision=precision))
    assert {op.name for op in operations} <= ALLOWED | EXTRA[precision]


def test_a_folded_stream_needs_no_mean_subtracted(exported):
    for family in ("vit", "deit", "cait", "layer scale", "average pool", "dinov3"):
        _, operations = graph(exported("tflite", family))
        assert "SUB" not in {op.name for op in operations}, family


@pytest.mark.parametrize("family", ["vit", "layer scale", "average pool", "deit", "cait"])
def test_linear_layers_are_fully_connected_with_their_bias_inside(sample, exported, family):
    _, operations = graph(exported("tflite", family))
    names = [p.name for p in sample(family).family.spec.parameters()]
    mixing = [name for name in names if name.endswith(("proj_l.weight", "proj_w.weight"))]
    matrices = [
        p.name
        for p in sample(family).family.spec.parameters()
        if p.kind == "linear" and p.name.endswith(".weight") and p.name not in mixing
    ]
    fused = [name for name in matrices if name.endswith(".qkv.weight")]
    connected = [op for op in operations if op.name == "FULLY_CONNECTED"]
    assert len(connected) == len(matrices) + 2 * len(fused)
    for op in connected:  # softmax does not see a bias of keys
        keys = op.inputs[1].name.endswith(b".k.weight")
        assert op.constant == [False, True] + [True] * (not keys), op.inputs[1].name
    depthwise = [op for op in operations if op.name == "DEPTHWISE_CONV_2D"]
    assert len(depthwise) == 4 * len(mixing)  # one for each head
    assert all(op.constant == [False, True, True] for op in depthwise)
    for op in operations:  # no weight is transposed at run time
        assert op.name != "TRANSPOSE" or op.constant[0] is False


@pytest.mark.parametrize(
    ("family", "options", "count"),
    [
        ("vit", {}, 1),
        ("vit", {"attention": True}, 1),
        ("deit", {}, 2),
        ("average pool", {}, 15),
    ],
)
def test_the_last_mlp_is_computed_for_the_tokens_that_are_read(exported, family, options, count):
    _, operations = graph(exported("tflite", family, **options))
    sizes = {
        op.inputs[1].name.decode(): op.inputs[0].shape[2]
        for op in operations
        if op.name == "FULLY_CONNECTED"
    }
    assert sizes["blocks.0.mlp.fc1.weight"] >= 15
    for layer in ("attn.proj", "mlp.fc1", "mlp.fc2"):
        assert sizes[f"blocks.1.{layer}.weight"] == count


@pytest.mark.parametrize("family", FAMILIES)
def test_float16_adds_nothing_but_the_weights_widening(exported, family):
    _, wide = graph(exported("tflite", family))
    _, narrow = graph(exported("tflite", family, precision="float16"))
    extra = Counter(op.name for op in narrow) - Counter(op.name for op in wide)
    assert set(extra) == {"DEQUANTIZE"}
    assert all(op.constant == [True] for op in narrow if op.name == "DEQUANTIZE")


@pytest.mark.parametrize(("input_type", "added"), [("uint8", {"CAST": 1}), ("float32", {})])
@pytest.mark.parametrize("family", ["vit", "cait", "average pool"])
def test_embedded_preprocessing_adds_no_arithmetic(exported, family, input_type, added):
    _, plain = graph(exported("tflite", family))
    options = {"embed_preprocessing": True, "input_type": input_type}
    _, embedded = graph(exported("tflite", family, **options))
    extra = Counter(op.name for op in embedded) - Counter(op.name for op in plain)
    assert extra == added
