"""Layer-wise decay and weight decay are those of timm's parameter groups."""

from __future__ import annotations

from typing import Any

import pytest

from vit_convert.architectures import CaiTConfig, ModelSpec, ViTConfig
from vit_convert.parity.sources.torch_compat import import_vision
from vit_convert.training.parameter_groups import parameter_groups

import_vision("timm")
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from timm.optim import param_groups_layer_decay  # noqa: E402


def vit(**options: Any) -> ModelSpec:
    sizes: dict[str, Any] = {"image_size": (12, 12), "patch_size": (4, 4), "num_classes": 5}
    shape = {"embed_dim": 24, "depth": 3, "num_heads": 2, "mlp_dim": 48}
    return ModelSpec("vit", ViTConfig(**sizes, **shape, **options))


@pytest.mark.parametrize(
    ("ours", "timms"),
    [
        ({}, {}),
        (
            {"pool": "avg", "class_token": False, "final_norm": False, "fc_norm": True},
            {"global_pool": "avg", "class_token": False},
        ),
        ({"qk_norm": True, "layer_scale": True}, {"qk_norm": True, "init_values": 1.0}),
    ],
)
def test_groups_are_those_of_timm(ours: dict[str, Any], timms: dict[str, Any]) -> None:
    model = VisionTransformer(
        img_size=12, patch_size=4, num_classes=5, embed_dim=24, depth=3, num_heads=2, mlp_ratio=2,
        **timms,
    )  # fmt: skip
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    expected = {
        names[id(parameter)]: (pytest.approx(group["lr_scale"]), group["weight_decay"] > 0)
        for group in param_groups_layer_decay(
            model, weight_decay=0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.6
        )
        for parameter in group["params"]
    }
    found = {n: (g.scale, g.decays) for n, g in parameter_groups(vit(**ours), 0.6).items()}
    assert found == expected


def test_tokens_are_the_lowest_layer_and_do_not_decay() -> None:
    groups = parameter_groups(vit(reg_tokens=2, distilled=True), 0.5)
    for name in ("cls_token", "dist_token", "reg_token", "pos_embed"):
        assert groups[name].scale == 0.5**4
        assert not groups[name].decays
    assert groups["head_dist.weight"].scale == 1


def test_a_caits_class_attention_stands_above_its_blocks() -> None:
    config = CaiTConfig(
        image_size=(12, 12), patch_size=(4, 4), num_classes=5, embed_dim=24, depth=3, num_heads=2,
        mlp_dim=48, depth_token_only=2,
    )  # fmt: skip
    groups = parameter_groups(ModelSpec("cait", config), 0.5)
    scales = [
        groups[name].scale
        for name in (
            "patch_embed.proj.weight",
            "blocks.0.attn.qkv.weight",
            "blocks.2.attn.qkv.weight",
            "blocks_token_only.0.attn.q.weight",
            "blocks_token_only.1.attn.q.weight",
            "norm.weight",
            "head.weight",
        )
    ]
    assert scales == [0.5**6, 0.5**5, 0.5**3, 0.5**2, 0.5, 0.5, 1]
    assert not groups["blocks.0.gamma_1"].decays
