"""The operations in a .tflite file are those that LiteRT's GPU delegate takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
# All that a folded ViT or CaiT needs: no norm subtracts a mean. What GPU delegates refuse is not
# among it: BROADCAST_TO, EXPAND_DIMS, SQUEEZE, SHAPE, PACK, custom operations (Flex) ...
ALLOWED = {
    "ADD", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
    "GELU", "MEAN", "MUL", "RESHAPE", "RSQRT", "SOFTMAX", "SPLIT", "SQUARE", "STRIDED_SLICE",
    "TRANSPOSE",
}  # fmt: skip
ELEMENTWISE = {"ADD", "MUL", "SUB", "SQUARED_DIFFERENCE"}
MORE = {  # what some cases need beside
    "average beside a class token": {"LOGISTIC"},  # of quick GELU
    "eva02": {"LOGISTIC", "SUB", "SQUARED_DIFFERENCE"},  # of SwiGLU, and of norms within branches
    "dinov3": {"LOGISTIC"},
    "no norm": {"SUB", "SQUARED_DIFFERENCE"},  # of a mean: it is not folded
    "embed_preprocessing": {"CAST", "SUB"},
    "float16": {"DEQUANTIZE"},
}
CASES = [
    *((family, {}) for family in ("vit", "layer scale", "average pool", "deit", "cait")),
    *((family, {"folded": True}) for family in ("vit", "average pool", "deit", "cait")),
    ("vit", {"attention": True}),
    ("cait", {"attention": True}),
    ("vit", {"output": "softmax"}),
    ("vit", {"output": "features"}),
    ("headless", {}),
    ("average beside a class token", {}),
    ("average, norm before", {}),
    ("no norm", {}),
    ("eva02", {}),
    ("dinov3", {}),
    ("dinov3", {"attention": True}),
    ("vit", {"embed_preprocessing": True}),
    ("cait", {"precision": "float16"}),
    ("deit", {"precision": "float16"}),
    ("cait", {"batch_size": 3}),
]


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


@pytest.mark.parametrize(("family", "options"), CASES)
def test_operations_are_builtin_and_known_to_the_delegate(exported, family, options):
    main, operations = graph(exported("tflite", family, **options))
    more = [MORE.get(key, set()) for key in (family, *options, options.get("precision"))]
    assert {op.name for op in operations} <= ALLOWED.union(*more)
    assert max(len(t.shape) for t in main.tensors if t.shape is not None) <= 4


@pytest.mark.parametrize(("family", "options"), CASES)
def test_no_slice_drops_an_axis(exported, family, options):
    _, operations = graph(exported("tflite", family, **options))
    for op in operations:
        if op.name == "STRIDED_SLICE":
            assert op.node.builtinOptions.shrinkAxisMask == 0
            assert op.node.builtinOptions.newAxisMask == 0
            assert op.node.builtinOptions.ellipsisMask == 0
            assert len(op.inputs[0].shape) in (3, 4)


@pytest.mark.parametrize(("family", "options"), CASES)
def test_products_of_activations_have_no_flags_and_no_constants(exported, family, options):
    _, operations = graph(exported("tflite", family, **options))
    products = [op for op in operations if op.name == "BATCH_MATMUL"]
    assert len(products) >= 2
    for op in products:
        assert not op.node.builtinOptions.adjX
        assert not op.node.builtinOptions.adjY
        assert op.constant == [False, False]
        assert op.node.inputs[0] != op.node.inputs[1]


@pytest.mark.parametrize(("family", "options"), CASES)
def test_no_broadcast_changes_a_rank(exported, family, options):
    """Delegates of older phones take a scalar or a vector, or else two tensors of one rank, of
    which one is nowhere the smaller (CheckAddMulBroadcastCompatibility in TensorFlow's
    lite/tools/versioning/gpu_compatibility.cc). LiteRT 2.3.0 takes the first axis of a constant of
    rank 2 for the batch."""
    _, operations = graph(exported("tflite", family, **options))
    found = [op for op in operations if op.name in ELEMENTWISE]
    assert found
    for op in found:
        first, second = (tuple(map(int, tensor.shape)) for tensor in op.inputs)
        if min(len(first), len(second)) <= 1:
            assert any(op.constant)
            continue
        assert len(first) == len(second)
        larger = tuple(map(max, first, second))
        assert larger in (first, second)
        if len(first) == 2 and any(op.constant):
            assert op.inputs[op.constant.index(True)].shape[0] == 1


@pytest.mark.parametrize(("family", "options"), CASES)
def test_the_batch_axis_stays_the_first(exported, family, options):
    main, operations = graph(exported("tflite", family, **options))
    batch = main.tensors[main.inputs[0]].shape[0]
    for op in operations:
        if op.name == "CONCATENATION":
            assert op.node.builtinOptions.axis % len(op.inputs[0].shape) != 0
        if op.name == "FULLY_CONNECTED" and op.node.builtinOptions.keepNumDims:
            assert len(op.inputs[0].shape) == len(main.tensors[op.node.outputs[0]].shape)
        if op.name != "DEQUANTIZE":
            for output in op.node.outputs:
                assert main.tensors[output].shape[0] == batch


@pytest.mark.parametrize("family", ["vit", "layer scale", "average pool", "deit", "cait"])
def test_linear_layers_are_fully_connected_with_their_bias_inside(sample, exported, family):
    _, operations = graph(exported("tflite", family))
    kernels = [
        p.keras_path
        for p in sample(family).keras.spec.parameters()
        if p.keras_path.endswith("kernel")
    ]
    connected = [op for op in operations if op.name == "FULLY_CONNECTED"]
    mixing = [path for path in kernels if "proj_l" in path or "proj_w" in path]
    # the patch embedding is a convolution
    assert len(connected) == len(kernels) - len(mixing) - 1
    assert all(op.constant == [False, True, True] for op in connected)
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
def test_the_last_mlp_is_computed_for_the_tokens_that_are_pooled(exported, family, options, count):
    _, operations = graph(exported("tflite", family, **options))
    sizes = {
        op.inputs[1].name.decode(): op.inputs[0].shape[1]
        for op in operations
        if op.name == "FULLY_CONNECTED"
    }
    assert sizes["blocks.0.mlp.fc1.weight"] >= 15
    for layer in ("attn.proj", "mlp.fc1", "mlp.fc2"):
        assert sizes[f"blocks.1.{layer}.weight"] == count


@pytest.mark.parametrize("family", ["vit", "cait"])
def test_float16_adds_nothing_but_the_weights_widening(exported, family):
    _, wide = graph(exported("tflite", family))
    _, narrow = graph(exported("tflite", family, precision="float16"))
    extra = Counter(op.name for op in narrow) - Counter(op.name for op in wide)
    assert set(extra) == {"DEQUANTIZE"}
    assert all(op.constant == [True] for op in narrow if op.name == "DEQUANTIZE")


def test_embedded_preprocessing_adds_a_cast_and_elementwise_operations(exported):
    _, plain = graph(exported("tflite", "vit"))
    _, embedded = graph(exported("tflite", "vit", embed_preprocessing=True))
    extra = Counter(op.name for op in embedded) - Counter(op.name for op in plain)
    assert extra == {"CAST": 1, "MUL": 2, "SUB": 1}
