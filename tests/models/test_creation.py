"""Models without a checkpoint begin as timm's do, and carry all that commands need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
import torch
from families import FAMILIES, OPTIONS, SPECIAL, timm

import vit_convert
from vit_convert.architectures import CaiTConfig, Preprocessing, ViTConfig
from vit_convert.architectures.creation import new_spec
from vit_convert.architectures.initialisation import initial_values
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import UsageError
from vit_convert.models.creation import create_model
from vit_convert.models.fine_tuning import linears

TINY: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_classes": 7, "image_size": 32}
# what both libraries call otherwise
TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"num_heads": 3},
    "vit_small_patch14_reg4_dinov2": {"num_heads": 3, "patch_size": 8},
    "deit_tiny_distilled_patch16_224": {"num_heads": 3},
    "vit_base_patch16_siglip_224": {"num_heads": 3},
    "beit_base_patch16_224": {"num_heads": 3},
    "eva02_tiny_patch14_224": {"num_heads": 3, "patch_size": 8},
    "vit_small_patch16_rope_mixed_224": {"num_heads": 3},
    "cait_xxs24_224": {"num_heads": 3},
}


@pytest.mark.parametrize("name", TIMM)
def test_values_are_distributed_as_timms(name: str) -> None:
    """Mean, deviation and extremes of every parameter, within what chance allows."""
    options = TINY | TIMM[name]
    model = create_model(name, **options, seed=1)
    options["img_size"] = options.pop("image_size")
    torch.manual_seed(0)  # a few values are too few for every draw
    values = dict(timm.create_model(name, pretrained=False, **options).state_dict())
    for old, new in (("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma")):
        if not name.startswith("cait"):
            values = {key.replace(old, new): value for key, value in values.items()}
    layer_scale = {key for key in values if "gamma" in key}
    got = {
        p.name: p.from_keras(model.named_variables()[p.keras_path].numpy())
        for p in model.spec.parameters()
    }
    assert len(got) > 30
    compared = 0
    for key, mine in got.items():
        if key in layer_scale:  # timm has the paper's values as options of each model
            np.testing.assert_array_equal(mine, np.float32(0.1))
        elif key in values and tuple(values[key].shape) == mine.shape:
            theirs = values[key].numpy()
            compared += 1
            noise = 6 / np.sqrt(mine.size)
            assert abs(mine.std() - theirs.std()) <= noise * theirs.std() + 1e-9, key
            assert abs(mine.mean() - theirs.mean()) <= noise * theirs.std() + 1e-9, key
    assert compared >= len(got) - len(layer_scale) - 8  # q, k, v biases of Beit and Eva apart


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("vit_tiny_patch16_224", "timm"),
        ("beit_base_patch16_224", "timm-beit"),
        ("eva02_tiny_patch14_224", "timm-beit"),
        ("eva02_base_patch14_224", "timm-eva"),
        ("vit_small_patch16_rope_mixed_224", "timm-gamma"),
    ],
)
def test_it_goes_back_to_timms_module(name: str, dialect: str, tmp_path: Path) -> None:
    options = {**TINY, "depth": 2, "patch_size": 8, "num_heads": 3}
    model = create_model(name, **options, seed=1)
    rng = np.random.default_rng(0)
    arrays = {key: rng.normal(0, 0.2, a.shape).astype("f") for key, a in model.arrays().items()}
    for linear in (layer for layer in linears(model) if layer.bias_mask is not None):
        key = f"{linear.kernel.name.removesuffix('/kernel:0').replace('/', '.')}.bias"
        arrays[key] *= linear.bias_mask.astype("f")  # keys have none, and it is not trained
    model.assign(arrays)
    model.save(tmp_path / "model.keras")
    back = tmp_path / "model.pth"
    assert vit_convert.keras2torch(tmp_path / "model.keras", back) == dialect
    options["img_size"] = options.pop("image_size")
    theirs = timm.create_model(name, pretrained=False, **options).eval()
    state = torch.load(back)
    computed = {key for key in theirs.state_dict() if key not in state}
    theirs.load_state_dict(state | {key: theirs.state_dict()[key] for key in computed})
    assert all("relative_position_index" in key for key in computed), computed
    images = rng.standard_normal((3, 32, 32, 3)).astype("f")
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    got = model(images, training=False).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("depth", "expected"), [(18, 0.1), (24, 1e-5), (25, 1e-6)])
def test_layer_scale_is_that_of_its_paper(depth: int, expected: float) -> None:
    config = CaiTConfig(
        image_size=(8, 12), patch_size=(4, 6), embed_dim=6, num_heads=2, mlp_dim=5, depth=depth
    )
    values = dict(initial_values(new_spec(config, {}), 0))
    np.testing.assert_array_equal(values["blocks.0.gamma_1"], np.float32(expected))


def test_the_seed_settles_all_weights_and_the_head_changes_no_other() -> None:
    options = TINY | {"num_heads": 3, "depth": 1}
    first, again, other = (
        create_model("vit_tiny_patch16_224", **options, seed=seed) for seed in (5, 5, 6)
    )
    wider = create_model("vit_tiny_patch16_224", **options | {"num_classes": 9}, seed=5)
    for name, variable in first.named_variables().items():
        np.testing.assert_array_equal(variable, again.named_variables()[name])
        if name.endswith("kernel"):
            assert not np.array_equal(variable, other.named_variables()[name])
        if not name.startswith("head"):
            np.testing.assert_array_equal(variable, wider.named_variables()[name])
    unseeded = []
    for _ in range(2):
        tf_keras.utils.set_random_seed(3)
        unseeded.append(create_model("vit_tiny_patch16_224", **options))
    np.testing.assert_array_equal(unseeded[0].weights[0], unseeded[1].weights[0])
    assert not np.array_equal(unseeded[0].weights[0], first.weights[0])


def test_a_vit_for_small_pictures_is_timms() -> None:
    """The options of the tutorials, with what timm makes of them: a norm behind the pooling."""
    options: dict[str, Any] = {"patch_size": 4, "class_token": False, "num_classes": 10, "depth": 2}
    model = create_model(
        "vit_tiny_patch16_224", image_size=32, pool="avg", drop_path_rate=0.1, **options
    )
    reference = timm.create_model("vit_tiny_patch16_224", img_size=32, global_pool="avg", **options)
    shapes = {p.name: p.shape for p in model.spec.parameters()}
    assert shapes == {name: tuple(v.shape) for name, v in reference.state_dict().items()}
    assert model.spec.config.drop_path_rate == 0.1
    assert model.spec.preprocessing == Preprocessing()  # augreg's


@pytest.mark.parametrize("name", {**FAMILIES, **SPECIAL, **OPTIONS})
def test_every_configuration_has_first_values(name: str) -> None:
    config = (FAMILIES | SPECIAL | OPTIONS)[name]().spec.config
    spec = new_spec(config, {"mean": (0.1, 0.2, 0.3)})
    assert spec.config == config
    assert spec.preprocessing.mean == (0.1, 0.2, 0.3)
    values = dict(initial_values(spec, 0))
    assert {k: v.shape for k, v in values.items()} == {p.name: p.shape for p in spec.parameters()}
    assert all(v.dtype == np.float32 and np.isfinite(v).all() for v in values.values())


def test_a_model_carries_labels_and_how_each_value_is_known() -> None:
    model = create_model("vit_tiny_patch16_224", depth=1, labels=["a cat", "a dog"])
    spec = model.spec
    assert spec.labels == ("a cat", "a dog")
    assert spec.config.num_classes == 2
    known = spec.source.provenance
    assert (known["depth"], known["num_classes"], known["gelu"]) == ("given", "given", "published")
    assert spec.source.variant == ""
    same = new_spec("vit_tiny_patch16_224", {"num_classes": 3, "drop_path_rate": 0.2})
    assert same.source.variant == "vit_tiny_patch16_224"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"num_head": 3}, "(?s)no option 'num_head'.*try: num_heads"),
    "no class token": ({"class_token": False}, "pooling by the class token needs one"),
    "heads": ({"num_heads": 5}, "num_heads does not divide embed_dim"),
    "small": ({"image_size": 8}, "8x8 is smaller than a patch"),
    "dropout": ({"drop_path_rate": 1.0}, "from 0 to below 1"),
    "no number": ({"num_classes": "ten"}, "num_classes cannot be ten"),
    "no truth": ({"class_token": 1}, "(?s)class_token cannot be 1.*bool"),
    "labels": ({"labels": ["a"], "num_classes": 3}, "1 labels were given for a model of 3"),
    "pixels": ({"mean": (127, 127, 127)}, "means of pixels in 0..255"),
    "word": ({"pool": "mean"}, "(?s)pool cannot be mean.*avg"),
    "no blocks": ({"depth": 0}, "depth is 0"),
    "rms": ({"norm": "rms"}, "an RMSNorm has no bias"),
    "not ViT's": ({"depth_token_only": 2}, "no option 'depth_token_only'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_make_no_model_are_said(case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(vit_convert.VitConvertError, match=message):
        create_model("vit_tiny_patch16_224", **options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_tiny_patch16_223", "(?s)no variant is called.*vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224.nobodys", "no variant is called"),
        ({"depth": 3}, "dict is no configuration"),
    ],
)
def test_models_that_are_not_known_are_said(model: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(model)


def test_a_cait_does_not_average() -> None:
    with pytest.raises(UsageError, match="read by its class token"):
        create_model("cait_xxs24_224", pool="avg")


def test_an_unsupported_model_says_why() -> None:
    from vit_convert.architectures.vit import VIT

    name, why = next((m.name, m.unsupported) for m in VIT.published() if m.unsupported)
    with pytest.raises(vit_convert.VitConvertError, match=re.escape(why)):
        create_model(name)


def test_loading_with_another_head_keeps_the_rest(tmp_path: Path) -> None:
    family = FAMILIES["deit"]()
    path = tmp_path / "model.h5"
    write_h5(path, family.spec, family.tensors())
    model = vit_convert.load_model(path, num_classes=5, drop_path_rate=0.2)
    variables = model.named_variables()
    assert model.output_shape == (None, 5)
    assert (model.spec.labels, model.spec.config.drop_path_rate) == ((), 0.2)
    assert set(model.spec.source.changed) == {
        f"{head}.{leaf}" for head in ("head", "head_dist") for leaf in ("weight", "bias")
    }
    for parameter in model.spec.parameters():
        value = parameter.from_keras(variables[parameter.keras_path].numpy())
        if not parameter.name.startswith("head"):
            np.testing.assert_array_equal(value, family.arrays()[parameter.name])
    assert 0.01 < variables["head/kernel"].numpy().std() < 0.03
    named = vit_convert.load_model(path, labels=["a", "b", "c"])
    assert named.spec.labels == ("a", "b", "c")
    assert named.output_shape == (None, 3)


def test_loading_at_another_size_resamples_positions(tmp_path: Path) -> None:
    family = FAMILIES["vit"]()
    path = tmp_path / "model.h5"
    write_h5(path, family.spec, family.tensors())
    model = vit_convert.load_model(path, image_size=(40, 60))
    assert model.input_shape == (None, 40, 60, 3)
    assert model.output_shape == (None, 7)
    assert model.spec.source.changed == ("pos_embed",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, "no option 'depth' of a model that has its weights"),
        ({"num_classes": -1}, "num_classes cannot be -1"),
        ({"labels": ["a"], "num_classes": 2}, "1 labels were given"),
        ({"drop_rate": 2.0}, "drop_rate cannot be 2"),
    ],
)
def test_loading_refuses_what_the_weights_do_not_fit(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    family = FAMILIES["vit"](depth=1)
    path = tmp_path / "model.h5"
    write_h5(path, family.spec, family.tensors())
    with pytest.raises(UsageError, match=message):
        vit_convert.load_model(path, **options)


def test_configurations_are_not_changed_in_place() -> None:
    config = ViTConfig(image_size=(8, 8), patch_size=(4, 4), embed_dim=8, num_heads=2, depth=1)
    create_model(config, num_classes=3)
    assert config.num_classes == 1000
