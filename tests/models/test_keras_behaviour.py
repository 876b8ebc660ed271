"""The models are good Keras citizens: names, saving, freezing, training, mixed precision."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from families import FAMILIES, OPTIONS, covering, small_cait, small_deit, small_vit

from vit_convert.models import build
from vit_convert.models.layers.residual import DropPath


@pytest.mark.parametrize("name", [*FAMILIES, *OPTIONS])
def test_variable_paths_are_pytorch_names(name: str) -> None:
    family = (FAMILIES | OPTIONS)[name]()
    model = build(family.spec)
    if name in FAMILIES:  # a model built before must not change the names of the next
        model = build(family.spec)
    expected = [(f"{p.keras_path}:0", p.keras_shape) for p in family.spec.parameters()]
    assert [(v.name, tuple(v.shape)) for v in model.weights] == expected


@pytest.mark.parametrize(
    ("name", "suffix"),
    [*product(FAMILIES, ["h5", "keras"]), *product(covering(OPTIONS), ["keras"])],
)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saved_model_gives_the_same(name: str, suffix: str, tmp_path: Path) -> None:
    family = (FAMILIES | OPTIONS)[name]()
    model = build(family.spec)
    model.assign(family.arrays())
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    again = tf_keras.models.load_model(path)
    assert again.spec == family.spec
    images = family.images()
    np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("name", FAMILIES)
def test_config_round_trip(name: str) -> None:
    family = FAMILIES[name](drop_rate=0.1, attn_drop_rate=0.2, drop_path_rate=0.3)
    model = build(family.spec)
    again = type(model).from_config(model.get_config())
    assert again.spec == model.spec
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_freezing_leaves_the_heads_alone() -> None:
    model = build(small_deit().spec)
    everything = len(model.weights)
    model.freeze_backbone()
    names = {v.name for v in model.trainable_variables}
    assert names == {"head/kernel:0", "head/bias:0", "head_dist/kernel:0", "head_dist/bias:0"}
    model.unfreeze_backbone()
    assert len(model.trainable_variables) == everything


@pytest.mark.parametrize("name", FAMILIES)
def test_fit_learns_with_all_kinds_of_dropout(name: str) -> None:
    family = FAMILIES[name](drop_rate=0.05, attn_drop_rate=0.05, drop_path_rate=0.1)
    model = build(family.spec)
    model.assign(family.arrays())
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(1e-3), loss)
    images, labels = family.images(8), np.arange(8) % 7
    before = [w.numpy() for w in model.trainable_variables]
    history = model.fit(images, labels, batch_size=4, epochs=6, verbose=0).history["loss"]
    assert min(history[-2:]) < history[0]
    unchanged = [
        v.name
        for v, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(v.numpy(), old)
    ]
    assert not unchanged


def test_frozen_backbone_does_not_change_in_fit() -> None:
    family = small_vit()
    model = build(family.spec)
    model.assign(family.arrays())
    model.freeze_backbone()
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(family.images(4), np.arange(4), verbose=0)
    changed = {
        p.name
        for p in family.spec.parameters()
        if not np.array_equal(
            p.from_keras(model.named_variables()[p.keras_path].numpy()), family.arrays()[p.name]
        )
    }
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_acts_in_training_only(name: str) -> None:
    family = FAMILIES[name](drop_rate=0.5, attn_drop_rate=0.5, drop_path_rate=0.5)
    plain = FAMILIES[name]()
    model, reference = build(family.spec), build(plain.spec)
    for each in (model, reference):
        each.assign(family.arrays())
    images = family.images()
    np.testing.assert_array_equal(model(images), reference(images))
    first, second = model(images, training=True), model(images, training=True)
    assert not np.allclose(first, second)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    tf.random.set_seed(1)
    x = tf.ones((4000, 2, 3))
    y = DropPath(0.25)(x, training=True).numpy()
    per_sample = y.reshape(4000, -1)
    assert (per_sample == per_sample[:, :1]).all()
    assert set(np.unique(y.round(5))) == {0.0, np.float32(4 / 3).round(5)}
    assert abs(y.mean() - 1) < 0.05


@pytest.mark.parametrize("name", FAMILIES)
def test_mixed_precision_stays_near_and_gives_float32_logits(name: str) -> None:
    family = FAMILIES[name]()
    model, half = build(family.spec), build(family.spec, dtype="mixed_bfloat16")
    for each in (model, half):
        each.assign(family.arrays())
    images = family.images()
    got, expected = half(images), model(images).numpy()
    assert got.dtype == tf.float32
    assert half.get_layer("blocks.0").compute_dtype == "bfloat16"
    assert {v.dtype for v in half.trainable_variables} == {tf.float32}
    difference = np.abs(got.numpy() - expected).max() / np.abs(expected).max()
    assert 0 < difference < 0.1


def test_attention_outputs_have_published_names_and_sum_to_one() -> None:
    family = small_vit()
    model = build(family.spec)
    model.assign(family.arrays())
    outputs = model.view(model.attention_outputs())(family.images(2))
    names = ["output_1"] + [f"output_2_transformer_block_{i}_att" for i in range(3)]
    assert sorted(outputs) == sorted(names)
    for name in names[1:]:
        assert outputs[name].shape == (2, 4, 16, 16)
        np.testing.assert_allclose(outputs[name].numpy().sum(-1), 1, atol=1e-5)


def test_cait_attention_outputs_are_those_of_the_keras_tutorial() -> None:
    family = small_cait()
    model = build(family.spec)
    model.assign(family.arrays())
    outputs = model.view(model.attention_outputs())(family.images(2))
    assert outputs["output_1"].shape == (2, 7)
    for i in range(3):
        assert outputs[f"output_2_sa_ffn_block_{i}_att"].shape == (2, 4, 15, 15)
    for i in range(2):
        weights = outputs[f"output_3_ca_ffn_block_{i}_att"]
        assert weights.shape == (2, 4, 1, 16)
        np.testing.assert_allclose(weights.numpy().sum(-1), 1, atol=1e-5)
    assert len(outputs) == 6


def test_assign_refuses_another_shape() -> None:
    family = small_vit()
    arrays = family.arrays()
    arrays["blocks.1.attn.qkv.weight"] = arrays["blocks.1.attn.qkv.weight"].T
    with pytest.raises(ValueError, match=r"(?i)shape"):
        build(family.spec).assign(arrays)
