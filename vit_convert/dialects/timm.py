"""timm's names, the canonical ones; DeiT's and CaiT's own repositories use them too.

Older ViT checkpoints call LayerScale `gamma_1` and `gamma_2` (timm before 0.6, DeiT III)."""

from __future__ import annotations

from vit_convert.dialects.rules import Dialect, Ignore, renamed, same

_COMMON = same(
    "cls_token",
    "pos_embed",
    "patch_embed.proj.{leaf}",
    "blocks.{i}.norm1.{leaf}",
    "blocks.{i}.attn.qkv.{leaf}",
    "blocks.{i}.attn.proj.{leaf}",
    "blocks.{i}.norm2.{leaf}",
    "blocks.{i}.mlp.fc1.{leaf}",
    "blocks.{i}.mlp.fc2.{leaf}",
    "norm.{leaf}",
    "head.{leaf}",
)

TIMM_VIT = Dialect(
    name="timm",
    architecture="vit",
    title="timm's VisionTransformer",
    marker="blocks.0.attn.qkv.weight",
    rules=(
        *_COMMON,
        *same(
            "dist_token",
            "fc_norm.{leaf}",
            "head_dist.{leaf}",
            "blocks.{i}.ls1.gamma",
            "blocks.{i}.ls2.gamma",
        ),
    ),
    ignored=(Ignore("mask_token", "stands for masked patches in pre-training only"),),
)

TIMM_VIT_OLD_LAYER_SCALE = Dialect(
    name="timm-gamma",
    architecture="vit",
    title="timm's VisionTransformer, LayerScale as gamma_1 and gamma_2",
    marker="blocks.0.attn.qkv.weight",
    rules=(
        *_COMMON,
        *same("dist_token", "fc_norm.{leaf}", "head_dist.{leaf}"),
        renamed("blocks.{i}.gamma_1", "blocks.{i}.ls1.gamma"),
        renamed("blocks.{i}.gamma_2", "blocks.{i}.ls2.gamma"),
    ),
)

TIMM_CAIT = Dialect(
    name="timm",
    architecture="cait",
    title="timm's Cait",
    marker="blocks_token_only.0.attn.q.weight",
    rules=(
        *_COMMON,
        *same(
            "blocks.{i}.gamma_1",
            "blocks.{i}.gamma_2",
            "blocks.{i}.attn.proj_l.{leaf}",
            "blocks.{i}.attn.proj_w.{leaf}",
            "blocks_token_only.{i}.gamma_1",
            "blocks_token_only.{i}.gamma_2",
            "blocks_token_only.{i}.norm1.{leaf}",
            "blocks_token_only.{i}.attn.q.{leaf}",
            "blocks_token_only.{i}.attn.k.{leaf}",
            "blocks_token_only.{i}.attn.v.{leaf}",
            "blocks_token_only.{i}.attn.proj.{leaf}",
            "blocks_token_only.{i}.norm2.{leaf}",
            "blocks_token_only.{i}.mlp.fc1.{leaf}",
            "blocks_token_only.{i}.mlp.fc2.{leaf}",
        ),
    ),
)
