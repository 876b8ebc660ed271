"""Every artifact computes what timm and the Keras model compute."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from exporting import TARGET_NAMES, as_input, centred, relative
from families import CLASSIFIERS, MODELS, PREPROCESSING

from vit_convert.images.preprocessing import normalise


@pytest.mark.parametrize(
    ("target", "family"),
    [
        *product(TARGET_NAMES, CLASSIFIERS),
        *(("tflite", name) for name in MODELS if name not in CLASSIFIERS),
    ],
)
def test_float32_logits_are_those_of_timm_and_of_keras(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family)
    outputs = artifact.run(as_input(artifact, model.images))
    assert list(outputs) == ["logits"]
    (got,) = outputs.values()
    assert relative(model.timm_logits, got) <= 1e-5
    assert relative(model.keras(model.images).numpy(), got) <= 1e-5


@pytest.mark.parametrize("family", [*CLASSIFIERS, "dinov3"])
def test_float16_weights_stay_close(sample, opened, family):
    model, artifact = sample(family), opened("tflite", family, precision="float16")
    logits = artifact.run(model.images)["logits"]
    assert 1e-6 < relative(model.timm_logits, logits) <= 5e-3


@pytest.mark.parametrize(
    ("target", "precision", "limit"),
    [("saved_model", "float32", 1e-5), ("tflite", "float32", 1e-5), ("tflite", "float16", 5e-3)],
)
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_blocks_are_those_of_the_keras_model(sample, opened, family, target, precision, limit):
    model = sample(family)
    artifact = opened(target, family, precision=precision)
    reference = model.blocks()
    got = artifact.blocks(as_input(artifact, model.images))
    assert set(got) == set(reference)
    assert len(got) == (5 if family == "cait" else 3)
    for name, tokens in reference.items():
        expected = centred(tokens)[:, : got[name].shape[1]] if target == "tflite" else tokens
        assert relative(expected, got[name]) <= limit, name


def test_the_last_block_has_only_the_tokens_that_are_read(sample, opened):
    for family, count in (("vit", 1), ("deit", 2), ("average pool", 15)):
        artifact = opened("tflite", family)
        blocks = artifact.blocks(sample(family).images)
        assert [blocks[f"blocks.{i}"].shape[1] >= 15 for i in range(2)] == [True, count == 15]
        assert blocks["blocks.1"].shape == (4, count, 36)


@pytest.mark.parametrize("target", TARGET_NAMES)
@pytest.mark.parametrize("family", ["vit", "cait"])
def test_attention_maps_bear_their_published_names(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family, attention=True)
    reference = model.endpoints(model.keras.attention_outputs())
    outputs = artifact.run(as_input(artifact, model.images))
    assert next(iter(outputs)) == "output_1"
    assert set(outputs) == set(reference)
    for name, got in outputs.items():
        assert relative(reference[name], got) <= 1e-5, name
    assert artifact.blocks is not None


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("target", TARGET_NAMES)
def test_softmax_gives_probabilities(sample, opened, target, attention):
    model = sample("vit")
    artifact = opened(target, "vit", output="softmax", attention=attention)
    outputs = artifact.run(as_input(artifact, model.images))
    name = next(iter(outputs))
    assert name == ("output_1" if attention else "probabilities")
    powers = np.exp(model.timm_logits.astype(np.float64))
    assert relative(powers / powers.sum(axis=-1, keepdims=True), outputs[name]) <= 1e-5


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_features_are_what_the_head_would_see(sample, opened, target):
    model, artifact = sample("vit"), opened(target, "vit", output="features")
    outputs = artifact.run(as_input(artifact, model.images))
    assert list(outputs) == ["features"]
    assert outputs["features"].shape == (4, 36)
    reference = model.endpoints({"features": "features"})["features"]
    assert relative(reference, outputs["features"]) <= 1e-5


@pytest.mark.parametrize("target", ["saved_model", "tflite"])
def test_embedded_preprocessing_takes_pixels(sample, opened, target):
    model, artifact = sample("vit"), opened(target, "vit", embed_preprocessing=True)
    pixels = np.random.default_rng(3).integers(0, 256, model.images.shape, np.uint8)
    reference = model.family.logits(normalise(pixels, PREPROCESSING))
    assert artifact.input_range == "0..255"
    assert relative(reference, artifact.run(pixels.astype(np.float32))["logits"]) <= 1e-5


@pytest.mark.parametrize("count", [1, 4, 35])
@pytest.mark.parametrize("batch_size", [None, 3, "dynamic"])
@pytest.mark.parametrize("target", TARGET_NAMES)
def test_any_number_of_images_runs(sample, opened, target, batch_size, count):
    model, artifact = sample("vit"), opened(target, "vit", batch_size=batch_size)
    images = as_input(artifact, np.concatenate([model.images] * 9)[:count])
    reference = np.concatenate([model.timm_logits] * 9)[:count]
    assert relative(reference, artifact.run(images)["logits"]) <= 1e-5
    blocks = np.concatenate([model.blocks()["blocks.1"]] * 9)[:count]
    blocks = centred(blocks)[:, :1] if target == "tflite" else blocks
    assert relative(blocks, artifact.blocks(images)["blocks.1"]) <= 1e-5
