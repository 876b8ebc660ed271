"""A .tflite file is an ordinary one that also says what it is."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter
from exporting import relative
from families import small_vit

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.vit import VIT
from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters import ExportOptions, open_artifact
from vit_convert.exporters.tflite import TFLITE, flatbuffer
from vit_convert.exporters.tflite.flatbuffer import read_entry
from vit_convert.exporters.tflite.writer import TfliteWriter


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
    data = json.loads(read_entry(path))
    assert data["target"] == "tflite"
    assert data["spec"] == json.loads(json.dumps(sample("vit").keras.spec.to_dict()))


def test_reading_metadata_leaves_the_weights_of_large_files_on_the_disk(exported, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(exported("tflite", "vit").read_bytes())
    with path.open("r+b") as file:
        file.truncate(400_000_000)  # a sparse file: it takes no place on the disk
    read_entry(path)  # imports
    tracemalloc.start()
    read_entry(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


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


def test_data_lie_behind_the_tables_and_aligned(exported):
    content = exported("tflite", "vit", precision="float16").read_bytes()
    model = schema.Model.GetRootAs(content)
    starts = [
        model.Buffers(i)._tab.Vector(4)
        for i in range(model.BuffersLength())
        if model.Buffers(i).DataLength()
    ]
    assert len(starts) > 20
    assert all(start % 64 == 0 for start in starts)
    assert min(starts) > max(model.Buffers(i)._tab.Pos for i in range(model.BuffersLength()))


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_other_readers_read_it(sample, exported):
    model, path = sample("cait"), exported("tflite", "cait")
    expected = model.timm_logits[:1]
    interpreter = tf.lite.Interpreter(model_content=path.read_bytes())
    got = interpreter.get_signature_runner("serving_default")(images=model.images[:1])["logits"]
    assert relative(expected, got) <= 1e-4
    compiled = CompiledModel.from_file(str(path))
    (images,), (logits,) = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    images.write(model.images[:1])
    compiled.run_by_index(0, [images], [logits])
    assert relative(expected, logits.read(7, np.float32)[None]) <= 1e-4


def test_the_signature_has_nothing_but_images_and_what_was_asked_for(exported):
    model = schema.ModelT.InitFromPackedBuf(exported("tflite", "deit").read_bytes())
    (signature,), (main,) = model.signatureDefs, model.subgraphs
    assert [(e.name, e.tensorIndex) for e in signature.inputs] == [(b"images", main.inputs[0])]
    assert [(e.name, e.tensorIndex) for e in signature.outputs] == [(b"logits", main.outputs[0])]
    assert (len(main.inputs), len(main.outputs)) == (1, 1)


def test_weights_bear_their_pytorch_names(exported):
    model = schema.ModelT.InitFromPackedBuf(exported("tflite", "vit").read_bytes())
    names = {tensor.name.decode() for tensor in model.subgraphs[0].tensors}
    assert {"blocks.1.attn.q.weight", "blocks.0.mlp.fc2.weight", "head.weight"} <= names
    # and what a layer gives bears the name of its module
    assert {"blocks.1/attn/q", "blocks.0/mlp/fc2", "head"} <= names


@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
def test_a_few_weights_are_in_memory_at_a_time(tmp_path, precision):
    """Of a model of 24 equal blocks, the largest weight of which is a 72nd of all."""
    spec = small_vit(depth=24, embed_dim=128, mlp_dim=512).spec
    weights = {p.name: np.ones(p.shape, np.float32) for p in spec.parameters()}
    total = sum(array.nbytes for array in weights.values())
    model = SimpleNamespace(spec=spec, weights=weights)
    writer = TfliteWriter(model, ExportOptions(precision=precision))
    writer.write(tmp_path / "first.tflite", precision)  # imports
    tracemalloc.start()
    writer.write(tmp_path / "model.tflite", precision)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "model.tflite").stat().st_size > total / 4.4
    assert peak < total / 4


def test_progress_of_writing_is_told(exported, tmp_path):
    content = exported("tflite", "vit").read_bytes()
    told: list[tuple] = []

    def progress(*what):
        told.append(what)

    model = flatbuffer.TfliteModel(flatbuffer.tree_of(content), {})
    flatbuffer.write(tmp_path / "m.tflite", model, False, progress)
    total = len(told) - 1
    assert total > 20
    assert told == [("writing tensors", done, total) for done in range(total + 1)]
    assert (tmp_path / "m.tflite").stat().st_size == len(content)


def test_a_model_beyond_the_formats_limit_is_refused(tmp_path):
    config = next(v.config for v in VIT.variants if v.name == "vit_huge_patch14_224")
    model = SimpleNamespace(spec=ModelSpec("vit", config), weights={})
    with pytest.raises(UsageError, match=r"2\.5. GB in float32") as caught:
        TFLITE.write(model, tmp_path / "huge_float32.tflite", ExportOptions(), print)
    assert caught.value.expected == (
        "a precision that fits: float16 (1.27 GB), int8-dynamic (0.67 GB), int8 (0.67 GB), "
        "int16x8 (0.67 GB)"
    )
    assert caught.value.hint == "--precision float16"
    assert not list(tmp_path.iterdir())
