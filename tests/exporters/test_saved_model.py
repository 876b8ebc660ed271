"""A SavedModel serves users who have TensorFlow or Keras 3, and nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from exporting import relative
from families import PREPROCESSING

from vit_convert.images.preprocessing import normalise

# a process that has Keras 3 and TensorFlow, and can import neither tf_keras nor vit_convert
_ELSEWHERE = """
import sys
sys.modules["tf_keras"] = sys.modules["vit_convert"] = None
import numpy as np, keras
path, images, result = sys.argv[1:]
x = np.load(images)
"""


def elsewhere(code: str, path, images: np.ndarray, tmp_path) -> dict[str, np.ndarray]:
    """Run `code`, which fills `arrays`, in such a process."""
    np.save(tmp_path / "images.npy", images)
    code = f"{_ELSEWHERE}\n{code}\nnp.savez(result, **arrays)"
    arguments = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "result.npz")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "result.npz") as result:
        return dict(result)


def test_keras_3_loads_it_as_a_layer(sample, exported, tmp_path):
    model = sample("vit")
    code = """
layer = keras.layers.TFSMLayer(path)
assert len(layer.trainable_weights) == len(layer.weights) > 20
inputs = keras.Input((24, 50, 3))
arrays = {
    "called": layer(x), "float64": layer(x.astype("float64")),
    "in a model": keras.Model(inputs, layer(inputs)).predict(x, verbose=0),
    **layer.__class__(path, call_endpoint="serving_default")(x),
}
"""
    got = elsewhere(code, exported("saved_model", "vit"), model.images, tmp_path)
    assert set(got) == {"called", "float64", "in a model", "logits"}
    for logits in got.values():
        assert relative(model.timm_logits, logits) <= 1e-5


def test_a_head_of_keras_3_is_trained_over_the_frozen_features(sample, exported, tmp_path):
    model = sample("vit")
    code = """
backbone = keras.layers.TFSMLayer(path)
backbone.trainable = False
before = [v.numpy() for v in backbone.weights]
keras.utils.set_random_seed(1)
classifier = keras.Sequential([backbone, keras.layers.Dense(3)])
classifier.compile(keras.optimizers.Adam(0.05),
                   keras.losses.SparseCategoricalCrossentropy(from_logits=True))
history = classifier.fit(x, np.arange(len(x)) % 3, epochs=10, verbose=0).history["loss"]
assert len(classifier.trainable_weights) == 2
assert all(np.array_equal(v.numpy(), b) for v, b in zip(backbone.weights, before, strict=True))
arrays = {"features": backbone(x), "loss": np.array(history)}
"""
    path = exported("saved_model", "vit", output="features")
    got = elsewhere(code, path, model.images, tmp_path)
    assert got["features"].shape == (len(model.images), 36)
    assert got["loss"][-1] < 0.5 * got["loss"][0]


def test_the_cell_of_the_keras_cait_tutorial_runs(sample, exported, tmp_path):
    model = sample("cait")
    code = """
m = keras.Sequential([keras.layers.TFSMLayer(path, call_endpoint="serving_default")])
o = m.predict(x, verbose=0); o["output_1"]; o["output_3_ca_ffn_block_0_att"]
arrays = {"logits": o["output_1"], "map": o["output_3_ca_ffn_block_0_att"]}
"""
    path = exported("saved_model", "cait", attention=True)
    got = elsewhere(code, path, model.images, tmp_path)
    reference = model.endpoints({"map": "class_attention.0"})
    assert got["map"].shape == (4, 4, 1, 15 + 1)
    assert relative(reference["map"], got["map"]) <= 1e-5
    assert relative(model.timm_logits, got["logits"]) <= 1e-5


def test_signatures(exported):
    loaded = tf.saved_model.load(str(exported("saved_model", "vit")))
    assert set(loaded.signatures) == {"serve", "serving_default", "blocks"}
    for name in ("serve", "serving_default"):
        (images,) = loaded.signatures[name].structured_input_signature[1].values()
        assert images == tf.TensorSpec((None, 24, 50, 3), tf.float32, "images")
        outputs = loaded.signatures[name].structured_outputs
        assert {k: tuple(v.shape) for k, v in outputs.items()} == {"logits": (None, 7)}


def test_a_static_batch_is_static(exported):
    loaded = tf.saved_model.load(str(exported("saved_model", "vit", batch_size=3)))
    (images,) = loaded.signatures["serve"].structured_input_signature[1].values()
    assert images.shape == (3, 24, 50, 3)


def test_with_preprocessing_pixels_enter_as_floats_and_as_bytes(sample, exported):
    model = sample("vit")
    loaded = tf.saved_model.load(str(exported("saved_model", "vit", embed_preprocessing=True)))
    pixels = np.random.default_rng(3).integers(0, 256, model.images.shape, np.uint8)
    wide = tf.cast(pixels, tf.float32)
    for logits in (
        loaded.signatures["serving_default"](images=wide)["logits"],
        loaded.signatures["serve_uint8"](images=tf.constant(pixels))["logits"],
        loaded.serve(wide),
        loaded.serve(tf.constant(pixels)),
    ):
        reference = model.family.logits(normalise(pixels, PREPROCESSING))
        assert relative(reference, logits.numpy()) <= 1e-5


def test_weights_are_variables_under_their_names(sample, exported):
    loaded = tf.saved_model.load(str(exported("saved_model", "vit")))
    model = sample("vit").keras
    assert len(loaded.variables) == len(model.spec.parameters())
    for ours, theirs in zip(loaded.variables, model.weights, strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_nothing_of_keras_is_inside(exported):
    path = exported("saved_model", "vit")
    assert not (path / "keras_metadata.pb").exists()
    assert b"_tf_keras" not in (path / "saved_model.pb").read_bytes()


def test_metadata_stands_beside(sample, exported):
    path = exported("saved_model", "vit", batch_size=3)
    data = json.loads((path / "assets.extra/vit_convert.json").read_text())
    assert data["target"] == "saved_model"
    assert data["options"]["batch_size"] == 3
    assert data["input_range"] == "normalised"
    assert data["outputs"] == ["logits"]
    assert data["versions"]["tensorflow"] == tf.__version__
    assert data["spec"] == json.loads(json.dumps(sample("vit").keras.spec.to_dict()))


@pytest.mark.parametrize("target", ["saved_model", "hub"])
def test_opening_gives_back_what_was_exported(sample, opened, target):
    artifact = opened(target, "vit", batch_size=3)
    assert artifact.kind == target
    assert artifact.spec == sample("vit").keras.spec
    assert artifact.options.batch_size == 3
