"""A .tflite file is an ordinary one that also says what it is."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from exporting import relative

from vit_convert.errors import ArtifactError
from vit_convert.exporters import open_artifact
from vit_convert.exporters.tflite.flatbuffer import read_entry


def test_litert_runs_its_signature(sample, exported):
    model = sample("vit")
    runner = Interpreter(str(exported("tflite", "vit"))).get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["images"]
    logits = runner(images=model.images[:1])["logits"]
    assert relative(model.timm_logits[:1], logits) <= 1e-4


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(None, [1, 24, 50, 3]), (3, [3, 24, 50, 3]), ("dynamic", [-1])]
)
def test_the_batch_is_as_asked_and_1_by_default(exported, batch_size, expected):
    interpreter = Interpreter(str(exported("tflite", "vit", batch_size=batch_size)))
    (images,) = interpreter.get_input_details()
    assert images["shape_signature"].tolist()[: len(expected)] == expected
    assert images["dtype"] == np.float32


def test_with_preprocessing_the_input_is_bytes(exported):
    (images,) = Interpreter(
        str(exported("tflite", "vit", embed_preprocessing=True))
    ).get_input_details()
    assert images["dtype"] == np.uint8


def test_float16_halves_the_weights(sample, exported):
    weights = sum(4 * int(np.prod(p.shape)) for p in sample("vit").keras.spec.parameters())
    wide = exported("tflite", "vit").stat().st_size
    narrow = exported("tflite", "vit", precision="float16").stat().st_size
    assert wide > weights
    assert 0.4 * weights < wide - narrow < 0.5 * weights


def test_names_tell_the_precision(exported):
    assert exported("tflite", "vit").name == "vit_float32.tflite"
    assert exported("tflite", "vit", precision="float16").name == "vit_float16.tflite"


def test_metadata_is_inside(sample, exported):
    path = exported("tflite", "vit")
    model = schema.Model.GetRootAs(path.read_bytes())
    names = [model.Metadata(i).Name() for i in range(model.MetadataLength())]
    assert b"vit_convert" in names
    assert b"min_runtime_version" in names
    data = json.loads(read_entry(path))
    assert data["target"] == "tflite"
    assert data["spec"] == json.loads(json.dumps(sample("vit").keras.spec.to_dict()))


def test_reading_metadata_leaves_the_weights_on_the_disk(exported):
    path = exported("tflite", "vit")
    read_entry(path)  # imports
    tracemalloc.start()
    read_entry(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_opening_gives_back_what_was_exported(sample, opened):
    artifact = opened("tflite", "vit", precision="float16")
    assert artifact.kind == "tflite"
    assert artifact.spec == sample("vit").keras.spec
    assert artifact.options.precision == "float16"


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(exported, tmp_path, share):
    data = exported("tflite", "vit").read_bytes()
    path = tmp_path / "model.tflite"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match="damaged"):
        open_artifact(path)
