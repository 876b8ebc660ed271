"""Every artifact computes what timm and the Keras model compute."""

from __future__ import annotations

import numpy as np
import pytest

from tests.exporters.conftest import FAMILIES, PREPROCESSING, relative
from vit_convert.images import normalise

TARGETS = ("saved_model", "hub", "tflite")


def as_input(artifact, images):
    """Normalised images, brought to the artifact's input range."""
    unit = images * np.float32(PREPROCESSING.std) + np.float32(PREPROCESSING.mean)
    return {"normalised": images, "0..1": unit, "0..255": unit * 255}[artifact.input_range]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_float32_logits_are_those_of_timm_and_of_keras(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family)
    outputs = artifact.run(as_input(artifact, model.images))
    assert list(outputs) == ["logits"]
    assert relative(model.timm_logits, outputs["logits"]) <= 1e-5
    assert relative(model.keras(model.images).numpy(), outputs["logits"]) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_float16_weights_stay_close(sample, opened, family):
    model, artifact = sample(family), opened("tflite", family, precision="float16")
    logits = artifact.run(model.images)["logits"]
    assert 1e-6 < relative(model.timm_logits, logits) <= 5e-3


@pytest.mark.parametrize("target", ("saved_model", "tflite"))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folded_model_is_exported_as_well(sample, opened, target, family):
    model = sample(family, folded=True)
    logits = opened(target, family, folded=True).run(model.images)["logits"]
    assert relative(model.timm_logits, logits) <= 1e-5


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_those_of_the_keras_model(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family)
    names = [n for n in model.keras.endpoint_names if n.startswith(("embeddings", "blocks"))]
    assert len(names) == 5 if family == "cait" else 3
    reference = model.keras.view({name: name for name in names})(model.images)
    got = artifact.blocks(as_input(artifact, model.images))
    assert set(got) == set(names)
    for name in names:
        assert relative(reference[name].numpy(), got[name]) <= 1e-5, name


@pytest.mark.parametrize("precision", ("float32", "float16"))
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_found_in_every_tflite_file(sample, opened, precision, family):
    model = sample(family, folded=True)
    artifact = opened("tflite", family, folded=True, precision=precision)
    names = [n for n in model.keras.endpoint_names if n.startswith(("embeddings", "blocks"))]
    reference = model.keras.view({name: name for name in names})(model.images)
    got = artifact.blocks(model.images)
    assert set(got) == set(names)
    for name in names:
        limit = 1e-5 if precision == "float32" else 5e-3
        assert relative(reference[name].numpy(), got[name]) <= limit, name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", ("vit", "cait"))
def test_attention_maps_bear_their_published_names(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family, attention=True)
    reference = model.keras.view(model.keras.attention_outputs())(model.images)
    outputs = artifact.run(as_input(artifact, model.images))
    assert next(iter(outputs)) == "output_1"
    assert set(outputs) == set(model.keras.attention_outputs())
    for name, got in outputs.items():
        assert relative(reference[name].numpy(), got) <= 1e-5, name


@pytest.mark.parametrize("target", TARGETS)
def test_softmax_gives_probabilities(sample, opened, target):
    model, artifact = sample("vit"), opened(target, "vit", output="softmax")
    got = artifact.run(as_input(artifact, model.images))
    powers = np.exp(model.timm_logits.astype(np.float64))
    assert list(got) == ["probabilities"]
    assert relative(powers / powers.sum(axis=-1, keepdims=True), got["probabilities"]) <= 1e-5


@pytest.mark.parametrize("target", TARGETS)
def test_features_are_what_the_head_would_see(sample, opened, target):
    model, artifact = sample("vit"), opened(target, "vit", output="features")
    got = artifact.run(as_input(artifact, model.images))
    reference = model.keras.view({"features": "features"})(model.images)["features"].numpy()
    assert list(got) == ["features"]
    assert got["features"].shape == (4, 36)
    assert relative(reference, got["features"]) <= 1e-5


@pytest.mark.parametrize("target", ("saved_model", "tflite"))
def test_embedded_preprocessing_takes_pixels(sample, opened, target):
    model, artifact = sample("vit"), opened(target, "vit", embed_preprocessing=True)
    pixels = np.random.default_rng(3).integers(0, 256, (4, 24, 40, 3), np.uint8)
    reference = model.keras(normalise(pixels, PREPROCESSING)).numpy()
    assert artifact.input_range == "0..255"
    got = artifact.run(pixels.astype(np.float32))["logits"]
    assert relative(reference, got) <= 1e-5


@pytest.mark.parametrize("batch_size", (None, 3, "dynamic"))
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("count", (1, 4, 35))
def test_any_number_of_images_runs(sample, opened, target, batch_size, count):
    model, artifact = sample("vit"), opened(target, "vit", batch_size=batch_size)
    images = np.concatenate([model.images] * 9)[:count]
    reference = np.concatenate([model.timm_logits] * 9)[:count]
    assert relative(reference, artifact.run(as_input(artifact, images))["logits"]) <= 1e-5
    assert artifact.blocks(as_input(artifact, images))["blocks.0"].shape == (count, 16, 36)
