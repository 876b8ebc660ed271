"""torchvision's VisionTransformer: vit_b_16, vit_b_32, vit_l_16, vit_l_32, vit_h_14.

https://github.com/pytorch/vision, torchvision/models/vision_transformer.py. The MLP's layers are
numbered since torchvision 0.13; the published weights are older and call them `linear_1` and
`linear_2`, which torchvision renames when it loads them.
"""

from __future__ import annotations

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.dialects.rules import Dialect, Rule, defaults, published, renamed

_BLOCK = "encoder.layers.encoder_layer_{i}"


def _rules(fc1: str, fc2: str) -> tuple[Rule, ...]:
    return (
        renamed("class_token", "cls_token"),
        renamed("encoder.pos_embedding", "pos_embed"),
        renamed("conv_proj.{leaf}", "patch_embed.proj.{leaf}"),
        renamed(f"{_BLOCK}.ln_1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        renamed(f"{_BLOCK}.self_attention.in_proj_{{leaf}}", "blocks.{i}.attn.qkv.{leaf}"),
        renamed(f"{_BLOCK}.self_attention.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_BLOCK}.ln_2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed(f"{_BLOCK}.mlp.{fc1}.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_BLOCK}.mlp.{fc2}.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
        renamed("encoder.ln.{leaf}", "norm.{leaf}"),
        renamed("heads.head.{leaf}", "head.{leaf}"),
    )


_FACTS = {
    **published(
        "torchvision's VisionTransformer",
        gelu="erf",
        norm_eps=1e-6,
        norm_position="pre",
        pool="token",
        position="all",
    ),
    # the preset of vit_b_16's IMAGENET1K_V1; those of larger models differ
    **defaults(
        "torchvision's vit_b_16",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bilinear",
        crop_pct=224 / 256,
    ),
}

TORCHVISION = Dialect(
    name="torchvision",
    architecture="vit",
    title="torchvision's VisionTransformer",
    marker="encoder.layers.encoder_layer_0.self_attention.in_proj_weight",
    rules=_rules("0", "3"),
    facts=_FACTS,
    library="torchvision",
)

TORCHVISION_OLD = Dialect(
    name="torchvision-linear",
    architecture="vit",
    title="torchvision's VisionTransformer, MLP as linear_1 and linear_2",
    marker="encoder.layers.encoder_layer_0.self_attention.in_proj_weight",
    rules=_rules("linear_1", "linear_2"),
    facts=_FACTS,
    library="torchvision",
)
