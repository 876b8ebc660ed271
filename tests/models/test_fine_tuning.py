"""Freezing, and LoRA: what is trained, what changes, and what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from families import FAMILIES, OPTIONS, Family

import vit_convert
from vit_convert.architectures import Source
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import UsageError
from vit_convert.models import ConvertedModel, build

ALL = FAMILIES | OPTIONS
HEADS = {"head", "head_dist"}


def loaded(family: Family) -> ConvertedModel:
    model = build(family.spec)
    model.assign(family.arrays())
    return model


def fitted(model: tf_keras.Model, family: Family, epochs: int = 2) -> None:
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.SGD(0.1), loss)
    model.fit(family.images(4), np.arange(4), epochs=epochs, verbose=0)


def changed(model: ConvertedModel, family: Family) -> set[str]:
    arrays = family.arrays()
    return {
        name for name, array in model.arrays().items() if not np.array_equal(array, arrays[name])
    }


def layers(names: set[str]) -> set[str]:
    """Of canonical names: "blocks.1", "head", ..."""
    parts = [name.split(".") for name in names]
    return {".".join(p[:2]) if p[0].startswith("blocks") else p[0] for p in parts}


def trained(model: ConvertedModel) -> set[str]:
    """The layers that have trainable weights."""
    return layers({v.name.replace("/", ".") for v in model.trainable_variables})


def test_the_first_blocks_can_be_frozen() -> None:
    family = FAMILIES["deit"]()
    model = loaded(family)
    model.freeze_backbone(until=2)
    fitted(model, family)
    assert layers(changed(model, family)) == {"blocks.2", "norm", *HEADS}
    model.freeze_backbone(until=0)
    assert trained(model) == {"blocks.0", "blocks.1", "blocks.2", "norm", *HEADS}
    model.freeze_backbone(until=3)
    assert trained(model) == {"norm", *HEADS}
    model.unfreeze_backbone()
    assert not model.non_trainable_variables


def test_a_caits_class_blocks_follow_its_others_and_its_token_is_frozen() -> None:
    model = build(FAMILIES["cait"](depth=2).spec)
    model.freeze_backbone(until=3)
    assert trained(model) == {"blocks_token_only.1", "norm", "head"}


@pytest.mark.parametrize("name", ["beit", "shared table", "mixed", "siglip", "aimv2"])
def test_positions_are_frozen_with_the_patches(name: str) -> None:
    model = build(ALL[name](depth=2).spec)
    model.freeze_backbone(until=1)
    names = {v.name.partition("/")[0] for v in model.trainable_variables}
    assert names <= {"blocks.1", "norm", "fc_norm", "attn_pool", "head"}
    assert {"blocks.1", "head"} <= names


@pytest.mark.parametrize("until", [-1, 4])
def test_blocks_that_are_not_there_cannot_be_frozen(until: int) -> None:
    with pytest.raises(UsageError, match=f"(?s)no block {until}.*0 to 3"):
        build(FAMILIES["vit"]().spec).freeze_backbone(until=until)


@pytest.mark.parametrize("name", ["vit", "cait", "shared table", "sapiens2", "parallel"])
def test_lora_begins_at_the_model_and_trains_itself_and_the_head(name: str) -> None:
    family = ALL[name](depth=2)
    model = loaded(family)
    images = family.images()
    before = model(images).numpy()
    everything = [v.name for v in model.weights]
    model.enable_lora(3, targets=("qkv", "proj", "mlp"))
    np.testing.assert_array_equal(model(images), before)
    names = [v.name for v in model.trainable_variables]
    assert {n.rpartition("/")[2] for n in names if not n.startswith("head")} == {
        "lora_a:0",
        "lora_b:0",
    }
    assert "head/kernel:0" in names
    assert len(set(names)) == len(names)
    fitted(model, family)
    kernels = {n.removesuffix(".weight") for n in changed(model, family) if "blocks" in n}
    wanted = [layer.kernel.name.removesuffix("/kernel:0") for layer in model.lora_layers()]
    assert kernels == {name.replace("/", ".") for name in wanted}
    assert not {n for n in changed(model, family) if "norm" in n or "embed" in n}
    after = model(images).numpy()
    assert np.abs(after - before).max() > 1e-3
    model.merge_lora()
    assert [v.name for v in model.weights] == everything
    assert not model.non_trainable_variables
    np.testing.assert_allclose(model(images), after, rtol=1e-4, atol=1e-5)


def test_lora_is_the_papers_sum() -> None:
    """W + alpha / rank * (a b), against NumPy; its targets are those that were named."""
    family = FAMILIES["vit"](depth=1)
    model = loaded(family)
    model.enable_lora(2, targets=("qkv",), alpha=5.0, seed=4)
    (linear,) = model.lora_layers()
    assert linear.name == "qkv"
    a = linear.lora_a.numpy()
    assert a.shape == (36, 2)
    assert 0.08 < np.abs(a).max() <= 36**-0.5
    linear.lora_b.assign(np.random.default_rng(0).standard_normal((2, 108)))
    expected = family.arrays()
    addition = 2.5 * (a.astype(np.float64) @ linear.lora_b.numpy())
    name = "blocks.0.attn.qkv.weight"
    np.testing.assert_allclose(model.arrays()[name], expected[name] + addition.T, 1e-5, 1e-6)
    plain = build(family.spec)
    plain.assign(model.arrays())
    images = family.images()
    np.testing.assert_allclose(model(images), plain(images), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lora_is_merged_on_saving(suffix: str, tmp_path: Path) -> None:
    family = FAMILIES["deit"](depth=2)
    model = loaded(family)
    model.enable_lora(2)
    fitted(model, family)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    assert model.lora_layers()  # and training can go on
    images = family.images()
    with open_keras(path) as (spec, tensors):
        assert spec == family.spec
        for name, array in model.arrays().items():
            np.testing.assert_array_equal(tensors[name].read(), array)
    again = tf_keras.models.load_model(path)
    np.testing.assert_allclose(again(images), model(images), rtol=1e-4, atol=1e-5)
    vit_convert.keras2torch(path, tmp_path / "back.safetensors")
    (tflite,) = vit_convert.export(path, ["tflite"], tmp_path)
    got = vit_convert.open_artifact(tflite).run(images)["logits"]
    np.testing.assert_allclose(got, model(images), rtol=1e-4, atol=1e-5)


def test_lora_is_merged_inside_a_composed_model_too(tmp_path: Path) -> None:
    family = FAMILIES["vit"](depth=1)
    model = loaded(family)
    model.enable_lora(2)
    for number, make in enumerate(
        (
            lambda: tf_keras.Sequential([model, tf_keras.layers.Dense(5)]),
            lambda: tf_keras.Model(model.input, tf_keras.layers.Dense(5)(model.layers[-2].output)),
        )
    ):
        outer = make()
        fitted(outer, family)
        assert changed(model, family)
        path = tmp_path / f"{number}.keras"
        outer.save(path)
        again = tf_keras.models.load_model(path)
        images = family.images()
        np.testing.assert_allclose(again(images), outer(images), rtol=1e-4, atol=1e-5)
        names = {v.name.rpartition("/")[2] for v in outer.trainable_variables}
        assert names == {"lora_a:0", "lora_b:0", "kernel:0", "bias:0"}


def test_weights_that_are_loaded_replace_the_additions(tmp_path: Path) -> None:
    family = FAMILIES["vit"](depth=1)
    model = loaded(family)
    images = family.images()
    model.save_weights(tmp_path / "plain.weights.h5")
    before = model(images).numpy()
    model.enable_lora(2)
    (linear, _) = model.lora_layers()
    linear.lora_b.assign(tf_keras.backend.ones_like(linear.lora_b))
    assert not np.array_equal(model(images), before)
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(model(images), before)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_keys_that_have_no_bias_in_pytorch_get_none(dtype: str, tmp_path: Path) -> None:
    """With rotary positions it would have an effect, and timm's Eva has no place for it."""
    family = ALL["eva02"](depth=2)
    spec = replace(family.spec, source=Source(dialect="timm-eva"))
    model = build(spec, dtype=dtype)
    model.assign(family.arrays())
    fitted(model, family)
    bias = model.arrays()["blocks.1.attn.qkv.bias"].reshape(3, -1)
    assert not bias[1].any()
    before = family.arrays()["blocks.1.attn.qkv.bias"].reshape(3, -1)
    assert (bias[0] != before[0]).any()
    model.save(tmp_path / "model.h5")
    assert vit_convert.keras2torch(tmp_path / "model.h5", tmp_path / "b.safetensors") == "timm-eva"


def test_what_lora_cannot_do_is_said() -> None:
    model = build(FAMILIES["vit"](depth=1).spec)
    for options, message in (
        ({"rank": 0}, "rank cannot be 0"),
        ({"rank": 36}, "(?s)rank cannot be 36.*1 to 35"),
        ({"rank": 2, "targets": ("qvk",)}, "(?s)no target 'qvk'.*qkv, proj, mlp"),
        ({"rank": 2, "targets": ()}, "no targets"),
    ):
        with pytest.raises(UsageError, match=message):
            model.enable_lora(**options)
    assert not model.lora_layers()
    model.enable_lora(2)
    for action in (
        lambda: model.enable_lora(2),
        model.freeze_backbone,
        model.unfreeze_backbone,
    ):
        with pytest.raises(UsageError, match="merge_lora"):
            action()
