"""int8 files: what is quantised and what is not, and how well they agree with float32."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer
from exporting import CLASSIFIERS, FAMILIES, relative
from families import PREPROCESSING, covering, small_vit, with_outliers
from pictures import paint
from PIL import Image

from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import ArtifactError, UsageError, VitConvertError
from vit_convert.exporters import (
    Exported,
    ExportOptions,
    Metadata,
    describe_artifact,
    export,
    export_all,
    open_artifact,
)
from vit_convert.exporters.options import CALIBRATED, QUANTISED
from vit_convert.exporters.quantisation_report import Difference, Measurement, measure
from vit_convert.exporters.tflite.calibration import (
    calibration_images,
    generated_images,
    held_out,
)
from vit_convert.exporters.tflite.flatbuffer import Content, TfliteModel, read_entry, tree_of, write
from vit_convert.exporters.tflite.layer_search import rank as rank_of
from vit_convert.exporters.tflite.quantisation import layers_of
from vit_convert.exporters.tflite.quantised import _carried
from vit_convert.images.decoding import load_image
from vit_convert.images.folders import find_images
from vit_convert.images.preprocessing import normalise, preprocess
from vit_convert.parity.compare import TOLERANCES
from vit_convert.runtime.limits import JSON_BYTES

_KINDS = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
PRECISIONS = ("int8-dynamic", "int8")  # whose other operations stay in float
FLOAT = {"ADD", "BATCH_MATMUL", "CONV_2D", "GELU", "MEAN", "MUL", "RSQRT", "SOFTMAX", "SQUARE"}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("pictures"), 80)  # of which 40 calibrate


@pytest.fixture(scope="session")
def quantised(
    sample: Callable[..., Any], pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Exported]:
    """(family, precision, **options) -> Exported, calibrated on `pictures`"""

    @cache
    def make(family: str, precision: str, **options: Any) -> Exported:
        chosen = ExportOptions(precision=precision, calibration=pictures, **options)  # type: ignore[arg-type]  # a literal
        folder = tmp_path_factory.mktemp("int8")
        return export_all(sample(family).h5, [("tflite", chosen)], folder)[0]

    return make


@dataclass(frozen=True)
class Operation:
    name: str
    inputs: list[Any]
    outputs: list[Any]
    block: str


def operations(path: Path) -> list[Operation]:
    tree = tree_of(path.read_bytes())
    (main,) = tree.subgraphs
    found = []
    for node in main.operators:
        inputs = [main.tensors[i] for i in node.inputs if i >= 0]
        outputs = [main.tensors[i] for i in node.outputs]
        name = _KINDS[tree.operatorCodes[node.opcodeIndex].builtinCode]
        found.append(Operation(name, inputs, outputs, outputs[0].name.decode()))
    return found


def is_matrix(tensor: Any) -> bool:
    return tensor.name.endswith(b".weight") and len(tensor.shape) == 2


def layer_of(linear: Operation) -> str:
    return str(linear.inputs[1].name.decode().partition(".weight")[0])


def kinds(tensors: list[Any]) -> set[int]:
    """Types of tensors, but for the integers that are axes and shapes."""
    return {tensor.type for tensor in tensors} - {schema.TensorType.INT32}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", ["vit", "cait"])
def test_weights_are_int8_with_a_scale_for_each_output(
    sample, exported, quantised, family, precision
):
    path, report = quantised(family, precision).path, quantised(family, precision).report
    spared = {f"{cost.layer}.weight".encode() for cost in report.in_float}
    wide = tree_of(exported("tflite", family).read_bytes())
    floats = {
        t.name: np.frombuffer(bytes(wide.buffers[t.buffer].data), np.float32).reshape(t.shape)
        for t in wide.subgraphs[0].tensors
        if is_matrix(t)
    }
    tree = tree_of(path.read_bytes())
    weights = [t for t in tree.subgraphs[0].tensors if is_matrix(t)]
    assert {t.name for t in weights} == set(floats)
    assert len(weights) > 8
    assert len(spared) <= len(weights) / 4
    for weight in weights:
        if weight.name in spared:
            assert bytes(tree.buffers[weight.buffer].data) == floats[weight.name].tobytes()
            continue
        assert weight.type == schema.TensorType.INT8, weight.name
        rows = weight.quantization
        assert (rows.quantizedDimension, set(rows.zeroPoint)) == (0, {0})
        assert len(rows.scale) == weight.shape[0]
        values = np.frombuffer(bytes(tree.buffers[weight.buffer].data), np.int8)
        values = values.reshape(weight.shape) * np.float32(rows.scale)[:, None]
        error = np.abs(values - floats[weight.name])
        assert (error <= 0.51 * np.float32(rows.scale)[:, None]).all(), weight.name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", ["vit", "average pool", "deit", "cait"])
def test_what_breaks_a_vit_in_int8_is_in_float(quantised, family, precision):
    found = operations(quantised(family, precision).path)
    seen = set()
    for op in found:
        if op.name in FLOAT:
            seen.add(op.name)
            assert kinds([*op.inputs, *op.outputs]) == {schema.TensorType.FLOAT32}, op.block
        if "proj_l" in op.block or "proj_w" in op.block:  # talking heads
            assert schema.TensorType.INT8 not in kinds([*op.inputs, *op.outputs]), op.block
    assert seen == FLOAT


@pytest.mark.parametrize("family", covering(FAMILIES))
def test_int8_dynamic_is_what_ai_edge_quantizer_makes_of_the_same_graph(exported, family):
    """Weight by weight, scale by scale, operation by operation."""
    wide = exported("tflite", family)
    work = quantizer.Quantizer(str(wide))
    for layer in layers_of(wide):
        work.add_dynamic_config(f"^{re.escape(layer.tensor)};$", "FULLY_CONNECTED", 8)
    theirs = tree_of(work.quantize(enable_progress_report=False).quantized_model)
    ours = tree_of(exported("tflite", family, precision="int8-dynamic").read_bytes())
    assert len(ours.subgraphs[0].operators) == len(theirs.subgraphs[0].operators)
    found = {t.name: t for t in ours.subgraphs[0].tensors}
    compared = 0
    for tensor in theirs.subgraphs[0].tensors:
        mine = found[tensor.name]
        assert (mine.type, list(mine.shape)) == (tensor.type, list(tensor.shape))
        data, expected = (m.buffers[t.buffer].data for m, t in ((ours, mine), (theirs, tensor)))
        assert (data is None) == (expected is None)
        if data is not None:
            assert bytes(data) == bytes(expected), tensor.name
        if tensor.type == schema.TensorType.INT8:
            compared += 1
            rows, wanted = mine.quantization, tensor.quantization
            assert rows.quantizedDimension == wanted.quantizedDimension == 0
            assert np.array_equal(rows.zeroPoint, wanted.zeroPoint)
            assert np.array_equal(rows.scale, wanted.scale), tensor.name
    assert compared == len(layers_of(wide)) > 4


def test_int8_layers_compute_in_int8_and_others_do_not(quantised):
    """But for the last one, which gives the logits."""
    for precision, expected in (("int8", schema.TensorType.INT8), ("int8-dynamic", 0)):
        exported = quantised("vit", precision)
        in_float = {cost.layer for cost in exported.report.in_float}
        linear = [op for op in operations(exported.path) if op.name == "FULLY_CONNECTED"]
        assert len(linear) == 13
        for op in linear[:-1]:
            if layer_of(op) not in in_float:
                assert kinds([op.inputs[0], *op.outputs]) == {expected}, op.block
        assert kinds([linear[-1].inputs[0], *linear[-1].outputs]) == {schema.TensorType.FLOAT32}


def test_layers_that_give_the_output_are_dynamic(exported):
    """DeiT's two heads, whose mean the logits are; features are the end of the stream."""
    by_name = {layer.name: layer for layer in layers_of(exported("tflite", "deit"))}
    assert {name for name, layer in by_name.items() if not layer.inner} == {"head", "head_dist"}
    layers = layers_of(exported("tflite", "headless"))
    assert "blocks.0.mlp.fc1" not in {layer.name for layer in layers if not layer.inner}


@pytest.mark.parametrize("family", [*CLASSIFIERS, "dinov3"])
def test_int16x8_quantises_all_that_the_quantizer_can(quantised, family):
    """Of a norm it cannot square."""
    found = operations(quantised(family, "int16x8").path)
    spared = {cost.layer for cost in quantised(family, "int16x8").report.in_float}
    for op in found:
        types = kinds([*op.inputs, *op.outputs])
        if op.name in ("SQUARE", "LOGISTIC"):
            continue
        if op.name in ("QUANTIZE", "DEQUANTIZE"):
            assert schema.TensorType.INT16 in types
        elif op.name == "FULLY_CONNECTED" and layer_of(op) not in spared:
            assert op.inputs[1].type == schema.TensorType.INT8
            assert kinds([op.inputs[0], *op.outputs]) == {schema.TensorType.INT16}, op.block
        elif op.name in ("BATCH_MATMUL", "SOFTMAX", "GELU", "TRANSPOSE", "RESHAPE", "ADD"):
            assert schema.TensorType.FLOAT32 not in types, op.block


def test_ranges_are_those_of_all_pictures(sample, pictures, quantised, exported):
    """Not an average of them, which would cut off the largest values."""
    path = quantised("deit", "int8").path
    layer = next(
        op for op in operations(path)
        if op.name == "FULLY_CONNECTED" and op.inputs[1].name == b"blocks.0.attn.v.weight"
    )  # fmt: skip
    name = layer.block
    wide = exported("tflite", "deit")
    images = calibration_images(pictures, sample("deit").family.spec, False).images
    interpreter = Interpreter(
        str(wide),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    (index,) = (d["index"] for d in details if d["name"] == name)
    seen = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        seen.append(interpreter.get_tensor(index))
    extent = max(np.max(seen), 0) - min(np.min(seen), 0)
    assert layer.outputs[0].quantization.scale[0] == pytest.approx(extent / 255, rel=0.02)


@pytest.mark.parametrize("family", [*CLASSIFIERS, "dinov3", "eva02"])
@pytest.mark.parametrize("precision", QUANTISED)
def test_logits_are_close_to_those_of_timm(sample, pictures, quantised, family, precision):
    exported = quantised(family, precision)
    images = calibration_images(pictures, sample(family).family.spec, False).held_out
    expected = sample(family).family.logits(images)
    got = open_artifact(exported.path).run(images)["logits"]
    assert 1e-3 < relative(expected, got) <= TOLERANCES[precision] / 2
    found = exported.report.difference
    assert found.relative == pytest.approx(relative(expected, got), rel=0.05)
    assert found.agreement == pytest.approx(
        100 * (expected.argmax(1) == got.argmax(1)).mean(), abs=2.6
    )
    assert found.cosine > 0.995


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_file_is_as_other_tflite_files(sample, quantised, pictures, precision):
    exported = quantised("vit", precision)
    assert exported.path.name == f"vit_{precision}.tflite"
    assert [p.name for p in exported.path.parent.iterdir()] == [exported.path.name]
    assert exported.report.size == exported.path.stat().st_size < exported.report.float_size
    interpreter = Interpreter(str(exported.path))
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    runner = interpreter.get_signature_runner("serving_default")
    assert runner.get_input_details()["images"]["dtype"] == np.float32
    assert runner.get_output_details()["logits"]["dtype"] == np.float32
    entry = read_entry(exported.path)
    assert json.loads(entry)["options"]["precision"] == precision
    assert str(pictures).encode() not in entry
    model = tree_of(exported.path.read_bytes())
    assert [m.name for m in model.metadata].count(b"vit_convert") == 1
    artifact = open_artifact(exported.path)
    blocks, reference = artifact.blocks(sample("vit").images), sample("vit").blocks()
    assert set(blocks) == set(reference)
    for name, tokens in reference.items():
        tokens = tokens[:, : blocks[name].shape[1]]
        centred = tokens - tokens.mean(axis=-1, keepdims=True)
        assert relative(centred, blocks[name]) <= TOLERANCES[precision] / 2, name


@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize(
    "options",
    [{"embed_preprocessing": True}, {"batch_size": 3}, {"batch_size": "dynamic"}],
    ids=str,
)
def test_other_exports_are_quantised_too(sample, pictures, quantised, precision, options):
    model, artifact = sample("vit"), open_artifact(quantised("vit", precision, **options).path)
    embedded = "embed_preprocessing" in options
    images = calibration_images(pictures, model.family.spec, embedded).images[:7]
    normal = normalise(images, PREPROCESSING) if embedded else images
    got = artifact.run(images.astype(np.float32))["logits"]
    assert relative(model.family.logits(normal), got) <= TOLERANCES[precision] / 2
    (details,) = Interpreter(str(artifact.path)).get_input_details()
    assert details["dtype"] == (np.uint8 if embedded else np.float32)


def test_attention_and_features_are_quantised_too(sample, quantised):
    outputs = open_artifact(quantised("cait", "int8", attention=True).path).run(
        sample("cait").images
    )
    assert len(outputs) == 5
    assert {array.dtype for array in outputs.values()} == {np.dtype(np.float32)}
    report = quantised("vit", "int8", output="features").report
    assert report.difference.agreement is None  # features are no classes
    assert report.difference.score == 100 * report.difference.cosine > 99


def test_without_calibration_images_int8_dynamic_is_compared_on_generated_ones(sample, tmp_path):
    options = ExportOptions(precision="int8-dynamic")
    for family in ("vit", "one channel", "headless"):
        (exported,) = export_all(sample(family).h5, [("tflite", options)], tmp_path)
        assert exported.report.source == "4 generated images"
        assert exported.report.measurement.images == 4
        assert not exported.report.measurement.pictures
        assert exported.passed
        assert exported.report.difference.cosine > 0.99


def test_generated_images_are_always_the_same_and_differ(sample):
    spec = sample("vit").family.spec
    pixels = generated_images(spec, as_pixels=True)
    assert np.array_equal(pixels, generated_images(spec, as_pixels=True))
    assert len({image.tobytes() for image in pixels}) == 16
    assert np.array_equal(generated_images(spec, False), normalise(pixels, PREPROCESSING))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("precision", CALIBRATED)
def test_static_precisions_without_calibration_images_are_refused(sample, tmp_path, precision):
    jobs = [("tflite", ExportOptions()), ("tflite", ExportOptions(precision=precision))]
    with pytest.raises(UsageError, match="ranges") as caught:
        export_all(sample("vit").h5, jobs, tmp_path)
    assert "--calibration" in caught.value.expected
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    "jobs",
    [
        [("tflite", {})],
        [("tflite", {"precision": "float16"})],
        [("saved_model", {"precision": "int8"})],
    ],
    ids=str,
)
def test_calibration_images_without_int8_are_refused(sample, tmp_path, jobs, pictures):
    given = [(name, ExportOptions(calibration=pictures, **options)) for name, options in jobs]
    with pytest.raises(UsageError, match="none is asked for"):
        export_all(sample("vit").h5, given, tmp_path)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("content", ["missing", "empty", "no picture", "unreadable"])
def test_a_calibration_folder_without_a_readable_picture_is_refused(sample, tmp_path, content):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    out.mkdir()
    if content != "missing":
        folder.mkdir()
    if content in ("no picture", "unreadable"):
        (folder / ("a.txt" if content == "no picture" else "a.png")).write_bytes(b"no picture")
    for precision in PRECISIONS:
        options = ExportOptions(precision=precision, calibration=folder)
        with pytest.raises(VitConvertError) as caught:
            export(sample("vit").h5, ["tflite"], out, options)
        assert caught.value.where == str(folder)
        assert listing(out) == []


def test_unreadable_pictures_are_told_and_passed_over(sample, tmp_path):
    folder = paint(tmp_path / "pictures", 17)
    (folder / "nested" / "broken.png").write_bytes(b"no picture")
    found = calibration_images(folder, sample("vit").family.spec, as_pixels=True)
    assert (len(found.images), len(found.held_out)) == (9, 8)
    assert len(found.unreadable) == 1
    assert "broken.png" in found.unreadable[0]


def test_of_many_pictures_some_are_taken_evenly(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("vit_convert.exporters.tflite.calibration._MOST", 8)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(31):
        Image.new("RGB", (50, 24), (8 * i, 0, 0)).save(folder / f"{i:02}.png")
    found = calibration_images(folder, sample("vit").family.spec, as_pixels=True)
    taken = [each[:, 0, 0, 0].tolist() for each in (found.images, found.held_out)]
    assert [len(each) for each in taken] == [8, 8]
    assert sorted([*taken[0], *taken[1]]) == [16 * i for i in range(16)]
    assert "of 31, spread evenly" in found.source


def test_half_of_each_class_is_held_back_and_always_the_same() -> None:
    counts = {"ant": 5, "bee": 1, "cat": 8, "dog": 2, "": 7}
    paths = [Path(name, "sub", f"{i}.png") for name, n in counts.items() if name for i in range(n)]
    paths += [Path(f"{i}.png") for i in range(counts[""])]
    held = held_out(paths)
    assert held.tolist() == held_out(paths).tolist()
    assert held.sum() == len(paths) // 2 == 11
    for name, count in counts.items():
        members = [
            h
            for h, p in zip(held, paths, strict=True)
            if p.parent.parts[:1] == ((name,) if name else ())
        ]
        assert len(members) == count
        assert abs(2 * sum(members) - count) <= 1, name


def test_what_is_held_back_is_no_half_of_the_file_order() -> None:
    """Pictures of a video, or numbered by difficulty, must not be cut in the middle."""
    held = held_out([Path(f"{i}.png") for i in range(100)])
    assert 15 < held[:50].sum() < 35
    assert (held[::2].sum(), held[1::2].sum()) != (50, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fewer_than_16_pictures_are_refused(sample, tmp_path, precision):
    folder, out = paint(tmp_path / "pictures", 15), tmp_path / "out"
    (folder / "broken.png").write_bytes(b"no picture")
    out.mkdir()
    options = ExportOptions(precision=precision, calibration=folder)
    with pytest.raises(UsageError, match="holds 15 pictures that can be read") as caught:
        export(sample("vit").h5, ["tflite"], out, options)
    assert caught.value.where == f"--calibration {folder}"
    assert listing(out) == []


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_agreement_is_that_on_pictures_that_chose_nothing(
    sample, quantised, exported, pictures, precision
):
    made = quantised("cait", precision)
    held = calibration_images(pictures, sample("cait").family.spec, False).held_out
    wide = open_artifact(exported("tflite", "cait")).run(held)["logits"]
    got = open_artifact(made.path).run(held)["logits"]
    assert made.report.difference == measure(wide, got, classes=True)
    assert made.report.measurement.images == len(held) == 40
    assert "40 others calibrated it" in made.report.source


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_file_carries_what_was_measured(quantised, precision):
    made = quantised("vit", precision)
    assert open_artifact(made.path).measured == made.report.measurement
    assert describe_artifact(made.path).measured == made.report.measurement


def test_a_file_without_calibration_says_that_no_pictures_were_measured(sample, tmp_path):
    options = ExportOptions(precision="int8-dynamic")
    (made,) = export_all(sample("deit").h5, [("tflite", options)], tmp_path)
    found = open_artifact(made.path).measured
    assert found == made.report.measurement
    assert (found.pictures, found.images) == (False, 4)
    assert "pictures" not in found.sentence


def test_files_that_do_not_tell_what_was_measured_open(exported, sample):
    """As those of older versions."""
    path = exported("tflite", "vit", precision="int8-dynamic")
    data = json.loads(describe_artifact(path).to_json())
    assert data.pop("measured")["images"] == 4
    assert Metadata.from_json(json.dumps(data), "here").measured is None


@pytest.mark.parametrize(
    "damage",
    [{"images": "x"}, {"cosine": None}, {"agreement": float("nan")}, {"relative": []}, 7],
    ids=str,
)
def test_damaged_measurements_are_refused(exported, damage):
    data = json.loads(
        describe_artifact(exported("tflite", "vit", precision="int8-dynamic")).to_json()
    )
    data["measured"] = data["measured"] | damage if isinstance(damage, dict) else damage
    with pytest.raises(ArtifactError) as caught:
        Metadata.from_json(json.dumps(data), "here")
    assert caught.value.where == "here"


def test_what_is_not_finite_survives_in_json():
    broken = measure(np.ones((16, 3)), np.full((16, 3), np.nan), classes=True)
    found = Measurement(16, True, broken)
    assert Measurement.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    assert not found.passed


def test_depth_is_compared_as_a_map() -> None:
    """Rows of zeros are equal, and maps of the same mean are not alike for that."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(5, 6, (3, 4, 7))
    depth[:, 1] = 0
    assert measure(depth, depth, classes=False, depth=True).cosine == 1
    other = depth.copy()
    other[:, [0, 2, 3]] = rng.uniform(5, 6, (3, 3, 7))
    rows = np.concatenate([depth[:, :1], other[:, :1]])
    assert measure(rows[:3], rows[3:], classes=False).cosine > 0.99
    assert measure(rows[:3], rows[3:], classes=False, depth=True).cosine < 0.9
    assert measure(depth, depth + 1, classes=False, depth=True).cosine < 0.95
    nothing = np.zeros((3, 4, 7))
    assert measure(nothing, nothing, classes=False, depth=True).cosine == 1


def test_outputs_that_metadata_cannot_hold_are_left_out() -> None:
    outputs = np.zeros((4, 1000, 700), np.float32)
    carried = _carried(outputs)
    assert carried is not None
    assert carried.shape == (2, 1000, 700)
    assert len(base64.b64encode(carried.tobytes())) < JSON_BYTES.allowed()
    assert _carried(np.zeros((4, 2000, 1001), np.float32)) is None


def test_percents_are_rounded_down() -> None:
    """So that what falls short does not look like enough."""
    said = Measurement(512, True, Difference(98.96, 1.0, 0.1, 0.1)).sentence
    assert said == "agrees on 98.9 % of 512 pictures (at least 99 asked)"
    assert "99.2 % of" in Measurement(512, True, Difference(99.2, 1.0, 0.1, 0.1)).sentence
    said = Measurement(20, True, Difference(None, 0.9999, 0.1, 0.1)).sentence
    assert said == "is similar by 99.9 % on 20 pictures (at least 99 asked)"


def test_a_model_that_is_not_of_rgb_cannot_be_calibrated(sample, pictures, tmp_path):
    options = ExportOptions(precision="int8", calibration=pictures)
    with pytest.raises(UsageError, match="1 channels"):
        export(sample("one channel").h5, ["tflite"], tmp_path, options)
    assert listing(tmp_path) == []


def with_outliers_in(tmp_path: Path, pictures: Path, precision: str, **outliers: float) -> Exported:
    """A ViT, on those pictures on which rounding to int8 alone cannot change its class."""
    family = small_vit(seed=1, depth=2)
    model, decided = tmp_path / "outlying.h5", tmp_path / "decided"
    write_h5(model, family.spec, with_outliers(family, **outliers))
    size, preparing = family.spec.config.image_size, family.spec.preprocessing
    images = np.stack([preprocess(load_image(p), size, preparing) for p in find_images(pictures)])
    logits = np.sort(family.logits(images))
    clear = logits[:, -1] - logits[:, -2] > 0.15 * np.abs(logits).max()
    assert clear.sum() >= 30
    decided.mkdir()
    for path in itertools.compress(find_images(pictures), clear):
        shutil.copy(path, decided)
    options = ExportOptions(precision=precision, calibration=decided)  # type: ignore[arg-type]  # a literal
    (exported,) = export_all(model, [("tflite", options)], tmp_path)
    images = calibration_images(decided, family.spec, False).held_out
    wide = open_artifact(export(model, ["tflite"], tmp_path)[0]).run(images)["logits"]
    got = open_artifact(exported.path).run(images)["logits"]
    assert measure(wide, got, classes=True) == exported.report.difference
    return exported


def check_spared(exported: Exported, expected: set[str]) -> None:
    """Exactly these layers are in float, wholly so, and that is what makes both agree."""
    report = exported.report
    assert {cost.layer for cost in report.in_float} == expected
    assert {cost.operation for cost in report.in_float} == {"FULLY_CONNECTED"}
    found = operations(exported.path)
    for linear in (op for op in found if op.name == "FULLY_CONNECTED"):
        spared = layer_of(linear) in expected
        assert (kinds([*linear.inputs, *linear.outputs]) == {schema.TensorType.FLOAT32}) == spared
    # a constant: GPU delegates refuse a layer whose weights come out of a DEQUANTIZE from int8
    made = {tensor.name for op in found for tensor in op.outputs}
    assert not made & {f"{layer}.weight".encode() for layer in expected}
    assert exported.passed
    assert report.difference.agreement == 100
    assert min(cost.relative for cost in report.in_float) > 5 * report.difference.relative


@pytest.mark.parametrize("precision", PRECISIONS)
def test_where_weights_have_outliers_that_layer_stays_in_float(tmp_path, pictures, precision):
    # GELU makes the value before them zero
    exported = with_outliers_in(tmp_path, pictures, precision, weight=1000.0, bias=-9.0)
    check_spared(exported, {"blocks.1.mlp.fc2"})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_where_activations_have_outliers_layers_that_quantise_them_stay_in_float(
    tmp_path, pictures, precision
):
    """The one that takes them; and in int8, whose layers give int8 too, the one that gives them."""
    exported = with_outliers_in(tmp_path, pictures, precision, weight=0.0, bias=1000.0)
    check_spared(
        exported,
        {"blocks.1.mlp.fc2"} | ({"blocks.1.mlp.fc1"} if precision == "int8" else set()),
    )


def test_of_files_that_fall_short_the_one_that_agrees_best_is_kept():
    """Among equals the one that is similar; but nothing is spared for more similarity than enough,
    as where one of 40 pictures lies between two classes."""

    def rank(agreement: float, cosine: float) -> tuple[float, float]:
        return rank_of(Difference(agreement, cosine, max_abs=1.0, relative=0.1))

    assert rank(97.5, 0.96) < rank(97.5, 0.9997) == rank(97.5, 0.9999) < rank(98, 0.96)
    features = [rank_of(Difference(None, cosine, 1.0, 0.1)) for cosine in (0.9, 0.95, 0.98)]
    assert features == sorted(set(features))


def test_a_file_beyond_the_formats_limit_can_be_read(exported, sample, tmp_path):
    """As the float32 file of a ViT-H/14 is on the way to int8."""
    tree = tree_of(exported("tflite", "vit").read_bytes())
    far = {
        tensor.buffer: Content(4 * int(np.prod(tensor.shape)), partial(np.copy, data))
        for tensor in tree.subgraphs[0].tensors
        if is_matrix(tensor) and (data := tree.buffers[tensor.buffer].data) is not None
    }
    for index in far:
        tree.buffers[index].data = None
    write(tmp_path / "far.tflite", TfliteModel(tree, far), beyond_limit=True)
    model = schema.Model.GetRootAs((tmp_path / "far.tflite").read_bytes())
    assert all(model.Buffers(i).Offset() > 1 and not model.Buffers(i).DataLength() for i in far)
    assert len(far) == 13
    logits = open_artifact(tmp_path / "far.tflite").run(sample("vit").images)["logits"]
    assert relative(sample("vit").timm_logits, logits) <= 1e-5
