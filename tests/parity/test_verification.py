"""`verify`, from files to a verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, PREPROCESSING, Family, small_cait, small_deit, small_vit
from PIL import Image

from vit_convert.architectures import Source
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.h5_file import write_h5
from vit_convert.conversion.pos_embed import resample_pos_embed
from vit_convert.errors import (
    ArtifactError,
    MissingDependencyError,
    UsageError,
    VitConvertError,
)
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.options import InputRange
from vit_convert.images.preprocessing import normalise
from vit_convert.parity.inputs import random_images, to_input_range
from vit_convert.parity.recorded import record_reference
from vit_convert.parity.references import LiveReference
from vit_convert.parity.report import columns, row, row_of_dict, rows
from vit_convert.parity.sources.timm_source import TorchReference, block_outputs
from vit_convert.parity.verify import verify, verify_artifact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds source.pth, model.h5 and reference.npz of a small ViT."""
    lay_out(small_vit(), tmp_path)
    return tmp_path


def lay_out(family: Family, folder: Path) -> None:
    torch.save(family.model.state_dict(), folder / "source.pth")
    write_h5(folder / "model.h5", family.spec, family.tensors())
    images = family.images()
    blocks = block_outputs(family.model, family.spec.block_names(), images[:1])
    record_reference(folder / "reference.npz", images, family.logits(images), blocks)


def write_mutated(family: Family, path: Path, name: str) -> None:
    """The Keras model of a family with one of its tensors negated."""
    tensors = family.tensors()
    tensors[name] = LazyTensor.of(name, -tensors[name].read())
    write_h5(path, family.spec, tensors)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_is_equal_to_its_checkpoint_and_to_its_recording(name: str, tmp_path: Path) -> None:
    lay_out(FAMILIES[name](), tmp_path)
    live = verify(tmp_path / "model.h5", source=tmp_path / "source.pth")
    recorded = verify(tmp_path / "model.h5", reference=tmp_path / "reference.npz")
    for result in (live, recorded):
        assert result.passed
        assert result.comparison.relative < 2e-6
        assert result.num_images == 4
        assert (result.kind, result.output, result.where, result.note) == (
            "keras",
            "logits",
            "",
            "",
        )
        assert result.size == (tmp_path / "model.h5").stat().st_size
        assert result.seconds > 0
    import timm

    versions = f"timm {timm.__version__} on PyTorch {torch.__version__}, float32"
    assert live.reference == f"source.pth in {versions}"
    assert recorded.reference == "logits recorded in reference.npz"


def test_a_difference_is_found_and_located_both_ways(folder: Path) -> None:
    write_mutated(small_vit(), folder / "model.h5", "blocks.1.mlp.fc2.weight")
    live = verify(folder / "model.h5", source=folder / "source.pth")
    recorded = verify(folder / "model.h5", reference=folder / "reference.npz")
    for result in (live, recorded):
        assert not result.passed
        assert result.first_difference is not None
        assert result.first_difference.name == result.where == "blocks.1"


def test_a_generous_tolerance_lets_it_pass_and_a_strict_one_does_not(folder: Path) -> None:
    write_mutated(small_vit(), folder / "model.h5", "blocks.1.mlp.fc2.weight")
    assert verify(folder / "model.h5", source=folder / "source.pth", tolerance=10).passed
    write_h5(folder / "model.h5", small_vit().spec, small_vit().tensors())
    strict = verify(folder / "model.h5", source=folder / "source.pth", tolerance=1e-12)
    assert not strict.passed
    assert strict.comparison.tolerance == 1e-12


def test_a_nested_checkpoint_is_read_by_its_key(folder: Path) -> None:
    good, bad = small_vit(seed=0).model, small_vit(seed=1).model
    nested = {"model": bad.state_dict(), "ema": good.state_dict()}
    torch.save(nested, folder / "source.pth")
    assert verify(folder / "model.h5", source=folder / "source.pth", key="ema").passed
    assert not verify(folder / "model.h5", source=folder / "source.pth", key="model").passed


@pytest.mark.parametrize(
    "given", [{}, {"source": "a.pth", "reference": "b.npz"}], ids=["none", "two"]
)
def test_there_must_be_one_thing_to_compare_with(given: dict[str, str], folder: Path) -> None:
    with pytest.raises(UsageError) as raised:
        verify(folder / "model.h5", **given)
    assert raised.value.expected == "either --source CHECKPOINT or --reference FILE.npz"


@pytest.mark.parametrize("option", ["images", "key"])
def test_options_of_the_source_do_not_go_with_a_recording(option: str, folder: Path) -> None:
    with pytest.raises(UsageError) as raised:
        verify(folder / "model.h5", reference=folder / "reference.npz", **{option: "x"})
    assert raised.value.where == f"--{option}"


def test_files_that_are_missing_or_broken_are_refused(folder: Path) -> None:
    (folder / "broken.npz").write_text("no zip")
    with pytest.raises(ArtifactError, match=r"broken\.npz"):
        verify(folder / "model.h5", reference=folder / "broken.npz")
    with pytest.raises(ArtifactError, match=r"none\.h5"):
        verify(folder / "none.h5", reference=folder / "reference.npz")
    with pytest.raises(VitConvertError, match=r"none\.pth"):
        verify(folder / "model.h5", source=folder / "none.pth")


def test_the_checkpoint_of_another_model_is_refused(folder: Path) -> None:
    torch.save(small_vit(depth=2).model.state_dict(), folder / "other.pth")
    with pytest.raises(UsageError, match="not those of the converted model"):
        verify(folder / "model.h5", source=folder / "other.pth")
    torch.save(small_cait().model.state_dict(), folder / "other.pth")
    with pytest.raises(VitConvertError, match="CaiT"):
        verify(folder / "model.h5", source=folder / "other.pth")


def test_images_recorded_at_another_size_are_refused(folder: Path) -> None:
    images = small_vit().images()[:, :16]
    record_reference(folder / "reference.npz", images, np.ones((4, 7)))
    with pytest.raises(UsageError, match=r"\(16, 50, 3\).*\(24, 50, 3\)"):
        verify(folder / "model.h5", reference=folder / "reference.npz")


def test_logits_of_another_number_of_classes_never_pass(folder: Path) -> None:
    family = small_vit()
    record_reference(folder / "reference.npz", family.images(), np.ones((4, 8)))
    result = verify(folder / "model.h5", reference=folder / "reference.npz")
    assert not result.passed
    assert result.comparison.problem == "shape (4, 7) instead of (4, 8)"


def test_pictures_of_a_folder_are_prepared_as_the_checkpoint_wants(folder: Path) -> None:
    pictures = folder / "pictures"
    (pictures / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(17):  # more than a batch
        pixels = rng.integers(0, 256, (40, 60 + i, 3), np.uint8)
        Image.fromarray(pixels).save(pictures / "sub" / f"{i:02}.png")
    result = verify(folder / "model.h5", source=folder / "source.pth", images=pictures)
    assert result.passed
    assert result.num_images == 17
    with pytest.raises(VitConvertError, match="none: cannot be read: No such file"):
        verify(folder / "model.h5", source=folder / "source.pth", images=folder / "none")


def test_without_recorded_blocks_the_place_is_not_known(folder: Path) -> None:
    family = small_vit()
    write_mutated(family, folder / "model.h5", "head.weight")
    record_reference(folder / "bare.npz", family.images(), family.logits(family.images()))
    result = verify(folder / "model.h5", reference=folder / "bare.npz")
    assert not result.passed
    assert result.first_difference is None
    assert result.where == "not known: no blocks were recorded; --source CHECKPOINT tells"


def test_blocks_of_images_that_agree_do_not_blame_the_head(folder: Path) -> None:
    family = small_vit()
    images = family.images()
    logits = family.logits(images)
    logits[3] += 1
    blocks = block_outputs(family.model, family.spec.block_names(), images[:1])
    record_reference(folder / "reference.npz", images, logits, blocks)
    result = verify(folder / "model.h5", reference=folder / "reference.npz")
    assert not result.passed
    assert result.where.startswith("not known: the images whose blocks were recorded agree")


def test_an_artifact_that_shows_no_blocks_says_so(folder: Path) -> None:
    family = small_vit()
    write_mutated(family, folder / "model.h5", "head.weight")
    artifact = replace(open_artifact(folder / "model.h5"), blocks=None)
    model = TorchReference(family.spec, family.tensors())
    result = verify_artifact(artifact, LiveReference(model, family.images()))
    assert not result.passed
    assert result.where.startswith("not known: this kind of artifact does not show its blocks")


def test_the_place_is_looked_for_in_the_image_that_is_furthest_off(folder: Path) -> None:
    family = small_vit()
    artifact = open_artifact(folder / "model.h5")
    worst = family.images(40)[33]
    seen: list[np.ndarray] = []

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        logits = artifact.run(images)["logits"]
        return {"logits": logits + np.array([(image == worst).all() for image in images])[:, None]}

    def blocks(images: np.ndarray) -> dict[str, np.ndarray]:
        assert artifact.blocks is not None
        seen.append(images)
        return artifact.blocks(images)

    model = TorchReference(family.spec, family.tensors())
    broken = replace(artifact, run=run, blocks=blocks)
    result = verify_artifact(broken, LiveReference(model, family.images(40)))
    assert not result.passed
    assert result.where == "after the last block: the final norm, pooling or the head"
    np.testing.assert_array_equal(seen, [worst[None]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_never_pass(value: float, folder: Path) -> None:
    family = small_vit()
    artifact = open_artifact(folder / "model.h5")

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": np.full((len(images), 7), value, np.float32)}

    model = TorchReference(family.spec, family.tensors())
    broken = replace(artifact, run=run)
    result = verify_artifact(broken, LiveReference(model, family.images()), tolerance=1e9)
    assert not result.passed
    assert result.comparison.problem == "NaN or infinity in the artifact's output"
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("build", [small_vit, small_deit, small_cait])
@pytest.mark.parametrize("method", ["antialias", "bicubic"])
def test_a_resized_model_is_compared_with_positions_that_pytorch_resampled(
    build: Callable[..., Family], method, tmp_path: Path
) -> None:
    family = build(image_size=(32, 32), patch_size=(8, 8))
    torch.save(family.model.state_dict(), tmp_path / "source.pth")
    source = Source(changed=("pos_embed",))
    spec = replace(family.spec, pos_embed=method, source=source).with_config(image_size=(24, 56))
    arrays = family.arrays()
    prefix = arrays["pos_embed"].shape[1] - 16
    arguments = (arrays["pos_embed"], (4, 4), (3, 7), prefix)
    for used in ("antialias", "bicubic"):
        arrays["pos_embed"] = resample_pos_embed(*arguments, used)
        write_h5(tmp_path / "model.h5", spec, {k: LazyTensor.of(k, v) for k, v in arrays.items()})
        result = verify(tmp_path / "model.h5", source=tmp_path / "source.pth")
        assert result.passed is (used == method)
        assert result.where == ("" if used == method else "embeddings")


def exported(folder: Path, target: str, **options) -> Path:
    (path,) = export(folder / "model.h5", [target], folder, ExportOptions(**options))
    return path


EXPORTS = {
    "SavedModel": ("saved_model", {}),
    "SavedModel that takes pixels": ("saved_model", {"embed_preprocessing": True}),
    "SavedModel of probabilities": ("saved_model", {"output": "softmax"}),
    "SavedModel of features": ("saved_model", {"output": "features"}),
    "Hub": ("hub", {}),
    "SavedModel of tokens": ("saved_model", {"output": "tokens"}),
    "Hub of features": ("hub", {"output": "features"}),
    "Hub of embeddings": ("hub", {"output": "embedding"}),
    "TFLite": ("tflite", {}),
    "TFLite that takes uint8": ("tflite", {"embed_preprocessing": True}),
    "TFLite float16": ("tflite", {"precision": "float16"}),
    "TFLite of embeddings": ("tflite", {"output": "embedding"}),
    "TFLite of tokens": ("tflite", {"output": "tokens"}),
    "TFLite of a block's tokens": ("tflite", {"output": "tokens", "block": 0}),
    "TFLite float16 of probabilities": ("tflite", {"precision": "float16", "output": "softmax"}),
}


@pytest.mark.parametrize("what", EXPORTS)
def test_every_kind_of_artifact_is_compared_with_what_it_should_give(
    what: str, folder: Path
) -> None:
    target, options = EXPORTS[what]
    path = exported(folder, target, **options)
    result = verify(path, source=folder / "source.pth")
    assert result.passed
    assert (result.kind, result.note) == (target, "")
    assert result.output == options.get("output", "logits")


@pytest.mark.parametrize(
    "what", ["SavedModel of features", "Hub", "TFLite float16 of probabilities"]
)
def test_a_difference_is_located_in_every_kind_of_artifact(what: str, folder: Path) -> None:
    write_mutated(small_vit(), folder / "model.h5", "blocks.1.attn.proj.bias")
    target, options = EXPORTS[what]
    result = verify(exported(folder, target, **options), source=folder / "source.pth")
    assert not result.passed
    assert result.where == "blocks.1"


def test_features_need_the_source(folder: Path) -> None:
    path = exported(folder, "saved_model", output="features")
    with pytest.raises(UsageError, match="the artifact gives features") as raised:
        verify(path, reference=folder / "reference.npz")
    assert raised.value.hint == "--source CHECKPOINT"


def test_a_recording_of_pixels_is_given_back_as_pixels(folder: Path) -> None:
    family = small_vit()
    pixels = np.random.default_rng(0).integers(0, 256, family.images().shape, np.uint8)
    images = normalise(pixels, PREPROCESSING)
    record_reference(folder / "reference.npz", images, family.logits(images))
    path = exported(folder, "tflite", embed_preprocessing=True)
    result = verify(path, reference=folder / "reference.npz")
    assert result.passed
    assert result.note == ""


def test_images_that_are_no_pixels_are_noted_where_pixels_are_wanted(folder: Path) -> None:
    path = exported(folder, "tflite", embed_preprocessing=True)
    result = verify(path, reference=folder / "reference.npz")
    assert not result.passed
    assert result.note.startswith("the images are no whole pixels in 0..255")


def taking(input_range: InputRange) -> Artifact:
    return Artifact(
        Path("x"), "hub", small_vit().spec, ExportOptions(), input_range, run=lambda images: {}
    )


def test_normalised_pixels_become_what_an_artifact_takes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 50, 3), np.uint8)
    pixels[0, 0, :2, 0] = 0, 255
    images = normalise(pixels, PREPROCESSING)
    np.testing.assert_array_equal(to_input_range(images, taking("normalised"))[0], images)
    whole, note = to_input_range(images, taking("0..255"))
    np.testing.assert_array_equal(whole, pixels)  # exactly
    unit, _ = to_input_range(images, taking("0..1"))
    np.testing.assert_allclose(unit, pixels / 255, rtol=0, atol=1e-6)
    assert (whole.dtype, unit.dtype, note) == (np.float32, np.float32, "")


@pytest.mark.parametrize("input_range", ["normalised", "0..255", "0..1"])
def test_random_images_are_always_the_same_and_lie_in_the_range(input_range: InputRange) -> None:
    artifact = taking(input_range)
    images = random_images(artifact)
    np.testing.assert_array_equal(images, random_images(artifact))
    assert (images.shape, images.dtype) == ((4, 24, 50, 3), np.float32)
    inputs, note = to_input_range(images, artifact)
    assert note == ""
    low, high = {"normalised": (-6, 6), "0..255": (0, 255), "0..1": (-1e-6, 1 + 1e-6)}[input_range]
    assert low <= inputs.min() < inputs.max() <= high
    assert inputs.max() - inputs.min() > 0.6 * (high - low)


def test_the_report_says_what_was_found(folder: Path) -> None:
    passed = verify(folder / "model.h5", reference=folder / "reference.npz")
    write_mutated(small_vit(), folder / "model.h5", "blocks.1.mlp.fc2.weight")
    failed = verify(folder / "model.h5", reference=folder / "reference.npz")
    table = [dict(zip(columns(), line, strict=True)) for line in rows([passed, failed])]
    assert [line["verdict"] for line in table] == ["equal", "DIFFERS: blocks.1"]
    assert table[0]["artifact"] == "model.h5"
    assert table[0]["size"] == f"{passed.size / 1e6:.2f} MB"
    assert table[0]["max |difference|"] == f"{passed.comparison.max_abs:.1e}"
    assert table[0]["relative difference"] == f"{passed.comparison.relative:.1e}"
    assert table[0]["top-1 agreement"] == "100.0 %"
    for result in (passed, failed):
        data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert data["passed"] is result.passed
        assert data["artifact"] == str(folder / "model.h5")
        assert data["comparison"]["relative"] == result.comparison.relative
        assert row_of_dict(data) == row(result)
    assert failed.to_dict()["first_difference"]["name"] == "blocks.1"


def test_the_report_says_why_numbers_are_missing(folder: Path) -> None:
    record_reference(folder / "reference.npz", small_vit().images(), np.ones((4, 8)))
    result = verify(folder / "model.h5", reference=folder / "reference.npz")
    assert row(result)[2:] == ("-", "-", "-", "DIFFERS: shape (4, 7) instead of (4, 8)")


def test_features_have_no_top1_agreement(folder: Path) -> None:
    result = verify(
        exported(folder, "saved_model", output="features"), source=folder / "source.pth"
    )
    assert row(result)[4] == "-"


def test_a_recording_is_verified_without_pytorch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "timm"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    assert verify(folder / "model.h5", reference=folder / "reference.npz").passed
    with pytest.raises(MissingDependencyError):
        verify(folder / "model.h5", source=folder / "source.pth")


def test_importing_the_parity_package_imports_no_framework() -> None:
    code = (
        "import sys, vit_convert.parity.report, vit_convert.parity.verify;"
        "print({'torch', 'timm', 'tensorflow', 'tf_keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
