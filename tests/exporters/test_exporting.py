"""Exporting writes everything or nothing, and opening knows what it opens."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exporting import relative

from vit_convert.errors import ArtifactError, OutputError, UsageError
from vit_convert.exporters import (
    TARGETS,
    ExportOptions,
    artifact_size,
    by_name,
    export,
    export_all,
    open_artifact,
)


def listing(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_targets():
    assert list(TARGETS) == ["keras", "saved_model", "hub", "tflite"]


def test_two_targets_of_one_name_are_refused():
    with pytest.raises(ValueError, match="'hub'"):
        by_name((TARGETS["hub"], TARGETS["tflite"], replace(TARGETS["keras"], name="hub")))


def test_all_targets_in_one_go(sample, tmp_path):
    steps: list[tuple[str, int, int]] = []
    half = ExportOptions(precision="float16")
    jobs = [(name, ExportOptions()) for name in ("saved_model", "hub", "tflite")]
    jobs.append(("tflite", half))

    def progress(step, done=0, total=0, part=0, parts=1, /):
        if not done:
            steps.append((step, part, parts))

    exported = export_all(sample("vit").h5, jobs, tmp_path, progress=progress)
    paths = [artifact.path for artifact in exported]
    assert all(artifact.passed and artifact.report is None for artifact in exported)
    names = ["vit_saved_model", "vit_hub", "vit_float32.tflite", "vit_float16.tflite"]
    assert [path.name for path in paths] == names
    assert listing(tmp_path) == sorted(names)
    assert [open_artifact(path).kind for path in paths] == [
        "saved_model",
        "hub",
        "tflite",
        "tflite",
    ]
    assert steps == [
        ("opening vit.h5", 0, 4),
        ("vit_saved_model: writing", 0, 4),
        ("vit_hub: writing", 1, 4),
        ("vit_float32.tflite: writing", 2, 4),
        ("vit_float32.tflite: writing tensors", 2, 4),
        ("vit_float16.tflite: writing", 3, 4),
        ("vit_float16.tflite: writing tensors", 3, 4),
    ]
    assert all(artifact_size(path) > 40_000 for path in paths)


def test_the_h5_is_an_artifact_too(sample):
    model = sample("vit")
    artifact = open_artifact(model.h5)
    assert artifact.kind == "keras"
    assert relative(model.timm_logits, artifact.run(model.images)["logits"]) <= 1e-5


def test_an_existing_artifact_is_kept(sample, tmp_path):
    (tmp_path / "vit_hub").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        export(sample("vit").h5, ["tflite", "hub"], tmp_path)
    assert listing(tmp_path) == ["vit_hub"]


def test_force_replaces(sample, tmp_path):
    (tmp_path / "vit_saved_model").mkdir()
    (tmp_path / "vit_float32.tflite").write_text("old")
    export(sample("vit").h5, ["saved_model", "tflite"], tmp_path, force=True)
    assert listing(tmp_path) == ["vit_float32.tflite", "vit_saved_model"]
    assert open_artifact(tmp_path / "vit_saved_model").kind == "saved_model"
    assert open_artifact(tmp_path / "vit_float32.tflite").kind == "tflite"


def test_when_one_target_fails_nothing_is_written(sample, tmp_path):
    (tmp_path / "headless_hub").mkdir()
    (tmp_path / "headless_hub/old").write_text("kept")
    (tmp_path / "headless_hub/saved_model.pb").touch()
    jobs = [("hub", ExportOptions()), ("tflite", ExportOptions(output="softmax"))]
    with pytest.raises(UsageError, match="no head"):
        export_all(sample("headless").h5, jobs, tmp_path, force=True)
    assert listing(tmp_path) == ["headless_hub"]
    assert listing(tmp_path / "headless_hub") == ["old", "saved_model.pb"]


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError, tf.errors.UnknownError])
def test_a_full_disk_is_told_as_such(sample, tmp_path, monkeypatch, error):
    def save(*args, **kwargs):
        raise error(None, None, "variables/x; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", save)
    with pytest.raises(OutputError, match="no space left"):
        export(sample("vit").h5, ["saved_model"], tmp_path)
    assert listing(tmp_path) == []


def test_a_full_disk_is_told_as_such_for_tflite(sample, tmp_path, monkeypatch):
    ordinary = Path.open

    def opened(self, mode="r", **options):
        if mode == "wb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return ordinary(self, mode, **options)

    monkeypatch.setattr("pathlib.Path.open", opened)
    with pytest.raises(OutputError, match="no space left"):
        export(sample("vit").h5, ["tflite"], tmp_path)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["keras", "onnx"])
def test_other_targets_are_refused(sample, tmp_path, name):
    with pytest.raises(UsageError, match="saved_model, hub, tflite"):
        export(sample("vit").h5, [name], tmp_path)


def test_the_same_file_twice_is_refused(sample, tmp_path):
    with pytest.raises(UsageError, match="twice"):
        export(sample("vit").h5, ["tflite", "tflite"], tmp_path)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "options"),
    [("hub", {}), ("tflite", {"embed_preprocessing": True})],
)
def test_only_rgb_can_be_normalised(sample, tmp_path, target, options):
    with pytest.raises(UsageError, match="channels"):
        export(sample("one channel").h5, [target], tmp_path, ExportOptions(**options))
    assert listing(tmp_path) == []


def test_images_of_one_channel_are_exported_as_they_are(sample, opened):
    model = sample("one channel")
    logits = opened("tflite", "one channel").run(model.images)["logits"]
    assert relative(model.timm_logits, logits) <= 1e-5


def assert_refused(path, *words):
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path)
    assert caught.value.where == str(path)
    assert caught.value.expected
    for word in words:
        assert word in str(caught.value)


def test_a_missing_path_is_refused(tmp_path):
    assert_refused(tmp_path / "nothing", "no such file")


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04 and so on", b"\x1c\x00\x00\x00TFL"])
def test_an_unknown_file_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert_refused(tmp_path / "file", "SavedModel", "TFLite", "torch2keras")


def test_an_unknown_folder_is_refused(tmp_path):
    assert_refused(tmp_path, "is no artifact")


def test_a_foreign_saved_model_is_refused(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec((), tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "foreign"))
    assert_refused(tmp_path / "foreign", "is a SavedModel, but none that vit-convert wrote")


def test_a_foreign_tflite_file_is_refused(tmp_path):
    function = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec((1,), tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    (tmp_path / "foreign.tflite").write_bytes(converter.convert())
    assert_refused(
        tmp_path / "foreign.tflite", "is a .tflite file, but none that vit-convert wrote"
    )


@pytest.mark.parametrize("target", ["saved_model", "hub"])
@pytest.mark.parametrize("victim", ["saved_model.pb", "variables/variables.index"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_damaged_module_is_refused(exported, tmp_path, target, victim, damage):
    path = tmp_path / "module"
    shutil.copytree(exported(target, "vit"), path)
    data = (path / victim).read_bytes()
    (path / victim).unlink()
    if damage != "missing":
        (path / victim).write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    assert_refused(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"target": "hub"}', "\x00"])
def test_damaged_metadata_is_refused(exported, tmp_path, text):
    path = tmp_path / "module"
    shutil.copytree(exported("hub", "vit"), path)
    (path / "assets.extra/vit_convert.json").write_text(text)
    assert_refused(path, "metadata")


def test_any_input_dtype_of_images_runs(sample, opened):
    model = sample("vit")
    for target in ("saved_model", "tflite"):
        logits = opened(target, "vit").run(model.images.astype(np.float64))["logits"]
        assert relative(model.timm_logits, logits) <= 1e-5
