"""A Hub module is a reusable SavedModel: called, and trained further."""

from __future__ import annotations

import warnings

import numpy as np
import tf_keras
from exporting import relative
from families import PREPROCESSING, small_vit

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import export

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tensorflow_hub 0.16 imports pkg_resources
    import tensorflow_hub as hub


def unit_range(images: np.ndarray) -> np.ndarray:
    """Normalised images as RGB in 0..1, which is what Hub modules take."""
    return images * np.float32(PREPROCESSING.std) + np.float32(PREPROCESSING.mean)


def test_hub_load_gives_a_function_of_images_in_0_to_1(sample, exported):
    model = sample("vit")
    module = hub.load(str(exported("hub", "vit")))
    logits = module(unit_range(model.images))
    assert relative(model.timm_logits, logits.numpy()) <= 1e-5


def test_it_has_the_interface_of_reusable_saved_models(sample, exported):
    module = hub.load(str(exported("hub", "vit")))
    count = len(sample("vit").keras.spec.parameters())
    assert len(module.variables) == len(module.trainable_variables) == count
    assert list(module.regularization_losses) == []
    assert set(module.signatures) == {"default", "serving_default", "blocks"}


def test_keras_layer_fine_tunes(sample, exported):
    images = unit_range(np.concatenate([sample("vit").images] * 2))
    labels = np.arange(8) % 3
    path = str(exported("hub", "vit", output="features"))
    layer = hub.KerasLayer(path, trainable=True, input_shape=(24, 50, 3))
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(3)])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(1e-3), loss)
    before = [w.numpy() for w in layer.trainable_weights]
    losses = model.fit(images, labels, batch_size=8, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(before, layer.trainable_weights, strict=True):
        assert np.abs(old - new.numpy()).max() > 0, new.name


def test_dropout_is_on_in_training_only(tmp_path):
    family = small_vit(depth=1, drop_rate=0.5)
    write_h5(tmp_path / "m.h5", family.spec, family.tensors())
    module = hub.load(str(export(tmp_path / "m.h5", ["hub"], tmp_path)[0]))
    images = unit_range(family.images())
    calm, noisy = module(images), module(images, training=True)
    assert relative(family.logits(family.images()), calm.numpy()) <= 1e-5
    assert relative(calm.numpy(), noisy.numpy()) > 0.1


def test_features_leave_the_head_behind(sample, exported):
    module = hub.load(str(exported("hub", "vit", output="features")))
    paths = [p.keras_path for p in sample("vit").keras.spec.parameters()]
    names = [variable.name.removesuffix(":0") for variable in module.variables]
    assert names == [path for path in paths if not path.startswith("head/")]


def test_attention_maps_come_as_a_dict(sample, exported):
    model = sample("cait")
    outputs = hub.load(str(exported("hub", "cait", attention=True)))(unit_range(model.images))
    assert set(outputs) == set(model.keras.attention_outputs())
