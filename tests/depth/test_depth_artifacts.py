"""Every artifact of a model for depth or segmentation is right, whole on the GPU, and drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.schema_py_generated import TensorType
from click.testing import CliRunner
from depth_sources import own_segmentation
from families import channels_first
from pictures import paint
from PIL import Image
from test_depth_models import CASES

from vit_convert import predict_maps
from vit_convert.architectures import Overrides
from vit_convert.cli import cli
from vit_convert.conversion.files import torch2keras
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.exporters import ExportOptions, export, export_all, open_artifact
from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.flatbuffer import tree_of
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import RULES
from vit_convert.inference.evaluate import evaluate
from vit_convert.parity.compare import TOLERANCES
from vit_convert.parity.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore::vit_convert.errors.AssumptionWarning")
SEGMENTATION = "DINOv2 with its linear head"
WHOLE = ("Depth Anything", "DPT, class token added, batch norms", SEGMENTATION)
Made = tuple[Path, Path, Callable[[torch.Tensor], torch.Tensor]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Source, folder with its .h5, and model; each made once."""
    known: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in known:
            folder = tmp_path_factory.mktemp("made")
            if name == SEGMENTATION:
                source, model = own_segmentation(folder)
                size, forward = (20, 28), model
            else:
                make_model, size = CASES[name]
                built = make_model()
                source = folder / "source"
                built.save_pretrained(source)
                forward = lambda x: built(x).predicted_depth  # noqa: E731
            heads = {"num_heads": 3} if name == SEGMENTATION else {}
            torch2keras(source, folder / "m.h5", overrides=Overrides(image_size=size, **heads))
            known[name] = source, folder, forward
        return known[name]

    return make


def tflite(folder: Path, **options: Any) -> Path:
    return export(folder / "m.h5", ["tflite"], folder, ExportOptions(**options), force=True)[0]


@pytest.mark.parametrize("name", WHOLE)
def test_every_artifact_gives_what_the_library_gives(
    name: str, made: Callable[[str], Made]
) -> None:
    _, folder, forward = made(name)
    # TensorFlow takes half a minute to write one
    kinds = ["tflite"] if name.startswith("DPT") else ["tflite", "saved_model"]
    for path in export(folder / "m.h5", kinds, folder, force=True):
        artifact = open_artifact(path)
        shape = (2, *artifact.spec.config.image_size, 3)
        pictures = np.random.default_rng(0).standard_normal(shape, np.float32)
        with torch.inference_mode():
            expected = forward(channels_first(pictures)).numpy()
        ((output, got),) = artifact.run(pictures).items()
        assert output == artifact.output.name == ("segments" if got.ndim == 4 else "depth")
        assert got.shape == expected.shape == (2, *artifact.output.shape)
        assert np.abs(got - expected).max() < 1e-5 * np.ptp(expected)


def test_registers_are_no_patches(tmp_path: Path) -> None:
    source, model = own_segmentation(tmp_path, registers=3)
    torch2keras(source, tmp_path / "m.h5", overrides=Overrides(num_heads=3))
    artifact = open_artifact(tflite(tmp_path))
    assert artifact.spec.config.reg_tokens == 3
    shape = (2, *artifact.spec.config.image_size, 3)
    pictures = np.random.default_rng(0).standard_normal(shape, np.float32)
    with torch.inference_mode():
        expected = model(channels_first(pictures)).numpy()
    assert np.abs(artifact.first_output(pictures) - expected).max() < 1e-5 * np.ptp(expected)
    assert verify(artifact.path, source=source).comparison.passed


@pytest.mark.parametrize("name", CASES)
def test_a_file_has_no_form_that_phones_refuse(name: str, made: Callable[[str], Made]) -> None:
    _, folder, _ = made(name)
    graph = TfliteGraph(tflite(folder))
    assert {rule.name for rule in RULES if any(rule.check(graph))} == set()
    kinds = Counter(op.name for op in graph.operations)
    assert not kinds.keys() & {"TRANSPOSE_CONV", "STRIDED_SLICE", "GATHER"}
    assert kinds["PAD"] <= 2


@pytest.mark.parametrize("name", WHOLE)
def test_verify_holds_it_to_the_source_at_the_size_that_was_asked_for(
    name: str, made: Callable[[str], Made]
) -> None:
    source, folder, _ = made(name)
    result = verify(tflite(folder), source=source, profile=True)
    assert result.comparison.passed
    assert result.comparison.relative < 1e-5
    assert not result.has_classes
    assert result.profile is not None
    assert all(block.passed for block in result.profile.blocks)


@pytest.mark.parametrize("precision", ["float16", "int8-dynamic", "int8"])
@pytest.mark.parametrize("name", ["Depth Anything", SEGMENTATION])
def test_other_precisions_are_within_their_rounding(
    name: str, precision: Precision, made: Callable[[str], Made], tmp_path: Path
) -> None:
    source, folder, _ = made(name)
    calibration = paint(tmp_path / "pictures", 16) if precision == "int8" else None
    options = ExportOptions(precision=precision, calibration=calibration)
    (written,) = export_all(folder / "m.h5", [("tflite", options)], tmp_path)
    result = verify(written.path, source=source)
    assert result.comparison.passed
    assert result.comparison.tolerance == TOLERANCES[precision]
    assert result.comparison.relative > 1e-5
    if written.report:
        assert result.made_of is not None
        assert result.made_of.passed
        assert 99 < written.report.difference.score < 100
        assert written.passed


def test_layers_of_the_head_can_stay_in_float(made: Callable[[str], Made], tmp_path: Path) -> None:
    _, folder, _ = made("Depth Anything")
    options = ExportOptions(precision="int8-dynamic", keep_float=("dense_head.*",))
    (written,) = export_all(folder / "m.h5", [("tflite", options)], tmp_path)
    kept = {layer.layer for layer in written.report.in_float} if written.report else set()
    assert {"dense_head.resize.0.3", "dense_head.project.1", "dense_head.conv3"} <= kept
    tensors = tree_of(written.path.read_bytes()).subgraphs[0].tensors
    narrow = {t.name.decode() for t in tensors if t.type == TensorType.INT8}
    assert narrow
    assert not [name for name in narrow if name.startswith("dense_head")]


@pytest.mark.gpu
@pytest.mark.parametrize("name", WHOLE)
def test_it_is_whole_and_right_on_the_gpu(name: str, made: Callable[[str], Made]) -> None:
    source, folder, _ = made(name)
    result = verify(tflite(folder), source=source, delegate="gpu")
    assert result.gpu is not None
    assert result.gpu.on_gpu == result.gpu.operations
    assert result.comparison.relative < 1e-5


@pytest.mark.parametrize("delegate", ["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("band", [3, 7])
def test_large_maps_are_resized_in_bands(
    band: int,
    delegate: Any,
    made: Callable[[str], Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here small maps, in smaller bands."""
    source, folder, _ = made("Depth Anything")
    few = len(TfliteGraph(tflite(folder)).operations)
    monkeypatch.setattr("vit_convert.exporters.tflite.lowering.dense._BAND", band)
    (path,) = export(folder / "m.h5", ["tflite"], tmp_path)
    graph = TfliteGraph(path)
    assert len(graph.operations) > few + 20
    assert {rule.name for rule in RULES if any(rule.check(graph))} == set()
    assert verify(path, source=source, delegate=delegate).comparison.relative < 1e-5


def test_a_model_that_is_not_the_source_differs(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    source, folder, _ = made("Depth Anything")
    state = load_file(source / "model.safetensors")
    name = "neck.fusion_stage.layers.2.residual_layer1.convolution2.weight"
    save_file(state | {name: state[name].flip(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    result = verify(tflite(folder), source=tmp_path)
    assert not result.comparison.passed
    assert result.where == "after the last block: the final norm, pooling or the head"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise[::-1]).save(folder / "b" / "a.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("name", ["Depth Anything", SEGMENTATION])
def test_predict_draws_each_picture(
    name: str, made: Callable[[str], Made], photos: Path, tmp_path: Path
) -> None:
    _, folder, _ = made(name)
    file, out = tflite(folder), tmp_path / "maps"
    ran = CliRunner().invoke(cli, ["predict", str(file), str(photos), "-o", str(out), "--json"])
    assert ran.exception is None
    assert json.loads(ran.stdout)["unreadable"] == 1
    rows = json.loads((out / "maps.json").read_text())
    assert [row.get("drawn") for row in rows] == ["a.png", "a_2.png", None]
    assert "error" in rows[2]
    (found, other) = predict_maps(file, [photos / "a.png", photos / "b" / "a.png"])
    for mine, row in ((found, rows[0]), (other, rows[1])):
        np.testing.assert_array_equal(np.load(out / row["values"]), mine.values)
        drawn = Image.open(out / row["drawn"])
        assert drawn.size == (60, 40)
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(mine.drawn()))
    if name == SEGMENTATION:
        assert found.values.dtype == np.int32
        assert sum(share for _, share in found.shares) == pytest.approx(1)
        assert rows[0]["classes"]
    else:
        light = np.asarray(found.drawn(), np.float64).sum(axis=2)
        near = np.asarray(Image.fromarray(found.values).resize((60, 40), Image.Resampling.BILINEAR))
        assert np.corrcoef(light.ravel(), near.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "-o FOLDER"),
        (["-o", "maps", "--format", "csv"], "--format"),
        (["-o", "maps", "--resume"], "--resume"),
        (["-o", "missing/maps"], "does not exist"),
    ],
)
def test_options_that_mean_nothing_for_maps_are_errors(
    options: list[str],
    message: str,
    made: Callable[[str], Made],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tflite(made("Depth Anything")[1])
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(cli, ["predict", str(file), str(photos / "a.png"), *options])
    assert isinstance(ran.exception, VitConvertError)
    assert message in str(ran.exception)
    assert not (tmp_path / "maps").exists()


def test_maps_are_not_classes(made: Callable[[str], Made], photos: Path) -> None:
    for name in ("Depth Anything", SEGMENTATION):
        file = tflite(made(name)[1])
        with pytest.raises(UsageError, match="not classes"):
            evaluate(file, photos)
    with pytest.raises(UsageError, match="does not give that"):
        tflite(made("Depth Anything")[1], output="embedding")
