"""`verify --delegate gpu`: on LiteRT's real GPU accelerator, here on the SwiftShader driver."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from families import CLASSIFIERS, SPECIAL, small_vit, with_outliers
from families import MODELS as ALL_MODELS
from pictures import paint

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.files import torch2keras
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import ArtifactError, MissingDependencyError, UsageError
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.tflite.flatbuffer import TfliteModel, tree_of, write
from vit_convert.parity.gpu import process
from vit_convert.parity.gpu.delegate import GpuReport, Refusal, on_gpu, parse_refusal
from vit_convert.parity.gpu.process import GpuError, GpuProcess
from vit_convert.parity.inputs import random_images
from vit_convert.parity.recorded import Recording, read_reference, record_reference
from vit_convert.parity.references import RecordedReference
from vit_convert.parity.report import gpu_lines, row, row_of_dict
from vit_convert.parity.verify import verify, verify_artifact

WEIGHTS = Path(__file__).parents[2] / "weights"
MODELS = {name: ALL_MODELS[name] for name in CLASSIFIERS}
RARER = {name: make for name, make in SPECIAL.items() if name not in MODELS}
# The GPU does not quantise the activations of int8-dynamic: only its weights are rounded.
LIMITS = {"float32": 1e-5, "float16": 5e-3, "int8-dynamic": 0.05}
Edit = Callable[["Editor"], None]
pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each model a PyTorch checkpoint, its .h5, and recorded logits."""
    path = tmp_path_factory.mktemp("gpu")
    for name, build in (MODELS | RARER).items():
        family = build()
        torch.save(family.model.state_dict(), path / f"{name}.pth")
        write_h5(path / f"{name}.h5", family.spec, family.tensors())
        images = family.images(2)
        record_reference(path / f"{name}.npz", images, family.logits(images))
    return path


def exported(folder: Path, name: str, **options: Any) -> Path:
    target = folder / "_".join((name, *(Path(str(o)).name for o in options.values())))
    target.mkdir(exist_ok=True)
    (path,) = export(folder / f"{name}.h5", ["tflite"], target, ExportOptions(**options), True)
    return path


@pytest.fixture(scope="module")
def vit(folder: Path) -> Path:
    return exported(folder, "vit")


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("name", MODELS)
def test_every_operation_runs_on_the_gpu_and_gives_what_timm_gives(
    name: str, precision: str, folder: Path
) -> None:
    path = exported(folder, name, precision=precision)
    result = verify(path, source=folder / f"{name}.pth", delegate="gpu")
    assert result.passed, result
    assert result.comparison.relative <= LIMITS[precision]
    assert (result.where, result.note) == ("", "")
    assert result.delegate == "gpu"
    assert result.gpu is not None
    assert result.gpu.on_gpu == result.gpu.operations == number_of_operations(path)
    assert (result.gpu.problem, result.gpu.refused, result.gpu.first_refused) == ("", (), None)
    assert result.gpu.adapter not in ("", "not named")
    assert result.gpu.runtime.startswith("ai-edge-litert 2.")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *product(["vit", "average pool", "cait"], [{"embed_preprocessing": True}]),
        *product(["vit", "average pool", "deit", "cait"], [{"output": "features"}]),
        ("vit", {"output": "softmax"}),
        *product(["vit", "cait"], [{"output": "embedding"}, {"output": "tokens"}]),
        ("average pool", {"output": "tokens", "block": 0}),
        ("vit", {"output": "embedding", "precision": "float16"}),
        ("cait", {"output": "tokens", "block": 0, "precision": "float16"}),
        ("deit", {"batch_size": 3}),
        ("cait", {"precision": "float16", "embed_preprocessing": True}),
        ("deit", {"precision": "float16", "output": "features"}),
        ("average pool", {"precision": "float16", "output": "softmax"}),
        *product(RARER, ({"precision": precision} for precision in LIMITS)),
    ],
)
def test_other_exports_are_right_on_the_gpu(
    name: str, options: dict[str, Any], folder: Path
) -> None:
    path = exported(folder, name, **options)
    result = verify(path, source=folder / f"{name}.pth", delegate="gpu")
    assert result.passed, result
    assert result.note == ""


@pytest.mark.parametrize(
    ("name", "precision"),
    [*product(["vit", "average pool", "deit", "cait"], ["float32", "float16"])],
)
def test_attention_maps_on_the_gpu_are_those_of_the_cpu(
    name: str, precision: str, folder: Path
) -> None:
    artifact = open_artifact(exported(folder, name, precision=precision, attention=True))
    images = MODELS[name]().images(2)
    expected = artifact.run(images)
    with on_gpu(artifact) as (report, accelerated):
        assert accelerated is not None, report
        outputs = accelerated.run(images)
    assert list(outputs) == list(expected)
    assert len(outputs) == (5 if name == "cait" else 3)
    for output, values in expected.items():
        np.testing.assert_allclose(
            outputs[output], values, rtol=0, atol=1e-5 * np.abs(values).max()
        )


def with_weights_of(narrow: Path, wide: Path, target: Path) -> Path:
    """A float32 file with each weight rounded as it is in an int8 one."""
    tree, rows = tree_of(narrow.read_bytes()), {}
    for tensor in tree.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT8 and tree.buffers[tensor.buffer].data is not None:
            data = np.frombuffer(bytes(tree.buffers[tensor.buffer].data), np.int8)
            scale = np.float32(tensor.quantization.scale)
            shape = (-1, *[1] * (len(tensor.shape) - 1))
            rows[tensor.name] = data.reshape(tensor.shape) * scale.reshape(shape)
    rounded = tree_of(wide.read_bytes())
    for tensor in rounded.subgraphs[0].tensors:
        if tensor.name in rows:
            values = rows[tensor.name].astype(np.float32)
            rounded.buffers[tensor.buffer].data = values.view(np.uint8).ravel()
    write(target, TfliteModel(rounded, {}))
    return target


def outputs_on_the_gpu(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    with on_gpu(open_artifact(path)) as (report, accelerated):
        assert accelerated is not None, report
        return accelerated.run(images)


@pytest.mark.parametrize(
    ("name", "attention"),
    [*product(["vit", "average pool", "deit", "cait"], [False, True])],
)
def test_the_gpu_computes_int8_dynamic_from_the_weights_that_the_file_holds(
    name: str, attention: bool, folder: Path, tmp_path: Path
) -> None:
    """Against its float32 file on the CPU, with each weight rounded as it is in the int8 one."""
    path = exported(folder, name, precision="int8-dynamic", attention=attention)
    wide = exported(folder, name, precision="float32", attention=attention)
    images = MODELS[name]().images(2)
    expected = open_artifact(with_weights_of(path, wide, tmp_path / "rounded.tflite")).run(images)
    got = outputs_on_the_gpu(path, images)
    assert list(got) == list(expected)
    assert len(got) == ((5 if name == "cait" else 3) if attention else 1)
    for output, values in expected.items():
        np.testing.assert_allclose(
            got[output], values, rtol=0, atol=1e-5 * np.abs(values).max(), err_msg=output
        )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("pictures"), 40)


@pytest.mark.parametrize("name", ["vit", "average pool", "deit", "cait"])
def test_int8_runs_on_the_gpu_whole_and_gives_what_it_gives_on_the_cpu(
    name: str, folder: Path, pictures: Path
) -> None:
    """But for a step of its activations' ranges here and there."""
    path = exported(folder, name, precision="int8", calibration=pictures)
    artifact = open_artifact(path)
    images = random_images(artifact)[:2]
    expected = artifact.run(images)["logits"]
    got = outputs_on_the_gpu(path, images)["logits"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8"])
def test_a_layer_that_int8_spares_runs_on_the_gpu_among_the_others(
    precision: str, tmp_path: Path, pictures: Path
) -> None:
    family = small_vit(seed=1, depth=2)
    write_h5(tmp_path / "vit.h5", family.spec, with_outliers(family, weight=1000.0, bias=-9.0))
    path = exported(tmp_path, "vit", precision=precision, calibration=pictures)
    wide = exported(tmp_path, "vit")
    types = {t.name: t.type for t in tree_of(path.read_bytes()).subgraphs[0].tensors}
    weights = {name.decode(): kind for name, kind in types.items() if name.endswith(b".weight")}
    assert weights["blocks.1.mlp.fc2.weight"] == schema.TensorType.FLOAT32
    assert list(weights.values()).count(schema.TensorType.INT8) >= 6
    images = family.images(2)
    got = outputs_on_the_gpu(path, images)["logits"]
    expected, atol = open_artifact(path).run(images)["logits"], 0.05
    if precision == "int8-dynamic":
        rounded = with_weights_of(path, wide, tmp_path / "rounded.tflite")
        expected, atol = open_artifact(rounded).run(images)["logits"], 1e-5
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol * np.abs(expected).max())


@pytest.mark.parametrize(("name", "precision"), [*product(MODELS, ["float32"]), ("vit", "float16")])
def test_blocks_are_read_on_the_gpu(name: str, precision: str, folder: Path) -> None:
    artifact = open_artifact(exported(folder, name, precision=precision))
    assert artifact.blocks is not None
    images = MODELS[name]().images(2)
    expected = artifact.blocks(images)
    with on_gpu(artifact) as (_, accelerated):
        assert accelerated is not None
        assert accelerated.blocks is not None
        blocks = accelerated.blocks(images)
    assert set(blocks) == set(expected)
    for block, tokens in expected.items():
        np.testing.assert_allclose(
            blocks[block], tokens, rtol=0, atol=1e-5 * np.abs(tokens).max(), err_msg=block
        )


@pytest.mark.parametrize(
    "reference", sorted(WEIGHTS.glob("*_reference.npz")), ids=lambda path: path.name
)
@pytest.mark.parametrize("precision", LIMITS)
def test_the_trained_checkpoints_are_right_on_the_gpu(
    reference: Path, precision: str, tmp_path: Path
) -> None:
    name = reference.name.removesuffix("_reference.npz")
    (checkpoint,) = (p for p in WEIGHTS.glob(f"{name}.*") if p.suffix in (".pth", ".safetensors"))
    torch2keras(checkpoint, tmp_path / f"{name}.h5")
    artifact = open_artifact(exported(tmp_path, name, precision=precision))
    recording = read_reference(reference)
    few = replace(recording, images=recording.images[:3], logits=recording.logits[:3])
    with on_gpu(artifact) as (report, accelerated):
        assert accelerated is not None, report
        result = verify_artifact(accelerated, RecordedReference(few))
    assert result.passed, result
    assert result.comparison.top1_agreement == 100


def test_there_are_trained_checkpoints() -> None:
    assert (WEIGHTS / "vit_cifar10_reference.npz").exists()


class Editor:
    """A .tflite file, taken apart to be changed."""

    def __init__(self, path: Path) -> None:
        self.model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
        (self.main,) = self.model.subgraphs
        self.nodes = self.main.operators

    def find(self, tensor: str) -> Any:
        """The operation whose output's name ends so, but for a number."""
        names = ((n, self.main.tensors[n.outputs[0]].name.decode()) for n in self.nodes)
        (node,) = (n for n, name in names if re.search(rf"{tensor}\d*$", name))
        return node

    def constant(self, value: np.ndarray) -> int:
        """A new constant's index."""
        buffer, tensor = schema.BufferT(), schema.TensorT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kinds = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}
        tensor.type = kinds[value.dtype.name]
        tensor.name, tensor.shape = "constant", list(value.shape)
        tensor.buffer = len(self.model.buffers) - 1
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def like(self, index: int, name: str) -> int:
        """The index of a new tensor of the same type and shape."""
        tensor = copy.copy(self.main.tensors[index])
        tensor.name = name
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def reshape(self, entering: int, leaving: int, shape: list[int]) -> Any:
        """A new operation, not yet among the others."""
        node = copy.copy(self.find("patches"))
        node.inputs = [entering, self.constant(np.array(shape, np.int32))]
        node.outputs = [leaving]
        node.builtinOptions = None
        node.builtinOptionsType = schema.BuiltinOptions.NONE
        return node

    def save(self, path: Path) -> Path:
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        path.write_bytes(builder.Output())
        return path


def number_of_operations(path: Path) -> int:
    return len(Editor(path).nodes)


def with_constant_on_the_left(editor: Editor) -> None:
    """attention @ v of the second block becomes constant @ v."""
    node = editor.find("blocks.1/attn/attended")
    shape = tuple(editor.main.tensors[node.inputs[0]].shape)
    constant = np.random.default_rng(0).random(shape, np.float32)
    node.inputs = [editor.constant(constant), node.inputs[1]]


def with_a_crash(editor: Editor) -> None:
    """The attention of the first block is multiplied by itself, which ends the process."""
    node = editor.find("blocks.0/attn/attended")
    attention = node.inputs[0]
    square = copy.copy(node)
    square.inputs, square.outputs = [attention, attention], [editor.like(attention, "square")]
    node.inputs = [square.outputs[0], node.inputs[1]]
    editor.nodes.insert(editor.nodes.index(node), square)


def wrong_on_the_gpu(editor: Editor) -> None:
    """Positions are added without the batch axis, as (tokens, dim): LiteRT 2.3.0 takes the first
    axis of the tokens for the batch, and that of the constant for something else."""
    node = editor.find("embeddings")
    tokens, positions = node.inputs
    shape = list(editor.main.tensors[tokens].shape)
    buffer = editor.model.buffers[editor.main.tensors[positions].buffer]
    data = buffer.data.view(np.float32).reshape(shape[2:])
    flat, added = editor.like(tokens, "flat"), editor.like(tokens, "added")
    for index in (flat, added):
        editor.main.tensors[index].shape = shape[2:]
    before = editor.reshape(tokens, flat, shape[2:])
    after = editor.reshape(added, node.outputs[0], shape)
    node.inputs, node.outputs = [flat, editor.constant(data)], [added]
    place = editor.nodes.index(node)
    editor.nodes[place : place + 1] = [before, node, after]


def edited(path: Path, edit: Edit, target: Path) -> Path:
    editor = Editor(path)
    edit(editor)
    return editor.save(target)


def test_a_refused_operation_is_named_with_its_block(
    folder: Path, vit: Path, tmp_path: Path
) -> None:
    path = edited(vit, with_constant_on_the_left, tmp_path / "refused.tflite")
    result = verify(path, source=folder / "vit.pth", delegate="gpu")
    assert not result.passed
    report = result.gpu
    assert report is not None
    first = report.first_refused
    assert first is not None
    # three others of the kind come before it, which are not refused
    assert (first.name, first.block) == ("BATCH_MATMUL", "blocks.1")
    assert first.tensor.endswith("blocks.1/attn/attended")
    assert "non-constant" in first.reason
    assert 0 < report.on_gpu < report.operations == number_of_operations(path)
    assert report.refused == (f"BATCH_MATMUL: {first.reason}",)
    assert result.where == "blocks.1"
    assert result.num_images == 0
    assert row(result)[2:] == ("-", "-", "-", f"NOT RUN: the GPU refuses {first}")
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert row_of_dict(data) == row(result)
    assert data["gpu"]["first_refused"]["block"] == "blocks.1"
    assert data["gpu"]["operations"] == report.operations


def test_the_first_of_several_refused_operations_is_told_in_float16(
    folder: Path, tmp_path: Path
) -> None:
    """Where weights are prepared by operations of their own."""

    def edit(editor: Editor) -> None:
        with_constant_on_the_left(editor)
        code = schema.OperatorCodeT()
        code.version, code.builtinCode = 1, schema.BuiltinOperator.SQUEEZE
        code.deprecatedBuiltinCode = code.builtinCode
        editor.model.operatorCodes.append(code)
        node = editor.find("^logits")  # which RESHAPE gives
        node.inputs, node.opcodeIndex = node.inputs[:1], len(editor.model.operatorCodes) - 1
        node.builtinOptionsType = schema.BuiltinOptions.SqueezeOptions
        node.builtinOptions = schema.SqueezeOptionsT()
        node.builtinOptions.squeezeDims = [1, 2]

    path = edited(exported(folder, "vit", precision="float16"), edit, tmp_path / "refused.tflite")
    with on_gpu(open_artifact(path)) as (report, accelerated):
        assert accelerated is None
    assert report.first_refused is not None
    assert (report.first_refused.name, report.first_refused.block) == ("BATCH_MATMUL", "blocks.1")
    assert [line.partition(":")[0] for line in report.refused] == ["BATCH_MATMUL", "SQUEEZE"]
    lines = gpu_lines(report)
    assert lines[0] == f"on the GPU: {report.on_gpu} of {report.operations} operations"
    assert report.adapter in lines[1]
    assert str(report.first_refused) in lines[2]
    assert report.first_refused.tensor in lines[2]


def test_a_dynamic_batch_is_refused_with_the_operation_it_begins_at(folder: Path) -> None:
    path = exported(folder, "cait", batch_size="dynamic")
    result = verify(path, source=folder / "cait.pth", delegate="gpu")
    assert not result.passed
    assert result.gpu is not None
    assert result.gpu.first_refused is not None
    assert result.gpu.first_refused.block != ""
    assert "dynamic" in result.gpu.first_refused.reason
    assert result.gpu.on_gpu == 0


def test_a_crash_of_native_code_is_reported(folder: Path, vit: Path, tmp_path: Path) -> None:
    path = edited(vit, with_a_crash, tmp_path / "crash.tflite")
    result = verify(path, source=folder / "vit.pth", delegate="gpu")
    assert not result.passed
    assert result.gpu is not None
    assert result.gpu.problem.startswith("the GPU accelerator crashed: Check failed")
    assert result.gpu.first_refused is None
    assert row(result)[-1] == f"NOT RUN: {result.gpu.problem}"


def test_what_is_wrong_on_the_gpu_alone_is_blamed_on_it(
    folder: Path, vit: Path, tmp_path: Path
) -> None:
    path = edited(vit, wrong_on_the_gpu, tmp_path / "wrong.tflite")
    assert verify(path, source=folder / "vit.pth").passed
    result = verify(path, source=folder / "vit.pth", delegate="gpu")
    assert not result.passed
    assert result.comparison.relative > 0.01
    assert result.note == "the same file is right on the CPU: the GPU computes something else"
    assert result.where == "embeddings"


def test_what_is_wrong_everywhere_is_located_and_not_blamed_on_the_gpu(
    folder: Path, tmp_path: Path
) -> None:
    family = MODELS["vit"]()
    tensors = family.tensors()
    name = "blocks.1.attn.proj.bias"
    tensors[name] = LazyTensor.of(name, -tensors[name].read())
    write_h5(tmp_path / "vit.h5", family.spec, tensors)
    result = verify(exported(tmp_path, "vit"), source=folder / "vit.pth", delegate="gpu")
    assert not result.passed
    assert result.where == "blocks.1"
    assert result.first_difference is not None
    assert result.note == "the same file differs on the CPU too"


def test_where_blocks_cannot_be_read_the_place_is_not_known(folder: Path, vit: Path) -> None:
    images = MODELS["vit"]().images(1)
    wrong = Recording(images, np.ones((1, 7), np.float32), {"embeddings": np.ones((1, 16, 36))})
    with on_gpu(open_artifact(vit)) as (_, accelerated):
        assert accelerated is not None
        unreadable = replace(accelerated, blocks=lambda images: {})
        result = verify_artifact(unreadable, RecordedReference(wrong))
    assert result.where.startswith("not known: reading the blocks out of the graph changes")


def test_blocks_are_not_told_from_a_graph_that_names_them_otherwise(
    vit: Path, tmp_path: Path
) -> None:
    def edit(editor: Editor) -> None:
        for tensor in editor.main.tensors:
            tensor.name = tensor.name.replace(b"blocks.1", b"other.1")

    path = edited(vit, edit, tmp_path / "renamed.tflite")
    images = MODELS["vit"]().images(1)
    with on_gpu(open_artifact(path)) as (_, accelerated):
        assert accelerated is not None
        assert accelerated.blocks is not None
        assert accelerated.blocks(images) == {}


LOG = """INFO: [gpu_environment.h:155] Created LiteRT GpuEnvironment.
ERROR: Following operations are not supported by GPU delegate:
BROADCAST_TO: Operation is not supported.
INFO: a line of another thread
I0000 00:00:1795248972.068667   17486 delegate_webgpu.cc:751] another
CUSTOM FlexErf: Operation is not supported.
DEQUANTIZE:\x20
STRIDED_SLICE: Slice does not support shrink_axis_mask parameter.\x20
{count}
I0000 00:00:1795249005.859518   17732 delegate_kernel.cc:984] Initializing WebGPU-based API.
"""
REFUSED = (
    "BROADCAST_TO: Operation is not supported",
    "CUSTOM FlexErf: Operation is not supported",
    "STRIDED_SLICE: Slice does not support shrink_axis_mask parameter",
)


@pytest.mark.parametrize(
    ("count", "taken", "total"),
    [
        (
            "3 operations will run on the GPU, and the remaining 5 operations will run on the CPU.",
            3,
            8,
        ),
        ("No operations will run on the GPU, and all 8 operations will run on the CPU.", 0, 8),
    ],
)
def test_the_log_of_a_refusal_is_read(count: str, taken: int, total: int) -> None:
    assert parse_refusal(LOG.format(count=count)) == (REFUSED, taken, total)


def test_a_log_without_a_refusal_gives_none() -> None:
    assert parse_refusal("INFO: nothing\n3 operations will run\n") is None


def test_an_operation_whose_place_is_unknown_is_named_all_the_same() -> None:
    report = GpuReport("a", "b", 8, 3, REFUSED, Refusal("SHAPE", "Operation is not supported"))
    assert gpu_lines(report)[2] == (
        "the first refused operation is SHAPE (Operation is not supported); which one is not known"
    )


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vit_convert", "verify", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_command_reports_adapter_operations_and_parity(folder: Path, vit: Path) -> None:
    done = run(folder, str(vit), "--reference", "vit.npz", "--delegate", "gpu")
    assert done.returncode == 0, done.stderr
    count = number_of_operations(vit)
    assert f"on the GPU: {count} of {count} operations" in done.stdout
    assert "adapter: " in done.stdout
    assert "equal" in done.stdout
    assert "INFO" not in done.stdout + done.stderr  # native chatter


def test_the_command_exits_with_1_for_a_refused_operation(
    folder: Path, vit: Path, tmp_path: Path
) -> None:
    path = edited(vit, with_constant_on_the_left, tmp_path / "refused.tflite")
    done = run(folder, str(path), "--reference", "vit.npz", "--delegate", "gpu", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)["gpu"]
    assert report["first_refused"]["name"] == "BATCH_MATMUL"
    assert report["first_refused"]["block"] == "blocks.1"


def test_without_an_adapter_the_command_says_how_to_get_one(folder: Path, vit: Path) -> None:
    arguments = (str(vit), "--reference", "vit.npz", "--delegate", "gpu")
    done = run(folder, *arguments, VK_ICD_FILENAMES="/nonexistent")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no GPU adapter" in done.stderr
    assert "VK_ICD_FILENAMES is '/nonexistent'" in done.stderr
    assert "apt-get install chromium" in done.stderr
    assert "dpkg -L chromium-common chromium | grep swiftshader" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_installed_browser_lends_its_driver(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no GPU, and the user chose no driver."""
    monkeypatch.delenv("VK_ICD_FILENAMES")
    with on_gpu(open_artifact(vit)) as (report, accelerated):
        assert accelerated is not None
    assert report.adapter != "not named"


def test_a_driver_that_the_user_chose_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "software_drivers", lambda: ["/swiftshader.json"])
    for chosen in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.delenv("VK_ICD_FILENAMES", raising=False)
        monkeypatch.delenv("VK_DRIVER_FILES", raising=False)
        monkeypatch.setenv(chosen, "/other.json")
        (only,) = process.environments()
        assert only[chosen] == "/other.json"
    monkeypatch.delenv("VK_DRIVER_FILES")
    own, swiftshader = process.environments()
    assert "VK_ICD_FILENAMES" not in own
    assert swiftshader["VK_ICD_FILENAMES"] == "/swiftshader.json"


@pytest.mark.parametrize("target", ["keras", "saved_model"])
def test_only_tflite_files_run_on_the_gpu(target: str, folder: Path, tmp_path: Path) -> None:
    path = folder / "vit.h5"
    if target == "saved_model":
        (path,) = export(path, [target], tmp_path)
    with pytest.raises(UsageError, match=target) as raised:
        verify(path, source=folder / "vit.pth", delegate="gpu")
    assert raised.value.where == "--delegate gpu"
    assert raised.value.expected == "a .tflite file"


def test_a_runtime_without_the_accelerator_is_told(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(vit)
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").touch()
    (tmp_path / "ai_edge_litert" / "compiled_model.py").write_text("class CompiledModel: ...")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(MissingDependencyError, match="no GPU accelerator") as raised,
        on_gpu(artifact),
    ):
        pass
    assert "ai-edge-litert>=" in raised.value.hint


def test_a_gpu_that_fails_while_running_is_told(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(process: GpuProcess, images: np.ndarray) -> dict[str, np.ndarray]:
        raise GpuError("first line\n└ out of memory", "", crashed=False)

    with on_gpu(open_artifact(vit)) as (_, accelerated):
        assert accelerated is not None
        monkeypatch.setattr(GpuProcess, "run", fail)
        with pytest.raises(ArtifactError, match="failed to run it: out of memory"):
            accelerated.run(MODELS["vit"]().images(1))
