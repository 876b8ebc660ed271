"""Every .tflite file carries TFLite's standard metadata, as tflite-support's own writer would."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from exporting import relative
from families import PREPROCESSING, small_cait, small_vit

from vit_convert.architectures import Preprocessing
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export, export_all, open_artifact
from vit_convert.exporters.tflite.model_metadata import caveats
from vit_convert.images.preprocessing import normalise

GOLDEN = Path(__file__).parents[1] / "goldens/tflite_metadata/image_classifier.tflitemeta"
LABELS = tuple(f"kläss {i}" for i in range(7))
# The part of metadata_schema.fbs that is used: fields in their order; a union is two of them.
SCHEMA: dict[str, list[tuple[str, Any]]] = {
    "Model": [
        ("name", str),
        ("description", str),
        ("version", str),
        ("subgraphs", ["SubGraph"]),
        ("author", str),
        ("license", str),
        ("associated_files", ["File"]),
        ("min_parser_version", str),
    ],
    "SubGraph": [
        ("name", str),
        ("description", str),
        ("inputs", ["Tensor"]),
        ("outputs", ["Tensor"]),
    ],
    "Tensor": [
        ("name", str),
        ("description", str),
        ("dimension_names", [str]),
        ("content", "Content"),
        ("process_units", ["ProcessUnit"]),
        ("stats", "Stats"),
        ("associated_files", ["File"]),
    ],
    "Content": [("type", np.uint8), ("properties", "Properties")],
    "Properties": [("color_space", np.int8), ("default_size", "Size")],
    "Size": [("width", np.uint32), ("height", np.uint32)],
    "ProcessUnit": [("type", np.uint8), ("options", "Normalization")],
    "Normalization": [("mean", [np.float32]), ("std", [np.float32])],
    "Stats": [("max", [np.float32]), ("min", [np.float32])],
    "File": [("name", str), ("description", str), ("type", np.int8)],
}


def decoded(content: bytes) -> dict[str, Any]:
    assert flatbuffers.util.BufferHasIdentifier(content, 0, b"M001")
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)
    return _table(flatbuffers.table.Table(content, root), "Model")


def _table(table: Any, name: str) -> dict[str, Any]:
    found = {}
    for slot, (field, kind) in enumerate(SCHEMA[name]):
        offset = table.Offset(4 + 2 * slot)
        if offset:
            found[field] = _value(table, offset + table.Pos, kind)
    return found


def _value(table: Any, place: int, kind: Any) -> Any:
    if kind is str:
        return table.String(place).decode()
    if isinstance(kind, str):
        return _table(flatbuffers.table.Table(table.Bytes, table.Indirect(place)), kind)
    if isinstance(kind, list):
        start, count = table.Vector(place - table.Pos), table.VectorLen(place - table.Pos)
        return [_value(table, start + 4 * i, kind[0]) for i in range(count)]
    return np.frombuffer(table.Bytes, kind, 1, place).item()


def metadata(path: Path) -> dict[str, Any]:
    model = schema.Model.GetRootAs(path.read_bytes())
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = (e for e in entries if e.Name() == b"TFLITE_METADATA")
    return decoded(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())


@pytest.fixture
def labelled(tmp_path):
    """family, options -> a .tflite file of it with labels"""

    def make(family, **options):
        spec = replace(family.spec, labels=LABELS)
        write_h5(tmp_path / "m.h5", spec, family.tensors())
        (path,) = export(tmp_path / "m.h5", ["tflite"], tmp_path, ExportOptions(**options), True)
        return path

    return make


def without_texts(value: Any) -> Any:
    """What metadata says to programs; floats rounded."""
    if isinstance(value, dict):
        texts = ("name", "description", "default_size")
        return {k: without_texts(v) for k, v in value.items() if k not in texts}
    if isinstance(value, list):
        return [without_texts(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def test_it_is_what_tflite_support_writes_for_an_image_classifier(labelled):
    own = metadata(labelled(small_vit(depth=1), output="softmax"))
    golden = decoded(GOLDEN.read_bytes())
    assert without_texts(own["subgraphs"]) == without_texts(golden["subgraphs"])
    for side in ("inputs", "outputs"):
        assert len(own["subgraphs"][0][side]) == 1
    assert own["min_parser_version"] == "1.0.0"


def test_it_names_the_model_its_input_and_its_labels(labelled):
    own = metadata(labelled(small_cait(depth=1)))
    (graph,) = own["subgraphs"]
    (images,), (logits,) = graph["inputs"], graph["outputs"]
    assert own["name"] == "CaiT"
    assert (images["name"], logits["name"]) == ("images", "logits")
    assert images["content"]["properties"]["default_size"] == {"width": 50, "height": 24}
    assert logits["associated_files"][0]["name"] == "labels.txt"
    assert "stats" not in logits


def test_normalising_by_it_gives_the_models_input(labelled):
    """As Task Library does: (pixel - mean) / std for pixels in 0..255."""
    path = labelled(small_vit(depth=1))
    (images,) = metadata(path)["subgraphs"][0]["inputs"]
    options = images["process_units"][0]["options"]
    pixels = np.random.default_rng(0).integers(0, 256, (24, 50, 3), np.uint8)
    normal = (pixels - np.array(options["mean"])) / np.array(options["std"])
    np.testing.assert_allclose(normal, normalise(pixels, PREPROCESSING), atol=1e-5)


def test_embedded_preprocessing_leaves_nothing_to_normalise(labelled):
    (graph,) = metadata(labelled(small_vit(depth=1), embed_preprocessing=True))["subgraphs"]
    (images,) = graph["inputs"]
    assert "process_units" not in images
    assert images["stats"] == {"max": [255.0], "min": [0.0]}


def test_pixels_that_are_floats_are_left_as_they_are_and_libraries_are_told_so(labelled):
    """MediaPipe refuses a float input without it; see scripts/check_mediapipe."""
    path = labelled(small_vit(depth=1), embed_preprocessing=True, input_type="float32")
    (images,) = metadata(path)["subgraphs"][0]["inputs"]
    (unit,) = images["process_units"]
    assert unit["options"] == {"mean": [0.0], "std": [1.0]}
    assert images["stats"] == {"max": [255.0], "min": [0.0]}
    assert images["description"].endswith("0 to 255.")


def test_one_channel_is_grey_and_its_normalisation_unknown(labelled):
    (graph,) = metadata(labelled(small_vit(depth=1, in_channels=1)))["subgraphs"]
    (images,) = graph["inputs"]
    assert images["content"]["properties"]["color_space"] == 2
    assert not {"process_units", "stats"} & set(images)


def test_outputs_are_described_in_the_order_of_the_graph(labelled):
    path = labelled(small_cait(depth=2), attention=True)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    names = {e.tensorIndex: e.name.decode() for e in model.signatureDefs[0].outputs}
    (graph,) = metadata(path)["subgraphs"]
    described = [output["name"] for output in graph["outputs"]]
    assert described == [names[i] for i in model.subgraphs[0].outputs]
    with_labels = [o["name"] for o in graph["outputs"] if "associated_files" in o]
    assert with_labels == ["output_1"]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
def test_labels_are_a_file_in_a_zip_behind_the_model(labelled, precision):
    path = labelled(small_vit(depth=1), precision=precision)
    (output,) = metadata(path)["subgraphs"][0]["outputs"]
    assert output["associated_files"][0]["name"] == "labels.txt"
    with zipfile.ZipFile(path) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode().splitlines() == list(LABELS)
        assert archive.testzip() is None


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_every_runtime_reads_the_model_before_the_zip(labelled):
    family = small_cait(depth=1)
    path, images = labelled(family), family.images(1)
    expected = family.logits(images)
    assert relative(expected, open_artifact(path).run(images)["logits"]) <= 1e-5
    interpreter = tf.lite.Interpreter(str(path))
    got = interpreter.get_signature_runner("serving_default")(images=images)["logits"]
    assert relative(expected, got) <= 1e-5
    compiled = CompiledModel.from_file(str(path))
    (entering,), (leaving,) = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    entering.write(images)
    compiled.run_by_index(0, [entering], [leaving])
    assert relative(expected, leaving.read(7, np.float32)[None]) <= 1e-5


def test_what_mediapipe_refuses_is_told_at_the_export(tmp_path):
    """scripts/check_mediapipe holds it against MediaPipe."""
    family = small_vit(depth=1)
    grey = Preprocessing((0.5, 0.5, 0.5), (0.3, 0.3, 0.3), "bicubic", 0.9)
    uneven = replace(grey, std=(0.3, 0.3, 0.31))
    one = small_vit(depth=1, in_channels=1).spec
    refused = [caveats(s, ExportOptions()) for s in (
        family.spec, replace(family.spec, preprocessing=uneven)
    )]  # fmt: skip
    for said in refused:
        assert "Per-channel image normalization is not available" in said[0]
        assert "--embed-preprocessing" in said[0]
    embedded = ExportOptions(embed_preprocessing=True)
    assert caveats(family.spec, embedded) == ()
    for spec in (replace(family.spec, preprocessing=grey), one):
        assert caveats(spec, ExportOptions()) == ()
    write_h5(tmp_path / "m.h5", family.spec, family.tensors())
    jobs = [("tflite", ExportOptions()), ("saved_model", ExportOptions())]
    tflite, saved_model = export_all(tmp_path / "m.h5", jobs, tmp_path)
    assert (tflite.caveats, saved_model.caveats) == (refused[0], ())


@pytest.mark.parametrize("options", [{"output": "features"}, {}])
def test_without_named_classes_there_is_no_zip(exported, labelled, options):
    path = labelled(small_vit(depth=1), **options) if options else exported("tflite", "vit")
    assert not zipfile.is_zipfile(path)
    (output,) = metadata(path)["subgraphs"][0]["outputs"]
    assert "associated_files" not in output


def test_the_same_model_gives_the_same_file(labelled):
    family = small_vit(depth=1)
    assert labelled(family).read_bytes() == labelled(family).read_bytes()
