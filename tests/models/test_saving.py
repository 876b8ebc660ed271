"""Models, and models made of them by Keras, are saved and loaded; commands open those of ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from families import FAMILIES, OPTIONS, Family

import vit_convert
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import ArtifactError
from vit_convert.models import ConvertedModel, build
from vit_convert.models.layers.base import Layer

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
# one of each kind of layer among them
VARIED = (
    *("vit", "deit", "cait", "dinov2", "siglip", "beit", "shared table", "aimv2", "parallel"),
    *("mixed", "sapiens2", "rms norms everywhere", "eva02"),
)
ALL = FAMILIES | OPTIONS


def loaded(family: Family) -> ConvertedModel:
    model = build(family.spec)
    model.assign(family.arrays())
    return model


def dense(units: int) -> tf_keras.layers.Layer:
    return tf_keras.layers.Dense(units, bias_initializer="random_normal")


COMPOSED: dict[str, Callable[[ConvertedModel], tf_keras.Model]] = {
    "a layer's output": lambda m: tf_keras.Model(
        m.input, dense(5)(tf_keras.layers.Flatten()(m.get_layer("norm").output))
    ),
    "in a row": lambda m: tf_keras.Sequential([m, dense(5)]),
    "called": lambda m: tf_keras.Model(m.input, dense(5)(m(m.input))),
    "views, nested": lambda m: tf_keras.Model(
        m.input, dense(5)(m.view({"a": "features", "b": "attention.0"})(m.input)["a"])
    ),
}


def composed(case: str, model: ConvertedModel) -> tf_keras.Model:
    made = COMPOSED[case](model)
    made.build((None, *model.input_shape[1:]))
    return made


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("case", COMPOSED)
@pytest.mark.parametrize("name", ["vit", "cait"])
def test_composed_models_save_and_load(name: str, case: str, suffix: str, tmp_path: Path) -> None:
    family = FAMILIES[name](depth=1)
    model = composed(case, loaded(family))
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    again = tf_keras.models.load_model(path)
    images = family.images()
    np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("name", VARIED)
def test_every_layer_can_be_part_of_another_model(name: str, tmp_path: Path) -> None:
    """As a functional model that shares all layers but the head."""
    family = ALL[name](depth=1)
    source = loaded(family)
    features = source.view({"features": "features", "map": "attention.0"})
    path = tmp_path / "model.keras"
    features.save(path)
    again = tf_keras.models.load_model(path)
    images = family.images()
    expected = features(images)
    for key, value in again(images).items():
        np.testing.assert_array_equal(value, expected[key])


def test_a_fresh_process_loads_after_import_vit_convert_alone(tmp_path: Path) -> None:
    family = FAMILIES["vit"](depth=1)
    for suffix in ("h5", "keras"):
        for number, case in enumerate(COMPOSED):
            composed(case, loaded(family)).save(tmp_path / f"{number}.{suffix}")
    np.save(tmp_path / "images.npy", family.images())
    code = (
        "import glob, numpy, vit_convert, tf_keras\n"
        "images = numpy.load('images.npy')\n"
        "for name in sorted(glob.glob('*.h5') + glob.glob('*.keras')):\n"
        "    print(name, tf_keras.models.load_model(name)(images).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.count("(4, 5)") == 2 * len(COMPOSED), done.stderr


@pytest.mark.parametrize("name", VARIED)
def test_archives_of_keras_are_read_without_keras(name: str, tmp_path: Path) -> None:
    family = ALL[name]()
    path = tmp_path / "model.keras"
    loaded(family).save(path)
    arrays = family.arrays()
    with open_keras(path) as (spec, tensors):
        assert spec == family.spec
        assert set(tensors) == {p.name for p in spec.parameters()}
        for key, tensor in tensors.items():
            np.testing.assert_array_equal(tensor.read(), arrays[key], key)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_trained_model_goes_everywhere(suffix: str, tmp_path: Path) -> None:
    """With its optimizer, some layers frozen: to the artifact, to a .tflite, to PyTorch."""
    family = FAMILIES["deit"](depth=2)
    model = loaded(family)
    model.freeze_backbone(until=1)
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(family.images(4), np.arange(4), verbose=0)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    images = family.images()
    expected = np.asarray(model(images, training=False))
    assert np.abs(expected - family.logits(images)).max() > 1e-4
    again = vit_convert.load_model(path)
    np.testing.assert_array_equal(again(images, training=False), expected)
    np.testing.assert_allclose(
        vit_convert.open_artifact(path).run(images)["logits"], expected, rtol=1e-4, atol=1e-5
    )
    (tflite,) = vit_convert.export(path, ["tflite"], tmp_path)
    np.testing.assert_allclose(
        vit_convert.open_artifact(tflite).run(images)["logits"], expected, rtol=1e-4, atol=1e-5
    )
    vit_convert.keras2torch(path, tmp_path / "back.safetensors")
    tensors = open_checkpoint(tmp_path / "back.safetensors").tensors
    arrays = model.arrays()
    assert set(tensors) == set(arrays)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(tensor.read(), arrays[key], key)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("case", ["in a row", "a layer's output"])
def test_a_composed_model_is_not_converted_and_says_so(
    case: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model.{suffix}"
    composed(case, loaded(FAMILIES["vit"](depth=1))).save(path)
    what = "is a part.*get_layer" if case == "in a row" else "of no model that vit-convert made"
    for command in (
        lambda: vit_convert.keras2torch(path, tmp_path / "back.safetensors"),
        lambda: vit_convert.export(path, ["tflite"], tmp_path),
        lambda: vit_convert.open_artifact(path),
    ):
        with pytest.raises(ArtifactError, match=f"(?s){what}"):
            command()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_no_code_of_an_archive_runs(tmp_path: Path) -> None:
    """A Lambda layer; we never give a stranger's file to Keras, and Keras refuses it as well."""
    marker = tmp_path / "ran"
    inputs = tf_keras.Input((4,))
    run: Any = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]")
    model = tf_keras.Model(inputs, tf_keras.layers.Lambda(run)(inputs))
    path = tmp_path / "lambda.keras"
    model.save(path)
    marker.unlink()
    with pytest.raises(ArtifactError, match="of no model that vit-convert made"):
        vit_convert.load_model(path)
    with pytest.raises(ValueError, match="arbitrary code"):
        tf_keras.models.load_model(path)
    assert not marker.exists()


def test_the_head_of_a_loaded_archive_can_be_changed(tmp_path: Path) -> None:
    family = FAMILIES["cait"](depth=1)
    path = tmp_path / "model.keras"
    loaded(family).save(path)
    assert vit_convert.load_model(path, num_classes=5).output_shape == (None, 5)


def all_layers(of: type[Layer] = Layer) -> list[type[Layer]]:
    return [c for base in of.__subclasses__() for c in (base, *all_layers(base))]


@pytest.mark.parametrize("layer", all_layers(), ids=lambda layer: layer.__name__)
def test_layers_are_registered_under_our_package(layer: type[Layer]) -> None:
    if not layer.__module__.startswith("vit_convert"):
        return  # the tests' own architecture
    assert tf_keras.saving.get_registered_name(layer) == f"vit_convert>{layer.__name__}"
    assert layer.__name__ not in tf_keras.saving.get_custom_objects()
