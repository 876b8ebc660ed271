"""Checkpoints of facebookresearch's DINO, MAE and DINOv2. Their ViTs have timm's names.

https://github.com/facebookresearch/dino (vision_transformer.py, utils.py: MultiCropWrapper and
DINOHead), .../mae (models_mae.py, models_vit.py), .../dinov2 (dinov2/models/vision_transformer.py,
dinov2/layers/swiglu_ffn.py, dinov2/train/ssl_meta_arch.py). DeiT's are timm's own.
"""

from __future__ import annotations

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.dialects.rules import (
    Dialect,
    Ignore,
    Rule,
    defaults,
    published,
    renamed,
    same,
    under,
)

_BLOCK = "blocks.{i}"


_MLP = ("mlp.fc1", "mlp.fc2")
_PLAIN, _SWIGLU = ("mlp", "plain"), ("mlp", "swiglu-packed")


def _vit(block: str = _BLOCK, mlp: tuple[str, ...] = _MLP) -> tuple[Rule, ...]:
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", *mlp)
    return (
        *same("cls_token", "pos_embed", "patch_embed.proj.{leaf}", "norm.{leaf}"),
        *(renamed(f"{block}.{part}.{{leaf}}", f"{_BLOCK}.{part}.{{leaf}}") for part in parts),
    )


_SHARED = {
    "gelu": "erf",
    "norm_eps": 1e-6,
    "norm_position": "pre",
    "pool": "token",
    "position": "class",
}
_PICTURES = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "interpolation": "bicubic",
    "crop_pct": 224 / 256,
}

DINO = Dialect(
    name="dino",
    architecture="vit",
    title="DINO's training checkpoint",
    marker="{body}blocks.0.attn.qkv.weight",
    bodies=("backbone.",),
    rules=under("{body}", _vit()),
    ignored=(
        Ignore("head.{rest}", "DINO's projection head, for training only"),
        Ignore("{body}head.{rest}", "DINO's projection head, for training only"),
    ),
    facts={**published("DINO", **_SHARED, pos_embed="bicubic"), **defaults("DINO", **_PICTURES)},
)

MAE = Dialect(
    name="mae",
    architecture="vit",
    title="MAE's pre-training checkpoint",
    marker="decoder_embed.weight",
    rules=_vit(),
    ignored=(
        Ignore("mask_token", "stands for masked patches in pre-training only"),
        Ignore("decoder_pos_embed", "the decoder of masked pre-training"),
        Ignore("decoder_embed.{leaf}", "the decoder of masked pre-training"),
        Ignore("decoder_blocks.{rest}", "the decoder of masked pre-training"),
        Ignore("decoder_norm.{leaf}", "the decoder of masked pre-training"),
        Ignore("decoder_pred.{leaf}", "the decoder of masked pre-training"),
    ),
    facts={**published("MAE", **_SHARED), **defaults("MAE", **_PICTURES)},
)


def _dinov2(name: str, title: str, block: str) -> Dialect:
    rules = (
        *_vit(block, mlp=()),
        renamed("register_tokens", "reg_token"),
        renamed(f"{block}.ls1.gamma", f"{_BLOCK}.ls1.gamma"),
        renamed(f"{block}.ls2.gamma", f"{_BLOCK}.ls2.gamma"),
        *(
            renamed(f"{block}.mlp.{source}.{{leaf}}", f"{_BLOCK}.mlp.{target}.{{leaf}}", when=when)
            for source, target, when in (
                ("fc1", "fc1", _PLAIN),
                ("fc2", "fc2", _PLAIN),
                ("w12", "fc1", _SWIGLU),
                ("w3", "fc2", _SWIGLU),
            )
        ),
    )
    marker = block.replace("{chunk}", "0").replace("{i}", "0")
    return Dialect(
        name=name,
        architecture="vit",
        title=title,
        marker=f"{{body}}{marker}.ls1.gamma",
        bodies=("", "backbone.", "teacher.backbone.", "student.backbone."),
        rules=under("{body}", rules),
        ignored=(
            Ignore("{body}mask_token", "stands for masked patches in pre-training only"),
            Ignore("dino_head.{rest}", "DINO's projection head, for training only"),
            Ignore("ibot_head.{rest}", "iBOT's projection head, for training only"),
            Ignore("dino_loss.{rest}", "the loss's state, for training only"),
            Ignore("ibot_patch_loss.{rest}", "the loss's state, for training only"),
        ),
        facts={
            **published("DINOv2", **_SHARED, pos_embed="bicubic"),
            **defaults("DINOv2", **_PICTURES),
        },
    )


DINOV2 = _dinov2("dinov2", "DINOv2's own names", _BLOCK)
DINOV2_CHUNKED = _dinov2(
    "dinov2-chunked", "DINOv2's own names, blocks in chunks", "blocks.{chunk}.{i}"
)
