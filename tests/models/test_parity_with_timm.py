"""The Keras models give what timm gives, folded or not, with every parameter randomised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from families import FAMILIES, Family, small_cait, small_deit, small_vit

from vit_convert.folding import fold
from vit_convert.models import build
from vit_convert.models.base import block_points

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "vit": (small_vit, {}),
    "vit, one head": (small_vit, {"num_heads": 1}),
    "vit, tanh": (small_vit, {"gelu": "tanh"}),
    "vit, quick": (small_vit, {"gelu": "quick"}),
    "vit, epsilon": (small_vit, {"norm_eps": 0.1}),
    "vit, no qkv bias": (small_vit, {"qkv_bias": False}),
    "vit, LayerScale": (small_vit, {"layer_scale": True}),
    "vit, average, fc_norm": (small_vit, {"pool": "avg", "final_norm": False, "fc_norm": True}),
    "vit, average, norm": (small_vit, {"pool": "avg"}),
    "vit, no class token": (
        small_vit,
        {"class_token": False, "pool": "avg", "final_norm": False, "fc_norm": True},
    ),
    "vit, no head": (small_vit, {"num_classes": 0}),
    "vit, 4 channels": (small_vit, {"in_channels": 4}),
    "deit": (small_deit, {}),
    "deit, no head": (small_deit, {"num_classes": 0}),
    "cait": (small_cait, {}),
    "cait, 3 class blocks": (small_cait, {"depth_token_only": 3}),
    "cait, 9 heads": (small_cait, {"num_heads": 9}),  # many, which are mixed in another way
    "cait, no qkv bias": (small_cait, {"qkv_bias": False}),
    "cait, no head": (small_cait, {"num_classes": 0}),
}


def relative(expected: np.ndarray, got: np.ndarray) -> float:
    assert expected.shape == got.shape
    return float(np.abs(expected - got).max() / np.abs(expected).max())


def timm_output(family: Family, images: np.ndarray) -> np.ndarray:
    """timm's distilled DeiT without heads gives both tokens; its features are their mean."""
    if family.spec.config.distilled and not family.spec.config.num_classes:
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            tokens = family.model.forward_features(batch)
            return family.model.forward_head(tokens, pre_logits=True).numpy()
    return family.logits(images)


@pytest.mark.parametrize("folded", [False, True], ids=["plain", "folded"])
@pytest.mark.parametrize("case", CASES)
def test_model_gives_what_timm_gives(case: str, folded: bool) -> None:
    make, changes = CASES[case]
    family = make(**changes)
    spec, weights = family.spec, family.arrays()
    if folded:
        spec, weights = fold(spec, weights)
        assert len(weights) < len(family.arrays())
    model = build(spec)
    model.assign(weights)
    images = np.random.default_rng(1).standard_normal(
        (4, *spec.config.image_size, spec.config.in_channels), np.float32
    )
    expected = timm_output(family, images) if spec.architecture == "vit" else family.logits(images)
    assert relative(expected, model(images).numpy()) < 2e-6


@pytest.mark.parametrize("case", ["vit", "vit, average, norm", "deit", "cait", "cait, 9 heads"])
def test_attention_maps_are_timms(case: str) -> None:
    """Of all tokens, also in a last block that computes only those that are pooled."""
    make, changes = CASES[case]
    family = make(**changes)
    expected = []
    for module in family.model.modules():
        if hasattr(module, "attn_drop"):
            module.fused_attn = False
            module.attn_drop.register_forward_hook(lambda *call: expected.append(call[2].numpy()))
    images = family.images()
    family.logits(images)
    model = build(family.spec)
    model.assign(family.arrays())
    maps = {point: point for point in model.endpoint_names if "attention" in point}
    got = model.view(maps)(images)
    assert len(got) == len(expected) >= 3
    for name, reference in zip(maps, expected, strict=True):
        assert relative(reference, got[name].numpy()) < 2e-6, name


@pytest.mark.parametrize(("case", "count"), [("vit", 1), ("deit", 2), ("vit, average, norm", 16)])
def test_the_last_block_computes_the_tokens_that_are_pooled(case: str, count: int) -> None:
    make, changes = CASES[case]
    family = make(**changes)
    tokens: list[np.ndarray] = []
    family.model.blocks[-1].register_forward_hook(lambda *call: tokens.append(call[2].numpy()))
    images = family.images()
    family.logits(images)
    model = build(family.spec)
    model.assign(family.arrays())
    last = f"blocks.{family.spec.config.depth - 1}"
    (got,) = model.view({last: last})(images).values()
    assert got.shape == (4, count, 36)
    assert relative(tokens[0][:, :count], got.numpy()) < 2e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_are_timms_in_name_shape_and_number(name: str) -> None:
    family = FAMILIES[name]()
    ours = {p.name: p.shape for p in family.spec.parameters()}
    assert ours == {n: tuple(v.shape) for n, v in family.model.state_dict().items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_leaves_the_given_arrays_alone(name: str) -> None:
    family = FAMILIES[name]()
    weights = family.arrays()
    before = {key: value.copy() for key, value in weights.items()}
    fold(family.spec, weights)
    assert all(np.array_equal(before[key], weights[key]) for key in before)


@pytest.mark.parametrize("name", FAMILIES)
def test_folded_residual_stream_has_no_mean_and_is_scaled(name: str) -> None:
    family = FAMILIES[name]()
    spec, weights = fold(family.spec, family.arrays())
    model, plain = build(spec), build(family.spec)
    model.assign(weights)
    plain.assign(family.arrays())
    blocks = {point: point for point in block_points(model.endpoint_names)}
    reference = plain.view(blocks)(family.images())
    for point, tokens in model.view(blocks)(family.images()).items():
        centred = reference[point] - tf.reduce_mean(reference[point], axis=-1, keepdims=True)
        assert spec.config.stream_scale == 1 / 16
        assert relative(centred.numpy() / 16, tokens.numpy()) < 1e-5


def test_a_model_without_a_last_norm_is_not_folded() -> None:
    """Its head takes the mean and the scale of the stream."""
    family = small_vit(pool="avg", final_norm=False)
    spec, weights = fold(family.spec, family.arrays())
    assert spec == family.spec
    model = build(spec)
    model.assign(weights)
    assert relative(family.logits(family.images()), model(family.images()).numpy()) <= 1e-5
