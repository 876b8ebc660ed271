"""The Keras models give what timm gives, with every parameter randomised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from families import (
    FAMILIES,
    OPTIONS,
    SPECIAL,
    Family,
    small_beit,
    small_cait,
    small_deit,
    small_eva,
    small_vit,
)

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.models import build
from vit_convert.parity.sources.timm_source import TorchReference, block_outputs

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
    "cait, 9 heads": (small_cait, {"num_heads": 9}),
    "cait, no qkv bias": (small_cait, {"qkv_bias": False}),
    "cait, no head": (small_cait, {"num_classes": 0}),
}

# one option each, or those that meet; see families.OPTIONS for models of several
OPTION_CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "vit, relu": (small_vit, {"gelu": "relu"}),
    "vit, registers": (small_vit, {"reg_tokens": 3}),
    "vit, registers, no class position": (small_vit, {"reg_tokens": 3, "position": "patches"}),
    "vit, registers without class token": (
        small_vit,
        {"reg_tokens": 2, "class_token": False, "pool": "avg", "position": "patches"},
    ),
    "vit, no class position": (small_vit, {"position": "patches"}),
    "vit, no patch bias": (small_vit, {"patch_bias": False}),
    "vit, norm before the blocks": (small_vit, {"pre_norm": True, "depth": 2}),
    "clip": (
        small_vit,
        {"pre_norm": True, "patch_bias": False, "head_bias": False, "gelu": "quick"},
    ),
    "vit, no final norm": (small_vit, {"final_norm": False}),
    "vit, q and k normalised": (small_vit, {"qk_norm": True}),
    "vit, attention normalised": (small_vit, {"attn_norm": True}),
    "vit, MLP normalised": (small_vit, {"mlp_norm": True}),
    "vit, SwiGLU": (small_vit, {"mlp": "swiglu"}),
    "vit, SwiGLU with norm": (small_vit, {"mlp": "swiglu", "mlp_norm": True}),
    "vit, packed SwiGLU": (small_vit, {"mlp": "swiglu-packed"}),
    "vit, packed SwiGLU with norm": (small_vit, {"mlp": "swiglu-packed", "mlp_norm": True}),
    "vit, attention pooling": (small_vit, {"pool": "map"}),
    "siglip": (small_vit, {"pool": "map", "class_token": False, "gelu": "tanh"}),
    "vit, attention pooling of all tokens": (
        small_vit,
        {"pool": "map", "pool_prefix": True, "reg_tokens": 2, "final_norm": False},
    ),
    "siglip, no head": (small_vit, {"pool": "map", "class_token": False, "num_classes": 0}),
    "vit, maximum": (small_vit, {"pool": "max", "final_norm": False, "fc_norm": True}),
    "vit, maximum behind the norm": (small_vit, {"pool": "max"}),
    "vit, average and maximum": (small_vit, {"pool": "avgmax"}),
    "vit, average of all tokens": (small_vit, {"pool": "avg", "pool_prefix": True}),
    "vit, norm after the branch": (small_vit, {"norm_position": "res-post", "depth": 2}),
    "vit, norm after the branch, no qkv bias": (
        small_vit,
        {"norm_position": "res-post", "qkv_bias": False, "class_token": False, "pool": "avg"},
    ),
    "vit, norm after the addition": (
        small_vit,
        {"norm_position": "post", "gelu": "relu", "depth": 2},
    ),
    "vit, norm after the addition, no final norm": (
        small_vit,
        {"norm_position": "post", "final_norm": False},
    ),
    "vit, 3 parallel branches": (small_vit, {"parallel": 3, "layer_scale": True}),
    "vit, 2 parallel branches, options": (
        small_vit,
        {"parallel": 2, "qk_norm": True, "mlp": "swiglu", "mlp_norm": True},
    ),
    "beit": (small_beit, {}),
    "beit, class token": (small_beit, {"pool": "token", "fc_norm": False, "final_norm": True}),
    "beit, shared table": (small_beit, {"rel_pos": "shared", "depth": 2}),
    "beit, absolute positions too": (small_beit, {"position": "all", "layer_scale": False}),
    "beit, SwiGLU": (small_beit, {"mlp": "swiglu", "mlp_norm": True}),
    "eva02": (small_eva, {"mlp": "swiglu", "mlp_norm": True, "attn_norm": True}),
    "eva02, fused, average": (
        small_eva,
        {"mlp": "swiglu-packed", "pool": "avg", "final_norm": False, "fc_norm": True},
    ),
    "eva02, q and k normalised, no qkv bias": (small_eva, {"qk_norm": True, "qkv_bias": False}),
    "eva02, no learned positions": (
        small_eva,
        {"position": "none", "class_token": False, "reg_tokens": 2, "pool": "avg"},
    ),
    "dinov3": (
        small_eva,
        {"rotary": "dinov3", "reg_tokens": 2, "position": "none", "layer_scale": True},
    ),
    "dinov3, gated, average": (
        small_eva,
        {"rotary": "dinov3", "position": "none", "mlp": "swiglu", "qkv_bias": False, "pool": "avg"},
    ),
}
CASES |= {name: (make, {"depth": 1} | changes) for name, (make, changes) in OPTION_CASES.items()}
CASES |= {f"small {name}": (make, {}) for name, make in (FAMILIES | OPTIONS | SPECIAL).items()}


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


@pytest.mark.parametrize("case", CASES)
def test_model_gives_what_timm_gives(case: str) -> None:
    make, changes = CASES[case]
    family = make(**changes)
    spec = family.spec
    model = build(spec)
    model.assign(family.arrays())
    images = np.random.default_rng(1).standard_normal(
        (4, *spec.config.image_size, spec.config.in_channels), np.float32
    )
    expected = timm_output(family, images) if spec.architecture == "vit" else family.logits(images)
    assert relative(expected, model(images).numpy()) < 2e-6


@pytest.mark.parametrize("case", ["vit", "vit, average, norm", "deit", "cait", "cait, 9 heads"])
def test_attention_maps_are_timms(case: str) -> None:
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


@pytest.mark.parametrize(
    "case", ["vit", "deit", "vit, average, norm", "vit, 3 parallel branches", "cait", "clip"]
)
def test_blocks_give_what_timms_give(case: str) -> None:
    make, changes = CASES[case]
    family = make(**changes)
    images = family.images()
    expected = block_outputs(family.model, family.spec.block_names(), images)
    model = build(family.spec)
    model.assign(family.arrays())
    got = model.view({point: point for point in expected})(images)
    assert len(got) >= 2
    for name, tokens in expected.items():
        assert relative(tokens, got[name].numpy()) < 2e-6, name


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_are_timms_in_name_shape_and_number(name: str) -> None:
    family = FAMILIES[name]()
    ours = {p.name: p.shape for p in family.spec.parameters()}
    assert ours == {n: tuple(v.shape) for n, v in family.model.state_dict().items()}


def test_position_of_the_class_token_alone_is_added_to_it() -> None:
    """As Hugging Face's DINOv2 has it; timm wants the two added beforehand."""
    family = small_vit(depth=1, reg_tokens=3, position="patches")
    weights = family.arrays()
    position = np.full((1, 1, 36), 0.3, np.float32) * np.arange(36, dtype=np.float32) / 18
    weights["cls_token"] = weights["cls_token"] - position
    weights["pos_embed"] = np.concatenate([position, weights["pos_embed"]], axis=1)
    spec = family.spec.with_config(position="class")
    assert {p.name: p.shape for p in spec.parameters()} == {n: w.shape for n, w in weights.items()}
    reference = TorchReference(spec, {n: LazyTensor.of(n, w) for n, w in weights.items()})
    model = build(spec)
    model.assign(weights)
    images = family.images()
    assert relative(family.logits(images), model(images).numpy()) < 2e-6
    assert relative(family.logits(images), reference.run(images)) < 2e-6
